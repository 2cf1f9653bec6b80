"""The frame header (RFC 6386 9.1), whose key frames have all the configuration of VP8."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind

VP8 = Codec("vp8", Kind.VIDEO)

CLAUSE = "RFC 6386 9.1"
_START_CODE = b"\x9d\x01\x2a"
_KEY_HEADER, _HEADER = 10, 3


@frozen
class Vp8Config(CodecConfig):
    """In pixels, without upscaling; 0 until the first key frame tells, where a sequence header came first."""

    width: int = 0
    height: int = 0

    def after(self, frame: bytes) -> tuple[bool, Vp8Config | None]:
        """Whether a frame is key, and the config where it changed it. Raises `ProtocolViolation`."""
        found = parse_frame(frame)
        return found is not None, None if found == self else found


def parse_frame(frame: bytes) -> Vp8Config | None:
    """The config in a key frame, None for another frame."""
    if len(frame) < _HEADER:
        raise ProtocolViolation("a VP8 frame is cut short", CLAUSE)
    if frame[0] & 1:
        return None
    if len(frame) < _KEY_HEADER or frame[3:6] != _START_CODE:
        raise ProtocolViolation("a VP8 key frame has no start code", CLAUSE)
    width, height = int.from_bytes(frame[6:8], "little"), int.from_bytes(frame[8:10], "little")
    # The two bits above are a scale that only a renderer may care about.
    config = Vp8Config(width & 0x3FFF, height & 0x3FFF)
    if not config.width or not config.height:
        raise ProtocolViolation("a VP8 key frame of no size", CLAUSE)
    return config
