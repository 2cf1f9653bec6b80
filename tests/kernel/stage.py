"""A stream without a server: a host that writes down what it is told, and codecs of no meaning."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from attrs import define, field, frozen

from penstock.derived import Derivation
from penstock.feed import Feed
from penstock.media import Codec, CodecConfig, Event, Frame, Kind, Track
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.queue import FrameQueue
from penstock.registry import INFO, CodecInfo, Registry, VideoInfo
from penstock.session import Session
from penstock.stream import Stream, StreamOptions

VIDEO = Codec("test-video", Kind.VIDEO)
AUDIO = Codec("test-audio", Kind.AUDIO)
DATA = Codec("test-data", Kind.DATA)


@frozen
class Number(CodecConfig):
    """A config; `depth` is how far its pictures are reordered."""

    number: int = 0
    depth: int = 0
    rate: float | None = None


class VideoBinding(CodecInfo):
    def describe(self, config: CodecConfig) -> VideoInfo:
        return VideoInfo(640, 360, Number.of(config).rate)

    def codecs_string(self, config: CodecConfig) -> str:
        return "test"

    def reorder(self, config: CodecConfig) -> int:
        return Number.of(config).depth


class AudioBinding(CodecInfo):
    """Frames of as many samples as their unit is long."""

    def codecs_string(self, config: CodecConfig) -> str:
        return "test"

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int:
        return len(units[0])


@define
class Host:
    """What a stream tells the server, written down."""

    told: list[tuple[str, dict[str, Any]]] = field(factory=list[tuple[str, dict[str, Any]]])
    gone_streams: list[Stream] = field(factory=list[Stream])
    late_feeds: list[Feed] = field(factory=list[Feed])

    def changed(self, hook: str, **arguments: object) -> None:
        self.told.append((hook, dict(arguments)))

    def left_out(self, feed: Feed, track: Track, reason: str) -> None:
        self.told.append(("left_out", {"feed": feed, "track": track, "reason": reason}))

    def gone(self, stream: Stream) -> None:
        self.gone_streams.append(stream)

    def awake(self) -> None: ...

    def late(self, feed: Feed) -> None:
        self.late_feeds.append(feed)

    def derivations(self, stream: Stream, track: Track) -> Iterable[Derivation]:
        return ()

    def serves_segments(self) -> bool:
        return True

    def viewers(self, path: StreamPath) -> int:
        return 0

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        raise AssertionError("nothing runs here")

    @property
    def hooks(self) -> list[str]:
        return [hook for hook, _ in self.told]


def registry() -> Registry:
    made = Registry()
    for codec in (VIDEO, AUDIO, DATA):
        made.add(codec)
    made.bind(VIDEO, INFO, VideoBinding())
    made.bind(AUDIO, INFO, AudioBinding())
    return made


def stream_of(options: StreamOptions | None = None, host: Host | None = None) -> Stream:
    return Stream(StreamPath.parse("live/one"), registry(), options or StreamOptions(), host or Host())


def session(name: str = "1") -> Session:
    return Session(name, "test", "127.0.0.1:1")


def publish(stream: Stream) -> Publisher:
    """A publisher, as the server makes one."""
    publisher = Publisher(stream, session())
    stream.take_over(publisher)
    return publisher


def with_queue(stream: Stream) -> FrameQueue:
    """A queue that gets every event from now on."""
    queue = FrameQueue(1 << 20)
    stream.join(queue, None)
    return queue


def events(queue: FrameQueue) -> list[Event]:
    """All that waits in a queue, taken out of it; needs no loop, because nothing is waited for."""
    found: list[Event] = []
    while len(queue):
        getting = queue.get()
        try:
            getting.send(None)
        except StopIteration as done:
            found.append(done.value)
    return found


def frames(all_events: Iterable[Event], track: Track | None = None) -> list[Frame]:
    return [e for e in all_events if isinstance(e, Frame) and (track is None or e.track.id == track.id)]


def ms(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)
