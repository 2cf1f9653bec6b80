"""Frames that come a segment at a time go on when they are due, on one timeline."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from penstock.media import NS, Epoch, Event, Frame, TrackAdded, TrackChanged
from penstock.publisher import Publisher
from penstock.queue import FrameQueue
from penstock.session import Session
from penstock_hls import pacer as pacing
from penstock_hls.pacer import EARLY, Input, Pacer
from tests.kernel import stage
from tests.kernel.stage import AUDIO, VIDEO, Number

MS = 1_000_000

pytestmark = pytest.mark.anyio


class Output:
    """A stream that a pacer publishes to, and what its readers see."""

    def __init__(self) -> None:
        self.stream = stage.stream_of()
        self.queue: FrameQueue = stage.with_queue(self.stream)
        self.published = 0
        self.pacer = Pacer(self._publish, Session("x", "http", "127.0.0.1:1"))

    def _publish(self, session: Session) -> Publisher:
        self.published += 1
        return stage.publish(self.stream)

    def events(self) -> list[Event]:
        return stage.events(self.queue)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Until all that was given in the meantime has been written."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.pacer.run)
            yield
            self.pacer.end()


def video(input: Input, times: range, config: int = 0, period: int = 0) -> int:
    """A period's pictures at so many ms."""
    input.begin(period)
    track = input.add_track(VIDEO, 90_000, Number(config)).id
    for at in times:
        input.write(track, (b"v",), pts=at * MS, dts=at * MS, key=at == times[0])
    input.end_segment()
    return track


def times(events: list[Event]) -> list[int]:
    """The times of frames in ms after the first."""
    found = [event.dts for event in events if isinstance(event, Frame)]
    return [(time - found[0]) // MS for time in found]


async def test_frames_of_two_playlists_come_in_order_when_they_are_due() -> None:
    output = Output()
    pictures, sound = output.pacer.input(), output.pacer.input("de")
    began = time.monotonic()
    async with output.running():
        video(pictures, range(1000, 1300, 40))
        sound.begin(0)
        track = sound.add_track(AUDIO, 48_000, Number()).id
        for at in range(1010, 1300, 20):
            sound.write(track, (b"s" * 960,), pts=at * MS)
        assert pictures.ahead == pytest.approx(0.28)
    took = time.monotonic() - began
    events = output.events()
    frames = [event for event in events if isinstance(event, Frame)]
    assert times(events) == sorted([*range(0, 300, 40), *range(10, 300, 20)])
    # Whatever the machine does meanwhile, none is early.
    assert all(f.arrival - frames[0].arrival >= f.dts - frames[0].dts - EARLY for f in frames)
    assert took >= 0.27
    added = [event.track for event in events if isinstance(event, TrackAdded)]
    assert [(t.codec, t.language) for t in added] == [(VIDEO, None), (AUDIO, "de")]
    assert output.published == 1


async def test_tracks_are_listed_as_the_playlists_have_them() -> None:
    output = Output()
    pictures, sound = output.pacer.input(), output.pacer.input()
    async with output.running():
        sound.begin(0)
        tracks = [sound.add_track(AUDIO, 48_000, Number(), language=language) for language in ("fr", "en")]
        sound.tracks_complete([tracks[1].id, tracks[0].id])
        for track in tracks:
            sound.write(track.id, (b"s",), pts=1000 * MS)
        sound.end_segment()
        pictures.tracks_complete([video(pictures, range(1000, 1080, 40))])
    assert output.stream.is_ready
    assert [t.language for t in output.stream.tracks] == [None, "en", "fr"]


async def test_another_timeline_goes_on_where_the_last_ended() -> None:
    output = Output()
    way = output.pacer.input()
    async with output.running():
        video(way, range(5000, 5080, 40))
        video(way, range(70_003, 70_083, 40), config=1, period=1)
        video(way, range(0, 80, 40), config=1, period=2)
    events = output.events()
    kinds = [type(event) for event in events]
    assert kinds == [TrackAdded, Frame, Frame, Epoch, TrackChanged, Frame, Frame, Epoch, Frame, Frame]
    assert {at % 10 for at in times(events)} == {0, 3}
    steps = [b - a for a, b in itertools.pairwise(times(events))]
    assert steps == pytest.approx([40] * 5, abs=9)
    assert len({event.track.id for event in events if isinstance(event, Frame)}) == 1


async def test_sound_before_the_first_picture_does_not_overlap_with_the_last_timeline() -> None:
    output = Output()
    way = output.pacer.input()
    async with output.running():
        video(way, range(0, 80, 40))
        way.begin(1)
        picture = way.add_track(VIDEO, 90_000, Number()).id
        sound = way.add_track(AUDIO, 48_000, Number()).id
        way.write(picture, (b"v",), pts=90_100 * MS, dts=90_100 * MS)
        way.write(sound, (b"s" * 960,), pts=90_000 * MS)
        way.end_segment()
    assert times(output.events()) == [0, 40, 80, 180]


async def test_what_comes_late_is_played_on_from_then_and_not_in_a_burst() -> None:
    output = Output()
    way = output.pacer.input()
    async with output.running():
        track = video(way, range(0, 80, 40))
        await anyio.sleep(0.9)
        for at in range(80, 280, 40):
            way.write(track, (b"v",), pts=at * MS, dts=at * MS)
    frames = [event for event in output.events() if isinstance(event, Frame)]
    assert frames[-1].arrival - frames[2].arrival > 120 * MS


async def test_a_leap_of_the_clock_within_a_timeline_is_not_waited_for() -> None:
    output = Output()
    way = output.pacer.input()
    with anyio.fail_after(3):
        async with output.running():
            track = video(way, range(0, 80, 40))
            way.write(track, (b"v",), pts=3600 * NS, dts=3600 * NS)
            way.write(track, (b"v",), pts=0, dts=0)
    assert len(times(output.events())) == 4


async def test_memory_is_bounded_whoever_brings_more_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_BYTES", 10_000)
    output = Output()
    way = output.pacer.input()
    held: list[float] = []
    async with output.running():
        track = video(way, range(0, 40, 40))
        for at in range(40, 400, 40):
            way.write(track, (bytes(4000),), pts=at * MS, dts=at * MS)
            await output.pacer.room()
            held.append(way.ahead)
    assert max(held) < 0.15


async def test_a_playlist_that_has_nothing_holds_up_the_others_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "FIRST_SECONDS", 0.1)
    output = Output()
    way, _silent = output.pacer.input(), output.pacer.input()
    async with output.running():
        video(way, range(0, 80, 40))
        assert output.published == 0
        await anyio.sleep(0.3)
        assert times(output.events()) == [0, 40]


async def test_a_source_without_frames_publishes_nothing() -> None:
    output = Output()
    output.pacer.input()
    async with output.running():
        pass
    assert output.published == 0


async def test_where_we_are_behind_frames_come_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "HURRY", 1)
    output = Output()
    way = output.pacer.input()
    output.pacer.hurry = True
    async with output.running():
        video(way, range(0, 401, 40))
    frames = [event for event in output.events() if isinstance(event, Frame)]
    assert 190 * MS < frames[-1].arrival - frames[0].arrival < 380 * MS
