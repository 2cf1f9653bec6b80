"""What a player is told and gets, by a server in this process."""

from __future__ import annotations

import gc
import re
import socket
import time
import weakref
from contextlib import AsyncExitStack, suppress

import anyio
import pytest
from structlog.testing import capture_logs

from penstock.media import Frame, Track
from penstock_codecs.g711 import PCMA, G711Config
from penstock_codecs.h265.config import H265, H265Config
from penstock_formats.rtcp import (
    FullIntraRequest,
    Goodbye,
    PictureLoss,
    ReceiverReport,
    SourceDescription,
    encode_rtcp,
    parse_rtcp,
)
from penstock_formats.rtp.packet import RtpPacket
from penstock_rtsp import goodbye
from penstock_rtsp.muxer import LATE
from penstock_rtsp.player import BEGIN_SECONDS
from penstock_rtsp.rtp_info import parse_rtp_info
from tests.codecs.test_h265 import PPS, SPS, VPS
from tests.faults.rtsp import H264 as VIDEO
from tests.faults.rtsp import IDR, Reply, rtp, sdp
from tests.rtsp.served import PATH, PICTURE, Talk, datagram, port, publish, serving, talking

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(autouse=True)
def short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goodbye, "REST_SECONDS", 0.3)
    monkeypatch.setattr(goodbye, "FAREWELL_SECONDS", 0.4)


async def test_what_the_reply_to_play_says_is_true_of_the_first_packets() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        await source.sound()
        told = parse_rtp_info((await peer.play(1, 2)).header("RTP-Info"))
        first: dict[int, bytes] = {}
        with anyio.fail_after(2):
            while 2 not in first:
                channel, data = await peer.frame()
                first.setdefault(channel, data)
        assert [info.sequence for info in told] == [None, None], "ADR 0015"
        packets = [RtpPacket.parse(first[channel]) for channel in (0, 2)]
        # Sound begins one picture after the key frame, as it does in the stream.
        late = [p.timestamp - (i.rtp_time or 0) & 0xFFFFFFFF for p, i in zip(packets, told, strict=True)]
        assert late[1] * 1000 // 8000 - late[0] * 1000 // 90_000 == 40
        assert list(first)[:2] == [1, 3], "both tracks' reports come before the first packets"


async def test_who_plays_a_track_by_its_own_url_is_told_of_that_track() -> None:
    # RFC 2326 10.5: in a presentation of which one track is set up, its URL is as good as the whole's.
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        await source.sound()
        whole = (await peer.ask("DESCRIBE")).header("Content-Base")
        assert (await peer.ask("DESCRIBE", "/trackID=2")).header("Content-Base") == whole
        setup = await peer.ask("SETUP", "/trackID=2", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        assert setup.status == 200
        (told,) = parse_rtp_info((await peer.ask("PLAY", "/trackID=2")).header("RTP-Info"))
        assert told.url == f"{whole}trackID=2"


async def test_play_waits_for_the_first_frame_of_a_publisher_that_has_just_come() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        replies: list[Reply] = []

        async def play() -> None:
            replies.append(await peer.play(1, 2))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play)
            await anyio.sleep(0.1)
            await source.picture(key=True)
            await anyio.sleep(0.1)
            assert not replies, "no sound yet"
            assert source.publisher.awaited == 1
            await source.sound()
        (reply,) = replies
        first = [await peer.frame() for _ in range(2)]
        assert [channel for channel, _ in first] == [1, 3], (
            "both tracks' reports come before the first packets"
        )
        assert len(parse_rtp_info(reply.header("RTP-Info"))) == 2


async def test_play_does_not_wait_for_a_track_that_stays_silent() -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        await source.picture(key=True)
        source.publisher.since -= BEGIN_SECONDS
        with anyio.fail_after(1):
            assert (await peer.play(1, 2)).status == 200


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
        {key: line.get(key) for key in ("path", "protocol", "readers", "track", "codec", "reason", "session")}
        for line in lines
        if line["event"] == "late track left out"
    ]
    assert told == [
        {
            "path": PATH,
            "protocol": "rtsp",
            "readers": 2,
            "track": 2,
            "codec": "pcma",
            "reason": LATE,
            "session": None,
        }
    ]


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
        await source.sound()
        await source.picture()
        assert (await peer.play(1, 2)).status == 200
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


