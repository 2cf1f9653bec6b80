"""Session descriptions (RFC 8866), as RTSP and WebRTC use them."""

from penstock_formats.sdp.media import Direction, MediaDescription
from penstock_formats.sdp.session import SessionDescription, make_origin

__all__ = ["Direction", "MediaDescription", "SessionDescription", "make_origin"]
