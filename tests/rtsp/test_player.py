"""What a player is told and gets, by a server in this process."""

from __future__ import annotations

import time

import anyio
import pytest
from structlog.testing import capture_logs

from penstock_formats.rtp.packet import RtpPacket
from penstock_rtsp.muxer import LATE
from penstock_rtsp.player import BEGIN_SECONDS
from penstock_rtsp.rtp_info import parse_rtp_info
from tests.faults.rtsp import Reply
from tests.rtsp.served import datagram, publish, serving, talking

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_play_waits_for_the_first_sound_after_the_key_frame() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        await source.sound()
        await source.picture(key=True)
        replies: list[Reply] = []

        async def play() -> None:
            replies.append(await peer.play(1, 2))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play)
            await anyio.sleep(BEGIN_SECONDS / 2)
            assert not replies, "the sound after the last key frame has not come"
            await source.picture()
            await source.sound()
        first: dict[int, bytes] = {}
        with anyio.fail_after(2):
            while 2 not in first:
                channel, data = await peer.frame()
                first.setdefault(channel, data)
        told = parse_rtp_info(replies[0].header("RTP-Info"))
        packets = [RtpPacket.parse(first[channel]) for channel in (0, 2)]
        assert [info.sequence for info in told] == [packet.sequence for packet in packets]
        # Sound begins two pictures after the key frame, as it does in the stream.
        late = [p.timestamp - (i.rtp_time or 0) & 0xFFFFFFFF for p, i in zip(packets, told, strict=True)]
        assert late[1] * 1000 // 8000 - late[0] * 1000 // 90_000 == 80
        assert list(first)[:2] == [1, 3], "both tracks' reports come before the first packets"


async def test_play_does_not_wait_for_ever() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        began = time.monotonic()
        assert (await peer.play(1, 2)).status == 200
        assert BEGIN_SECONDS <= time.monotonic() - began < BEGIN_SECONDS + 1


async def test_play_of_pictures_alone_waits_for_nothing() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        began = time.monotonic()
        assert (await peer.play(1)).status == 200
        assert time.monotonic() - began < BEGIN_SECONDS


async def test_a_late_track_is_left_out_with_one_line() -> None:
    with capture_logs() as lines:
        async with (
            serving() as server,
            talking(server) as one,
            talking(server) as two,
            talking(server) as late,
        ):
            source = await publish(server, sound=False)
            await source.picture(key=True)
            for peer in (one, two):
                assert (await peer.play(1)).status == 200
            source.declare_sound()
            await source.sound()
            assert all("left_out" in s.info for s in server.sessions if s.protocol == "rtsp" and s.path)
            described = await late.ask("DESCRIBE")
            assert described.body.count(b"m=audio") == 1
    told = [
        (line["track"], line["codec"], line["reason"])
        for line in lines
        if line["event"] == "late track left out"
    ]
    assert told == [(2, "pcma", LATE)]


async def test_who_comes_after_a_late_track_gets_it_over_udp_too() -> None:
    async with serving() as server, talking(server) as early, talking(server) as late:
        source = await publish(server, sound=False)
        await source.picture(key=True)
        await early.play_udp(1)
        source.declare_sound()
        await source.sound()
        media, _ = await late.play_udp(2)
        await source.sound()
        with anyio.fail_after(2):
            assert RtpPacket.parse(await datagram(media)).payload_type == 8


async def test_start_live_begins_with_what_comes_next() -> None:
    async with serving(rtsp={"start": "live"}) as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        await source.picture()
        began = time.monotonic()
        assert (await peer.play(1, 2)).status == 200
        assert time.monotonic() - began < BEGIN_SECONDS
        await source.picture()
        await source.sound()
        with anyio.fail_after(2):
            channels = [await peer.frame() for _ in range(4)]
        assert [channel for channel, _ in channels] == [0, 1, 2, 3], "with a report for each track"
        assert RtpPacket.parse(channels[0][1]).payload.endswith(b"3"), "the third picture"


async def test_each_protocol_has_its_own_backlog() -> None:
    async with serving(rtsp={"max_backlog_seconds": 1.5}) as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        await peer.play(1)
        (feed,) = source.stream.feeds
        assert feed.max_backlog == 1_500_000_000