RTCP_PLI = encode_rtcp([ReceiverReport(7), PictureLoss(7, 9)])
RTCP_FIR = encode_rtcp([ReceiverReport(7), FullIntraRequest(7, 0, ((9, 1),))])


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
async def test_pictures_that_players_ask_for_are_asked_of_the_publisher(udp: bool) -> None:
    async with serving() as server, talking(server) as peer:
        source = await publish(server)
        asked: list[Track] = []
        source.publisher.on_key_frame_request = asked.append
        await source.picture(key=True)
        control: socket.socket | None = None
        if udp:
            _, control = await peer.play_udp(1)
            control.connect(("127.0.0.1", port(server, "rtcp")))
        else:
            await peer.play(1)

        async def report(data: bytes) -> None:
            if control is not None:
                control.send(data)
            else:
                await peer.send(1, data)

        for data in (encode_rtcp([ReceiverReport(7)]), RTCP_PLI[:-1], b"", RTCP_PLI, RTCP_FIR):
            await report(data)
        with anyio.fail_after(2):
            while not asked:
                await anyio.sleep(0.01)
        assert (await peer.ask("OPTIONS")).status == 200
        assert asked == [source.video], "once, whoever asks how often"
        source.stream.wishes.clear()
        await report(RTCP_FIR)
        with anyio.fail_after(2):
            while len(asked) < 2:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
async def test_publishers_are_asked_for_pictures(udp: bool) -> None:
    async with serving() as server, talking(server) as peer:
        body = sdp(VIDEO)
        assert (await peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=body)).status == 200
        pair: tuple[socket.socket, socket.socket] | None = None
        if udp:
            pair = await peer.set_up_udp("/trackID=0")
        else:
            way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
            assert (await peer.ask("SETUP", "/trackID=0", way)).status == 200
        assert (await peer.ask("RECORD")).status == 200
        stream = server.streams.get(PATH)
        assert stream is not None
        stream.request_key_frame()
        packet = rtp(1, 3600, IDR + b"x", ssrc=77)
        if pair is not None:
            pair[0].sendto(packet, ("127.0.0.1", port(server, "rtp")))
        else:
            await peer.send(0, packet)
        with anyio.fail_after(2):
            while not stream.has_frames:
                await anyio.sleep(0.01)
            stream.wishes.clear()
            stream.request_key_frame()
            data = await datagram(pair[1]) if pair is not None else (await peer.frame())[1]
        report, names, loss = parse_rtcp(data)
        assert isinstance(report, ReceiverReport)
        assert isinstance(names, SourceDescription)
        assert loss == PictureLoss(report.ssrc, 77)


async def test_peers_with_feedback_are_taken_as_such() -> None:
    async with serving() as server, talking(server) as publisher, talking(server) as player:
        body = sdp(VIDEO.replace("RTP/AVP", "RTP/AVPF"))
        assert (await publisher.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=body)).status == 200
        way = "Transport: RTP/SAVPF/TCP;unicast;interleaved=0-1, RTP/AVPF/TCP;unicast;interleaved=0-1"
        reply = await publisher.ask("SETUP", "/trackID=0", way + ";mode=record")
        assert reply.header("Transport") == "RTP/AVPF/TCP;unicast;interleaved=0-1;mode=record"
        assert (await publisher.ask("RECORD")).status == 200
        await publisher.send(0, rtp(1, 3600, IDR + b"x"))
        reply = await player.ask("SETUP", "/trackID=1", way)
        assert reply.header("Transport") == "RTP/AVPF/TCP;unicast;interleaved=0-1"


