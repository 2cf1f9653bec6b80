"""RTMP, AMF and FLV tags under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.amf import Date, EcmaArray, TypedObject, amf0, amf3
from penstock_formats.flv import (
    AudioPacket,
    PacketType,
    VideoPacket,
    build_audio,
    build_video,
    parse_audio,
    parse_video,
)
from penstock_rtmp.aggregate import split_aggregate
from penstock_rtmp.chunk import MAX_CHUNK_SIZE, MAX_PARTIAL_BYTES, ChunkReader, Message, encode_message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.handshake import ClientHandshake, ServerHandshake
from penstock_rtmp.message import (
    Command,
    Data,
    MessageType,
    encode_command,
    encode_control,
    encode_data,
    encode_user_control,
    parse,
)
from tests.contracts.case import ParserCase
from tests.rtmp.drive import RANDOM, drain, feed, server

DATA = Path(__file__).parents[1] / "data" / "rtmp"
CAPTURES = [p.read_bytes() for p in sorted(DATA.glob("*.bin"))]
PUSH = Target("live", "rtmp://h/live", "s", publish=True)
PULL = Target("live", "rtmp://h/live", "s")


@frozen(eq=False)
class Values:
    """AMF values, equal where their encoding is: NaN equals NaN."""

    items: list[Any]
    encode: Callable[..., bytes]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self.encode(*self.items) == other.encode(*other.items)


def _values(module: Any) -> Callable[[bytes], Values]:
    return lambda data: Values(module.decode(data), module.encode)


def _encode_values(values: Values) -> bytes:
    return values.encode(*values.items)


SAMPLE: list[Any] = [
    "onMetaData",
    EcmaArray(width=1280.0, height=720.0, stereo=True, encoder="x" * 70_000),
    {"a": [None, 1.5, {"b": ""}], "": Date(1e12)},
    TypedObject("flex.Thing", {"x": float("nan")}),
    b"bytes",
    False,
]
AMF0_REFERENCE = b"\x03\0\1a\x03\0\1b\x05\0\0\x09\0\1c\x07\0\1\0\0\x09"
AMF0_CHAIN = (
    b"\x03"
    + b"".join(
        b"\0\1a\x03" + (b"\0\1b\x07" + i.to_bytes(2, "big") if i else b"") + b"\0\0\x09" for i in range(40)
    )
    + b"\0\0\x09"
)
"""Each object refers to the one before it, which must not make them deeper than objects may be."""
AMF0_WIDE = b"\x0a\0\0\0\x40" + b"\x05" * 64 + b"\x07\0\0" * 1200
"""References to a wide array count for what is in it."""
AMF3_ALL = (
    b"\x00\x01\x02\x03\x04\x81\x80\x80\x00\x04\x85\x01\x05"
    + bytes(8)
    + b"\x06\x05hi\x06\x00\x07\x05<>\x08\x01"
    + bytes(8)
    + b"\x09\x05\x05ab\x04\x01\x01\x04\x02\x04\x03\x09\x05\x01\x04\x02\x04\x03\x0a\x23\x03C\x03m\x03n\x01\x02"
    + b"\x0a\x0b\x01\x03k\x04\x05\x01\x0a\x05\x03\x04\x01\x04\x01\x01\x0b\x03x\x0c\x05yz\x0d\x05\x00"
    + bytes(8)
    + b"\x0e\x03\x01\xff\xff\xff\xff\x0f\x03\x00"
    + bytes(8)
    + b"\x10\x03\x00\x01\x01\x11\x03\x00\x04\x01\x04\x02\x09\x02"
)


def _messages(data: bytes) -> list[Message]:
    reader = ChunkReader()
    reader.receive_data(data)
    found: list[Message] = []
    while (message := reader.next_message()) is not None:
        found.append(message)
    return found


def _feed_chunks(pieces: Iterable[bytes]) -> list[Any]:
    reader = ChunkReader()
    found: list[Any] = []
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (message := reader.next_message()) is not None:
                found.append(message)
        except ProtocolViolation as error:
            return [*found, str(error)]
    return found


def _encode_messages(messages: list[Message]) -> bytes:
    return b"".join(encode_message(3, m.timestamp, m.type, m.stream_id, m.payload) for m in messages)


CHUNKS = [
    encode_message(4, 1, 9, 1, bytes(1000)),
    encode_control(1, 2) + encode_message(70, 0x1000000, 9, 1, bytes(range(256)), 2) * 2,
    encode_control(1, 300) + encode_message(400, 0xFFFFFF, 8, 1, b"abcd" * 200, 300),
    encode_message(3, 5, 20, 0, b"x")
    + b"\xc3y"
    + b"\x83\0\0\5z"
    + b"\x43\0\0\1\0\0\2\x14ab"
    + encode_control(2, 3),
    encode_message(5, 0x2000000, 8, 1, bytes(300), 128)[: 12 + 4 + 128]
    + encode_control(2, 5)
    + b"\xc5\0\0\0\0" * 4,
    encode_message(5, 0x2000000, 8, 1, b"q" * 300).replace(b"\xc5\2\0\0\0", b"\xc5"),
]


def _aggregate(data: bytes) -> list[Message]:
    return split_aggregate(Message(22, 1, 1000, data))


def _tag(kind: int, time: int, body: bytes) -> bytes:
    head = bytes((kind,)) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big")
    return head + bytes((time >> 24, 0, 0, 0)) + body + (len(body) + 11).to_bytes(4, "big")


def _feed_handshake(make: Callable[[bytes, int], Any]) -> Callable[[Iterable[bytes]], list[Any]]:
    def run(pieces: Iterable[bytes]) -> list[Any]:
        handshake, rest = make(RANDOM, 7), bytearray()
        out = handshake.data_to_send()
        for piece in pieces:
            if handshake.done:
                rest += piece
                continue
            try:
                handshake.receive_data(piece)
            except ProtocolViolation as error:
                return [out + handshake.data_to_send(), str(error)]
            out += handshake.data_to_send()
            rest += handshake.rest() if handshake.done else b""
        return [out, handshake.done, bytes(rest)]

    return run


def _raising(run: Callable[[Iterable[bytes]], list[Any]]) -> Callable[[bytes], list[Any]]:
    def parse_whole(data: bytes) -> list[Any]:
        events = run([data])
        if events and isinstance(events[-1], str):
            raise ProtocolViolation(events[-1])
        return events

    return parse_whole


def _serve(pieces: Iterable[bytes]) -> list[Any]:
    return [repr(event) for event in feed(server(), pieces)]


def _request(target: Target) -> Callable[[Iterable[bytes]], list[Any]]:
    def run(pieces: Iterable[bytes]) -> list[Any]:
        client = ClientConnection(target, RANDOM, 7)
        events = [repr(event) for event in feed(client, pieces)]
        client.finish()
        return events

    return run


def _fails(run: Callable[[Iterable[bytes]], list[Any]]) -> Callable[[bytes], list[Any]]:
    """Violations come out as a quoted reason: the events' own text begins with a class name."""

    def parse_whole(data: bytes) -> list[Any]:
        events = run([data])
        if events and events[-1][0] in "'\"":
            raise ProtocolViolation(events[-1])
        return events

    return parse_whole


