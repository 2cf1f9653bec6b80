"""Faults of RTMP peers beside a canary: rows R1 to R19 of the list of bad inputs."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable

import pytest

from . import rtmp
from .peer import Peer
from .rig import Rig
from .server import MIB

NOT_APPLICABLE = {
    "R19": "tunnelling (RTMPT) is not supported; its verbs are refused, which test_R19 asserts",
}

CLOSE = 3.0
"""Seconds in which a violation ends the connection: the promise is one, and machines of tests are slow."""


def refused(faults: Rig, peer: Peer, *reasons: str, closes: float = CLOSE) -> None:
    """The server closes at once and says why in one line, in which one of `reasons` is."""
    peer.closed_within(closes)
    line = faults.line(peer)
    assert line["event"] == "protocol violation", line
    assert any(reason in line["reason"] for reason in reasons), line


def test_rows_that_do_not_apply_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for row, reason in NOT_APPLICABLE.items():
        print(f"{row}: {reason}")
    assert capsys.readouterr().out


@pytest.mark.parametrize("version", [0, 1, 2, 4, 6, 31, 32, 255, ord("P")])
def test_R1_c0_with_another_version_is_refused(faults: Rig, version: int) -> None:
    with faults.watched(), faults.peer() as peer:
        peer.send(bytes([version]) + rtmp.C1)
        refused(faults, peer, "RTMP version", "text on an RTMP port")
        if version < 32:
            assert peer.received == b"\x03", "the version that it speaks is the reply (RTMP 5.2.2)"


@pytest.mark.parametrize("size", [1, 2, 9, 1535, 1536])
def test_R2_truncated_c1_ends_at_the_timeout(faults: Rig, size: int) -> None:
    with faults.watched(), faults.peer() as peer:
        peer.send(rtmp.HELLO[:size])
        refused(faults, peer, "within 1 s", closes=8)


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
        refused(faults, peer, "within 1 s", closes=8)


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


@pytest.mark.parametrize(
    "data",
    [
        rtmp.message(2, struct.pack(">I", 77), csid=2),
        rtmp.message(3, struct.pack(">I", 0xFFFFFFFF), csid=2),
        rtmp.message(5, struct.pack(">I", 0), csid=2),
        rtmp.message(5, struct.pack(">I", 0xFFFFFFFF), csid=2),
        rtmp.message(6, struct.pack(">IB", 0, 2), csid=2),
        rtmp.message(6, struct.pack(">IB", 0xFFFFFFFF, 255), csid=2),
    ],
    ids=["abort-unknown", "acknowledgement-ahead", "window-0", "window-max", "bandwidth-0", "bandwidth-max"],
)
def test_R11_odd_protocol_control_is_ignored(faults: Rig, data: bytes) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(data * 50 + rtmp.user_control(6, 4711))
        peer.until(struct.pack(">HI", 7, 4711))


def test_R11_window_of_one_byte_is_answered_once_for_each_read(faults: Rig) -> None:
    """An acknowledgement for each byte would be a flood of our own making."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r11")
        peer.send(rtmp.message(5, struct.pack(">I", 1), csid=2))
        peer.received = b""
        peer.send(rtmp.video(rtmp.key_frame(size=100_000)) + rtmp.user_control(6, 9))
        peer.until(struct.pack(">HI", 7, 9))
        assert len(peer.received) < 10_000


def aggregate(*tags: bytes) -> bytes:
    return rtmp.message(22, b"".join(tags), stream=1, csid=6)


def inner(kind: int, body: bytes, size: int | None = None) -> bytes:
    """One tag of an aggregate, which may lie about its size."""
    size = len(body) if size is None else size
    return bytes([kind]) + size.to_bytes(3, "big") + bytes(7) + body + struct.pack(">I", 11 + len(body))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (aggregate(inner(9, b"\x17\x01\0\0\0", 5000)), "longer than its aggregate"),
        (aggregate(inner(9, b"", 0xFFFFFF)), "longer than its aggregate"),
        (aggregate(inner(22, inner(9, b"\x17\x01\0\0\0"))), "an aggregate in an aggregate"),
        (aggregate(*[inner(9, b"")] * 5000), "more than 4096 tags"),
        (aggregate(b"\x09\x00"), "longer than its aggregate"),
    ],
    ids=["past-the-end", "huge", "nested", "many", "cut"],
)
def test_R12_bad_aggregates_are_refused(faults: Rig, data: bytes, reason: str) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r12")
        peer.send(data)
        refused(faults, peer, reason)


