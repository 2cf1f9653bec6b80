"""Faults in AMF and FLV tags beside a canary: rows A1 to A9 of the list of bad inputs."""

from __future__ import annotations

import struct
import time

import pytest

from . import log, rtmp
from .peer import Peer
from .refusal import CLOSE
from .rig import Rig
from .server import MIB

NOT_APPLICABLE = {
    "A9 (previous tag size, data offset)": "no FLV file is read: tags come in RTMP messages, which have their own sizes",
}
COMMAND = rtmp.amf0.encode("createStream", 2.0)
DATA = rtmp.amf0.encode("onMetaData")
END = b"\x00\x00\x09"


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def amf3(value: bytes) -> bytes:
    return b"\x11" + value


def nested(depth: int) -> bytes:
    return b"\x03\x00\x01a" * depth


REFUSED = {
    "A1-objects": nested(10_000),
    "A1-ecma-arrays": b"\x08\x00\x00\x00\x01\x00\x01a" * 7_000,
    "A1-strict-arrays": b"\x0a\x00\x00\x00\x01" * 10_000,
    "A1-amf3-arrays": amf3(b"\x09\x03\x01" * 10_000),
    "A1-amf3-objects": amf3(b"\x0a\x0b\x01\x03a" * 10_000),
    "A2-strict-array": b"\x0a\xff\xff\xff\xff",
    "A2-strict-array-short": b"\x0a\x00\x00\x00\x05\x05",
    "A2-amf3-array": amf3(b"\x09\xff\xff\xff\xff\x01"),
    "A2-amf3-vector": amf3(b"\x0d\xff\xff\xff\xff\x00"),
    "A2-amf3-bytes": amf3(b"\x0c\xff\xff\xff\xff"),
    "A3-long-string": b"\x0c\xff\xff\xff\xff",
    "A3-string": b"\x02\xff\xff",
    "A3-amf3-string": amf3(b"\x06\xff\xff\xff\xff"),
    "A4-reference": b"\x07\x00\x07",
    "A4-amf3-string-reference": amf3(b"\x06\x10"),
    "A4-amf3-object-reference": amf3(b"\x0a\x10"),
    "A4-amf3-traits-reference": amf3(b"\x0a\x09"),
    "A5-no-end": b"\x03\x00\x01a\x05",
    "A5-no-end-after-key": b"\x03\x00\x01a",
    "A5-empty-key-and-no-end": b"\x03\x00\x00",
    "A6-externalizable": amf3(b"\x0a\x07\x0fos.path"),
}


def test_rows_that_do_not_apply_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for row, reason in NOT_APPLICABLE.items():
        print(f"{row}: {reason}")
    assert capsys.readouterr().out


def test_A1_to_A6_wrong_values_in_commands_are_refused(faults: Rig) -> None:
    """Each is one session, which ends at once with one line that says what was wrong, and where."""
    with faults.watched():
        for name, value in REFUSED.items():
            with faults.peer() as peer:
                rtmp.connected(peer)
                peer.send(rtmp.message(20, COMMAND + value))
                _refused(faults, peer, name)


def test_A1_to_A6_wrong_values_in_data_are_refused(faults: Rig) -> None:
    with faults.watched():
        for name, value in REFUSED.items():
            with faults.peer() as peer:
                rtmp.publishing(peer, f"a-{name}")
                peer.send(rtmp.message(18, DATA + value, stream=1))
                _refused(faults, peer, name)


def _refused(faults: Rig, peer: Peer, name: str) -> None:
    try:
        peer.closed_within(CLOSE)
        line = faults.line(peer)
        assert line["event"] == "protocol violation", line
        assert "AMF" in line["reason"], line
    except AssertionError as error:
        error.add_note(name)
        raise


