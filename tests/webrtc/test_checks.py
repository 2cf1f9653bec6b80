"""Whose an address is, and for how long: checks of ICE, with light peers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from random import Random

import anyio
import httpx2
import pytest
from attrs import frozen

from penstock import NS
from penstock_formats.rtcp import ReceiverReport
from penstock_webrtc.ice import Credentials, IceLite
from penstock_webrtc.route import UdpRoute
from penstock_webrtc.stun import BINDING, Attribute, Kind, StunMessage
from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, PICTURE, playing, write
from tests.webrtc.virtual import Clock, run

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


async def test_a_restart_whose_session_ended_meanwhile_is_none(served: Rig) -> None:
    await served.publish("live/one", PICTURE)
    response = await served.post("/live/one/whep", Client(("VP8/90000",)).offer())
    resource = response.headers["location"]

    async def body() -> AsyncIterator[bytes]:
        yield b"a=ice-ufrag:another\r\n"
        await anyio.sleep(0.05)  # its head is there
        await served.http.delete(resource)
        await served.until(lambda: not served.peers)
        yield b"a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"

    headers = {"content-type": "application/trickle-ice-sdpfrag", "if-match": "*"}
    told = await served.http.patch(resource, content=body(), headers=headers)
    assert told.status_code == 404


async def test_who_is_sent_to_must_want_it_himself(served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client, third = Client(("VP8/90000",)), Client(("VP8/90000",))
    await playing(served, client)
    assert client.remote is not None
    monkeypatch.setattr("penstock_webrtc.ice.CONSENT_SECONDS", 0.4)
    # As if from the address of somebody who never asked for anything.
    third.sock.sendto(client.check(), client.server)
    await third.until(lambda: third.checks)
    user = f"{client.remote.credentials.ufrag}:{client.credentials.ufrag}".encode()
    password = client.remote.credentials.password.encode()
    await write(publisher, picture, KEY, 0)
    await third.until(lambda: third.datagram())
    assert not client.packets
    number = 0
    with anyio.fail_after(5):
        while not client.packets:
            # What the peer says by its own address is no consent for the other; it does not nominate that.
            check = StunMessage(Kind.REQUEST, BINDING, Random().randbytes(12), ((Attribute.USERNAME, user),))
            client.send(check.encode(password))
            client.send_rtcp(ReceiverReport(1))
            number += 1
            await write(publisher, picture, INTER, number / 25)
            await anyio.sleep(0.04)
            while client.receive():
                pass
    while third.datagram():
        pass
    await write(publisher, picture, INTER, (number + 1) / 25)
    assert await third.silence()
    assert len(served.peers) == 1


async def test_an_address_is_whose_peer_was_heard_there_lately(
    served: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.publish("live/one", PICTURE)
    client, other = Client(("VP8/90000",)), Client(("VP8/90000",))
    await playing(served, client)
    await playing(served, other)
    mine, _ = [session for session in served.server.sessions if session.protocol == "webrtc"]

    async def heard() -> bool:
        """Whether what the client says is taken for its own."""
        before = mine.bytes_in
        client.send_rtcp(ReceiverReport(1))
        with anyio.move_on_after(0.1):
            await served.until(lambda: mine.bytes_in > before)
        return mine.bytes_in > before

    # A check of another peer, with this one's address.
    client.send(other.check())
    assert await heard()
    monkeypatch.setattr("penstock_webrtc.ice.HELD_SECONDS", 0.0)
    client.send(other.check())
    assert not await heard()
    # Who had it before has it again with its next check.
    client.send(client.check())
    assert await heard()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"], ids=["the same", "another"])
def test_who_publishes_again_by_the_port_that_it_had_is_answered_soon(host: str) -> None:
    """As a program does that was started again, and binds the same port; and not who only says that it is there."""

    async def work(clock: Clock) -> None:
        async with rig(server={"handshake_timeout": 30.0}) as served:
            client = Client(("VP8/90000",), direction="sendonly")
            again = Client(("VP8/90000",), direction="sendonly")
            first = served.http
            async with httpx2.AsyncClient(
                base_url=first.base_url, transport=httpx2.AsyncHTTPTransport(local_address=host)
            ) as second:
                for peer, path, http in ((client, "one", first), (again, "two", second)):
                    served.http = http
                    response = await served.post(f"/live/{path}/whip", peer.offer())
                    assert response.status_code == 201, response.text
                    peer.take(response.content)
            served.http = first
            await client.connect()
            again.sock.close()
            again.sock = client.sock
            with clock.virtual():
                for _ in range(50):
                    # While the first one is there nobody else has its address.
                    client.send_rtcp(ReceiverReport(1))
                    again.send(again.check())
                    await anyio.sleep(0.04)
                while (data := client.datagram()) is not None:
                    assert data[0] >= 128, "a check was answered"
                left = clock.now
                with anyio.fail_after(20):
                    while not again.checks:
                        again.send(again.check())
                        await anyio.sleep(0.1)
                        again.receive()
                assert (clock.now - left < 1.5 * NS) == (host == "127.0.0.1")

    run(work)


async def test_a_bug_in_an_answer_ends_its_peer_alone(served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.publish("live/one", PICTURE)
    client, other = Client(("VP8/90000",)), Client(("VP8/90000",))
    await playing(served, client)
    await playing(served, other)
    send = UdpRoute.send

    def fail(_route: UdpRoute, _datagrams: Sequence[bytes]) -> None:
        monkeypatch.setattr(UdpRoute, "send", send)
        raise RuntimeError("a bug")

    monkeypatch.setattr(UdpRoute, "send", fail)
    client.send(client.check())
    await served.until(lambda: len(served.peers) == 1)
    other.send(other.check())
    await other.until(lambda: len(other.checks) == 2)


@frozen
class _Place:
    address: tuple[str, int]


def _check(user: bytes = b"abcd:wxyz", password: bytes = b"p" * 22) -> bytes:
    attributes = (
        (Attribute.USERNAME, user),
        (Attribute.ICE_CONTROLLING, bytes(8)),
        (Attribute.PRIORITY, bytes(4)),
    )
    return StunMessage(Kind.REQUEST, BINDING, Random().randbytes(12), attributes).encode(password)


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "2001:db8::7"])
def test_a_check_that_says_nothing_new_is_answered_without_taking_it_apart(host: str) -> None:
    agent, way = IceLite[_Place](Credentials("abcd", "p" * 22)), _Place((host, 5000))
    first, second = _check(), _check()
    assert agent.again(first, 1.0) is None
    assert agent.receive(StunMessage.parse(first), way, 1.0, first) is not None
    answer = agent.again(second, 2.0)
    assert (agent.alive_at, agent.ways[way]) == (2.0, 2.0)
    assert answer is not None
    assert answer == agent.receive(StunMessage.parse(second), way, 3.0, second)


def test_what_says_something_else_or_is_not_protected_is_no_such_check() -> None:
    agent = IceLite[_Place](Credentials("abcd", "p" * 22))
    known, good = _check(), _check()
    agent.receive(StunMessage.parse(known), _Place(("127.0.0.1", 5000)), 1.0, known)
    changed = [bytes((*good[:n], good[n] ^ 1, *good[n + 1 :])) for n in range(len(good))]
    cut = [good[:n] for n in range(len(good))]
    others = [_check(b"abcd:wxyy"), _check(password=b"q" * 22), good + bytes(4)]
    assert [agent.again(data, 2.0) for data in (*changed, *cut, *others)] == [None] * (2 * len(good) + 3)
    assert agent.alive_at == 1.0
    assert agent.again(good, 2.0) is not None
