"""What the pages tell of a stream, as values that JSON takes."""

from __future__ import annotations

import time
from collections import Counter
from weakref import WeakKeyDictionary

from penstock import (
    INFO,
    NS,
    AudioInfo,
    Kind,
    ProtocolViolation,
    Server,
    Stream,
    StreamPath,
    Track,
    VideoInfo,
)
from penstock_page import text

Json = dict[str, object]

FRESH_SECONDS = 1.0
"""How long one look at the streams serves everybody who asks: pages poll, and there may be thousands of them."""
WINDOW_SECONDS = 6.0
"""Over how long a bit rate is taken: some groups of pictures, or it would show each key frame."""


class Summaries:
    """The live streams of a server as they were at most `FRESH_SECONDS` ago."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._rates = BitRates()
        self._taken = 0.0
        self._streams: dict[StreamPath, Json] = {}

    def all(self) -> dict[StreamPath, Json]:
        """What is known of each published stream, by path."""
        now = time.monotonic()
        if not self._streams or now - self._taken >= FRESH_SECONDS:
            readers = Counter(s.path for s in self._server.sessions if s.direction == "read")
            self._taken = now
            self._streams = {
                stream.path: self._summary(stream, readers[stream.path], now)
                for stream in sorted(self._server.streams, key=lambda s: s.path)
                if stream.published
            }
        return self._streams

    def _summary(self, stream: Stream, readers: int, now: float) -> Json:
        publisher = stream.publisher
        return {
            "path": stream.path,
            "tracks": [self._track(stream, track) for track in stream.tracks],
            "readers": readers,
            "bit_rate": self._rates.of(stream, now),
            "uptime": round(now - publisher.since, 1) if publisher is not None else 0.0,
            # Where the stream's times stand on the wall, in ms: a player that knows the time of what it shows knows its delay.
            "origin": stream.clock.wall(0) / 1e6 if stream.has_frames else None,
            # By how much those of sender reports are ahead of that, in ms: they do not leap where these do.
            "ahead": (stream.clock.steady(0) - stream.clock.wall(0)) / 1e6 if stream.has_frames else 0.0,
        }

    def _track(self, stream: Stream, track: Track) -> Json:
        told: Json = {
            "kind": str(track.kind),
            "codec": track.codec.name,
            "name": text.codec(track.codec.name),
        }
        if track.language is not None:
            told["language"] = track.language
        if track.kind is Kind.VIDEO and (made := stream.derivable(track)):
            told["made"] = [codec.name for codec in made]
        info = self._server.registry.get(track.codec, INFO)
        if info is None or track.config is None:
            return told
        try:
            told["codecs"] = info.codecs_string(track.config)
            described = info.describe(track.config)
        except ProtocolViolation:
            # A publisher's config that its codec cannot read is no reason not to list the stream.
            return told
        match described:
            case VideoInfo(width, height, frame_rate):
                told |= {"width": width, "height": height, "frame_rate": frame_rate}
            case AudioInfo(sample_rate, channels):
                told |= {"sample_rate": sample_rate, "channels": channels}
            case None:
                pass
        return told


class BitRates:
    """Bits per second of each stream, from how its bytes grew between looks."""

    def __init__(self) -> None:
        self._looks: WeakKeyDictionary[Stream, list[tuple[float, int]]] = WeakKeyDictionary()

    def of(self, stream: Stream, now: float) -> int:
        """The rate over the last `WINDOW_SECONDS`; where nobody looked so long ago, the mean of what is known."""
        looks = self._looks.setdefault(stream, [])
        looks.append((now, stream.bytes_in))
        while len(looks) > 2 and now - looks[1][0] >= WINDOW_SECONDS:
            del looks[0]
        (then, before), (_, after) = looks[0], looks[-1]
        if now - then >= FRESH_SECONDS:
            return round((after - before) * 8 / (now - then))
        # The first look of all: the mean over the stream's own time, which begins in its second second.
        return round(stream.bytes_in * 8 / max(1.0, stream.last_time / NS - 1.0))
