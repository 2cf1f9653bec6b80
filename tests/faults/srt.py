"""Peers of SRT that do as they are told: callers on blocking sockets, with an address of their own."""

from __future__ import annotations

import itertools
import select
import socket
import time
from random import Random
from types import TracebackType
from typing import Self

from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from penstock_srt.caller import Caller, Connected, Rejected
from penstock_srt.connection import Closed, Connection, Received
from penstock_srt.handshake import Handshake, Kind
from penstock_srt.packet import CONTROL, HEADER_SIZE, ControlPacket, ControlType
from penstock_srt.settings import Settings
from tests.contracts.cases_h26x import H264_UNITS
from tests.formats.transport_stream import Made

from .peer import own_address
from .rig import Rig

PAYLOAD = 1316
_PMT = Pmt(0x100, (), (PmtEntry(0x100, 0x1B),))
_paths = itertools.count()
_seeds = Random(1)


class SrtPeer:
    """A socket towards the server; once it has called, what comes is its connection's."""

    def __init__(self, faults: Rig) -> None:
        self.faults = faults
        self.server = ("127.0.0.1", faults.server.ports["srt"])
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((own_address(), 0))
        self.sock.setblocking(False)
        self.address = "{}:{}".format(*self.sock.getsockname())
        self.connection: Connection | None = None
        self.received = b""
        self.closed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.connection is not None:
            self.connection.close("done")
            self._flush(time.monotonic_ns())
        self.sock.close()

    def raw(self, data: bytes) -> None:
        self.sock.sendto(data, self.server)

    def answers(self, seconds: float = 0.3) -> list[bytes]:
        """What comes within so long after the first, or at all."""
        found: list[bytes] = []
        while select.select([self.sock], [], [], seconds)[0]:
            found.append(self.sock.recv(2048))
            seconds = 0.05
        return found

    def call(self, stream_id: str | bytes, passphrase: str = "", *, latency: int = 120) -> int:
        """Shake hands; 0, or the reason for which the server refuses."""
        text = stream_id.encode() if isinstance(stream_id, str) else stream_id
        now = time.monotonic_ns()
        seed = Random(_seeds.random())
        caller = Caller(Settings(latency=latency), self.server, text, passphrase, seed, now)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            now = time.monotonic_ns()
            caller.handle_timeout(now)
            for data, address in caller.datagrams_to_send(now):
                self.sock.sendto(data, address)
            if select.select([self.sock], [], [], 0.05)[0]:
                caller.receive_datagram(*self.sock.recvfrom(2048), time.monotonic_ns())
            match caller.next_event():
                case Connected(connection):
                    self.connection = connection
                    return 0
                case Rejected(reason):
                    return reason
                case None:
                    pass
        raise AssertionError("the handshake came to nothing")

    @property
    def made(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def header(self, first: int, second: int, stamp: int | None = None) -> bytes:
        """The header of a packet for our connection."""
        stamp = self.made.stamp(time.monotonic_ns()) if stamp is None else stamp
        return b"".join(word.to_bytes(4, "big") for word in (first, second, stamp, self.made.terms.peer_id))

    def control(self, kind: int, information: int = 0, body: bytes = bytes(4), subtype: int = 0) -> None:
        self.raw(self.header(CONTROL | kind << 16 | subtype, information) + body)

    def send(self, data: bytes) -> None:
        """Send bytes of a transport stream as they should be."""
        payloads = [data[at : at + PAYLOAD] for at in range(0, len(data), PAYLOAD)]
        for datagram in self.made.send(payloads, time.monotonic_ns()):
            self.raw(datagram)

    def _flush(self, now: int) -> None:
        for datagram in self.made.datagrams_to_send(now):
            self.raw(datagram)

    def step(self, seconds: float = 0.02) -> None:
        """Do what the protocol asks for, and wait at most so long."""
        readable = select.select([self.sock], [], [], seconds)[0]
        now = time.monotonic_ns()
        datagrams: list[bytes] = []
        while readable:
            try:
                datagrams.append(self.sock.recv(2048))
            except BlockingIOError:
                break
        connection = self.made
        connection.receive_datagrams([d for d in datagrams if d[12:HEADER_SIZE] != bytes(4)], now)
        connection.handle_timeout(now)
        while (event := connection.next_event()) is not None:
            match event:
                case Received(payloads, _):
                    self.received += b"".join(payloads)
                case Closed(reason):
                    self.closed = reason
        self._flush(now)


class Source(SrtPeer):
    """A publisher of one track of pictures, each a key frame, and the player that sees what of it arrives."""

    def __init__(self, faults: Rig) -> None:
        super().__init__(faults)
        self.path = f"live/srt{next(_paths)}"
        self.stream = Made(_PMT)
        self.pts = 90_000
        self.player = SrtPeer(faults)
        self._numbers = itertools.count()
        reason = self.call(f"publish:{self.path}", latency=20)
        assert not reason, reason

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.player.__exit__(kind, error, trace)
        super().__exit__(kind, error, trace)

    def taken(self) -> bytes:
        """What was made of the stream since it was sent last."""
        data, self.stream.data = self.stream.data, b""
        return data

    def picture(self, text: bytes) -> bytes:
        """The packets of a key frame that bears `text`."""
        sps, pps = H264_UNITS[:2]
        units = (b"\x09\xf0", sps, pps, b"\x65\x88" + text + b"x" * 40)
        self.stream.tables(_PMT)
        self.stream.pes(0x100, b"".join(b"\0\0\0\1" + unit for unit in units), self.pts)
        self.pts += 3600
        return self.taken()

    def goes_on(self, seconds: float = 5.0) -> None:
        """What is sent as it should be arrives."""
        text = b"goes-on-%d." % next(self._numbers)
        deadline = time.monotonic() + seconds
        if self.player.connection is None:
            for _ in range(3):
                self.send(self.picture(b"begins"))
                self.step(0.04)
            reason = self.player.call(f"read:{self.path}", latency=20)
            assert not reason, reason
        while text not in self.player.received:
            assert time.monotonic() < deadline, f"{text!r} did not arrive; {self.closed or 'connected'}"
            self.send(self.picture(text))
            self.step(0.02)
            self.player.step(0.02)


def induction() -> bytes:
    """The first packet of a handshake."""
    return handshake(version=4, extension=2, kind=Kind.INDUCTION)


def handshake(
    *,
    version: int = 5,
    encryption: int = 0,
    extension: int = 0,
    initial_sequence: int = 1,
    mtu: int = 1500,
    window: int = 8192,
    kind: int = Kind.CONCLUSION,
    socket_id: int = 77,
    cookie: int = 0,
    extensions: bytes = b"",
) -> bytes:
    made = Handshake(
        version,
        encryption,
        extension,
        initial_sequence,
        mtu,
        window,
        kind,
        socket_id,
        cookie,
        extensions=extensions,
    )
    return ControlPacket(ControlType.HANDSHAKE, 0, 0, 0, 0, made.build()).build()


def answer(data: bytes) -> Handshake:
    """The handshake in a datagram."""
    return Handshake.parse(ControlPacket.parse(data).body)
