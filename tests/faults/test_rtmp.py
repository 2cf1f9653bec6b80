"""Faults of RTMP peers in handshake and chunks, beside a canary: rows R1 to R10 of the list of bad inputs."""

from __future__ import annotations

import itertools
import struct
import time
from contextlib import ExitStack

import pytest

from . import rtmp
from .refusal import refused, timed_out
from .rig import Rig
from .server import MIB


@pytest.mark.parametrize("version", [0, 1, 2, 4, 6, 31, 32, 255, ord("P")])
def test_R1_c0_with_another_version_is_refused(faults: Rig, version: int) -> None:
    with faults.watched(), faults.peer() as peer:
        peer.send(bytes([version]) + rtmp.C1)
        refused(faults, peer, "RTMP version", "text on an RTMP port")
        if version < 32:
            assert peer.received == b"\x03", "the version that it speaks is the reply (RTMP 5.2.2)"


def test_R2_truncated_c1_ends_at_the_timeout(faults: Rig) -> None:
    with faults.watched(), ExitStack() as stack:
        peers = [stack.enter_context(faults.peer()) for _ in range(5)]
        for peer, size in zip(peers, (1, 2, 9, 1535, 1536), strict=True):
            peer.send(rtmp.HELLO[:size])
        for peer in peers:
            timed_out(faults, peer)


@pytest.mark.parametrize(
    "c2", [bytes(1536), bytes(range(256)) * 6, b"\xff" * 1536], ids=["0", "count", "255"]
)
def test_R2_c2_that_does_not_echo_s1_is_accepted(faults: Rig, c2: bytes) -> None:
    """Lenient on purpose: many clients send something else there, and nothing is gained by looking."""
    with faults.watched(), faults.peer() as peer:
        peer.send(rtmp.HELLO)
        peer.exactly(1 + 2 * 1536)
        peer.send(c2 + rtmp.CONNECT)
        peer.until(b"NetConnection.Connect.Success")


@pytest.mark.parametrize(
    "version", [b"\x09\x00\x7c\x02", b"\x80\x00\x07\x02", b"\xff\xff\xff\xff"], ids=lambda v: v.hex()
)
def test_R2_digest_wrong_in_both_schemes_falls_back_to_the_simple_handshake(
    faults: Rig, version: bytes
) -> None:
    c1 = b"\x00\x00\x00\x07" + version + b"\xff" * 1528
    with faults.watched(), faults.peer() as peer:
        peer.send(b"\x03" + c1)
        answer = peer.exactly(1 + 2 * 1536)
        assert answer[1537:1541] == c1[:4]
        assert answer[1545:] == c1[8:], "S2 of the simple handshake echoes C1"
        peer.send(answer[1:1537] + rtmp.CONNECT)
        peer.until(b"NetConnection.Connect.Success")


@pytest.mark.parametrize("size", [0, 65_537, 0x7FFFFFFF, 0x80000000, 0x80000080, 0xFFFFFFFF])
def test_R3_chunk_size_out_of_range_is_refused(faults: Rig, size: int) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.set_chunk_size(size))
        refused(faults, peer, f"chunk size {size}")


@pytest.mark.parametrize("size", [1, 2, 127, 65_536])
def test_R3_chunk_size_in_range_is_taken(faults: Rig, size: int) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        peer.send(rtmp.set_chunk_size(size))
        given = {"app": "live", "tcUrl": "x" * 3000}
        peer.send(rtmp.command("connect", 1.0, given, size=size))
        peer.until(b"NetConnection.Connect.Success")


def test_R3_chunk_size_that_changes_with_every_message(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r3")
        for number in range(200):
            size = number * 37 % 1000 + 1
            tag = rtmp.key_frame(size=2000)
            # Set Chunk Size goes out in the chunks that were in force before it.
            peer.send(rtmp.message(1, struct.pack(">I", size), csid=2, size=last_size(number)))
            assert peer.send(rtmp.video(tag, number * 40, size=size))
        peer.stays_open(0.3)


def last_size(number: int) -> int:
    return (number - 1) * 37 % 1000 + 1 if number else 128


def test_R3_chunks_of_one_byte_cost_linear_time(faults: Rig) -> None:
    """A message of 800 kB in chunks of one byte costs about four times what one of 200 kB does, and not 16 times."""
    with faults.watched(rss=8 * MIB), faults.peer(timeout=60) as peer:
        rtmp.publishing(peer, "r3b")
        peer.send(rtmp.set_chunk_size(1))
        costs: list[float] = []
        for size in (200_000, 800_000):
            data = rtmp.video(rtmp.key_frame(size=size), 40, size=1)
            before = faults.server.cpu
            assert peer.send(data)
            peer.send(rtmp.message(4, struct.pack(">HI", 6, size), csid=2, size=1))
            pong = b"".join(bytes([b]) for b in struct.pack(">HI", 7, size))
            peer.until(pong, 60)
            costs.append(faults.server.cpu - before)
        assert costs[1] < 10 * max(costs[0], 0.05), costs


def test_R4_announced_length_is_not_allocated_and_is_limited(faults: Rig) -> None:
    """0xFFFFFF is over the limit of 10 MiB, so that it ends at once and not at a timeout."""
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.chunk(0, 6, rtmp.head(9, 0xFFFFFF, 1), b"x" * 128))
        refused(faults, peer, "message of 16777215 bytes")


