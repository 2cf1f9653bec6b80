"""The player page and the list of live streams."""
