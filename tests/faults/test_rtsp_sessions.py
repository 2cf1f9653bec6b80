"""Faults of RTSP sessions and their ports beside a canary: rows T8, T9, T12, T15, T17 and T18.

The server's session timeout is 2 s here, and its handshake timeout 1 s.
"""

from __future__ import annotations

import base64
import socket
import time

import pytest

from .crowd import Crowd, Member, allow_files
from .peer import own_address
from .refusal import CLOSE
from .rig import Rig
from .rtsp import AAC, H264, TCP, Client, client, eventually, request, rtp
from .server import MIB

CANARY = "canary/rtsp"


def silent(sock: socket.socket, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while, after what is there already."""
    sock.setblocking(False)
    try:
        while sock.recv(2048):
            pass
    except BlockingIOError:
        pass
    sock.settimeout(seconds)
    try:
        sock.recv(2048)
    except TimeoutError:
        return True
    return False


# -- T8: requests out of order -----------------------------------------------


def test_T8_requests_out_of_order_while_playing(faults: Rig) -> None:
    with faults.watched(), client(faults, CANARY) as peer:
        assert peer.ask("PLAY").status == 455, "PLAY without SETUP"
        assert peer.ask("RECORD").status == 455
        assert peer.ask("SETUP", "/trackID=1", "Transport: " + TCP).status == 200
        assert peer.ask("SETUP", "/trackID=1", "Transport: " + TCP).status == 455, "a track twice"
        for track in range(2, 260):
            reply = peer.ask("SETUP", f"/trackID={track}", "Transport: " + TCP)
            assert reply.status == (404 if track < 256 else 400), track
        assert peer.ask("ANNOUNCE").status == 455
        assert peer.ask("PLAY").status == 200
        assert peer.ask("RECORD").status == 455
        assert peer.ask("SETUP", "/trackID=2", "Transport: " + TCP).status == 455
        for _ in range(20):
            assert peer.ask("PAUSE").status == 200
            assert peer.ask("PLAY").status == 200
        peer.peer.send(request("TEARDOWN", peer.url) * 2)
        assert peer.reply().status == 200
        peer.peer.closed_within(CLOSE)


def test_T8_requests_out_of_order_while_recording(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer:
        assert peer.announce(H264, AAC).status == 200
        assert peer.announce(H264).status == 455, "ANNOUNCE twice"
        assert peer.ask("RECORD").status == 455, "RECORD before SETUP"
        assert peer.ask("PLAY").status == 455
        assert peer.ask("SETUP", "/trackID=0", "Transport: RTP/SAVP").status == 461
        assert peer.ask("RECORD").status == 455, "RECORD after a SETUP that failed"
        assert peer.ask("SETUP", "/trackID=7", "Transport: " + TCP).status == 404
        assert peer.ask("SETUP", "rtsp://127.0.0.1/another/trackID=0", "Transport: " + TCP).status == 404
        assert peer.ask("SETUP", "/trackID=0", "Transport: " + TCP).status == 200
        assert peer.ask("SETUP", "/trackID=0", "Transport: " + TCP).status == 455
        assert peer.ask("RECORD").status == 200
        assert peer.ask("SETUP", "/trackID=1", "Transport: " + TCP).status == 455
        assert peer.ask("PAUSE").status == 200
        peer.picture(1)
        assert peer.ask("RECORD").status == 200
        assert peer.ask("TEARDOWN").status == 200
        peer.peer.closed_within(CLOSE)


def test_T8_player_of_a_stream_that_has_ended(faults: Rig) -> None:
    """A PLAY for what ended after its SETUP is told so, and does not wait for ever."""
    with faults.watched(), client(faults) as publisher:
        publisher.record(H264)
        publisher.picture(1)
        with client(faults, publisher.path) as player:
            assert player.ask("SETUP", "/trackID=1", "Transport: " + TCP).status == 200
            publisher.ask("TEARDOWN")
            publisher.peer.closed_within(CLOSE)
            assert player.ask("PLAY").status == 404
            player.peer.closed_within(8)


# -- T9: where datagrams may go ------------------------------------------------


def test_T9_datagrams_go_to_the_peer_alone(faults: Rig) -> None:
    """Whatever SETUP names as destination: packets go to the address that the connection comes from."""
    with faults.watched(), client(faults, "canary/udp") as peer, client(faults) as other:
        victim, _ = other.udp()
        host, _port = victim.getsockname()
        media, control = peer.udp()
        ports = f"{media.getsockname()[1]}-{control.getsockname()[1]}"
        transport = f"Transport: RTP/AVP;unicast;client_port={ports};destination={host};source={host}"
        reply = peer.ask("SETUP", "/trackID=1", transport)
        assert reply.status == 200
        assert "destination" not in reply.header("Transport")
        assert peer.ask("PLAY").status == 200
        assert media.recv(2048)
        assert silent(victim)


def test_T9_ports_of_somebody_else_on_another_address(faults: Rig) -> None:
    """The other's port number is used at the peer's own address, where nobody listens."""
    with faults.watched(), client(faults, "canary/udp") as peer, client(faults) as other:
        victim, _ = other.udp()
        port = victim.getsockname()[1]
        transport = f"Transport: RTP/AVP;unicast;client_port={port}-{port + 1}"
        assert peer.ask("SETUP", "/trackID=1", transport).status == 200
        assert peer.ask("PLAY").status == 200
        assert silent(victim)


@pytest.mark.parametrize(
    "ports", ["0-1", "1-2", "53-54", "1023-1024", "5001-5000", "65535", "65536-65537", "-1-0", "x"]
)
def test_T9_ports_that_are_refused(faults: Rig, ports: str) -> None:
    with faults.watched(), client(faults, "canary/udp") as peer:
        assert (
            peer.ask("SETUP", "/trackID=1", f"Transport: RTP/AVP;unicast;client_port={ports}").status == 400
        )


def test_T9_ports_of_another_session_at_the_same_address(faults: Rig) -> None:
    """Two sessions of one address cannot have the same port: the second is told to try another transport."""
    source = own_address()
    with faults.watched(), Client(faults.peer("rtsp", source=source), "canary/udp") as first:
        media, _, reply = first.setup_udp("/trackID=1")
        assert reply.status == 200
        port = media.getsockname()[1]
        with Client(faults.peer("rtsp", source=source), "canary/udp") as second:
            transport = f"Transport: RTP/AVP;unicast;client_port={port}-{port + 1}"
            assert second.ask("SETUP", "/trackID=1", transport).status == 461
            assert second.ask("SETUP", "/trackID=1", "Transport: " + TCP).status == 200
        assert first.ask("PLAY").status == 200
        assert media.recv(2048)


# -- T12: session ids ------------------------------------------------------------


def test_T12_foreign_session_is_unknown(faults: Rig) -> None:
    """An id is good on its own connection only: to know it gives nobody anything."""
    with faults.watched(), client(faults, CANARY) as first, client(faults, CANARY) as second:
        first.play()
        for method in ("PAUSE", "TEARDOWN", "PLAY", "GET_PARAMETER", "SETUP"):
            assert second.ask(method, "", "Transport: " + TCP, session=first.session).status == 454
        for guess in ("0", "x" * 100, "12345678"):
            assert second.ask("SETUP", "/trackID=1", "Transport: " + TCP, session=guess).status == 454
        reply = second.ask("SETUP", "/trackID=1", "Transport: " + TCP)
        assert reply.status == 200
        assert second.session not in ("", first.session)
        assert reply.header("Session").endswith(";timeout=2")
        assert first.ask("OPTIONS").status == 200
        assert first.frame()


@pytest.mark.parametrize("number", [300, pytest.param(100_000, marks=pytest.mark.full)])
def test_T12_abandoned_sessions_leave_nothing(faults: Rig, number: int) -> None:
    """A session is no more than its connection: those that were set up and left are gone at the handshake timeout."""
    together = min(number, 2000)
    allow_files(together)
    allow_files(together, faults.server.pid)
    setup = request("SETUP", f"rtsp://127.0.0.1/{CANARY}/trackID=1", "Transport: " + TCP)
    with faults.watched(rss=32 * MIB, settle=15):
        for _ in range(number // together):
            source = own_address()
            members = [Member(faults.server.rtsp, setup, b"\r\nSession: ", source) for _ in range(together)]
            with Crowd(members) as crowd:
                crowd.connect(30)
                for member in members:
                    assert member.received.startswith(b"RTSP/1.0 200 OK\r\n")
                    member.sock.settimeout(10)
                crowd.ends()


# -- T15: the tunnel through HTTP -------------------------------------------------


def tunnel(verb: str, cookie: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"{verb} /canary/rtsp HTTP/1.0", f"x-sessioncookie: {cookie}", *lines, "", ""]
    ).encode()


def test_T15_post_without_get(faults: Rig) -> None:
    with faults.watched(), client(faults) as post:
        post.peer.send(tunnel("POST", "nobody") + base64.b64encode(request("OPTIONS", "*")))
        post.peer.until(b"HTTP/1.0 400")
        post.peer.closed_within(CLOSE)
    assert "POST without its GET" in faults.line(post.peer)["reason"]


def test_T15_two_gets_and_two_posts_with_one_cookie(faults: Rig) -> None:
    with faults.watched(), client(faults) as get, client(faults) as post:
        get.peer.send(tunnel("GET", "one"))
        get.peer.until(b"application/x-rtsp-tunnelled")
        with client(faults) as again:
            again.peer.send(tunnel("GET", "one"))
            again.peer.until(b"HTTP/1.0 400")
            again.peer.closed_within(CLOSE)
        post.peer.send(tunnel("POST", "one") + base64.b64encode(request("OPTIONS", "*")))
        get.peer.until(b"RTSP/1.0 200 OK")
        with client(faults) as second:
            second.peer.send(tunnel("POST", "one") + base64.b64encode(request("TEARDOWN", "*")))
            second.peer.until(b"HTTP/1.0 400")
            second.peer.closed_within(CLOSE)
        post.peer.send(base64.b64encode(request("GET_PARAMETER", "*", cseq=77)))
        get.peer.until(b"CSeq: 77")


def test_T15_what_is_no_base64_ends_both(faults: Rig) -> None:
    with faults.watched(), client(faults) as get, client(faults) as post:
        get.peer.send(tunnel("GET", "two"))
        get.peer.until(b"application/x-rtsp-tunnelled")
        post.peer.send(tunnel("POST", "two") + b"OPTIONS * RTSP/1.0\r\n\r\n****")
        post.peer.closed_within(CLOSE)
        get.peer.closed_within(CLOSE)
    assert "base64" in faults.line(post.peer)["reason"]


@pytest.mark.parametrize("method", ["TEARDOWN", "cut"])
def test_T15_post_ends_with_its_get(faults: Rig, method: str) -> None:
    with faults.watched(), client(faults) as get, client(faults) as post:
        get.peer.send(tunnel("GET", method))
        get.peer.until(b"application/x-rtsp-tunnelled")
        post.peer.send(tunnel("POST", method) + base64.b64encode(request("OPTIONS", "*")))
        get.peer.until(b"RTSP/1.0 200 OK")
        if method == "cut":
            get.peer.reset()
        else:
            post.peer.send(base64.b64encode(request("TEARDOWN", "*")))
        post.peer.closed_within(CLOSE)


def test_T15_heads_that_are_no_tunnel(faults: Rig) -> None:
    heads = (
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nx-sessioncookie: a\r\nx-sessioncookie: b\r\n\r\n",
        tunnel("GET", "c" * 200),
        tunnel("GET", "a b"),
        b"GET / HTTP/2\r\nx-sessioncookie: a\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"X: 1\r\n" * 65 + b"\r\n",
        b"GET /" + b"a" * 10_000,
    )
    with faults.watched():
        for head in heads:
            with client(faults) as peer:
                peer.peer.send(head)
                peer.peer.until(b"HTTP/1.0 400")
                peer.peer.closed_within(CLOSE)


# -- T17: what is held is given back -------------------------------------------


def test_T17_cut_in_each_state_gives_the_ports_back(faults: Rig) -> None:
    """The same address and ports again and again, each time cut in another state: they are free every time."""
    source = own_address()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    try:
        numbers: list[int] = []
        for sock in sockets:
            sock.bind((source, 0))
            numbers.append(sock.getsockname()[1])
        low, high = min(numbers), max(numbers)
        transport = f"Transport: RTP/AVP;unicast;client_port={low}-{high}"
        with faults.watched():
            for state in ("ready", "playing", "paused", "announced", "recording", "paused recording") * 3:
                with Client(faults.peer("rtsp", source=source)) as peer:
                    if state in ("ready", "playing", "paused"):
                        peer.path, peer.url = "canary/udp", "rtsp://127.0.0.1/canary/udp"
                        track = "/trackID=1"
                    else:
                        assert peer.announce(H264).status == 200
                        track = "/trackID=0"
                    freed = eventually(lambda p=peer, t=track: p.ask("SETUP", t, transport).status == 200)  # type: ignore[misc]
                    assert freed, f"the ports were held before {state}"
                    if state in ("playing", "paused"):
                        assert peer.ask("PLAY").status == 200
                    if state in ("recording", "paused recording"):
                        assert peer.ask("RECORD").status == 200
                    if state.startswith("paused"):
                        assert peer.ask("PAUSE").status == 200
                    peer.peer.reset()
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("number", [3000, pytest.param(30_000, marks=pytest.mark.full)])
def test_T17_thousands_of_setups(faults: Rig, number: int) -> None:
    """Ports never run out: there are two for all, and an entry for each SETUP goes with its connection."""
    source = own_address()
    with faults.watched(rss=8 * MIB, bound=max(2.0, faults.canary.bound)):
        done = 0
        for n in range(number):
            if n % 5000 == 4999:
                source = own_address()  # an address has no more than 28,000 ports to connect from in a minute
            port = 10_000 + 2 * (n % 500)
            with Client(faults.peer("rtsp", source=source), "canary/udp") as peer:
                lines = (f"Transport: RTP/AVP;unicast;client_port={port}-{port + 1}",)
                done += peer.ask("SETUP", "/trackID=1", *lines).status == 200
        assert done == number


# -- T18: signs of life ----------------------------------------------------------


def test_T18_player_without_a_sign_of_life_ends_even_if_another_sends_rtcp(faults: Rig) -> None:
    """RTCP from another address, and from another port of the peer's own, keeps nobody alive."""
    report = bytes.fromhex("80c90001000fa017")
    with faults.watched(), client(faults, "canary/udp") as peer, client(faults) as stranger:
        media, _, reply = peer.setup_udp("/trackID=1")
        assert reply.status == 200
        assert peer.ask("PLAY").status == 200
        assert media.recv(2048)
        spoofs = [*stranger.udp(), peer.udp()[0]]
        began = time.monotonic()
        ended = False
        while not ended and time.monotonic() - began < 15:
            for sock in spoofs:
                sock.sendto(report, ("127.0.0.1", faults.server.ports["rtcp"]))
            peer.peer.sock.settimeout(0.1)
            try:
                ended = not peer.peer.read()
            except TimeoutError:
                continue
        assert ended
        assert time.monotonic() - began > 1.5
        assert silent(media)
    assert faults.line(peer.peer)["reason"] == "no sign of life for 2 s"


def test_T18_signs_of_life_keep_a_player(faults: Rig) -> None:
    """RTCP does, and any request; over TCP it is enough to read, as FFmpeg and others send nothing while they play."""
    report = bytes.fromhex("80c90001000fa017")
    with (
        faults.watched(),
        client(faults, "canary/udp") as reporting,
        client(faults, "canary/udp") as asking,
        client(faults, CANARY) as reading,
    ):
        media: list[socket.socket] = []
        for peer in (reporting, asking):
            rtp_socket, _, reply = peer.setup_udp("/trackID=1")
            assert reply.status == 200
            assert peer.ask("PLAY").status == 200
            media.append(rtp_socket)
        reading.play()
        for _ in range(9):
            for _ in range(10):
                assert reading.frame()
            reporting.sockets[1].sendto(report, ("127.0.0.1", faults.server.ports["rtcp"]))
            assert asking.ask("GET_PARAMETER").status == 200
        assert not any(silent(sock) for sock in media)
        assert all(peer.ask("OPTIONS").status == 200 for peer in (reporting, asking, reading))


def test_T18_paused_player_over_tcp_ends_too(faults: Rig) -> None:
    """While it is paused nothing else would tell that it has gone."""
    with faults.watched(), client(faults, CANARY) as peer:
        peer.play()
        assert peer.ask("PAUSE").status == 200
        peer.peer.closed_within(15)
    assert faults.line(peer.peer)["reason"] == "no sign of life for 2 s"


def test_T18_publisher_over_udp_that_falls_silent(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer, client(faults) as stranger:
        ((media, _),) = peer.record_udp(H264)
        media.sendto(rtp(1, 1, b"\x65\x88x"), ("127.0.0.1", faults.server.ports["rtp"]))
        spoof, _ = stranger.udp()
        for number in range(100):
            spoof.sendto(rtp(number, number * 3600, b"\x65\x88x"), ("127.0.0.1", faults.server.ports["rtp"]))
            time.sleep(0.02)
        peer.peer.closed_within(10)
    assert "sent nothing for 2 s" in faults.line(peer.peer)["reason"]
