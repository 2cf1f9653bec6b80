"""Transport streams that others wrote, under ``tests/data/mpegts``, and the FLV files that they were made of.

``WRITER-NAME.ts`` has the coded frames of ``NAME.flv`` (h264: B-frames and AAC of 44.1 kHz; hevc: B-frames and Opus)::

    ffmpeg -i h264.flv -c copy -metadata:s:a:0 language=deu ffmpeg5-h264.ts
    ffmpeg -i h264.flv -c copy -output_ts_offset 95441.7 ffmpeg5-wrap.ts
    ffmpeg -i h264.flv -vn -c copy -mpegts_flags latm ffmpeg5-latm.ts
    ffmpeg9 -i h264.flv -an -c copy -f mpegts -mpegts_m2ts_mode 1 ffmpeg9-m2ts.ts
    ffmpeg9 -i hevc.flv -c copy ffmpeg9-hevc.ts
    gst-launch-1.0 flvdemux (h264.flv) or matroskademux (hevc.flv by way of Matroska), parsers, mpegtsmux
    ffmpeg -i ../codecs/mp3.flv -c copy ffmpeg5-mp3.ts
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from attrs import frozen

from penstock.media import CodecConfig, Frame, Kind, Track
from penstock.registry import Registry
from penstock_codecs import aac, av1, g711, h264, h265, mp3, opus, vp8, vp9
from penstock_formats.flv import FLV, PacketType, parse_audio, parse_video
from penstock_formats.mpegts import Demuxer, Muxer, Program, StreamConfig, TsEvent, TsFrame, TsStream

DATA = Path(__file__).parents[1] / "data" / "mpegts"
MS = 1_000_000


@cache
def registry() -> Registry:
    """One with all codecs."""
    found = Registry()
    for module in (h264, h265, av1, vp8, vp9, aac, opus, g711, mp3):
        module.plugin.register(registry=found)
    return found


@frozen
class Coded:
    """A frame as any carrier may have it."""

    units: tuple[bytes, ...]
    key: bool
    pts: int
    dts: int | None


def source(name: str) -> dict[Kind, list[Coded]]:
    """The frames of an FLV file by kind."""
    bindings = {
        (codec.kind, number): binding
        for codec, binding in registry().having(FLV)
        for number in (binding.legacy_id, binding.fourcc)
        if number is not None
    }
    configs: dict[Kind, CodecConfig] = {}
    found: dict[Kind, list[Coded]] = {}
    data = (DATA / name).read_bytes()
    at = 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time = int.from_bytes(data[at + 4 : at + 7], "big") * MS
        kind = {8: Kind.AUDIO, 9: Kind.VIDEO}.get(data[at])
        body = data[at + 11 : at + 11 + size]
        at += 11 + size + 4
        if kind is None:
            continue
        for packet in parse_video(body) if kind is Kind.VIDEO else parse_audio(body):
            binding = bindings[kind, packet.codec]
            if packet.type is PacketType.SEQUENCE_START and packet.data:
                configs[kind] = binding.parse_config(packet.data)
            elif packet.type is PacketType.CODED_FRAMES:
                if kind not in configs:
                    implied = binding.implied_config(packet.data, 44100, 1)
                    assert implied is not None
                    configs[kind] = implied
                unit = binding.decode(packet.data, True, configs[kind])
                offset = getattr(packet, "composition_time", 0) * MS
                found.setdefault(kind, []).append(Coded(unit.units, unit.key, time + offset, time))
    return found


def demux(data: bytes, step: int = 1316, program: int | None = None) -> list[TsEvent]:
    """All events of a transport stream that comes in pieces of `step` bytes."""
    demuxer = Demuxer(registry(), program)
    found: list[TsEvent] = []
    for at in range(0, len(data), step):
        demuxer.receive_data(data[at : at + step])
        while (event := demuxer.next_event()) is not None:
            found.append(event)
    demuxer.end()
    while (event := demuxer.next_event()) is not None:
        found.append(event)
    return found


def capture(name: str) -> bytes:
    return (DATA / f"{name}.ts").read_bytes()


@frozen
class Stream:
    """What came of one elementary stream."""

    stream: TsStream
    configs: list[CodecConfig]
    frames: list[Coded]


def streams(events: Iterable[TsEvent]) -> list[Stream]:
    """The streams of all programs in `events`, in the order of the program map."""
    found: dict[int, Stream] = {}
    for event in events:
        if isinstance(event, Program):
            for stream in event.streams:
                found.setdefault(stream.pid, Stream(stream, [], []))
        elif isinstance(event, StreamConfig):
            found[event.pid].configs.append(event.config)
        elif isinstance(event, TsFrame):
            found[event.pid].frames.append(Coded(event.units, event.key, event.pts, event.dts))
    return list(found.values())


def frames(events: Iterable[TsEvent]) -> list[Frame]:
    """The frames of `events` as a stream has them, in the order in which they came."""
    known: dict[int, TsStream] = {}
    tracks: dict[int, Track] = {}
    found: list[Frame] = []
    last: dict[int, int] = {}
    for event in events:
        if isinstance(event, Program):
            known = {stream.pid: stream for stream in event.streams}
        elif isinstance(event, StreamConfig):
            stream = known[event.pid]
            tracks[event.pid] = Track(event.pid, stream.codec, 90000, event.config, language=stream.language)
        elif isinstance(event, TsFrame):
            dts = event.dts if event.dts is not None else last[event.pid] + MS
            last[event.pid] = dts
            found.append(Frame(tracks[event.pid], event.pts, dts, event.units, event.key))
    return found


def mux(source: Sequence[Frame]) -> bytes:
    """All of `source` as one transport stream, whose tracks are known from the start."""
    first = {frame.track.id: frame.track for frame in reversed(source)}
    muxer = Muxer(registry(), [first[number] for number in sorted(first)])
    data = b"".join([muxer.mux(frame) for frame in source])
    assert not muxer.left_out
    assert not muxer.dropped
    return data