ACCEPTED = {
    "A2-ecma-count": b"\x08\xff\xff\xff\xff" + END,
    "A4-self-reference": b"\x03\x00\x01a\x07\x00\x00" + END,
    "A5-empty-key": b"\x03\x00\x00\x05\x00\x01a\x05" + END,
    "A5-duplicate-keys": b"\x03" + b"\x00\x01a\x05" * 15_000 + END,
    "A6-typed-object": b"\x10" + text(b"subprocess.Popen") + text(b"args") + b"\x02" + text(b"true") + END,
}
"""What some decoders fall over: here each is a value like any other, or a violation, and nothing else."""


def test_A2_to_A6_odd_values_are_taken_or_refused(faults: Rig) -> None:
    """The count of an ECMA array is only a hint (AMF0 2.10); a typed object is its members and no class is made."""
    with faults.watched():
        for name, value in ACCEPTED.items():
            with faults.peer() as peer:
                rtmp.connected(peer)
                peer.send(rtmp.message(20, COMMAND + value) + rtmp.user_control(6, 1))
                peer.end()
                peer.closed_within(CLOSE)
            line = faults.line(peer)
            assert line["event"] in ("protocol violation", "session closed"), name


ODD_TEXTS = {
    "invalid-utf8": b"r\xff\xfe\x80x",
    "nul": b"a\x00b",
    "bidi": "a\u202eb\u2066c".encode(),
    "controls": b"a\x1b[2J\r\n\x07b",
    "surrogate": b"a\xed\xa0\x80b",
    "log-line": b'a"}\n{"level": "error", "event": "made up"}',
    "long": b"n" * 60_000,
}


@pytest.mark.parametrize("value", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_A3_odd_text_is_escaped_wherever_it_is_shown(faults: Rig, value: bytes) -> None:
    """As app, as stream name and as the name of a command: one short line of printable text."""
    string = b"\x02" + text(value)
    app = rtmp.amf0.encode("connect", 1.0) + b"\x03" + text(b"app") + string + END
    publish = rtmp.amf0.encode("publish", 3.0, None) + string
    with faults.watched():
        for data in (
            rtmp.message(20, app) + rtmp.CREATE_STREAM + rtmp.publish("name"),
            rtmp.CONNECT + rtmp.CREATE_STREAM + rtmp.message(20, publish, stream=1),
            rtmp.CONNECT + rtmp.message(20, string + rtmp.amf0.encode(5.0, None)),
        ):
            with faults.peer() as peer:
                rtmp.shake(peer)
                peer.send(data)
                peer.end()
                peer.closed_within(CLOSE)
            faults.line(peer)
    for raw in faults.server.raw_log():
        if raw.startswith(b"{"):
            log.check(raw)


def test_A4_chain_of_references_is_not_walked(faults: Rig) -> None:
    """Each object holds the one before it twice: walked, it would have 2^40 members."""
    value = b"\x03" + b"".join(
        text(b"k%d" % n) + b"\x03" + (text(b"a") + b"\x07" + struct.pack(">H", n)) + text(b"b") + b"\x07"
        + struct.pack(">H", n) + END
        for n in range(40)
    ) + END  # fmt: skip
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "a4")
        before = faults.server.cpu
        peer.send(rtmp.message(18, DATA + value, stream=1) + rtmp.user_control(6, 4))
        peer.end()
        peer.closed_within(CLOSE)
        assert faults.server.cpu - before < 1
    assert faults.line(peer)["reason"]


def test_A5_a_million_duplicate_keys_are_not_even_read(faults: Rig) -> None:
    """A command is at most 64 KiB long; a longer one is refused before it is looked at."""
    with faults.watched(rss=8 * MIB), faults.peer() as peer:
        rtmp.connected(peer)
        peer.send(rtmp.set_chunk_size(65_536))
        peer.send(rtmp.message(20, COMMAND + b"\x03" + b"\x00\x01a\x05" * 1_000_000 + END, size=65_536))
        peer.closed_within(CLOSE)
    assert "longer than 65536" in faults.line(peer)["reason"]


