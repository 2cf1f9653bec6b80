"""What connections tell their sessions. Text in them is the peer's: clean it before it is shown.

Audio (8) and video (9) messages come as they are, a `Message` whose payload is a tag body.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from penstock_formats.flv.metadata import Json
from penstock_rtmp.chunk import Message


@frozen
class Connect:
    """The client asks for an application; answer with `accept_connect` or `reject_connect`.

    `query` is what followed ``?`` in `app` or `tc_url`. `fourccs` and `caps` are what Enhanced RTMP clients
    announce: FourCCs (``*`` for all) with FourCcInfoMask bits (1 decode, 2 encode, 4 forward), and capsEx.
    """

    app: str
    tc_url: str
    query: str
    properties: dict[str, Any] = field(factory=dict[str, Any])
    fourccs: dict[str, int] = field(factory=dict[str, int])
    caps: int = 0


@frozen
class Publish:
    """The client wants to publish; answer with `accept_publish` or `reject_publish`.

    `mode` is live, record or append.
    """

    stream_id: int
    name: str
    mode: str


@frozen
class Play:
    """The client wants to play; answer with `accept_play` or `reject_play`.

    `start` and `duration` are as they came, negative for live or all: RTMP 7.2.2.1 has -2, -1 and seconds,
    FFmpeg and librtmp send -2000, -1000 and ms.
    """

    stream_id: int
    name: str
    start: float
    duration: float
    reset: bool


@frozen
class Pause:
    """A player pauses or goes on at `position` (ms)."""

    stream_id: int
    paused: bool
    position: float


@frozen
class StreamClosed:
    """Publishing or playing on a message stream has ended, by the peer's wish."""

    stream_id: int


@frozen
class BufferLength:
    """A player says how much it buffers, in ms."""

    stream_id: int
    milliseconds: int


@frozen
class Metadata:
    """onMetaData, made harmless; empty where the publisher clears it."""

    stream_id: int
    values: dict[str, Json]


@frozen
class Script:
    """Any other data message, such as onCuePoint or onTextData: AMF values as they came."""

    stream_id: int
    timestamp: int
    name: str
    values: tuple[Any, ...]


@frozen
class Connected:
    """The server accepted `connect`; `caps` and `fourccs` are as in `Connect`."""

    fourccs: dict[str, int] = field(factory=dict[str, int])
    caps: int = 0


@frozen
class Publishing:
    """The server takes what is published on `stream_id`."""

    stream_id: int


@frozen
class Playing:
    """The server plays on `stream_id`."""

    stream_id: int


@frozen
class Rejected:
    """The server refused, or ended with an error; `code` is such as NetStream.Play.StreamNotFound."""

    code: str
    description: str


@frozen
class Ended:
    """The server ended the stream in order; `code` is such as NetStream.Play.UnpublishNotify."""

    code: str


ServerEvent = Connect | Publish | Play | Pause | StreamClosed | BufferLength | Message | Metadata | Script
ClientEvent = Connected | Publishing | Playing | Rejected | Ended | Message | Metadata | Script
