"""The uncompressed header (VP9 bitstream 6.2), and the config that key frames and ``vpcC`` make up."""

from __future__ import annotations

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind
from penstock_formats.bits import BitReader

VP9 = Codec("vp9", Kind.VIDEO)

CLAUSE = "VP9 6.2"
_SYNC_CODE = 0x498342
_RGB = 7

# VP9 annex A: level (times 10) by luma picture size, where nothing is known of the rate.
_LEVELS = (
    (36_864, 10),
    (73_728, 11),
    (122_880, 20),
    (245_760, 21),
    (552_960, 30),
    (983_040, 31),
    (2_228_224, 40),
    (8_912_896, 50),
    (35_651_584, 60),
)
# color_space to matrix coefficients of ISO/IEC 23091-4.
_MATRIX = (2, 5, 1, 6, 7, 9, 2, 0)

CHROMA_420_VERTICAL, CHROMA_420, CHROMA_422, CHROMA_444 = 0, 1, 2, 3
_CHROMA = {(1, 1): CHROMA_420, (1, 0): CHROMA_422, (0, 0): CHROMA_444}


@frozen
class Vp9Config(CodecConfig):
    """The fields of ``vpcC``, and the size in pixels (0 while only ``vpcC`` is known)."""

    profile: int = 0
    level: int = 0
    bit_depth: int = 8
    chroma: int = CHROMA_420
    full_range: bool = False
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    width: int = 0
    height: int = 0

    def refined(self, found: Vp9Config) -> Vp9Config:
        """This config with what a key frame told, which knows less of level and colours than ``vpcC``."""
        both_420 = self.chroma <= CHROMA_420 and found.chroma == CHROMA_420
        return evolve(
            self,
            profile=found.profile,
            level=self.level or found.level,
            bit_depth=found.bit_depth,
            chroma=self.chroma if both_420 else found.chroma,
            width=found.width,
            height=found.height,
        )

    def after(self, frame: bytes) -> tuple[bool, Vp9Config | None]:
        """Whether a frame is key, and the config where it changed it. Raises `ProtocolViolation`."""
        found = parse_frame(frame)
        if found is None:
            return False, None
        refined = self.refined(found)
        return True, None if refined == self else refined


def parse_frame(frame: bytes) -> Vp9Config | None:
    """The config in a key frame, None for another frame."""
    bits = BitReader(frame[:32], CLAUSE)
    if bits.u(2) != 2:
        raise ProtocolViolation("no VP9 frame marker", CLAUSE)
    profile = bits.u(1) | bits.u(1) << 1
    if profile == 3 and bits.flag():
        raise ProtocolViolation("VP9 profiles above 3 are reserved", CLAUSE)
    if bits.flag() or bits.flag():
        # show_existing_frame, or a frame_type that is not KEY_FRAME
        return None
    bits.skip(2)
    if bits.u(24) != _SYNC_CODE:
        raise ProtocolViolation("a VP9 key frame has no sync code", CLAUSE)
    depth = 8
    if profile >= 2:
        depth = 12 if bits.flag() else 10
    space = bits.u(3)
    full, x, y = True, 1, 1
    if space != _RGB:
        full = bits.flag()
        if profile & 1:
            x, y = bits.u(1), bits.u(1)
            bits.skip(1)
    elif profile & 1:
        x = y = 0
        bits.skip(1)
    else:
        raise ProtocolViolation("VP9 RGB needs profile 1 or 3", CLAUSE)
    if (x, y) not in _CHROMA:
        raise ProtocolViolation("VP9 4:4:0 is not supported", "VPCodecConfigurationRecord")
    width, height = bits.u(16) + 1, bits.u(16) + 1
    level = next((level for size, level in _LEVELS if width * height <= size), 62)
    return Vp9Config(profile, level, depth, _CHROMA[x, y], full, 2, 2, _MATRIX[space], width, height)