def _answers() -> list[bytes]:
    """What a server sends to a publisher and to a player."""
    found: list[bytes] = []
    for capture in CAPTURES:
        connection = server()
        feed(connection, [capture])
        found.append(connection.data_to_send())
    return found


def _command(name: str, transaction: float, *arguments: Any, stream_id: int = 0, object: Any = None) -> bytes:
    return encode_command(Command(name, transaction, object, arguments, stream_id), 128)


def _data(*values: Any) -> bytes:
    return encode_data(Data(values, 1, 5), 128)


def _sessions() -> list[bytes]:
    """What clients may do that the captured ones did not."""
    fourccs = {"hvc1": 4, "x": "y"}
    given = {
        "app": "a?b",
        "fourCcList": ["av01", 5],
        "videoFourCcInfoMap": fourccs,
        "capsEx": 3,
        "objectEncoding": 3,
    }
    start = b"\3" + bytes(3072) + _command("connect", 1, object=given) + _command("createStream", 2)
    publish = start + _command("publish", 3, "s", "record", stream_id=1)
    play = start + _command("play", 3, "s", 5.0, 6.0, False, stream_id=1)
    tags = _tag(8, 990, b"sound") + _tag(9, 1010, b"picture")
    odd = {
        "width": -1.0,
        "duration": float("nan"),
        "a": [1.5, True, None, [[1.0]], Date(5.0)],
        "d": Date(float("inf")),
    }
    return [
        b"\3" + bytes(3072) + _command("connect", 1, object={"app": "no"}) + PINGS,
        b"\3" + bytes(3072) + _command("createStream", 1),
        start + _command("connect", 1, object=given),
        start + _command("odd", 5) * 65,
        publish + _command("FCUnpublish", 4, "other"),
        start + _command("publish", 3, "no", stream_id=1) + _command("play", 3, "no", stream_id=1),
        start + _command("createStream", 3) * 40 + _command("play", 0, stream_id=99) + _command("odd", 0),
        publish
        + _command("publish", 3, "s", stream_id=1)
        + _command("deleteStream", 0, 9.0)
        + _command("deleteStream", 0, "1"),
        publish + encode_message(6, 1000, 22, 1, tags) + encode_message(6, 1000, 22, 2, tags),
        publish
        + _data("onMetaData", odd)
        + _data("@setDataFrame", "onCuePoint", 1.0)
        + _data("@clearDataFrame", "onMetaData"),
        publish
        + _data("onTextData", {})
        + _data(5.0)
        + _data("onMetaData", {str(i): b"?" for i in range(200)})
        + _data("x") * 40,
        publish
        + _command("FCUnpublish", 4, "s")
        + _command("FCSubscribe", 0)
        + _command("releaseStream", 0)
        + _command("seek", 0),
        publish
        + _command("closeStream", 0, stream_id=1)
        + encode_control(3, 9)
        + encode_control(6, 5, b"\0")
        + PINGS,
        play + _command("pause", 0, True, 5.0, stream_id=1) + _command("pause", 0, stream_id=1),
        play
        + _command("pauseRaw", 0, False, "x", stream_id=1)
        + encode_user_control(3, 1, 300)
        + encode_user_control(0, 1),
        publish
        + encode_control(5, 1000)
        + encode_message(6, 0, 9, 1, bytes(2000))
        + encode_message(6, 0, 99, 1, b"?"),
    ]


