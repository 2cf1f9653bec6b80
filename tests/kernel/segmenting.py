"""A format of lines of text in segments, for tests: one rendition for each track, or all in one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from attrs import define

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, Frame, Kind, Track
from penstock.registry import Registry
from penstock.rendition import Rendition
from penstock.segment import Segment, SegmentBounds
from penstock.segments import SegmentStore
from penstock.stream import Stream, StreamOptions
from tests.kernel.stage import Number, ms, stream_of

SECOND = ms(1000)


@define
class Lines:
    """A format: ``a`` for sound and ``v`` for pictures (``K`` where a decoder may start), each with its number."""

    key: Hashable = "lines"
    parts: bool = True
    together: bool = False
    one_picture: bool = False
    refused: frozenset[int] = frozenset()
    unknown: frozenset[Codec] = frozenset()

    def takes(self, registry: Registry, track: Track) -> bool:
        return track.codec not in self.unknown

    def group(
        self, registry: Registry, tracks: Iterable[Track]
    ) -> tuple[dict[str, list[Track]], dict[int, str]]:
        taken = [t for t in tracks if t.kind is not Kind.DATA]
        taken.sort(key=lambda t: t.kind is not Kind.VIDEO)
        left_out = {t.id: "no lines of data" for t in tracks if t.kind is Kind.DATA}
        if self.one_picture:
            pictures = [t for t in taken if t.kind is Kind.VIDEO][1:]
            left_out |= {t.id: "one picture" for t in pictures}
            taken = [t for t in taken if t not in pictures]
        if self.together:
            return ({"main": taken} if taken else {}), left_out
        return {f"{t.kind[0]}{t.id}": [t] for t in taken}, left_out

    def writer(self, registry: Registry, tracks: Sequence[Track]) -> LineWriter:
        if any(t.id in self.refused for t in tracks):
            raise ProtocolViolation("refused")
        return LineWriter(tuple(tracks))


class LineWriter:
    codecs = ("lines",)

    def __init__(self, tracks: tuple[Track, ...]) -> None:
        self.tracks = tracks
        self.init = b"".join(b"i%d." % Number.of(t.config).number for t in tracks)
        self.ends: list[int | None] = []
        """For each part the dts of the frame after it, where it was known."""

    def fits(self, track: Track) -> bool:
        return any(t.id == track.id and t.config == track.config for t in self.tracks)

    def start(self, segment: Segment) -> bytes:
        return b"%d:" % (segment.number)

    def write(self, frames: Sequence[Frame], ends: Mapping[int, int]) -> bytes:
        self.ends.append(next(iter(ends.values()), None))
        for frame in frames:
            if not self.fits(frame.track):
                raise ValueError(f"does not fit: {frame}")
        return b"".join(
            (b"a" if f.track.kind is Kind.AUDIO else b"K" if f.key else b"v") + f.units[0] + b" "
            for f in frames
        )


def bounds(target: float = 1.0, part: float = 0.2, window: float = 4.0, **other: float) -> SegmentBounds:
    return SegmentBounds(int(target * NS), int(part * NS), int(window * NS), **other)  # type: ignore[arg-type]


def stream_with(**options: float) -> Stream:
    return stream_of(StreamOptions(segments=bounds(**options)))


def store_of(stream: Stream, **options: object) -> SegmentStore:
    return stream.segments(Lines(**options))  # type: ignore[arg-type]


def text(segment: Segment) -> str:
    """What a segment holds without its number, whether it is complete or not."""
    data = segment.data if segment.complete else b"".join(part.data for part in segment.parts)
    return data.decode().partition(":")[2].strip()


def texts(rendition: Rendition) -> list[str]:
    return [text(segment) for segment in rendition.segments]


def parts(segment: Segment) -> list[str]:
    return [part.data.decode().rpartition(":")[2].strip() for part in segment.parts]
