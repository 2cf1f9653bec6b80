"""What a demuxer finds."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig
from penstock_formats.mpegts.binding import TsFormat


@frozen
class TsStream:
    """An elementary stream; its config comes with its first frame. `language` is a code of ISO 639-2.

    Where no plugin knows it, `codec` is `PRIVATE`: it goes on as data, to other carriers of MPEG-TS only.
    """

    pid: int
    codec: Codec
    format: TsFormat
    language: str | None = None


@frozen
class Program:
    """The program map came, or changed: all streams that there are from now on."""

    streams: tuple[TsStream, ...]


@frozen
class StreamConfig:
    """The config of a stream's next frames."""

    pid: int
    config: CodecConfig


@frozen
class TsFrame:
    """One frame in its codec's normal form. Times are in ns and go on over every wrap; see `TsUnit`."""

    pid: int
    pts: int
    dts: int | None
    units: tuple[bytes, ...]
    key: bool


@frozen
class Fault:
    """Something was wrong, and what belonged to it is left out; the stream goes on."""

    pid: int
    violation: ProtocolViolation


TsEvent = Program | StreamConfig | TsFrame | Fault
