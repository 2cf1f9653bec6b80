from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import ProtocolViolation
from penstock_formats.amf import EcmaArray, amf0
from penstock_rtmp.chunk import ChunkReader, Message, encode_message
from penstock_rtmp.connection import MAX_STREAMS, ServerConnection
from penstock_rtmp.event import Connect, Metadata, Pause, Play, Publish, Script, StreamClosed
from penstock_rtmp.message import (
    Command,
    Data,
    encode_command,
    encode_control,
    encode_data,
    encode_user_control,
    parse,
)
from penstock_rtmp.state import ConnectionState, StreamState
from tests.rtmp.drive import drain, feed, server


def command(name: str, transaction: float, *arguments: Any, stream_id: int = 0, object: Any = None) -> bytes:
    return encode_command(Command(name, transaction, object, arguments, stream_id), 128)


CONNECT = command("connect", 1, object={"app": "live?k=v", "tcUrl": "rtmp://h/live"})


def opened() -> ServerConnection:
    connection = server()
    connection.receive_data(b"\3" + bytes(3072))
    assert drain(connection) == []
    connection.data_to_send()
    return connection


def connected(*data: bytes) -> tuple[ServerConnection, list[Any]]:
    connection = opened()
    connection.receive_data(CONNECT + b"".join(data))
    events = drain(connection)
    return connection, events[1:]


def replies(connection: ServerConnection) -> list[Any]:
    reader = ChunkReader()
    reader.receive_data(connection.data_to_send())
    found: list[Any] = []
    while (message := reader.next_message()) is not None:
        found.append(parse(message))
    return found


def codes(connection: ServerConnection) -> list[str]:
    firsts = [r.arguments[0] for r in replies(connection) if isinstance(r, Command) and r.arguments]
    return [first["code"] for first in firsts if isinstance(first, dict)]


CREATE = command("createStream", 2)
PUBLISH = command("publish", 3, "s", "live", stream_id=1)
PLAY = command("play", 3, "s", stream_id=1)


def test_connect_waits_for_the_decision() -> None:
    connection = opened()
    connection.receive_data(CONNECT + CREATE)
    event = connection.next_event()
    assert isinstance(event, Connect)
    assert (event.app, event.tc_url, event.query) == ("live", "rtmp://h/live", "k=v")
    assert connection.deciding
    assert connection.next_event() is None
    assert connection.data_to_send() == b""
    connection.accept_connect()
    assert connection.next_event() is None
    results = [r for r in replies(connection) if isinstance(r, Command)]
    assert [r.transaction for r in results] == [1, 2]
    assert results[1].arguments == (1,)


def test_enhanced_rtmp_is_announced_to_those_who_did() -> None:
    connection = opened()
    given = {
        "app": "a",
        "fourCcList": ["av01"],
        "videoFourCcInfoMap": {"hvc1": 7, "x": float("nan")},
        "capsEx": 2,
    }
    connection.receive_data(command("connect", 1, object=given))
    event = connection.next_event()
    assert isinstance(event, Connect)
    assert event.fourccs == {"av01": 5, "hvc1": 7, "x": 0}
    assert event.caps == 2
    connection.accept_connect(["hvc1"], ["Opus"])
    result = replies(connection)[-1]
    assert result.object["videoFourCcInfoMap"] == {"hvc1": 4}
    assert result.arguments[0]["fourCcList"] == ["hvc1", "Opus"]


def test_publish_media_and_metadata() -> None:
    meta = EcmaArray(
        width=640.0, height=-1.0, duration=float("nan"), encoder="x\udcff", codes=[1.0, {"a": 2.0}]
    )
    connection, events = connected(
        CREATE,
        encode_message(4, 0, 9, 1, b"before publish"),
        PUBLISH,
        encode_data(Data(("@setDataFrame", "onMetaData", meta), 1, 0), 128),
        encode_message(4, 5, 9, 1, b"picture"),
        encode_message(4, 5, 9, 2, b"elsewhere"),
        encode_data(Data(("onCuePoint", 5.0), 1, 7), 128),
        command("deleteStream", 0, 1.0),
    )
    assert events == [
        Publish(1, "s", "live"),
        Metadata(1, {"width": 640, "encoder": "x\ufffd", "codes": [1, {"a": 2}]}),
        Message(9, 1, 5, b"picture"),
        Script(1, 7, "onCuePoint", (5.0,)),
        StreamClosed(1),
    ]
    assert connection.ignored == 2
    assert codes(connection) == ["NetConnection.Connect.Success", "NetStream.Publish.Start"]