def _replies() -> list[bytes]:
    """What servers may say that ours did not."""
    start = b"\3" + bytes(3072)
    welcome = (
        start + _command("_result", 1.0, {"code": "x"}, object={"capsEx": 2}) + encode_control(6, 5000, b"\2")
    )
    stream = welcome + _command("_result", 4.0, 1.0)
    return [
        start + _command("_error", 1.0, {"code": "no", "description": "who\udcff"}) + _command("_error", 9.0),
        stream + _command("_result", 4.0, 2.0) + _command("onStatus", 0, {"level": "error", "code": 5.0}),
        stream
        + _command("onStatus", 0, {"code": "NetStream.Publish.Start"})
        + _command("onStatus", 0, "none"),
        stream
        + _command("onStatus", 0, {"code": "NetStream.Play.Start"})
        + _command("onStatus", 0, {"code": "NetStream.Play.Stop"}),
        stream + encode_user_control(1, 1) + encode_user_control(1, 7) + _data("onMetaData", {"width": 5.0}),
        stream + encode_message(6, 7, 9, 1, b"picture") + encode_message(6, 7, 9, 5, b"picture") + PINGS,
        welcome + encode_control(6, 0, b"\2") + _command("_result", 4.0, "none"),
        welcome + _command("_result", 4.0),
    ]


