"""Three plugins for Penstock: a text protocol, a codec, and who may do what."""
