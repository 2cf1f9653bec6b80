"""Faults at the core of streams, over the wire beside a canary: rows X1, X2 and X4 of the list of bad inputs.

Row X3, and what of the others needs no socket, is in test_streams_core.py.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from . import rtmp
from .crowd import Crowd, Member, allow_files
from .log import ENDS
from .peer import Peer, own_address
from .refusal import CLOSE
from .rig import Rig
from .server import MIB


def start(peer: Peer, name: str) -> None:
    """Publish pictures only, which are ready at once because metadata says so."""
    rtmp.publishing(peer, name, tags=False)
    peer.send(rtmp.script("onMetaData", {"videocodecid": 7.0}) + rtmp.video(rtmp.CONFIG_TAG))


def in_app(app: str, peer: Peer, data: bytes) -> None:
    """Handshake and connect to another app than ``live``, then `data`."""
    rtmp.shake(peer)
    peer.send(rtmp.command("connect", 1.0, {"app": app}) + rtmp.CREATE_STREAM + data)


def test_X1_second_publisher_is_refused_and_the_first_goes_on(faults: Rig) -> None:
    """By default a live name is its publisher's; that goes for the canary's own too."""
    with faults.watched(), faults.peer() as first, faults.peer() as player:
        start(first, "x1")
        first.send(rtmp.video(rtmp.key_frame(b"one")))
        rtmp.playing(player, "x1")
        player.until(b"one")
        for app, name in (("live", "x1"), ("canary", "rtmp"), ("canary", "rtsp"), ("canary", "udp")):
            with faults.peer() as second:
                in_app(app, second, rtmp.publish(name))
                second.until(b"NetStream.Publish.BadName")
                second.closed_within(CLOSE)
            assert "is being published already" in faults.line(second)["reason"]
        first.send(rtmp.video(rtmp.key_frame(b"two"), 40))
        player.until(b"two")


def test_X1_second_publisher_takes_over_where_that_is_allowed(faults: Rig) -> None:
    """With ``override`` the first is told and closed, and readers stay."""
    with faults.watched(), faults.peer() as first, faults.peer() as player, faults.peer() as second:
        config = rtmp.script("onMetaData", {"videocodecid": 7.0}) + rtmp.video(rtmp.CONFIG_TAG)
        in_app("takeover", first, rtmp.publish("x1"))
        first.until(b"NetStream.Publish.Start")
        first.send(config + rtmp.video(rtmp.key_frame(b"one")))
        in_app("takeover", player, rtmp.play("x1"))
        player.until(b"one")
        in_app("takeover", second, rtmp.publish("x1"))
        second.until(b"NetStream.Publish.Start")
        second.send(config + rtmp.video(rtmp.key_frame(b"two")))
        player.until(b"two")
        first.closed_within(CLOSE)
        assert b"another publisher took over" in first.received
        second.send(rtmp.video(rtmp.inter_frame(b"three"), 40))
        player.until(b"three")
    assert faults.line(first)["reason"] == "another publisher took over"


def test_X1_half_open_publisher_is_evicted_and_its_readers_are_kept(faults: Rig) -> None:
    """Silent for ``publisher_timeout`` (here 2 s), it is closed; who comes back in time finds the readers there."""
    with faults.watched(), faults.peer() as first, faults.peer() as player:
        start(first, "x1h")
        first.send(rtmp.video(rtmp.key_frame(b"one")))
        rtmp.playing(player, "x1h")
        player.until(b"one")
        first.closed_within(10)
        assert "sent nothing for 2 s" in faults.line(first)["reason"]
        with faults.peer() as again:
            start(again, "x1h")
            again.send(rtmp.video(rtmp.key_frame(b"two")))
            player.until(b"two")


def test_X1_readers_are_let_go_when_nobody_comes_back(faults: Rig) -> None:
    with faults.watched(), faults.peer() as player:
        with faults.peer() as first:
            start(first, "x1g")
            first.send(rtmp.video(rtmp.key_frame(b"one")))
            rtmp.playing(player, "x1g")
            player.until(b"one")
        player.until(b"NetStream.Play.UnpublishNotify", 10)
        player.closed_within(CLOSE)
    assert faults.line(player)["event"] == "session closed"


@pytest.mark.parametrize("number", [1000, pytest.param(100_000, marks=pytest.mark.full)])
def test_X2_random_names_leave_nothing(faults: Rig, number: int) -> None:
    """Half of the names nobody publishes, and half of them somebody does, for a moment."""
    together = min(number // 20, 1000)
    allow_files(together)
    allow_files(together, faults.server.pid)
    hello = rtmp.HELLO + rtmp.C1 + rtmp.CONNECT + rtmp.CREATE_STREAM
    with faults.watched(rss=4 * MIB if number == 1000 else 32 * MIB, settle=15):
        for turn in range(number // together):
            ask, answer = (
                (rtmp.publish, b"NetStream.Publish.Start")
                if turn % 2
                else (rtmp.play, b"NetStream.Play.StreamNotFound")
            )
            source = own_address()
            names = [f"x2-{turn}-{n}-{time.monotonic_ns()}" for n in range(together)]
            with Crowd(
                Member(faults.server.rtmp, hello + ask(name), answer, source) for name in names
            ) as crowd:
                crowd.connect(30)


def test_X4_readers_that_never_read_do_not_slow_the_others(faults: Rig) -> None:
    """A hundred of them, at a stream of 2 MB/s: each is closed for it, and memory stays that of one ring."""
    with faults.watched(rss=40 * MIB), faults.peer() as publisher:
        start(publisher, "x4")
        readers: list[Peer] = []
        try:
            with rtmp.feeding(publisher):
                source = own_address()
                for _ in range(100):
                    reader = faults.peer(receive_buffer=4096, source=source)
                    rtmp.playing(reader, "x4")
                    readers.append(reader)
                before = faults.server.descriptors
                deadline = time.monotonic() + 20
                while faults.server.descriptors > before - 100:
                    assert time.monotonic() < deadline, "readers that never read stay"
                    time.sleep(0.1)
        finally:
            for reader in readers:
                reader.sock.close()
    reasons = [
        line["reason"]
        for line in faults.server.log()
        if str(line.get("peer", "")).startswith(source + ":") and line["event"] in ENDS
    ]
    assert any("took no data for 1.5 s" in reason for reason in reasons), reasons


def test_X4_storm_of_joins_and_leaves_during_replay(faults: Rig) -> None:
    """Three hundred players that leave in the midst of the group of pictures that they are given."""
    with faults.watched(rss=16 * MIB), faults.peer() as publisher:
        start(publisher, "x4s")
        publisher.send(rtmp.set_chunk_size(65_536))
        publisher.send(rtmp.video(rtmp.key_frame(size=60_000), size=65_536))
        for number in range(1, 60):
            publisher.send(rtmp.video(rtmp.inter_frame(size=20_000), number * 40, size=65_536))
        source = own_address()
        for turn in range(300):
            with faults.peer(source=source) as player:
                player.send(rtmp.HELLO + rtmp.C1 + rtmp.CONNECT + rtmp.CREATE_STREAM + rtmp.play("x4s"))
                player.exactly(1 + 2 * 1536 + turn * 700)
                if turn % 3:
                    player.reset()
            publisher.send(rtmp.video(rtmp.inter_frame(size=1000), 2400 + turn * 10, size=65_536))
        with faults.peer() as player:
            rtmp.playing(player, "x4s")
            publisher.send(rtmp.video(rtmp.key_frame(b"last"), 6000, size=65_536))
            player.until(b"last")


def test_X4_reader_that_attaches_as_the_publisher_leaves(faults: Rig) -> None:
    """It plays and is told of the end, or is told that there is no such stream: never silence."""
    with faults.watched():
        for turn in range(2):
            with contextlib.ExitStack() as stack:
                pairs = [
                    (stack.enter_context(faults.peer()), stack.enter_context(faults.peer()))
                    for _ in range(16)
                ]
                for number, (publisher, player) in enumerate(pairs):
                    start(publisher, f"x4a-{number}")
                    publisher.send(rtmp.video(rtmp.key_frame(b"one")))
                    rtmp.connected(player)
                    player.send(rtmp.CREATE_STREAM)
                    player.until(b"_result")
                for number, (publisher, player) in enumerate(pairs):
                    # Now before, now after, and often in the same pass of the server's loop.
                    for step in ("leave", "play") if number % 2 else ("play", "leave"):
                        if step == "play":
                            player.send(rtmp.play(f"x4a-{number}"))
                        elif turn % 2:
                            publisher.reset()
                        else:
                            publisher.end()
                for _, player in pairs:
                    player.closed_within(10)
                    assert b"NetStream.Play.StreamNotFound" in player.received or (
                        b"NetStream.Play.UnpublishNotify" in player.received
                    ), player.received[-300:]