PINGS = encode_user_control(6, 99) * 10 + encode_control(MessageType.WINDOW_ACK_SIZE, 1000)
VIDEO = [
    [VideoPacket(7, PacketType.SEQUENCE_START, b"\1\2\3", 1)],
    [VideoPacket(7, PacketType.CODED_FRAMES, b"\1\2\3", 2, -40)],
    [VideoPacket(2, PacketType.CODED_FRAMES, b"\1\2\3", 1)],
    [VideoPacket(2, PacketType.COMMAND, b"\0", 5)],
    [VideoPacket("", PacketType.COMMAND, b"\0", 5)],
    [VideoPacket("hvc1", PacketType.CODED_FRAMES, b"frame", 1, 80, nanoseconds=500)],
    [VideoPacket("av01", PacketType.CODED_FRAMES, b"frame", 2, track_id=3)],
    [VideoPacket("hvc1", PacketType.CODED_FRAMES, b"a" * i, 1, i, i) for i in range(3)],
    [
        VideoPacket("hvc1", PacketType.CODED_FRAMES, b"a", 1),
        VideoPacket("av01", PacketType.CODED_FRAMES, b"b", 1, 0, 1),
    ],
]
AUDIO = [
    [AudioPacket(10, PacketType.SEQUENCE_START, b"\x12\x10", 3, True, True)],
    [AudioPacket(2, PacketType.CODED_FRAMES, b"mp3", 2, True)],
    [AudioPacket("Opus", PacketType.CODED_FRAMES, b"frame", nanoseconds=1)],
    [AudioPacket("Opus", PacketType.MULTICHANNEL_CONFIG, b"\1\2", track_id=1)],
    [AudioPacket("Opus", PacketType.CODED_FRAMES, b"frame", track_id=i) for i in range(2)],
    [AudioPacket(c, PacketType.CODED_FRAMES, b"frame", track_id=i) for i, c in enumerate(("Opus", "mp4a"))],
]
CONTROLS = [bytes((t,)) + bytes(6) for t in (3, 4, 5, 6, 8)] + [
    b"\x04\0\3" + bytes(8),
    b"\x04\0\7" + bytes(4),
]
COMMANDS = [
    bytes((20,)) + amf0.encode("connect", 1, {"app": "live"}, 5),
    bytes((17, 0)) + amf0.encode("connect", 1) + b"\x11" + amf3.encode({"app": "live"}),
    bytes((18,)) + amf0.encode("onMetaData", {"width": 5}),
    bytes((15, 0)) + amf0.encode("onMetaData", {"width": 5}),
]
PENDING = MAX_PARTIAL_BYTES + 2 * MAX_CHUNK_SIZE
"""Unfinished messages of all chunk streams, and what one read brings."""


def _fresh(make: Callable[[], Any]) -> Callable[[], tuple[object, Callable[[bytes], object]]]:
    def build() -> tuple[object, Callable[[bytes], object]]:
        connection = make()

        def take(piece: bytes) -> None:
            connection.receive_data(piece)
            drain(connection)
            connection.data_to_send()

        return connection, take

    return build


def _fresh_chunks() -> tuple[object, Callable[[bytes], object]]:
    reader = ChunkReader()

    def take(piece: bytes) -> None:
        reader.receive_data(piece)
        while reader.next_message() is not None:
            pass

    return reader, take