def test_aggregate_is_split() -> None:
    tag = b"\x08\0\0\1\0\0\x10" + bytes(4) + b"a" + bytes(4)
    tags = tag + tag.replace(b"\x10", b"\x20").replace(b"a", b"b")
    _, events = connected(CREATE, PUBLISH, encode_message(4, 1000, 22, 1, tags))
    assert events[1:] == [Message(8, 1, 1000, b"a"), Message(8, 1, 1016, b"b")]
    _, events = connected(CREATE, PUBLISH, encode_message(4, 1000, 22, 7, tags))
    assert events[1:] == []


@pytest.mark.parametrize("inner", [b"\x16", b"\x08\xff"])
def test_r12_aggregates_that_are_wrong(inner: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        connected(CREATE, PUBLISH, encode_message(4, 0, 22, 1, inner.ljust(15, b"\0")))


def test_play_pause_and_end() -> None:
    connection, events = connected(CREATE, PLAY, command("pause", 0, True, 5.0, stream_id=1))
    assert events == [Play(1, "s", -2.0, -1.0, True), Pause(1, True, 5.0)]
    assert codes(connection) == [
        "NetConnection.Connect.Success",
        "NetStream.Play.Reset",
        "NetStream.Play.Start",
        "NetStream.Pause.Notify",
        "NetStream.Play.UnpublishNotify",
        "NetStream.Play.Stop",
        "NetConnection.Connect.ReconnectRequest",
    ]


@pytest.mark.parametrize(
    ("ask", "answer", "code"),
    [
        (PUBLISH, ServerConnection.reject_publish, "NetStream.Publish.BadName"),
        (PLAY, ServerConnection.reject_play, "NetStream.Play.StreamNotFound"),
    ],
)
def test_refusal(ask: bytes, answer: Callable[[ServerConnection, int, str], None], code: str) -> None:
    connection, _ = connected(CREATE)
    connection.data_to_send()
    connection.receive_data(ask)
    connection.next_event()
    answer(connection, 1, "no")
    assert codes(connection) == [code]
    assert connection.streams == {1: StreamState.IDLE}


def test_connect_is_refused() -> None:
    connection = opened()
    connection.receive_data(CONNECT)
    connection.next_event()
    connection.reject_connect("who are you")
    assert codes(connection) == ["NetConnection.Connect.Rejected"]
    assert connection.state is ConnectionState.CLOSED


@pytest.mark.parametrize("data", [PUBLISH, CREATE, CONNECT + CONNECT])
def test_r13_out_of_order(data: bytes) -> None:
    connection = opened()
    connection.receive_data(data)
    with pytest.raises(ProtocolViolation, match="connect"):
        drain(connection)
    assert connection.next_event() is None


def test_r13_publish_and_play_on_one_stream() -> None:
    connection, events = connected(CREATE, PUBLISH, PLAY, command("publish", 0, "x", stream_id=9))
    assert len(events) == 1
    assert codes(connection)[2:] == ["NetStream.Play.Failed", "NetStream.Publish.BadConnection"]


def test_r13_streams_are_bounded() -> None:
    connection, _ = connected(CREATE * (MAX_STREAMS + 1), command("deleteStream", 0, 77.0))
    assert len(connection.streams) == MAX_STREAMS
    assert codes(connection)[-1] == "NetConnection.Call.Failed"
    connection.receive_data(CREATE * 100_000)
    with pytest.raises(ProtocolViolation, match="can't be met"):
        drain(connection)


@pytest.mark.parametrize("transaction", [float("nan"), -1.0, 1e308, float("inf")])
def test_r14_odd_transactions_come_back(transaction: float) -> None:
    connection, _ = connected(command("createStream", transaction))
    assert repr(replies(connection)[-1].transaction) == repr(transaction)


@pytest.mark.parametrize("values", [(1.0, 2.0), ("connect", "x"), ()])
def test_r14_commands_without_their_parts(values: tuple[Any, ...]) -> None:
    connection = opened()
    connection.receive_data(encode_message(3, 0, 20, 0, amf0.encode(*values)))
    with pytest.raises(ProtocolViolation):
        drain(connection)


def test_r14_a_thousand_arguments_and_no_object() -> None:
    _, events = connected(CREATE, command("publish", 3, *range(1000), stream_id=1))
    assert events == [Publish(1, "", "live")]


def test_r18_pings_are_answered_up_to_a_point() -> None:
    connection, _ = connected()
    connection.data_to_send()
    connection.receive_data(encode_user_control(6, 77) * 1000 + encode_user_control(99, 0) * 10)
    assert drain(connection) == []
    assert connection.data_to_send() == encode_user_control(7, 77) * 8


def test_r11_acknowledgements() -> None:
    connection, _ = connected(CREATE, PUBLISH, encode_control(5, 0), encode_control(3, 2**32 - 1))
    assert connection.peer_acknowledged == 2**32 - 1
    connection.receive_data(encode_control(5, 1000))
    drain(connection)
    connection.data_to_send()
    connection.receive_data(encode_message(4, 0, 9, 1, bytes(2000)))
    drain(connection)
    assert [type(r).__name__ for r in replies(connection)] == ["Acknowledgement"]


def test_a8_metadata_floods_are_left_out() -> None:
    flood = encode_data(Data(("onMetaData", {"encoder": "x" * 1000}), 1, 0), 128) * 1000
    large = encode_data(Data(("onMetaData", {"encoder": "x" * 100_000}), 1, 0), 128)
    before = time.process_time()
    connection, events = connected(CREATE, PUBLISH, large, flood)
    assert time.process_time() - before < 0.5
    assert len(events) == 1 + 32
    assert connection.ignored == 969


def test_fc_unpublish_ends_the_stream_of_that_name() -> None:
    connection, events = connected(
        command("releaseStream", 2, "s"),
        command("FCPublish", 3, "s"),
        CREATE,
        PUBLISH,
        command("FCUnpublish", 6, "s"),
    )
    assert events == [Publish(1, "s", "live"), StreamClosed(1)]
    assert "NetStream.Unpublish.Success" in codes(connection)


def test_amf3_commands() -> None:
    connection = opened()
    payload = b"\0" + amf0.encode("connect", 1.0) + b"\x11\x0a\x0b\x01\x07app\x06\x09live\x01"
    connection.receive_data(encode_message(3, 0, 17, 0, payload))
    event = connection.next_event()
    assert isinstance(event, Connect)
    assert event.app == "live"


def test_answers_to_nothing_are_the_callers_mistake() -> None:
    connection, _ = connected(CREATE)
    with pytest.raises(RuntimeError):
        connection.accept_connect()
    with pytest.raises(RuntimeError):
        connection.reject_connect("no")
    with pytest.raises(RuntimeError):
        connection.accept_play(1)
    with pytest.raises(RuntimeError):
        connection.end_play(5, "")


def test_unknown_calls_get_an_error() -> None:
    connection, _ = connected(
        command("evil\x1b[2J", 9.0), command("getStreamLength", 4, "s"), command("_checkbw", 5)
    )
    found = [r.name for r in replies(connection) if isinstance(r, Command)]
    assert found == ["_result", "_error", "_result", "_result"]


def test_media_comes_out_whole_whatever_the_pieces() -> None:
    connection, _ = connected(CREATE, PUBLISH)
    data = encode_message(4, 5, 9, 1, bytes(range(256)) * 8)
    assert feed(connection, [data[i : i + 7] for i in range(0, len(data), 7)]) == [
        Message(9, 1, 5, bytes(range(256)) * 8)
    ]
    assert isinstance(Message(9, 1, 5, b""), tuple)
