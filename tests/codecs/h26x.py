"""Small real streams of H.264 and H.265, and how tests cut them into access units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from penstock.media import Frame, Track
from penstock_formats.nal import split_annex_b
from penstock_formats.rtp.binding import AccessUnit, Depacketizer

DATA = Path(__file__).parents[1] / "data" / "h26x"


def access_units(
    name: str, is_slice: Callable[[bytes], bool], begins: Callable[[bytes], bool]
) -> list[list[bytes]]:
    """The NAL units of a byte stream by access unit."""
    units: list[list[bytes]] = []
    picture = True
    for nal in split_annex_b((DATA / name).read_bytes()):
        if picture and (not is_slice(nal) or begins(nal)):
            units.append([])
            picture = False
        units[-1].append(nal)
        picture = picture or is_slice(nal)
    return units


def frame(track: Track, units: Iterable[bytes], key: bool) -> Frame:
    return Frame(track, 0, 0, tuple(units), key)


def rtp_packets(name: str) -> list[tuple[bytes, int, bool]]:
    """Payload, timestamp and marker of the captured RTP packets, each of which is behind its length."""
    data = (DATA / name).read_bytes()
    packets: list[tuple[bytes, int, bool]] = []
    while data:
        size = int.from_bytes(data[:2], "big")
        packet, data = data[2 : 2 + size], data[2 + size :]
        packets.append((packet[12:], int.from_bytes(packet[4:8], "big"), packet[1] & 0x80 != 0))
    return packets


def push_all(depacketizer: Depacketizer, packets: Iterable[tuple[bytes, int, bool]]) -> list[AccessUnit]:
    """What all of `packets` and a flush give."""
    out: list[AccessUnit] = []
    for payload, timestamp, marker in packets:
        out += depacketizer.push(payload, timestamp, marker, False)
    return out + depacketizer.flush()


def bits(text: str) -> bytes:
    """The bytes of a string of 0 and 1, filled up with zeros."""
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def golomb(value: int) -> str:
    """The code ue(v) of `value`."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _escape(nal: bytes) -> bytes:
    out = bytearray()
    for byte in nal:
        if byte <= 3 and out.endswith(b"\x00\x00"):
            out.append(3)
        out.append(byte)
    return bytes(out)


ZERO = golomb(0)

VUI = "1 11111111" + "0" * 32 + "1 0" + "1 0000 1" + "0" * 24 + "1" + ZERO * 2
"""Extended sample aspect ratio, overscan, colours, chroma location."""

# Separate planes, scaling lists (one that ends early), picture order count type 1, fields, cropping.
H264_FULL_SPS = _escape(
    bits(
        "01100111 01100100 00000000 00101000"
        + ZERO
        + (golomb(3) + "1" + ZERO * 2 + "0")
        + ("1" + "1" + ZERO * 16 + "1" + golomb(16) + "0" * 9 + "1" + ZERO * 64)
        + ZERO
        + (golomb(1) + "0" + ZERO * 2 + golomb(2) + golomb(1) + golomb(2))
        + (golomb(4) + "0" + golomb(19) + golomb(5) + "0" + "1" + "1")
        + ("1" + ZERO * 3 + golomb(5))
        + ("1" + VUI + "0" + "0" + "0" + "0" + "0")
        + "1"
    )
)

# Main profile at level 1b (constraint_set3), 176x144, without VUI.
H264_LEVEL_1B_SPS = bits(
    "01100111 01001101 00010000 00001011"
    + (ZERO * 4 + golomb(4) + "0" + golomb(10) + golomb(8) + "1" + "1" + "0" + "0")
    + "1"
)

# Three sub-layers, scaling lists, PCM, a reference set told from another, long-term references, timing.
H265_FULL_SPS = _escape(
    bits(
        "01000010 00000001 0000 010 1"
        + ("0" * 88 + "01011101")
        + ("11" + "01" + "0" * 12 + "0" * 96 + "0" * 8)
        + (ZERO + golomb(3) + "1" + golomb(320) + golomb(184) + "1" + ZERO * 3 + golomb(4))
        + (ZERO * 2 + golomb(4))
        + ("1" + (golomb(4) + golomb(2) + ZERO) * 3)
        + ZERO * 6
        + ("11" + ("1" + ZERO * 16) * 6 + ("0" + ZERO) * 6)
        + ("1" + ZERO * 65 + ("0" + ZERO) * 5 + ("0" + ZERO) * 2)
        + "00"
        + ("1" + "0" * 8 + ZERO * 2 + "0")
        + (golomb(2) + golomb(1) * 2 + (ZERO + "1") * 2 + "1" + "0" + ZERO + "1" + "01" + "00")
        + ("1" + golomb(1) + "0" * 9 + "00")
        + ("1" + VUI + "000" + "1" + ZERO * 4 + "1" + f"{1:032b}" + f"{50:032b}")
        + "1"
    )
)