def test_R12_aggregate_with_empty_tags_is_taken(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r12b")
        for _ in range(30):
            peer.send(aggregate(inner(9, b""), inner(8, b""), inner(18, b""), inner(77, b"")))
        peer.send(aggregate() + rtmp.user_control(6, 12))
        peer.until(struct.pack(">HI", 7, 12))


def test_R13_connect_twice_is_refused(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.CONNECT)
        refused(faults, peer, "connect twice")


@pytest.mark.parametrize(
    "what", [rtmp.publish("r13"), rtmp.CREATE_STREAM, rtmp.play("r13")], ids=["publish", "create", "play"]
)
def test_R13_commands_before_connect_are_refused(faults: Rig, what: bytes) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.shake(peer)
        peer.send(what)
        refused(faults, peer, "before connect")


def test_R13_create_stream_100_000_times(faults: Rig) -> None:
    """32 streams are given; refusals are counted, and the 65th ends the connection."""
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        for _ in range(100):
            if not peer.send(rtmp.CREATE_STREAM * 1000):
                break
        peer.closed_within(CLOSE)
    assert "more than 64 commands" in faults.line(peer)["reason"]


def test_R13_play_and_publish_on_one_stream(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r13pp")
        peer.send(rtmp.play("r13pp"))
        peer.until(b"error")
        peer.send(rtmp.user_control(6, 13))
        peer.until(struct.pack(">HI", 7, 13))


@pytest.mark.parametrize("number", [0.0, 7.0, -1.0, float("nan"), float("inf"), 1e308, "one", None, True, {}])
def test_R13_delete_of_a_foreign_stream_harms_nobody(faults: Rig, number: object) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r13d")
        peer.send(rtmp.command("deleteStream", 9.0, None, number) + rtmp.user_control(6, 14))
        peer.until(struct.pack(">HI", 7, 14))
        assert peer.send(rtmp.video(rtmp.key_frame()))
        peer.stays_open(0.2)


@pytest.mark.parametrize("transaction", [float("nan"), -1.0, 1e308, float("inf"), -0.0, 0.5])
def test_R14_odd_transaction_ids_are_answered_or_ignored(faults: Rig, transaction: float) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.command("createStream", transaction, None) + rtmp.user_control(6, 15))
        peer.until(struct.pack(">HI", 7, 15))


@pytest.mark.parametrize(
    "body",
    [
        rtmp.amf0.encode("createStream", "two", None),
        rtmp.amf0.encode("createStream", True, None),
        rtmp.amf0.encode("createStream", None),
        rtmp.amf0.encode(7.0, 7.0, None),
        b"",
    ],
    ids=["text", "bool", "null", "no-name", "empty"],
)
def test_R14_commands_without_name_or_transaction_are_refused(faults: Rig, body: bytes) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.message(20, body))
        refused(faults, peer, "command without name, or with a wrong transaction id")


@pytest.mark.parametrize(
    "data",
    [
        rtmp.message(20, rtmp.amf0.encode("publish")),
        rtmp.message(20, rtmp.amf0.encode("publish", 3.0)),
        rtmp.command("publish", 3.0, *range(1000), stream=1),
        rtmp.command("pause", 3.0, None, "yes", {}, stream=1),
        rtmp.command("x" * 5000, 3.0, None),
    ],
    ids=["name-only", "no-object", "1000-arguments", "odd-pause", "long-name"],
)
def test_R14_missing_and_many_arguments_are_answered(faults: Rig, data: bytes) -> None:
    """None of them ends the connection: it goes on to answer a ping, or says why in one line."""
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.CREATE_STREAM + data + rtmp.user_control(6, 16))
        peer.until(struct.pack(">HI", 7, 16))


