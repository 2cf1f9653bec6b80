"""Tracks in other codecs, made for readers whose carrier cannot take them as they are; uses PyAV, and so FFmpeg's libraries."""