def test_R4_length_below_the_limit_that_never_comes_ends_at_the_timeout(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.chunk(0, 6, rtmp.head(9, 10 << 20, 1), b"x" * 128))
        timed_out(faults, peer)


def test_R4_publisher_that_never_finishes_a_message_is_silent(faults: Rig) -> None:
    """Bytes that make no frame do not keep a publisher alive."""
    with faults.watched(rss=MIB), faults.peer() as peer:
        rtmp.publishing(peer, "r4")
        peer.send(rtmp.chunk(0, 6, rtmp.head(9, 10 << 20, 1), b"x" * 128))
        start = time.monotonic()
        while peer.send(rtmp.chunk(3, 6, b"", b"x" * 128)):
            time.sleep(0.05)
            assert time.monotonic() - start < 15, "a publisher of no frames lives on"
    assert "sent nothing for 2 s" in faults.line(peer)["reason"]


def test_R5_partial_messages_are_capped_in_number(faults: Rig) -> None:
    """4096 chunk streams with a partial message each: it ends at the 65th."""
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        for csid in range(64, 64 + 4096):
            if not peer.send(rtmp.chunk(0, csid, rtmp.head(9, 1000, 1), b"x" * 128)):
                break
        refused(faults, peer, "more than 64 unfinished messages")


def test_R5_partial_messages_are_capped_in_bytes(faults: Rig) -> None:
    with faults.watched(rss=24 * MIB), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.set_chunk_size(65_536))
        for csid in range(64, 64 + 60):
            if not peer.send(rtmp.chunk(0, csid, rtmp.head(9, 10 << 20, 1), b"x" * 65_536)):
                break
        for turn in range(60 * 60):
            if not peer.send(rtmp.chunk(3, 64 + turn % 60, b"", b"x" * 65_536)):
                break
        refused(faults, peer, "bytes in unfinished messages")


@pytest.mark.parametrize("fmt", [2, 3])
def test_R6_fresh_chunk_stream_without_header_is_refused(faults: Rig, fmt: int) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.chunk(fmt, 9, bytes(3 if fmt == 2 else 0), b"x" * 128))
        refused(faults, peer, f"begins with a type {fmt} chunk")


def test_R6_fresh_chunk_stream_of_type_1_is_tolerated(faults: Rig) -> None:
    """librtmp begins so: the stream id that is left out is 0."""
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        body = rtmp.amf0.encode("connect", 1.0, {"app": "live"})
        peer.send(rtmp.chunk(1, 3, bytes(3) + len(body).to_bytes(3, "big") + b"\x14", body))
        peer.until(b"NetConnection.Connect.Success")


def test_R7_new_message_in_the_middle_of_one_drops_the_first(faults: Rig) -> None:
    """Type 0 inside an unfinished message, with another length (CVE-2016-10191): the first is forgotten."""
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        peer.send(rtmp.chunk(0, 3, rtmp.head(20, 5000), b"x" * 128))
        peer.send(rtmp.chunk(3, 3, b"", b"x" * 128))
        peer.send(rtmp.CONNECT)
        peer.until(b"NetConnection.Connect.Success")


@pytest.mark.parametrize("fmt", [1, 2])
def test_R7_length_that_changes_across_chunks_never_reads_past_a_message(faults: Rig, fmt: int) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r7")
        for number in range(200):
            peer.send(rtmp.chunk(0, 6, rtmp.head(9, 1000, 1), b"\x17\x01" + b"x" * 126))
            header = bytes(3) + ((number * 11 + 129).to_bytes(3, "big") + b"\x09" if fmt == 1 else b"")
            if not peer.send(rtmp.chunk(fmt, 6, header, b"\x17\x01" + b"y" * 126)):
                break
        peer.send(rtmp.user_control(6, 77))
        peer.until(struct.pack(">HI", 7, 77))


@pytest.mark.parametrize(
    ("csid", "form"),
    [(2, 1), (3, 1), (63, 1), (64, 2), (64, 3), (319, 2), (319, 3), (320, 3), (65_599, 3)],
)
def test_R8_all_forms_of_a_chunk_stream_id_mean_the_same(faults: Rig, csid: int, form: int) -> None:
    given = {"app": "live", "tcUrl": "x" * 400}
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        peer.send(rtmp.command("connect", 1.0, given, csid=csid, form=form))
        peer.until(b"NetConnection.Connect.Success")