def test_R14_play_of_an_object_is_told_that_there_is_no_such_stream(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.CREATE_STREAM + rtmp.command("play", 3.0, None, {"a": "b"}, stream=1))
        peer.until(b"NetStream.Play.StreamNotFound")
        peer.closed_within(CLOSE)
    assert faults.line(peer)["event"] == "session closed"


@pytest.mark.parametrize("stream", [0, 1, 2, 77, 0xFFFFFFFF])
def test_R15_media_for_no_stream_is_not_kept(faults: Rig, stream: int) -> None:
    """Eight MiB of it leave nothing; a ping is still answered."""
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        if stream == 1:
            peer.send(rtmp.CREATE_STREAM)
        peer.send(rtmp.set_chunk_size(65_536))
        tag = rtmp.video(rtmp.key_frame(size=65_000), stream=stream, size=65_536)
        for _ in range(128):
            assert peer.send(tag + rtmp.audio(rtmp.sound(), stream=stream))
        peer.send(rtmp.user_control(6, 17))
        peer.until(struct.pack(">HI", 7, 17))


def test_R15_media_for_no_stream_does_not_postpone_the_timeout(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        start = time.monotonic()
        while peer.send(rtmp.audio(rtmp.sound())):
            time.sleep(0.05)
            assert time.monotonic() - start < 10
    assert "within 1 s" in faults.line(peer)["reason"]


MULTITRACK = 0x96
"""Enhanced RTMP v2: an extended video header of packet type multitrack."""

TRUNCATED = [
    b"\x17", b"\x17\x01", b"\x17\x01\x00\x00", b"\x17\x00\x00\x00", b"\x90", b"\x90av0", b"\x91hvc",
    bytes([MULTITRACK]), bytes([MULTITRACK, 0x00]), bytes([MULTITRACK, 0x11]) + b"avc1\x00\x00\xff\xff\xff",
    bytes([MULTITRACK, 0x21]) + b"avc1\x00\x00\x00\x10xx", b"\x97\x00", b"\x97\xff\xff",
    b"\xaf", b"\x9f", b"\x9f\x01",
]  # fmt: skip


@pytest.mark.parametrize("body", TRUNCATED, ids=lambda b: b.hex())
def test_R16_truncated_tags_are_refused_or_left_out(faults: Rig, body: bytes) -> None:
    """Whether it ends the session or not, there is at most one line, and the server goes on."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r16-" + body.hex())
        peer.send(rtmp.video(body) + rtmp.audio(body) + rtmp.user_control(6, 18))
        peer.end()
        peer.closed_within(CLOSE)
    assert faults.line(peer)["event"] in ("protocol violation", "session closed")


@pytest.mark.parametrize("body", [b"", b"\x17", b"\x17\x01\x00\x00"], ids=lambda b: b.hex() or "empty")
def test_R16_empty_tags_do_not_end_a_stream(faults: Rig, body: bytes) -> None:
    """Flash and some encoders send an empty tag when a source pauses."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r16e-" + body.hex())
        peer.send(rtmp.video(body[:0]) + rtmp.audio(body[:0]) + rtmp.user_control(6, 19))
        peer.until(struct.pack(">HI", 7, 19))


@pytest.mark.parametrize("body", [b"\x1d\x01\x00\x00\x00abc", b"\x91zzzzabc"], ids=lambda b: b.hex())
def test_R16_unknown_codecs_are_left_out_with_one_line(faults: Rig, body: bytes) -> None:
    name = "r16u-" + body.hex()
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, name, tags=False)
        for number in range(200):
            peer.send(rtmp.video(body, number))
        peer.send(rtmp.user_control(6, 20))
        peer.until(struct.pack(">HI", 7, 20))
    lines = [
        line
        for line in faults.server.log()
        if line.get("path") == f"live/{name}" and "track" in line["event"]
    ]
    assert len(lines) == 1, lines


