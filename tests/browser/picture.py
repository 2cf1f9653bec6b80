"""The picture that is published: bars of known colours, and in each frame its number and the time at which it was made,
as black and white blocks that a browser can read back from a canvas.
"""

from __future__ import annotations

import struct
from zlib import crc32

WIDTH, HEIGHT = 320, 180
BLOCK = 10
"""Pixels of a block's side: more than a macroblock's half, so that it survives any quantiser."""
ROWS = 2
COLUMNS = WIDTH // BLOCK
BITS = ROWS * COLUMNS

BLACK, WHITE = 16, 235
BARS = (
    (180, 128, 128),
    (168, 44, 136),
    (145, 147, 44),
    (133, 63, 52),
    (63, 193, 204),
    (51, 109, 212),
    (28, 212, 120),
    (61, 115, 113),
)
"""Y, Cb, Cr in the narrow range of ITU-R BT.709, which browsers take for granted where a container does not say: the 75 %
bars, and a dark green in place of black.
"""


def rgb(y: int, cb: int, cr: int) -> tuple[int, int, int]:
    """What a browser should show of it (ITU-R BT.709 3, the other way round)."""
    luma = (y - 16) * 255 / 219
    blue, red = (cb - 128) * 255 / 224, (cr - 128) * 255 / 224

    def clip(value: float) -> int:
        return round(min(255.0, max(0.0, value)))

    return (
        clip(luma + 1.5748 * red),
        clip(luma - 0.187324 * blue - 0.468124 * red),
        clip(luma + 1.8556 * blue),
    )


def _plane(width: int, height: int, component: int) -> bytes:
    bar = width // len(BARS)
    return b"".join(bytes([colour[component]]) * bar for colour in BARS) * height


CODED = WIDTH * BLOCK * ROWS
LUMA = _plane(WIDTH, HEIGHT, 0)[CODED:]
# Behind the blocks there is no colour, or a browser's RGB would not show black and white.
GREY = b"\x80" * (CODED // 4)
CHROMA = b"".join(GREY + _plane(WIDTH // 2, HEIGHT // 2, component)[CODED // 4 :] for component in (1, 2))


def frame(number: int, milliseconds: int) -> bytes:
    """One frame as planar YUV 4:2:0: `number` (16 bits), `milliseconds` since 1970 (40 bits), and 8 bits of their CRC-32."""
    value = (number & 0xFFFF) << 40 | milliseconds & 0xFF_FFFF_FFFF
    checked = value << 8 | crc32(struct.pack("!Q", value)) & 0xFF
    rows: list[bytes] = []
    for row in range(ROWS):
        line = b"".join(
            bytes([WHITE if checked >> (BITS - 1 - row * COLUMNS - column) & 1 else BLACK]) * BLOCK
            for column in range(COLUMNS)
        )
        rows.append(line * BLOCK)
    return b"".join(rows) + LUMA + CHROMA


def read(luma: bytes) -> tuple[int, int] | None:
    """Number and milliseconds of a frame, from its plane of brightness; None where it cannot be read."""
    coded = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            at = (row * BLOCK + BLOCK // 2) * WIDTH + column * BLOCK + BLOCK // 2
            coded = coded << 1 | (luma[at] > 127)
    value = coded >> 8
    if crc32(struct.pack("!Q", value)) & 0xFF != coded & 0xFF:
        return None
    return value >> 40, value & 0xFF_FFFF_FFFF
