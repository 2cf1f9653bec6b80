from __future__ import annotations

from penstock_rtmp.chunk import Message, encode_message
from penstock_rtmp.client_connection import ClientConnection, Target
from penstock_rtmp.event import (
    Connect,
    Connected,
    Ended,
    Metadata,
    Play,
    Playing,
    Publish,
    Publishing,
    Rejected,
    StreamClosed,
)
from tests.rtmp.drive import RANDOM, server, wire


def test_push() -> None:
    target = Target("live", "rtmp://h/live", "s", publish=True, video=["hvc1"], audio=["Opus"])
    client, peer = ClientConnection(target, RANDOM, 0), server()
    ours, theirs = wire(client, peer)
    assert [type(e) for e in ours] == [Connected, Publishing]
    assert ours[0].fourccs == {"hvc1": 4, "Opus": 4}
    assert ours[1].stream_id == client.stream_id == 1
    assert isinstance(theirs[0], Connect)
    assert theirs[0].fourccs == {"hvc1": 4, "Opus": 4}
    assert theirs[1:] == [Publish(1, "s", "live")]
    client.send_metadata({"width": 640})
    _, theirs = wire(client, peer)
    assert theirs == [Metadata(1, {"width": 640})]
    client.finish()
    assert wire(client, peer)[1] == [StreamClosed(1)]


def test_pull() -> None:
    client, peer = ClientConnection(Target("live", "rtmp://h/live", "s"), RANDOM, 0), server()
    ours, theirs = wire(client, peer)
    assert [type(e) for e in ours[:2]] == [Connected, Playing]
    assert any(isinstance(e, Play) for e in theirs)
    peer.send_data(1, 0, "onMetaData", {"height": 480})
    client.receive_data(peer.data_to_send() + encode_message(6, 9, 9, 1, b"x" * 70_000, 65_536))
    assert client.next_event() == Metadata(1, {"height": 480})
    assert client.next_event() == Message(9, 1, 9, b"x" * 70_000)
    peer.end_play(1, "over")
    assert wire(client, peer)[0] == [
        Ended("StreamEOF"),
        Ended("NetStream.Play.UnpublishNotify"),
        Ended("NetStream.Play.Stop"),
    ]
    client.finish()


def test_refusals_are_told() -> None:
    client, peer = ClientConnection(Target("live", "rtmp://h/live", "s"), RANDOM, 0), server()
    event: object = None
    while event is None:
        peer.receive_data(client.data_to_send())
        event = peer.next_event()
        client.receive_data(peer.data_to_send())
        assert client.next_event() is None
    assert isinstance(event, Connect)
    peer.reject_connect("not you")
    client.receive_data(peer.data_to_send())
    assert client.next_event() == Rejected("NetConnection.Connect.Rejected", "not you")
