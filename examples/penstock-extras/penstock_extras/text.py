"""A text protocol over TCP that publishes and plays whatever RTP has a name for, a line for each frame.

    PUBLISH live/x [user password]       or PLAY live/x [user password]; the answer is OK, or ERROR and why
    TRACK 1 90000 H264/90000/1 profile-level-id=42c01e;...
    FRAME 1 <pts in ns> key|delta <unit in base64>,<unit in base64>
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

from attrs import frozen
from penstock import Connection, Credentials, Event, Frame, Kind, Plugin, ProtocolViolation, Publisher, Registry
from penstock import Server, Service, Session, StreamError, TcpService, Track, TrackAdded, TrackChanged, Unit
from penstock import hookimpl, is_listen, option
from penstock_formats.rtp import RTP, RtpFormat

MAX_LINE = 8 << 20


@frozen
class TextConfig:
    listen: str = option(":7007", "Address and port of the text protocol.", validator=is_listen)


def track_line(registry: Registry, track: Track) -> bytes:
    binding = registry.get(track.codec, RTP)
    if binding is None or track.config is None:
        return b""
    fmt = binding.describe(track)
    fmtp = ";".join(f"{name}={value}" for name, value in fmt.fmtp.items())
    return f"TRACK {track.id} {track.clock_rate} {fmt.encoding}/{fmt.clock_rate}/{fmt.channels} {fmtp}\n".encode()


class TextMuxer:
    key = "text"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def config(self, track: Track, time: int) -> Unit | None:
        line = track_line(self._registry, track)
        return Unit(track, (line,), time, config=True) if line else None

    def mux(self, event: Event) -> Sequence[Unit]:
        if not isinstance(event, Frame) or self._registry.get(event.track.codec, RTP) is None:
            return ()
        video = event.track.kind is Kind.VIDEO
        units = b",".join(map(b64encode, event.units))
        line = b"FRAME %d %d %s %s\n" % (event.track.id, event.pts, b"key" if event.key else b"delta", units)
        return [Unit(event.track, (line,), event.dts, key=event.key and video, video=video)]