def test_R8_two_forms_of_one_id_are_one_chunk_stream(faults: Rig) -> None:
    """Begun in the form of two bytes, gone on with in that of three (SRS, pull request 4680)."""
    body = rtmp.amf0.encode("connect", 1.0, {"app": "live", "tcUrl": "x" * 200})
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        peer.send(rtmp.chunk(0, 100, rtmp.head(20, len(body)), body[:128], 2))
        peer.send(rtmp.chunk(3, 100, b"", body[128:256], 3))
        peer.until(b"NetConnection.Connect.Success")


@pytest.mark.parametrize("timestamp", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
@pytest.mark.parametrize("repeated", [True, False])
def test_R9_extended_timestamp_with_and_without_its_copies(
    faults: Rig, timestamp: int, repeated: bool
) -> None:
    """Both families of clients work: those that repeat it in type 3 chunks, and those that leave it out."""
    tag = rtmp.key_frame(b"r9-picture", size=1000)
    field = min(timestamp, 0xFFFFFF)
    extended = struct.pack(">I", timestamp) if field == 0xFFFFFF else b""
    data = rtmp.chunk(0, 6, rtmp.head(9, len(tag), 1, field) + extended, tag[:128])
    for at in range(128, len(tag), 128):
        data += rtmp.chunk(3, 6, extended if repeated else b"", tag[at : at + 128])
    name = f"r9-{timestamp}-{repeated}"
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, name, tags=False)
        peer.send(rtmp.video(rtmp.CONFIG_TAG, timestamp) + rtmp.script("onMetaData", {"videocodecid": 7.0}))
        peer.send(data)
        with faults.peer() as player:
            rtmp.playing(player, name)
            player.until(tag[5:])


@pytest.mark.parametrize("fmt", [1, 2])
def test_R9_extended_timestamp_as_a_delta(faults: Rig, fmt: int) -> None:
    tag = rtmp.key_frame(b"r9-delta", size=300)
    header = b"\xff\xff\xff" + (len(tag).to_bytes(3, "big") + b"\x09" if fmt == 1 else b"")
    delta = struct.pack(">I", 0x1000000)
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, f"r9d-{fmt}", tags=False)
        peer.send(rtmp.video(rtmp.CONFIG_TAG) + rtmp.script("onMetaData", {"videocodecid": 7.0}))
        peer.send(rtmp.video(rtmp.key_frame(size=300 + len(b"r9-delta"))))
        data = rtmp.chunk(fmt, 6, header + delta, tag[:128])
        for at in range(128, len(tag), 128):
            data += rtmp.chunk(3, 6, delta, tag[at : at + 128])
        peer.send(data)
        with faults.peer() as player:
            rtmp.playing(player, f"r9d-{fmt}")
            player.until(tag[5:])


HOUR = 3_600_000


@pytest.mark.parametrize(
    ("start", "jump"),
    [(2**31 - 100, 0), (2**32 - 100, 0), (2 * HOUR, -HOUR), (HOUR, 10 * HOUR), (10_000, -9_990)],
)
def test_R10_timestamps_that_wrap_or_jump_reach_players_without_a_hole(
    faults: Rig, start: int, jump: int
) -> None:
    """What a player gets steps by less than two seconds, over the wrap and over the jump."""
    name = f"r10-{start}-{jump}"
    with faults.watched(), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, name)
        peer.send(rtmp.video(rtmp.key_frame(b"first"), start) + rtmp.audio(rtmp.sound(), start))
        rtmp.playing(player, name)
        for number in range(1, 60):
            now = (start + number * 10 + (jump if number > 30 else 0)) % 2**32
            frame = rtmp.key_frame if number % 10 == 0 else rtmp.inter_frame
            peer.send(
                rtmp.video(frame(b"last" if number == 59 else b""), now) + rtmp.audio(rtmp.sound(), now)
            )
            time.sleep(0.005)
        data = player.until(b"last")
        times = video_times(data)
        assert len(times) >= 50
        steps = [(b - a) for a, b in itertools.pairwise(times)]
        assert all(0 <= step < 2000 for step in steps), steps


def video_times(data: bytes) -> list[int]:
    """The timestamps of the pictures in what a player got, found by their headers."""
    found: list[int] = []
    at = data.find(b"\x09\x01\x00\x00\x00")
    while at >= 0:
        body = at + 5
        if data[body + 1 : body + 2] == b"\x01" and data[body : body + 1] in (b"\x17", b"\x27"):
            found.append(int.from_bytes(data[at - 6 : at - 3], "big"))
        at = data.find(b"\x09\x01\x00\x00\x00", body)
    return found
