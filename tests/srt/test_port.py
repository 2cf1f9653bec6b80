"""When the port of all peers is read: how long what comes may gather, by what it is for."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

import anyio
import pytest

from penstock.poller import Poller
from penstock.session import Session
from penstock_srt.connection import Connection, Terms
from penstock_srt.listener import Event, Listener
from penstock_srt.packet import (
    FULL_ACK,
    HEADER_SIZE,
    RETRANSMITTED,
    Acknowledgement,
    ControlPacket,
    ControlType,
)
from penstock_srt.session import part
from penstock_srt.settings import Address, Settings
from penstock_srt.udp import EXPECTED, LONG_REST_NS, Link, Port
from tests.counting import Counting

pytestmark = pytest.mark.anyio

MS = 1_000_000
PASS = 30 * MS
"""The pump wakes the loop so often."""


class Faulty(Listener):
    """Has a fault at some datagrams."""

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        if data == b"fault":
            raise KeyError(data)
        super().receive_datagram(data, addr, now)


class Broken(Connection):
    """Has a fault where something comes, or where nothing does."""

    def receive_datagrams(self, datagrams: Sequence[bytes], now: int) -> None:
        raise KeyError(self.id)

    def answer(self, data: bytes, now: int) -> bytes | None:
        raise KeyError(self.id)

    def handle_timeout(self, now: int) -> None:
        raise KeyError(self.id)


failed: list[Exception] = []
ports: list[Port[Event]] = []
links: list[Link] = []


@asynccontextmanager
async def served(*, publishes: bool) -> AsyncGenerator[tuple[Counting, socket.socket, Connection, Poller]]:
    """The socket of a port that is served, and one peer's, with the connection of the two."""
    with (
        Counting(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        Poller() as poller,
    ):
        for sock in (here, there):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        there.connect(here.getsockname())
        now = time.monotonic_ns()
        terms = Terms(7, 9, 1000, 1000, 120, 120, 1500, 8192, now, now)
        connection = Connection(terms, Settings(), there.getsockname(), b"", Random(1), now)
        port: Port[Event] = Port(here, Faulty(Settings(), Random(1)), lambda _: None, failed=failed.append)
        ports[:] = [port]
        link = port.add(connection, Session("one", "srt", ""))
        links[:] = [link]
        if publishes:
            link.receive = lambda payloads, dropped: None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(port.run, poller)
            yield here, there, connection, poller
            tasks.cancel_scope.cancel()


def keep_alive() -> bytes:
    return ControlPacket(ControlType.KEEP_ALIVE, 0, 0, 0, 7, bytes(4)).build()


@pytest.mark.parametrize("publishes", [False, True], ids=["players only", "a publisher"])
async def test_what_peers_say_is_read_some_at_a_time(publishes: bool) -> None:
    """A datagram each 2 ms: those of a publisher wait for 30 ms, those of players until the pump wakes the loop."""
    async with served(publishes=publishes) as (here, there, connection, poller):
        began, looked = time.monotonic_ns(), 0
        while (now := time.monotonic_ns()) < began + 300 * MS:
            there.send(keep_alive())
            if now >= looked + PASS:
                looked = now
                poller.look()
            await anyio.sleep(0.002)
        took = time.monotonic_ns() - began
        # The first is read at once.
        assert here.readings <= took // (LONG_REST_NS if publishes else PASS) + 3
        assert connection.heard > began
        assert connection.ahead == LONG_REST_NS, "what is due before the next look would be late"


async def test_what_is_no_handshake_makes_nobody_hurry() -> None:
    """Whoever sends the port anything does not get it read more often."""
    async with served(publishes=True) as (here, there, connection, _):
        began = time.monotonic_ns()
        while time.monotonic_ns() < began + 300 * MS:
            there.send(keep_alive())
            there.send(bytes(16))
            there.send(b"\x47" * 188)
            await anyio.sleep(0.002)
        took = time.monotonic_ns() - began
        assert here.readings <= took // LONG_REST_NS + 3
        assert connection.heard > began


@pytest.mark.parametrize("hears", [4, FULL_ACK.size - HEADER_SIZE, 0])
async def test_a_fault_at_one_connection_or_handshake_ends_nobody_else(hears: int) -> None:
    async with served(publishes=True) as (_, there, connection, _):
        now = time.monotonic_ns()
        terms = Terms(8, 9, 1000, 1000, 120, 120, 1500, 8192, now, now)
        settings = Settings(peer_idle_timeout=5000 if hears else 20)
        broken = Broken(terms, settings, connection.address, b"", Random(1), now)
        link = ports[-1].add(broken, Session("two", "srt", ""))
        failed.clear()
        there.send(b"fault")
        if hears:
            there.send(ControlPacket(ControlType.KEEP_ALIVE, 0, 0, 0, 8, bytes(hears)).build())
        with anyio.fail_after(5), pytest.raises(KeyError):
            await link.wait()
        assert [type(error) for error in failed] == [KeyError]
        began = time.monotonic_ns()
        there.send(keep_alive())
        with anyio.fail_after(5):
            while connection.heard < began:
                await anyio.sleep(0.01)


async def test_where_much_comes_it_is_read_more_often() -> None:
    """What comes in a rest fits the socket's buffer."""
    async with served(publishes=True) as (here, there, _, _):
        began, sent = time.monotonic_ns(), 0
        with anyio.fail_after(5):
            while not _often(here, began):
                # Twice as many in 30 ms as may come in a rest.
                while sent < (time.monotonic_ns() - began) * 2 * EXPECTED // LONG_REST_NS:
                    there.send(keep_alive())
                    sent += 1
                await anyio.sleep(0.001)


async def test_after_a_loss_each_report_counts() -> None:
    """Where a player misses something, rests are brief, though all that it misses is sent again at once."""
    async with served(publishes=False) as (here, there, connection, _):
        began, number = time.monotonic_ns(), 0
        with anyio.fail_after(5):
            while not _often(here, began):
                connection.send([b"\x47" + bytes(1315)], time.monotonic_ns())
                body = (1000 + number).to_bytes(4, "big")
                there.send(ControlPacket(ControlType.NAK, 0, 0, 0, 7, body).build())
                number += 1
                await anyio.sleep(0.002)


def _often(sock: Counting, began: int) -> bool:
    """Whether it was read more often than with a long rest after each time."""
    return sock.readings > (time.monotonic_ns() - began) // LONG_REST_NS + 5


async def test_the_goodbye_follows_what_was_sent_last() -> None:
    """What is lost of it is sent again; who has it gets the time that it is held there, and some more to take it."""

    def acknowledge(sequence: int, number: int) -> None:
        body = Acknowledgement(sequence, 1000, 100, 8192, 0, 0, 0).build()
        there.send(ControlPacket(ControlType.ACK, 0, number, 0, 7, body).build())

    def heard() -> Iterator[bytes]:
        with suppress(BlockingIOError):
            while True:
                yield there.recv(2048)

    def told() -> bool:
        return any(data[:2] == bytes((0x80, ControlType.SHUTDOWN)) for data in heard())

    async with served(publishes=False) as (_, there, connection, _), anyio.create_task_group() as tasks:
        connection.send([b"first"], time.monotonic_ns())
        acknowledge(1001, 1)
        with anyio.fail_after(5):
            while connection.oldest_unacknowledged is not None:
                await anyio.sleep(0.005)
        list(heard())
        # Neither reaches the peer.
        connection.send([b"the last", b"words"], time.monotonic_ns())
        link = links[-1]
        tasks.start_soon(part, link, link.session)
        await anyio.sleep(0.1)
        again = [data for data in heard() if data[0] < 0x80]
        assert [data[HEADER_SIZE:] for data in again][:2] == [b"the last", b"words"]
        assert all(data[4] & RETRANSMITTED >> 24 for data in again)
        await anyio.sleep(0.3)
        assert not told(), "the peer has not said that it has it"
        acknowledge(1003, 2)
        began = time.monotonic()
        with anyio.fail_after(5):
            while not told():
                await anyio.sleep(0.005)
        assert 0.2 < time.monotonic() - began < 2
