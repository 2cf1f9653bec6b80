"""Readers are let go where their track is replaced, and for nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock.errors import Closed
from penstock.fixed_tracks import FixedTracks
from penstock.media import Codec, Epoch, Event, Kind, Track, TrackAdded, TrackChanged, TrackRemoved
from tests.kernel.stage import AUDIO, DATA, VIDEO, Number

OTHER = Codec("other-video", Kind.VIDEO)
PICTURE, SOUND, SCRIPT = (
    Track(1, VIDEO, 90_000, Number()),
    Track(2, AUDIO, 48_000, Number()),
    Track(3, DATA, 1000, Number()),
)
NEW = Track(4, OTHER, 90_000, Number())
BARE = Track(4, OTHER, 90_000, None)
AGAIN = Track(5, AUDIO, 44_100, Number())
CODEC, CLOCK = "codec changed to other-video", "test-audio was replaced"


def _noted(fixed: FixedTracks, events: Sequence[Event]) -> None:
    for event in events[:-1]:
        fixed.note(event)
    with pytest.raises(Closed) as told:
        fixed.note(events[-1])
    assert CODEC in str(told.value) or CLOCK in str(told.value)


@pytest.mark.parametrize(
    "events",
    [
        [TrackAdded(NEW), TrackRemoved(PICTURE)],
        [Epoch(1), TrackRemoved(PICTURE), TrackAdded(NEW)],
        [TrackAdded(BARE), TrackRemoved(PICTURE), TrackChanged(NEW)],
        [TrackAdded(AGAIN), TrackRemoved(SOUND)],
    ],
    ids=["new first", "old first", "config last", "same codec"],
)
def test_a_track_in_another_s_place_ends_it(events: Sequence[Event]) -> None:
    _noted(FixedTracks([PICTURE, SOUND, SCRIPT]), events)


@pytest.mark.parametrize(
    "events",
    [
        [TrackAdded(NEW)],
        [TrackAdded(NEW), TrackRemoved(NEW), TrackRemoved(PICTURE)],
        [TrackRemoved(PICTURE), TrackAdded(AGAIN)],
        [TrackRemoved(SCRIPT), TrackAdded(Track(6, DATA, 1000, Number()))],
        [TrackChanged(Track(1, VIDEO, 90_000, Number(2)))],
        [TrackAdded(BARE), TrackRemoved(PICTURE)],
    ],
    ids=["one more", "came and went", "another kind", "data", "config", "not known yet"],
)
def test_nothing_else_does(events: Sequence[Event]) -> None:
    fixed = FixedTracks([PICTURE, SOUND, SCRIPT])
    for event in events:
        fixed.note(event)


def test_another_picture_is_left_to_those_who_have_two() -> None:
    fixed = FixedTracks([PICTURE, Track(9, VIDEO, 90_000, Number())])
    for event in (TrackAdded(NEW), TrackRemoved(PICTURE)):
        fixed.note(event)


def test_a_late_track_that_readers_get_is_theirs_too() -> None:
    fixed = FixedTracks([SOUND])
    fixed.note(TrackAdded(PICTURE))
    fixed.add(PICTURE)
    _noted(fixed, [TrackAdded(NEW), TrackRemoved(PICTURE)])
    fixed.add(NEW)
    with pytest.raises(Closed):
        fixed.note(TrackChanged(NEW))