@pytest.mark.parametrize("over", ["tcp", "udp"])
async def test_a_player_is_let_go_where_the_next_publisher_has_another_codec(over: str) -> None:
    """Its description is fixed: it asks anew, and is told of the new codec."""
    async with serving() as server, talking(server) as peer, talking(server) as again:
        source = await publish(server)
        await source.picture(key=True)
        await source.sound()
        if over == "tcp":
            await peer.play(1, 2)
        else:
            await peer.play_udp(1)
        (session,) = [s for s in server.sessions if s.protocol == "rtsp" and s.path]
        source.publisher.close()
        reasons = [session.reason]
        publisher = await server.streams.publish(server.sessions.add("test", "127.0.0.1:1"), PATH)
        publisher.add_track(H265, 90_000, H265Config((VPS,), (SPS,), (PPS,)))
        publisher.add_track(PCMA, 8000, G711Config())
        reasons.append(session.reason)
        publisher.tracks_complete()
        reasons.append(session.reason)
        assert reasons == ["", "", "the stream's codec changed to h265"]
        with anyio.fail_after(2):
            async for _ in peer.tcp:
                pass
        described = await again.ask("DESCRIBE")
        assert b"H265/90000" in described.body
        assert b"H264" not in described.body


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
async def test_a_player_of_sound_alone_has_nothing_to_do_with_the_picture(udp: bool) -> None:
    """It waits for no key frame, asks for none, and goes on where the next publisher's picture is of another codec."""
    async with serving() as server, talking(server) as peer, talking(server) as whole:
        source = await publish(server)
        asked: list[Track] = []
        source.publisher.on_key_frame_request = asked.append
        await source.picture(key=True)
        await source.sound()
        media: socket.socket | None = None
        if udp:
            await whole.play_udp(1)
            media, _ = await peer.play_udp(2)
        else:
            await whole.play(1, 2)
            await peer.play(2)

        async def packet() -> RtpPacket:
            if media is not None:
                return RtpPacket.parse(await datagram(media))
            while True:
                channel, data = await peer.frame()
                if not channel:
                    return RtpPacket.parse(data)

        # Far less than a reader waits for a key frame.
        with anyio.fail_after(1):
            await source.picture()
            await source.sound()
            await source.picture()
            before = await packet()
        assert not asked
        by_id = {s.id: s for s in server.sessions if s.protocol == "rtsp"}
        source.publisher.close()
        publisher = await server.streams.publish(server.sessions.add("test", "127.0.0.1:1"), PATH)
        publisher.add_track(H265, 90_000, H265Config((VPS,), (SPS,), (PPS,)))
        sound = publisher.add_track(PCMA, 8000, G711Config())
        publisher.tracks_complete()
        assert [by_id[id].reason for id in sorted(by_id)] == ["", "the stream's codec changed to h265"]
        with anyio.fail_after(1):
            after = before
            for number in range(3):
                publisher.write(sound.id, (bytes(320),), pts=number * PICTURE)
                await publisher.flush()
            while after.timestamp - before.timestamp < 3 * 320:
                after = await packet()
        assert (after.ssrc, after.payload_type) == (before.ssrc, before.payload_type)


def said_goodbye(data: bytes) -> list[int]:
    """The sources that leave by a datagram of RTCP."""
    return [ssrc for packet in parse_rtcp(data) if isinstance(packet, Goodbye) for ssrc in packet.ssrcs]


async def until_the_end(peer: Talk) -> list[tuple[int, bytes]]:
    """What else comes in channels, to a peer that leaves when each of its two tracks has said goodbye."""
    found: list[tuple[int, bytes]] = []
    with anyio.fail_after(5), suppress(anyio.EndOfStream):
        while sum(bool(said_goodbye(data)) for channel, data in found if channel % 2) < 2:
            found.append(await peer.frame())
        await peer.ask("TEARDOWN")
    return found


