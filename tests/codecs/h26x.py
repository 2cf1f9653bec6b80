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
