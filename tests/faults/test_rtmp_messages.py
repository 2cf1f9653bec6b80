"""Faults of RTMP messages beside a canary: rows R11 to R19 of the list of bad inputs."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from . import rtmp
from .refusal import CLOSE, refused
from .rig import Rig
from .server import MIB

NOT_APPLICABLE = {
    "R19": "tunnelling (RTMPT) is not supported; its verbs are refused, which test_R19 asserts",
}


def test_rows_that_do_not_apply_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for row, reason in NOT_APPLICABLE.items():
        print(f"{row}: {reason}")
    assert capsys.readouterr().out


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