@pytest.mark.parametrize("publishers", [1, 2])
async def test_over_tcp_each_track_says_goodbye_after_its_last_packet(publishers: int) -> None:
    """And none does where the next publisher comes in time."""
    grace, frames = (0.0, 2) if publishers == 1 else (10.0, 4)
    times = {"wait_for_stream": 0, "publisher_timeout": 2.0, "reconnect_grace": grace}
    async with serving(server=times) as server, talking(server) as peer:
        while True:
            source = await publish(server)
            await source.picture(key=True)
            await source.sound()
            if not peer.session:
                await peer.play(1, 2)
            await source.picture()
            await source.sound()
            source.publisher.close()
            publishers -= 1
            if not publishers:
                break
        source.stream.left_at -= grace
        came = await until_the_end(peer)
    media = {channel: [RtpPacket.parse(d) for c, d in came if c == channel] for channel in (0, 2)}
    assert [len({p.timestamp for p in packets}) for packets in media.values()] == [frames] * 2
    goodbyes = [(channel, said_goodbye(data)) for channel, data in came if channel % 2]
    assert [g for g in goodbyes if g[1]] == goodbyes[-2:] == [(c + 1, [media[c][0].ssrc]) for c in (0, 2)]
    assert [channel for channel, _ in came[-2:]] == [1, 3]


async def test_a_player_that_was_told_the_end_is_let_leave() -> None:
    """GStreamer pauses and tears down then, and shows its user an error where nobody answers."""
    async with serving() as server, talking(server) as polite, talking(server) as mute:
        source = await publish(server, sound=False)
        await source.picture(key=True)
        for peer in (polite, mute):
            assert (await peer.play(1)).status == 200
        began = time.monotonic()
        source.publisher.close()
        source.stream.end_if_left(time.monotonic() + 10)
        await anyio.sleep(0.05)
        with anyio.fail_after(2):
            statuses = [
                (await polite.ask(method)).status for method in ("PAUSE", "PLAY", "SETUP", "TEARDOWN")
            ]
            assert statuses == [200, 454, 455, 200]
            with pytest.raises(anyio.EndOfStream):
                await polite.ask("OPTIONS")
            assert time.monotonic() - began < 0.3
            with suppress(anyio.EndOfStream):
                while True:
                    await mute.frame()
        assert 0.3 < time.monotonic() - began < 1.5


