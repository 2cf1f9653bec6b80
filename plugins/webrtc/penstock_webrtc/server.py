"""The ports as a service."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from random import SystemRandom

import anyio
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from penstock.errors import UserError
from penstock.hooks import Endpoint
from penstock.net import open_listener, open_udp
from penstock.server import Server
from penstock.settings import parse_listen
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.dtls import Identity
from penstock_webrtc.interfaces import local_addresses
from penstock_webrtc.outside import watch_outside
from penstock_webrtc.reach import Reach
from penstock_webrtc.relay import Relay
from penstock_webrtc.shared import Shared, share
from penstock_webrtc.tcp import serve_link
from penstock_webrtc.timed import TimedCredentials
from penstock_webrtc.udp import Port

VALID_DAYS = 3650
"""Peers know our certificate by its fingerprint, and do not look at its dates."""
GOODBYE_SECONDS = 2.0
SAME_TRIES = 5
"""Ports that are tried where the system may choose one, which is to be free for TCP and for UDP."""


def make_identity() -> Identity:
    """A certificate of our own, new at each start: nobody can tell by it that it is the same server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebRTC")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(
        now + timedelta(days=VALID_DAYS)
    )
    return Identity.of(builder.sign(key, SHA256()), key)


@frozen
class _Second:
    """What listens on ``webrtc.listen_tcp``: TCP, and UDP on the same port where TURN is served."""

    listeners: Sequence[socket.socket]
    datagrams: socket.socket | None
    number: int
    endpoints: Sequence[Endpoint]


def _open_second(config: WebrtcConfig) -> _Second:
    host, wanted = parse_listen(config.listen_tcp)
    tries = 0
    while True:
        listeners = open_listener(host, wanted, what="WebRTC", key="webrtc.listen_tcp")
        number = listeners[0].getsockname()[1]
        endpoints = [Endpoint("webrtc-tcp", host or "", number, "tcp")]
        datagrams = None
        try:
            if config.turn:
                datagrams = open_udp(host, number, what="WebRTC", key="webrtc.listen_tcp")
                endpoints.append(Endpoint("webrtc-turn", host or "", number, "udp"))
        except UserError:
            for listener in listeners:
                listener.close()
            tries += 1
            if wanted or tries == SAME_TRIES:
                raise
            continue  # the system chose a port that somebody has for UDP
        return _Second(listeners, datagrams, number, endpoints)


def _open_secure(config: WebrtcConfig) -> tuple[Sequence[socket.socket], Endpoint]:
    """What listens on ``webrtc.listen_tls``."""
    host, number = parse_listen(config.listen_tls)
    listeners = open_listener(host, number, what="WebRTC", key="webrtc.listen_tls")
    return listeners, Endpoint("webrtc-turns", host or "", listeners[0].getsockname()[1], "tcp")


class WebrtcService:
    """Everything that is not HTTP: the ports, and who looks after the peers."""

    name = "webrtc"

    def __init__(self, server: Server, config: WebrtcConfig) -> None:
        self._server = server
        self._config = config

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        server, config = self._server, self._config
        if not config.listen:
            started([])
            await anyio.sleep_forever()
        host, number = parse_listen(config.listen)
        addresses = await self._addresses(host)
        with ExitStack() as stack:
            sock = stack.enter_context(open_udp(host, number, what="WebRTC", key="webrtc.listen"))
            port = Port(sock)
            endpoints = [Endpoint("webrtc", host or "", port.number, "udp")]
            second = _open_second(config) if config.listen_tcp else None
            if second is not None:
                for one in (*second.listeners, second.datagrams):
                    stack.enter_context(one or nullcontext())
                endpoints += second.endpoints
            secret = config.turn_secret.encode() or SystemRandom().randbytes(32)
            turn = TimedCredentials(secret) if second and second.datagrams else None
            secure = _open_secure(config) if turn and config.listen_tls and server.has_tls else None
            if secure is not None:
                for one in secure[0]:
                    stack.enter_context(one)
                endpoints.append(secure[1])
            reach = Reach(
                addresses,
                port.number,
                second.number if second else None,
                secure[1].port if secure else None,
            )
            shared = Shared(server, config, port, make_identity(), reach, turn)
            try:
                share(server, shared)
                started(endpoints)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(port.run, server.poller)
                    tasks.start_soon(shared.watch)
                    if config.stun_servers:
                        tasks.start_soon(watch_outside, server, port, reach, config.stun_servers)
                    if second is not None:
                        relay = Relay(port, reach, turn) if turn else None
                        serve = partial(serve_link, server, port, relay)
                        tasks.start_soon(server.serve_tcp, second.listeners, "webrtc-tcp", serve)
                        if secure is not None:
                            tls = server.tls_context()
                            tasks.start_soon(
                                partial(server.serve_tcp, secure[0], "webrtc-tcp", serve, tls=tls)
                            )
                        if relay and second.datagrams:
                            tasks.start_soon(relay.run, second.datagrams, server.poller)
                            tasks.start_soon(relay.watch)
            finally:
                share(server, None)
                with anyio.CancelScope(shield=True):
                    await self._dismiss(shared)

    async def _addresses(self, host: str | None) -> Sequence[str]:
        """What candidates have: addresses, since browsers do not look names up."""
        names, key = self._config.addresses, "webrtc.addresses"
        if not names:
            if not host or host in ("0.0.0.0", "::"):
                return local_addresses()
            names, key = [host], "webrtc.listen"
        found: list[str] = []
        for name in names:
            try:
                infos = await anyio.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            except OSError as e:
                raise UserError(f"{key}: {name} cannot be found ({e.strerror}); correct it.") from None
            found += [str(info[4][0]) for info in infos]
        return list(dict.fromkeys(found))

    async def _dismiss(self, shared: Shared) -> None:
        reason = "the server is stopping" if self._server.stopping else "webrtc is switched off"
        for peer in tuple(shared.peers.values()):
            peer.session.kick(reason)
        with anyio.move_on_after(GOODBYE_SECONDS):
            while shared.peers:
                await anyio.sleep(0.01)