@pytest.mark.parametrize("kind", [6, 7, 15])
def test_R16_reserved_packet_types_are_refused(faults: Rig, kind: int) -> None:
    """Types 6 and 7 are multitrack and modifier, which need more bytes than there are; 15 is reserved."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, f"r16r-{kind}")
        peer.send(rtmp.video(bytes([0x90 | kind]) + b"\x7f"))
        refused(faults, peer, "is reserved", "truncated", "E-RTMP")


def avcc(sps: int = 1, length: int = 26, nal_size: int = 4) -> bytes:
    body = rtmp.AVCC
    return body[:4] + bytes([0xFC | nal_size - 1, 0xE0 | sps]) + struct.pack(">H", length) + body[8:]


@pytest.mark.parametrize(
    "config",
    [
        avcc(sps=0),
        avcc(sps=31),
        avcc(length=0),
        avcc(length=5000),
        avcc(length=65_535),
        avcc(nal_size=3),
        b"",
        b"\x01",
    ],
    ids=["0-sps", "31-sps", "empty-sps", "past-the-end", "far-past", "length-size-3", "empty", "one-byte"],
)
def test_R17_bad_avc_config_records(faults: Rig, config: bytes) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r17", tags=False)
        peer.send(rtmp.video(b"\x17\x00\x00\x00\x00" + config) + rtmp.video(rtmp.key_frame(), 40))
        peer.end()
        peer.closed_within(CLOSE)
    assert faults.line(peer)["event"] in ("protocol violation", "session closed")


def test_R17_config_that_changes_1000_times_a_second(faults: Rig) -> None:
    """Two configs in turn before each of 3000 frames, with a player that is told of each."""
    other = rtmp.CONFIG_TAG.replace(bytes.fromhex("6764000c"), bytes.fromhex("67640015"))
    assert other != rtmp.CONFIG_TAG
    with faults.watched(rss=16 * MIB), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, "r17c")
        peer.send(rtmp.video(rtmp.key_frame(b"first")))
        rtmp.playing(player, "r17c")
        for second in range(3):
            for number in range(1000):
                config = other if number % 2 else rtmp.CONFIG_TAG
                now = second * 1000 + number
                last = now == 2999
                peer.send(
                    rtmp.video(config, now) + rtmp.video(rtmp.key_frame(b"final" if last else b""), now)
                )
        player.until(b"final", 20)
        peer.stays_open(0.1)


def test_R18_ping_flood_is_answered_sparingly(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "r18")
        peer.received = b""
        for _ in range(100):
            assert peer.send(rtmp.user_control(6, 1) * 1000)
        peer.send(rtmp.video(rtmp.key_frame()))
        try:
            peer.stays_open(0.5)
        finally:
            answered = peer.received.count(struct.pack(">HI", 7, 1))
        assert 1 <= answered < 50_000, answered


@pytest.mark.parametrize("event", [8, 31, 32, 33, 255, 0x7FFF, 0xFFFF])
def test_R18_unknown_events_are_ignored(faults: Rig, event: int) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.user_control(event, 0xFFFFFFFF) * 100)
        peer.send(rtmp.message(4, struct.pack(">H", event), csid=2) + rtmp.user_control(6, 21))
        peer.until(struct.pack(">HI", 7, 21))


@pytest.mark.parametrize(
    "verb", [b"POST /open/1 HTTP/1.1\r\n\r\n", b"POST /idle/1/2 HTTP/1.1\r\n\r\n"], ids=["open", "idle"]
)
def test_R19_tunnelling_verbs_are_refused(faults: Rig, verb: bytes) -> None:
    with faults.watched(), faults.peer() as peer:
        peer.send(verb)
        refused(faults, peer, "HTTP request on an RTMP port")
        assert peer.received.startswith(b"HTTP/1.1 400 ")


FLOOD: list[Callable[[], bytes]] = [
    lambda: rtmp.command("foo", 5.0, None),
    lambda: rtmp.command("releaseStream", 5.0, None, "x"),
]


@pytest.mark.parametrize("make", FLOOD, ids=["unknown", "releaseStream"])
def test_R14_flood_of_commands_from_a_peer_that_does_not_read(faults: Rig, make: Callable[[], bytes]) -> None:
    """Replies that nobody takes are bounded: the connection ends."""
    with faults.watched(rss=4 * MIB), faults.peer(receive_buffer=4096) as peer:
        rtmp.connected(peer)
        data = make() * 500
        start = time.monotonic()
        while peer.send(data):
            assert time.monotonic() - start < 20, "it answers for ever"
    assert faults.line(peer)["reason"]
