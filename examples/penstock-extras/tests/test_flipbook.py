"""A codec that Penstock has never heard of goes through everything that carries RTP, byte for byte."""

import random
import socket
from base64 import b64encode
from typing import Any

import pytest

from penstock import Frame, ProtocolViolation, Track
from penstock_extras.flipbook import FIRST, FLIPBOOK, LAST, FlipbookConfig, FlipbookDepacketizer, FlipbookRtp
from penstock_formats.rtp import AccessUnit, RtpFormat

TRACK = "TRACK 7 90000 X-FLIPBOOK 90000 1 width=640;height=360"
NS = 1_000_000_000


def frames(count: int) -> list[tuple[int, str, str]]:
    """Frames of 25 a second, in ns, from one byte to more than any packet or read; every tenth is a key frame."""
    rng = random.Random(5)
    sizes = [1, 1199, 1200, 1359, 1360, 1361, 70_000]
    found: list[tuple[int, str, str]] = []
    for n in range(count):
        data = rng.randbytes(sizes[n % len(sizes)])
        found.append((n * NS // 25, "delta" if n % 10 else "key", b64encode(data).decode()))
    return found


def received(peer: Any, count: int) -> list[tuple[int, str, str]]:
    """The next frames; their times from the first one on."""
    found: list[tuple[int, str, str]] = []
    while len(found) < count:
        words = peer.line().split()
        assert words, f"the stream ended after {len(found)} frames"
        if words[0] == "FRAME":
            found.append((int(words[2]), words[3], words[4]))
    return [(pts - found[0][0], kind, data) for pts, kind, data in found]


def publish(peer: Any, some: list[tuple[int, str, str]]) -> None:
    peer.send(*(f"FRAME 7 {pts} {kind} {data}" for pts, kind, data in some))


def test_text_to_text(start: Any, dial: Any) -> None:
    server = start()
    player = dial(server, "PLAY live/x")
    publisher = dial(server, "PUBLISH live/x")
    assert publisher.line() == "OK"
    sent = frames(30)
    publisher.send(TRACK)
    publish(publisher, sent[:10])
    assert player.line() == "OK"
    track = player.line().split()
    assert (track[0], track[2:]) == ("TRACK", TRACK.split()[2:])
    publish(publisher, sent[10:])
    assert received(player, 30) == sent
    # The newest key frame on is what one who comes later gets.
    late = dial(server, "PLAY live/x")
    assert late.line() == "OK"
    assert [data for _, _, data in received(late, 10)] == [data for _, _, data in sent[20:]]
    publisher.close()


def test_it_is_offered_in_sdp(start: Any, dial: Any) -> None:
    server = start()
    publisher = dial(server, "PUBLISH live/x")
    publisher.send(TRACK)
    publish(publisher, frames(1))
    with socket.create_connection(("127.0.0.1", server.ports["rtsp"]), 30) as peer:
        peer.sendall(f"DESCRIBE {server.rtsp('live/x')} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        answer = b""
        while b"a=fmtp" not in answer:
            answer += peer.recv(65536)
    assert b"m=video 0 RTP/AVP 96" in answer
    assert b"a=rtpmap:96 X-FLIPBOOK/90000\r\n" in answer
    assert b"a=fmtp:96 width=640;height=360" in answer


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_through_two_servers(start: Any, dial: Any, udp: bool) -> None:
    first = start(udp=udp)
    publisher = dial(first, "PUBLISH live/x")
    publisher.send(TRACK)
    sent = frames(60)
    publish(publisher, sent[:1])
    url = first.rtsp("live/x")
    second = start(f'streams."far/x".source={url}', "server.wait_for_stream=20")
    player = dial(second, "PLAY far/x")
    assert player.line() == "OK"
    assert player.line().split()[2:] == TRACK.split()[2:]
    got = received(player, 1)
    for at in range(1, 60):
        publish(publisher, sent[at : at + 1])
        got += [(int(words[2]), words[3], words[4]) for words in [player.line().split()]]
    origin = got[1][0] - sent[1][0]
    assert [(pts - origin, kind, data) for pts, kind, data in got[1:]] == sent[1:]
    assert got[0][1:] == sent[0][1:]
    fallen_back = [line for line in second.lines() if line["event"] == "falling back to TCP"]
    assert bool(fallen_back) is not udp


def test_packets() -> None:
    rtp = FlipbookRtp()
    track = Track(1, FLIPBOOK, 90_000, FlipbookConfig(2, 1))
    assert rtp.accept(rtp.describe(track)) == (FLIPBOOK, FlipbookConfig(2, 1))
    for size in (1, 9, 10, 11, 1000):
        unit = bytes(n & 255 for n in range(size))
        payloads = rtp.packetizer(track, 11).packetize(Frame(track, 0, 0, (unit,)))
        assert max(map(len, payloads)) <= 11
        reader = rtp.depacketizer(rtp.describe(track))
        found = [u for n, p in enumerate(payloads) for u in reader.push(p, 3, n == len(payloads) - 1, False)]
        assert found == [AccessUnit(3, (unit,), True)]


def test_loss_and_rubbish() -> None:
    reader = FlipbookDepacketizer()
    assert reader.push(b"\0a", 0, False, False) == []
    assert reader.push(bytes((FIRST,)) + b"a", 0, False, False) == []
    assert reader.push(bytes((LAST,)) + b"b", 0, True, True) == []
    assert reader.push(bytes((FIRST | LAST,)) + b"c", 1, True, False) == [AccessUnit(1, (b"c",), False)]
    for bad in (b"", b"\xff"):
        with pytest.raises(ProtocolViolation):
            reader.push(bad, 2, False, False)
    for width in ("", "-1", "65536", "9" * 5000, "٣"):
        with pytest.raises(ProtocolViolation):
            FlipbookRtp().accept(RtpFormat("X-FLIPBOOK", 90_000, fmtp={"width": width, "height": "1"}))
