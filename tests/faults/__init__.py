"""Bad inputs against a running server that at the same time serves a canary."""
