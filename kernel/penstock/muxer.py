"""What a feed needs of whoever writes a carrier's format."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from penstock.media import Event, Track
from penstock.ring import Unit


class Muxer(Protocol):
    """Writes frames in one carrier's format, the same for every reader of the feed.

    One that does not carry every track also has `Selective.left_out`, one that holds frames back `Gathering.gathered`.
    """

    @property
    def key(self) -> Hashable:
        """Two muxers with equal keys write the same bytes, so that their readers share one feed."""
        ...

    def mux(self, event: Event) -> Sequence[Unit]:
        """The units of one event; empty for what this carrier has no use for.

        A frame's `track` is the value in force: where its config is not the one before, `config`'s unit goes first.
        Only video frames at which decoding may start make units with `key`; a stream of sound is joined anywhere.
        Raises `Closed` for what its readers cannot be told in mid-stream: they are let go, and may ask anew.
        """
        ...

    def config(self, track: Track, time: int) -> Unit | None:
        """What tells a reader in mid-stream of a track's config at `time`; None where frames carry it themselves."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A muxer that says which of the tracks that it knows its readers do not get."""

    @property
    def left_out(self) -> Mapping[int, str]:
        """Reasons by track id. That of a track which is added while the feed runs is logged; where all video is left
        out, readers are not made to wait for a key frame."""
        ...


@runtime_checkable
class Gathering(Protocol):
    """A muxer that holds frames back to pack them with others."""

    def gathered(self) -> Sequence[Unit]:
        """The units of what it holds: the publisher has left, and nothing may come for long."""
        ...
