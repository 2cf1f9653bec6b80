"""Small real streams under ``tests/data/codecs``: what ffmpeg and GStreamer wrote and sent of the same clips.

``NAME.flv`` and ``NAME.ivf`` are the clips; ``ffmpeg-NAME.rtp`` and ``gst-NAME.rtp`` are packets of them, each
behind its length in two bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_formats.flv import FlvBinding
from penstock_formats.rtp import AccessUnit, Depacketizer, Packetizer

DATA = Path(__file__).parents[1] / "data" / "codecs"


def rtp(name: str) -> list[tuple[bytes, int, bool]]:
    """Payload, timestamp and marker of each packet of a capture."""
    data = (DATA / f"{name}.rtp").read_bytes()
    packets: list[tuple[bytes, int, bool]] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        packet = data[at + 2 : at + 2 + size]
        packets.append((packet[12:], int.from_bytes(packet[4:8], "big"), packet[1] > 127))
        at += 2 + size
    return packets


def tags(name: str) -> Iterator[tuple[int, bytes]]:
    """Type and body of each tag of an FLV file."""
    data = (DATA / f"{name}.flv").read_bytes()
    at = 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        yield data[at], data[at + 11 : at + 11 + size]
        at += 11 + size + 4


def flv_bodies(name: str, header: int) -> tuple[bytes | None, list[bytes]]:
    """Sequence header and coded data, of tags with a header of 1 (legacy), 2 (AAC) or 5 bytes."""
    record: bytes | None = None
    frames: list[bytes] = []
    for kind, body in tags(name):
        if kind not in (8, 9) or len(body) <= header:
            continue
        start = header > 1 and (body[1] == 0 if header == 2 else body[0] & 15 == 0)
        end = header == 5 and body[0] & 15 not in (0, 1)
        if start:
            record = body[header:]
        elif not end:
            frames.append(body[header:])
    return record, frames


def ivf(name: str) -> list[bytes]:
    """The frames of an IVF file."""
    data = (DATA / f"{name}.ivf").read_bytes()
    frames: list[bytes] = []
    at = 32
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 12 : at + 12 + size])
        at += 12 + size
    return frames


def depacketize(depacketizer: Depacketizer, packets: Iterable[tuple[bytes, int, bool]]) -> list[AccessUnit]:
    """All access units of packets without loss."""
    units: list[AccessUnit] = []
    for payload, timestamp, marker in packets:
        units += depacketizer.push(payload, timestamp, marker, False)
    return units + depacketizer.flush()


def frame(
    codec: Codec, config: CodecConfig, units: tuple[bytes, ...], key: bool = True, clock_rate: int = 90000
) -> Frame:
    """A frame of its own, at time 0."""
    return Frame(Track(1, codec, clock_rate, config), 0, 0, units, key)


def through(
    packetizer: Packetizer, depacketizer: Depacketizer, frames: Iterable[Frame], most: int
) -> list[AccessUnit]:
    """What comes out where `frames` go in; payloads are checked against `most`."""
    units: list[AccessUnit] = []
    for n, one in enumerate(frames):
        payloads = packetizer.packetize(one)
        assert payloads
        assert max(map(len, payloads)) <= most
        if len(payloads) > 1 and len(one.units) == 1:
            assert len(set(map(len, payloads[:-1]))) == 1
        for payload in payloads:
            units += depacketizer.push(payload, 3000 * n, payload is payloads[-1], False)
    return units + depacketizer.flush()


def flv_frames(
    binding: FlvBinding, name: str, header: int, implied: Callable[[bytes], CodecConfig | None] | None = None
) -> tuple[CodecConfig, list[tuple[tuple[bytes, ...], bool]]]:
    """Config (the last told) and the units and key flags of an FLV clip."""
    record, bodies = flv_bodies(name, header)
    if implied is None:
        assert record is not None
        config: CodecConfig | None = binding.parse_config(record)
    else:
        config = implied(bodies[0])
    assert config is not None
    found: list[tuple[tuple[bytes, ...], bool]] = []
    for body in bodies:
        unit = binding.decode(body, True, config)
        config = unit.config or config
        found.append((unit.units, unit.key))
    return config, found