def test_A7_numbers_that_cannot_be_are_not_passed_on(faults: Rig) -> None:
    """NaN, infinities and a negative width are left out of what players get; the rest is passed on."""
    nan = float("nan")
    values = {"duration": nan, "width": -1.0, "height": float("inf"), "videocodecid": 7.0, "title": "kept"}
    date = (
        b"\x03"
        + text(b"day")
        + b"\x0b"
        + struct.pack(">dh", nan, 0)
        + text(b"encoder")
        + b"\x02"
        + text(b"e")
        + END
    )
    with faults.watched(), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, "a7", tags=False)
        peer.send(
            rtmp.script("@setDataFrame", "onMetaData", values) + rtmp.message(18, DATA + date, stream=1)
        )
        peer.send(rtmp.script("@setDataFrame", "onMetaData", values))
        peer.send(rtmp.video(rtmp.CONFIG_TAG) + rtmp.video(rtmp.key_frame(b"picture")))
        rtmp.playing(player, "a7")
        data = player.until(b"picture")
        assert b"kept" in data
        assert struct.pack(">d", nan)[:2] not in data[data.index(b"onMetaData") : data.index(b"kept")]
        assert struct.pack(">d", -1.0) not in data[data.index(b"onMetaData") :]


def test_A8_metadata_of_1_mib_is_left_out(faults: Rig) -> None:
    """It never ends a stream for being long: it is counted, and the stream goes on."""
    big = rtmp.message(18, DATA + b"\x03" + text(b"big") + b"\x0c" + struct.pack(">I", 1 << 20) + b"m" * (1 << 20) + END,
                       stream=1, size=65_536)  # fmt: skip
    with faults.watched(rss=8 * MIB), faults.peer() as peer:
        rtmp.publishing(peer, "a8")
        peer.send(rtmp.set_chunk_size(65_536))
        for _ in range(30):
            assert peer.send(big)
        peer.send(rtmp.user_control(6, 8))
        peer.until(struct.pack(">HI", 7, 8), 10)


def test_A8_metadata_1000_times_a_second_is_capped(faults: Rig) -> None:
    """A player is told of few of 3000 changes; the publisher is not ended for them."""
    with faults.watched(rss=8 * MIB), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, "a8r")
        peer.send(rtmp.video(rtmp.key_frame(b"first")))
        rtmp.playing(player, "a8r")
        for number in range(3000):
            assert peer.send(
                rtmp.script("@setDataFrame", "onMetaData", {"n": float(number), "t": "x" * 1000})
            )
        peer.send(rtmp.video(rtmp.key_frame(b"final"), 40))
        data = player.until(b"final")
        assert data.count(b"onMetaData") < 100


def test_A9_script_tag_late_or_never(faults: Rig) -> None:
    """Without metadata a stream is ready after two seconds with what has come; metadata in its midst is told."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "a9", tags=False)
        peer.send(rtmp.video(rtmp.CONFIG_TAG) + rtmp.video(rtmp.key_frame(b"first")))
        for number in range(1, 24):
            time.sleep(0.1)
            peer.send(rtmp.video(rtmp.inter_frame(), number * 100))
        with faults.peer() as player:
            rtmp.playing(player, "a9")
            player.until(b"first")
            peer.send(rtmp.script("@setDataFrame", "onMetaData", {"title": "late"}))
            peer.send(rtmp.video(rtmp.inter_frame(b"second"), 2500))
            assert b"late" in player.until(b"second")


@pytest.mark.parametrize("size", [0, 1, 4, 11])
def test_A9_tags_past_the_end_of_their_message(faults: Rig, size: int) -> None:
    """A NAL unit that says it is longer than its tag: that frame is left out, and the stream goes on."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, f"a9-{size}")
        bad = b"\x17\x01\x00\x00\x00" + struct.pack(">I", 0xFFFFFFFF) + b"x" * size
        peer.send(rtmp.video(bad) * 20 + rtmp.video(rtmp.key_frame(), 40) + rtmp.user_control(6, 9))
        peer.until(struct.pack(">HI", 7, 9))