async def play_multicast(*peers: Talk) -> tuple[socket.socket, socket.socket]:
    """Let all play the same track in its group; a receiver's sockets for RTP and RTCP."""
    transport = ""
    for peer in peers:
        reply = await peer.ask("SETUP", "/trackID=1", "Transport: RTP/AVP;multicast")
        transport = reply.header("Transport")
        assert (await peer.ask("PLAY")).status == 200
    told = re.search(r"destination=([\d.]+);port=(\d+)", transport)
    assert told is not None, transport
    pair = tuple(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for number, sock in enumerate(pair):
        peers[0].sockets.append(sock)
        sock.bind((told[1], int(told[2]) + number))
        membership = socket.inet_aton(told[1]) + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return pair[0], pair[1]


@pytest.mark.parametrize("way", ["unicast", "multicast"])
@pytest.mark.parametrize("end", ["gone for long", "gone just now", "the server stops"])
async def test_a_goodbye_in_datagrams_comes_when_all_before_it_is_read(end: str, way: str) -> None:
    """FFmpeg reads RTCP first, and all that it has not read by then is lost."""
    times = {
        "wait_for_stream": 0,
        "publisher_timeout": 2.0,
        "reconnect_grace": 10.0 * (end == "gone for long"),
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1] & ~1
    async with AsyncExitStack() as peers, AsyncExitStack() as life:
        server = await life.enter_async_context(serving(server=times, rtsp={"multicast_port": free}))
        one, other = [await peers.enter_async_context(talking(server)) for _ in range(2)]
        source = await publish(server, sound=False)
        await source.picture(key=True)
        media, control = await (one.play_udp(1) if way == "unicast" else play_multicast(one, other))
        await source.picture(key=True)
        began = time.monotonic()
        if end == "the server stops":
            await life.aclose()
        else:
            source.publisher.close()
            source.stream.left_at -= 10 * (end == "gone for long")
            source.stream.end_if_left(time.monotonic())
        with anyio.fail_after(3):
            ssrc = RtpPacket.parse(await datagram(media)).ssrc
            while not (said := said_goodbye(await datagram(control))):
                pass
        assert said == [ssrc]
        assert (time.monotonic() - began < 0.3) == (end == "gone for long")
        await anyio.sleep(0.05)
        with pytest.raises(BlockingIOError):
            control.recv(2048, socket.MSG_DONTWAIT)


@pytest.mark.parametrize("state", ["asked", "set up", "playing", "playing over UDP"])
async def test_what_a_player_had_is_given_back_at_its_end(state: str) -> None:
    """And not by the collector: of thousands that leave together it would hold up the loop for half a second."""
    async with serving() as server:
        source = await publish(server)
        await source.picture(key=True)
        await source.sound()
        gc.collect()
        gc.disable()
        try:
            async with talking(server) as peer:
                if state == "playing over UDP":
                    await peer.play_udp(1)
                elif state == "playing":
                    await peer.play(1, 2)
                else:
                    way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
                    await (peer.ask("OPTIONS") if state == "asked" else peer.ask("SETUP", "/trackID=1", way))
                (session,) = [weakref.ref(s) for s in server.sessions if s.protocol == "rtsp"]
                feeds = [weakref.ref(feed) for feed in source.stream.feeds]
                assert len(feeds) == state.startswith("playing")
            with anyio.fail_after(5):
                while session() is not None or any(feed() is not None for feed in feeds):
                    await anyio.sleep(0.01)
        finally:
            gc.enable()


async def test_a_publisher_may_set_up_what_is_left_out() -> None:
    """FFmpeg and GStreamer set up all that they announce, and take a refusal for the end of all of it."""
    strange = (
        "m=audio 0 RTP/AVP 97\r\na=control:streamid=0\r\nm=video 0 RTP/AVP 26\r\na=control:streamid=1\r\n"
    )
    known = VIDEO.replace("trackID=0", "streamid=2")
    async with serving() as server, talking(server, "live/recorded") as peer:
        with capture_logs() as logs:
            reply = await peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=sdp(strange + known))
        assert reply.status == 200
        lines = [line for line in logs if line["event"] == "track left out"]
        assert {str(line["path"]) for line in lines} == {"live/recorded"}
        assert [line["reason"] for line in lines] == [
            "audio: no plugin knows RTP payload type 97",
            "video: no plugin knows JPEG",
        ]
        for number in range(3):
            way = f"Transport: RTP/AVP/TCP;unicast;interleaved={2 * number}-{2 * number + 1};mode=record"
            assert (await peer.ask("SETUP", f"/streamid={number}", way)).status == 200
            if number < 2:
                assert (await peer.ask("RECORD")).status == 455, "nothing is there that could be published"
        way = "Transport: RTP/AVP/TCP;unicast;interleaved=6-7;mode=record"
        assert (await peer.ask("SETUP", "/streamid=3", way)).status == 404
        assert (await peer.ask("RECORD")).status == 200
        for channel in range(6):
            await peer.send(channel, rtp(1, 0, IDR, marker=True))
        with anyio.fail_after(2):
            stream = await server.streams.wait("live/recorded")
            assert [track.codec.name for track in stream.tracks] == ["h264"]
            async for event in stream.read():
                if isinstance(event, Frame):
                    break


@pytest.mark.parametrize("end", ["leaves", "says goodbye", "is wrong", "is wrong at first"])
async def test_what_a_publisher_had_is_given_back_at_its_end(end: str) -> None:
    """Nor do those wait for the collector that sent what RTSP does not have."""
    async with serving() as server:
        gc.collect()
        gc.disable()
        try:
            async with talking(server, "live/recorded") as peer:
                if end != "is wrong at first":
                    await peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=sdp(VIDEO))
                    way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
                    await peer.ask("SETUP", "/trackID=0", way)
                    assert (await peer.ask("RECORD")).status == 200
                    await peer.send(0, rtp(1, 0, IDR, marker=True))
                with anyio.fail_after(5):
                    while not (sessions := [s for s in server.sessions if s.protocol == "rtsp"]):
                        await anyio.sleep(0.01)
                session = weakref.ref(sessions.pop())
                if end == "says goodbye":
                    await peer.ask("TEARDOWN")
                elif end.startswith("is wrong"):
                    await peer.tcp.send(b"FOO BAR\r\n\r\n")
                    await peer.tcp.receive()
            with anyio.fail_after(5):
                while session() is not None:
                    await anyio.sleep(0.01)
        finally:
            gc.enable()