CASES: list[ParserCase] = [
    ParserCase(
        "amf0",
        _values(amf0),
        [
            amf0.encode(*SAMPLE),
            AMF0_REFERENCE,
            b"\x0c\0\0\0\1x\x0f\0\0\0\1y\x0d\x06",
            b"\x08\0\0\0\0\0\1a\x05",
            b"\x11\x0c\x03x",
            AMF0_CHAIN,
            AMF0_WIDE,
            b"\x03\0\1a" * 40,
        ],
        ["penstock_formats.amf.amf0", "penstock_formats.amf.value"],
        encode=_encode_values,
        seeds=["gortmplib/pkg/amf0/FuzzUnmarshal"],
    ),
    ParserCase(
        "amf3",
        _values(amf3),
        [amf3.encode(*SAMPLE, [1, -1, 1 << 40], 300, 20_000, 5_000_000), AMF3_ALL],
        ["penstock_formats.amf.amf3"],
        encode=_encode_values,
        seeds=["gortmplib/pkg/amf0/FuzzUnmarshal"],
    ),
    ParserCase(
        "flv video tag",
        parse_video,
        [build_video(each) for each in VIDEO],
        ["penstock_formats.flv.tag", "penstock_formats.flv.build", "penstock_formats.flv.packet"],
        encode=build_video,
    ),
    ParserCase(
        "flv audio tag",
        parse_audio,
        [build_audio(each) for each in AUDIO],
        ["penstock_formats.flv.tag", "penstock_formats.flv.build"],
        encode=build_audio,
    ),
    ParserCase(
        "rtmp chunks",
        _messages,
        CHUNKS + [c[3073:] for c in CAPTURES],
        ["penstock_rtmp.chunk"],
        feed=_feed_chunks,
        encode=_encode_messages,
        seeds=[
            "gortmplib/pkg/chunk/FuzzChunk0Read",
            "gortmplib/pkg/chunk/FuzzChunk2Read",
            "gortmplib/pkg/rawmessage/FuzzReader",
            "gortmplib/pkg/message/FuzzReader",
        ],
        fresh=_fresh_chunks,
        limit=PENDING,
    ),
    ParserCase(
        "rtmp message",
        lambda data: repr(parse(Message(data[0] if data else 0, 1, 0, data[1:]))),
        CONTROLS + COMMANDS,
        ["penstock_rtmp.message"],
    ),
    ParserCase(
        "rtmp aggregate",
        _aggregate,
        [
            _tag(8, 990, b"sound") + _tag(9, 1010, b"picture") + _tag(18, 0x1000000, b"") + _tag(7, 0, b"?"),
            _tag(8, 990, b"") * 4097,
            _tag(8, 990, b"") + _tag(22, 990, b""),
        ],
        ["penstock_rtmp.aggregate"],
    ),
    ParserCase(
        "rtmp server handshake",
        _raising(_feed_handshake(ServerHandshake)),
        [CAPTURES[0][:3080], b"\3" + bytes(3072), b"\3" + RANDOM],
        ["penstock_rtmp.handshake", "penstock_rtmp.digest"],
        feed=_feed_handshake(ServerHandshake),
    ),
    ParserCase(
        "rtmp client handshake",
        _raising(_feed_handshake(ClientHandshake)),
        [_answers()[0][:3080], b"\3" + bytes(3072), b"\3" + RANDOM],
        ["penstock_rtmp.handshake", "penstock_rtmp.digest"],
        feed=_feed_handshake(ClientHandshake),
    ),
    ParserCase(
        "rtmp server connection",
        _fails(_serve),
        [*CAPTURES, CAPTURES[0] + PINGS, *_sessions()],
        [
            "penstock_rtmp.connection",
            "penstock_rtmp.link",
            "penstock_formats.flv.metadata",
            "penstock_rtmp.capability",
        ],
        feed=_serve,
        seeds=["gortmplib/pkg/message/FuzzReader"],
        fresh=_fresh(server),
        limit=PENDING,
    ),
    ParserCase(
        "rtmp client that publishes",
        _fails(_request(PUSH)),
        [*(a + PINGS for a in _answers()[:2]), *_replies()],
        ["penstock_rtmp.client_connection"],
        feed=_request(PUSH),
        fresh=_fresh(lambda: ClientConnection(PUSH, RANDOM, 7)),
        limit=PENDING,
    ),
    ParserCase(
        "rtmp client that plays",
        _fails(_request(PULL)),
        [*(a + PINGS for a in _answers()[1:]), *_replies()],
        ["penstock_rtmp.client_connection"],
        feed=_request(PULL),
        fresh=_fresh(lambda: ClientConnection(PULL, RANDOM, 7)),
        limit=PENDING,
    ),
]
