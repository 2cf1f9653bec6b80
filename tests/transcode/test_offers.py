"""Pictures on their way through a server: made for who cannot have them as they are, and not for long where there is no time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field
from structlog.testing import capture_logs

import penstock
from penstock import Event, Frame, Publisher, Track, Unit
from penstock_formats.flv.muxer import surely_takes
from penstock_transcode import picture
from penstock_transcode.picture import CodedPicture, Pictures
from tests.transcode.test_picture import known, published

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
OFF = ("http", "rtmp", "rtsp", "srt", "webrtc", "hls", "dash", "page", "progressive")


@define
class Screen:
    """A muxer that writes down the pictures of one track."""

    track: int
    key: str = "screen"
    seen: list[Frame] = field(factory=list[Frame])

    def mux(self, event: Event) -> Sequence[Unit]:
        if isinstance(event, Frame) and event.track.id == self.track:
            self.seen.append(event)
        return ()

    def config(self, track: Track, time: int) -> Unit | None:
        return None


async def until(screen: Screen, count: int) -> None:
    with anyio.fail_after(10):
        while len(screen.seen) < count:
            await anyio.sleep(0.005)


@asynccontextmanager
async def broadcast(count: int) -> AsyncGenerator[tuple[Publisher, Track, Callable[[int, int], None]]]:
    """A stream of which pictures are made anew: its publisher, its track, and what writes some of its `count` pictures."""
    config = {"server": {"drain_timeout": 0.0}, "transcode": {"video": ["live/*"]}}
    async with penstock.Server({**config, **{name: {"enabled": False} for name in OFF}}) as server:
        frames = published(server.registry, "h264", count)
        publisher = await server.streams.publish(server.sessions.add("out", "here"), "live/one")
        own = publisher.add_track(known(server.registry, "h264"), 90_000, frames[0].track.config)
        publisher.tracks_complete()

        def write(first: int, last: int) -> None:
            for f in frames[first:last]:
                publisher.write(own.id, f.units, pts=f.pts, dts=f.dts, key=f.key)

        yield publisher, own, write


async def test_pictures_are_made_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broadcast(60) as (publisher, own, write):
        stream = publisher.stream
        write(0, 20)
        (made,) = await stream.tracks_for(lambda track: track.id != own.id)
        assert made.source == own.id
        screen = Screen(made.id)
        stream.feed(screen, tracks=(made,))
        (derived,) = stream.derived
        assert screen.seen[0].key
        assert screen.seen[0].track.config == made.config
        stream.request_key_frame(made)
        write(20, 21)
        await until(screen, len(screen.seen) + 1)
        assert screen.seen[-1].key
        assert not screen.seen[-2].key
        before = len(screen.seen)
        monkeypatch.setattr(picture, "LATE_NS", -1)
        with capture_logs() as logs:
            write(21, 60)
            await until(screen, before + 1)
            await anyio.sleep(0.05)
        assert derived.missed == 38
        assert len(screen.seen) <= before + 4
        (line,) = [entry for entry in logs if entry["log_level"] == "warning"]
        assert line["event"] == "pictures are not transcoded as fast as they come: some are left out"
        assert line["path"] == "live/one"


async def test_what_comes_while_the_first_pictures_are_decoded_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does the log say of every first reader that the machine is too slow."""
    transcode, waits = Pictures.transcode, [0.3]

    def slow(pictures: Pictures, events: Sequence[Event], more: bool) -> list[CodedPicture]:
        if waits:
            time.sleep(waits.pop())
        return transcode(pictures, events, more)

    monkeypatch.setattr(picture, "LATE_NS", 100_000_000)
    monkeypatch.setattr(Pictures, "transcode", slow)
    async with broadcast(40) as (publisher, own, write):

        async def write_later() -> None:
            await anyio.sleep(0.1)
            write(4, 40)

        write(0, 4)
        with capture_logs() as logs:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write_later)
                (made,) = await publisher.stream.tracks_for(lambda track: track.id != own.id)
                (derived,) = publisher.stream.derived
                screen = Screen(made.id)
                publisher.stream.feed(screen, tracks=(made,))
                await until(screen, 1)
                await anyio.sleep(0.1)
                assert derived.missed == 0
        assert not [entry for entry in logs if entry["log_level"] == "warning"]


async def test_rtmp_players_that_announce_nothing_need_what_legacy_flv_has() -> None:
    """Of H.265 they know no number, though some servers made one up."""
    async with penstock.Server({name: {"enabled": False} for name in OFF}) as server:
        tracks = {n: Track(1, known(server.registry, n), 90_000) for n in ("h264", "h265", "av1")}
        sure = {n: surely_takes(server.registry, None, track) for n, track in tracks.items()}
        assert sure == {"h264": True, "h265": False, "av1": False}
        assert surely_takes(server.registry, frozenset({"hvc1"}), tracks["h265"])
