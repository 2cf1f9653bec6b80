"""What browsers play: real players in a real Chromium, which look at every picture they show."""
