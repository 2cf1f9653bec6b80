"""WebRTC: WHIP in and WHEP out, over one UDP port."""
