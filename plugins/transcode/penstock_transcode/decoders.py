"""What FFmpeg's libraries decode here; apart from what uses them, so that they are loaded only where somebody needs that."""

from __future__ import annotations

SOUND = {"aac": "aac", "mp3": "mp3float", "opus": "opus", "pcma": "pcm_alaw", "pcmu": "pcm_mulaw"}
"""FFmpeg's decoders by the names of our codecs."""
PICTURES = {"h264": "h264", "h265": "hevc", "av1": "libdav1d", "vp8": "vp8", "vp9": "vp9"}
