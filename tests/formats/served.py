"""Segments as they are served, made of real captures by the store that players ask."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from penstock.media import NS
from penstock.path import StreamPath
from penstock.segment import Segment, SegmentBounds, SegmentFormat
from penstock.stream import Stream, StreamOptions
from penstock_formats.isobmff.ingest import Ingest
from penstock_formats.isobmff.segments import CmafFormat
from penstock_formats.mpegts.segments import TsFormat
from tests.formats.isobmff.captures import REGISTRY, read
from tests.kernel import stage

FRAGMENTED = ("ffmpeg5-h264-aac", "ffmpeg9-hevc-opus", "ffmpeg9-av1-opus", "ffmpeg9-vp9", "ffmpeg5-mp3")
"""Captures that have each codec once; of 0.8 s, with key frames 0.4 s apart."""
TRANSPORT = ("ffmpeg5-h264-aac", "ffmpeg9-hevc-opus", "ffmpeg5-mp3")
BOUNDS = SegmentBounds(target=NS * 3 // 10, part=NS // 10, window=60 * NS)


@frozen
class Served:
    """One segment of a rendition: a player that begins with it has `init`, which MPEG-TS has none of, and `data`.

    `number` counts from 0 in each rendition.
    """

    name: str
    number: int
    init: bytes
    data: bytes
    parts: int

    @property
    def whole(self) -> bytes:
        return self.init + self.data


def served_as_mp4(name: str) -> list[Served]:
    """Of each track of a capture."""
    return list(_served(name, CmafFormat()))


def served_as_ts(name: str) -> list[Served]:
    """Of its picture and sound together."""
    return list(_served(name, TsFormat()))


def _served(name: str, form: SegmentFormat) -> Iterator[Served]:
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(segments=BOUNDS), stage.Host())
    store = stream.segments(form)
    publisher = stage.publish(stream)
    Ingest(publisher, REGISTRY, whole=True).receive(read(name))
    publisher.close()
    for rendition in store.renditions.values():
        for number, segment in enumerate(rendition.segments):
            assert isinstance(segment, Segment)
            assert segment.complete
            title = f"{name}-{rendition.name}-{number}"
            yield Served(title, number, segment.init.data, segment.data, len(segment.parts))
