"""Real clients publish to and play from a running server; coded frames are compared."""
