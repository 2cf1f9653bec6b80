"""The sequence header OBU (AV1 5.5), which is the config of AV1."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind
from penstock_codecs.av1.obu import SEQUENCE_HEADER, kind, without_size
from penstock_formats.bits import BitReader

AV1 = Codec("av1", Kind.VIDEO)

CLAUSE = "AV1 5.5"
MAX_SEQUENCE_HEADER = 512
"""Bytes. 32 operating points with all their delays take 430 bytes."""

_BT709, _SRGB, _IDENTITY, _UNSPECIFIED = 1, 13, 0, 2


@frozen
class Color:
    """color_config (AV1 5.5.2); the code points are those of ISO/IEC 23091-4."""

    bit_depth: int = 8
    monochrome: bool = False
    primaries: int | None = None
    transfer: int = _UNSPECIFIED
    matrix: int = _UNSPECIFIED
    full_range: bool = False
    subsampling_x: int = 1
    subsampling_y: int = 1
    sample_position: int = 0


@frozen
class Av1Config(CodecConfig):
    """`sequence_header` is the OBU without size field, empty while only an ``av1C`` without OBUs is known.

    `width` and `height` are the largest of the sequence (0: not known), `tier` is 0 for Main and 1 for High;
    `frame_rate` is in Hz where the sequence header has timing.
    """

    sequence_header: bytes
    profile: int
    level: int
    tier: int
    color: Color
    width: int = 0
    height: int = 0
    frame_rate: float | None = None
    reduced: bool = False

    @staticmethod
    def parse(obu: bytes) -> Av1Config:
        """The config that a sequence header OBU describes, with or without size field."""
        obu = without_size(obu)
        if kind(obu) != SEQUENCE_HEADER or len(obu) > MAX_SEQUENCE_HEADER:
            raise ProtocolViolation("not a sequence header OBU", CLAUSE)
        bits = BitReader(obu, CLAUSE)
        bits.skip(16 if obu[0] & 0x04 else 8)
        profile = bits.u(3)
        if profile > 2:
            raise ProtocolViolation(f"AV1 profile {profile} is reserved", "AV1 6.4.1")
        bits.skip(1)
        reduced = bits.flag()
        rate: float | None = None
        if reduced:
            level, tier = bits.u(5), 0
        else:
            rate, level, tier = _operating_points(bits)
        width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
        width, height = bits.u(width_bits) + 1, bits.u(height_bits) + 1
        _tools(bits, reduced)
        return Av1Config(obu, profile, level, tier, _color(bits, profile), width, height, rate, reduced)


def _operating_points(bits: BitReader) -> tuple[float | None, int, int]:
    """Frame rate, and level and tier of the first operating point, which is all layers."""
    rate: float | None = None
    delay_bits = 0
    if bits.flag():
        tick, scale = bits.u(32), bits.u(32)
        if bits.flag():
            tick *= bits.ue() + 1
            rate = scale / tick if tick else None
        if bits.flag():
            delay_bits = bits.u(5) + 1
            bits.skip(32 + 5 + 5)
    display_delay = bits.flag()
    points: list[tuple[int, int]] = []
    for _ in range(bits.u(5) + 1):
        bits.skip(12)
        level = bits.u(5)
        points.append((level, bits.u(1) if level > 7 else 0))
        if delay_bits and bits.flag():
            bits.skip(2 * delay_bits + 1)
        if display_delay and bits.flag():
            bits.skip(4)
    return rate, *points[0]


def _tools(bits: BitReader, reduced: bool) -> None:
    """Passes over the coding tools between frame size and colour."""
    if not reduced and bits.flag():
        bits.skip(4 + 3)
    bits.skip(3)
    if not reduced:
        bits.skip(4)
        order_hint = bits.flag()
        if order_hint:
            bits.skip(2)
        screen_content = bits.flag() or bits.flag()
        if screen_content and not bits.flag():
            bits.skip(1)
        if order_hint:
            bits.skip(3)
    bits.skip(3)


def _color(bits: BitReader, profile: int) -> Color:
    high = bits.flag()
    depth = 10 if high else 8
    if profile == 2 and high and bits.flag():
        depth = 12
    mono = profile != 1 and bits.flag()
    primaries: int | None = None
    transfer = matrix = _UNSPECIFIED
    if bits.flag():
        primaries, transfer, matrix = bits.u(8), bits.u(8), bits.u(8)
    if mono:
        return Color(depth, True, primaries, transfer, matrix, bits.flag())
    if (primaries, transfer, matrix) == (_BT709, _SRGB, _IDENTITY):
        return Color(depth, False, primaries, transfer, matrix, True, 0, 0)
    full = bits.flag()
    if profile == 0:
        x, y = 1, 1
    elif profile == 1:
        x, y = 0, 0
    elif depth == 12:
        x = bits.u(1)
        y = bits.u(1) if x else 0
    else:
        x, y = 1, 0
    position = bits.u(2) if x and y else 0
    return Color(depth, False, primaries, transfer, matrix, full, x, y, position)
