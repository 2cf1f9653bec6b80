"""What flows: codecs, tracks and frames, as immutable values."""

from __future__ import annotations

import enum
from typing import NamedTuple, Self

from attrs import evolve, field, frozen

NS = 1_000_000_000
"""Nanoseconds in a second: the unit of every time outside wire formats."""


class Kind(enum.StrEnum):
    """The three kinds of track."""

    AUDIO = "audio"
    VIDEO = "video"
    DATA = "data"


@frozen
class Codec:
    """A coding by name (lower case, such as ``h264``); its behaviour is bound to it in the registry."""

    name: str
    kind: Kind
    incidental: bool = field(default=False, eq=False)
    """What its own carrier says beside the media: no line tells that another leaves it out."""


class CodecConfig:
    """Base of each codec's configuration: an immutable value, compared by value (an ``attrs.frozen`` class)."""

    __slots__ = ()

    @classmethod
    def of(cls, config: CodecConfig | None) -> Self:
        """`config`, which is known to be of this class. Raises `TypeError` where it is not: that is a bug."""
        if not isinstance(config, cls):
            raise TypeError(f"not a {cls.__name__}: {config!r}")
        return config


@frozen
class Track:
    """One elementary stream, as it is from some frame on.

    A change of `config` makes a new `Track` value with the same `id`; `Frame.track` is the value in force
    at that frame. `clock_rate` is in Hz (90000 for video, the sample rate for audio). Tracks of one `group`
    are alternatives, of which a reader picks one. `language` is a tag of RFC 5646, None where it is not known. `source`
    is the id of the track that a derived one is made of.
    """

    id: int
    codec: Codec
    clock_rate: int
    config: CodecConfig | None = None
    group: str | None = None
    language: str | None = None
    source: int | None = None

    @property
    def kind(self) -> Kind:
        return self.codec.kind

    def with_config(self, config: CodecConfig) -> Track:
        return evolve(self, config=config)


class Frame(NamedTuple):
    """One coded access unit in the normal form of its codec, shared by all who read it.

    `pts`, `dts` and `duration` are nanoseconds on the stream's clock; `arrival` is `time.monotonic_ns()`
    when its last byte came in. `units` are what the codec's docstring says: NAL units, OBUs, or one packet.
    `key` is true where decoding may start (always true for audio and data).
    """

    track: Track
    pts: int
    dts: int
    units: tuple[bytes, ...]
    key: bool = True
    duration: int | None = None
    arrival: int = 0

    @property
    def size(self) -> int:
        """Bytes of all units."""
        return sum(map(len, self.units))


@frozen
class TrackAdded:
    """A track that was declared, before its first frame."""

    track: Track


@frozen
class TrackChanged:
    """A track whose config changed; comes before the first frame that needs it."""

    track: Track


@frozen
class TrackRemoved:
    """A track that will have no more frames."""

    track: Track


@frozen
class Epoch:
    """The publisher changed: times go on, but what follows is not a continuation of what came before."""

    number: int


Event = Frame | TrackAdded | TrackChanged | TrackRemoved | Epoch
"""What a reader sees, in order."""


def to_ns(ticks: int, clock_rate: int) -> int:
    """Nanoseconds of `ticks` of a wire clock; `to_ticks` gives exactly `ticks` back for any rate below 500 MHz."""
    return (ticks * NS + clock_rate // 2) // clock_rate


def to_ticks(ns: int, clock_rate: int) -> int:
    """Ticks of a wire clock nearest to `ns`."""
    return (ns * clock_rate + NS // 2) // NS
