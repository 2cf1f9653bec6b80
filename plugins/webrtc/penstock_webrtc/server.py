"""The ports as a service."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
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
from penstock_webrtc.link import serve_link
from penstock_webrtc.shared import Shared, share
from penstock_webrtc.udp import Port

VALID_DAYS = 3650
"""Peers know our certificate by its fingerprint, and do not look at its dates."""
GOODBYE_SECONDS = 2.0


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
        sock = open_udp(host, number, what="WebRTC", key="webrtc.listen")
        try:
            port = Port(sock)
            endpoints = [Endpoint("webrtc", host or "", port.number, "udp")]
            listeners: Sequence[socket.socket] = ()
            if config.listen_tcp:
                host, number = parse_listen(config.listen_tcp)
                listeners = open_listener(host, number, what="WebRTC", key="webrtc.listen_tcp")
                number = listeners[0].getsockname()[1]
                endpoints.append(Endpoint("webrtc-tcp", host or "", number, "tcp"))
        except BaseException:
            sock.close()
            raise
        shared = Shared(server, config, port, make_identity(), addresses, number if listeners else None)
        try:
            share(server, shared)
            started(endpoints)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(port.run, server.poller)
                tasks.start_soon(shared.watch)
                if listeners:
                    serve = partial(serve_link, server, port)
                    tasks.start_soon(server.serve_tcp, listeners, "webrtc-tcp", serve)
        finally:
            share(server, None)
            with anyio.CancelScope(shield=True):
                await self._dismiss(shared)
            sock.close()

    async def _addresses(self, host: str | None) -> Sequence[str]:
        """What candidates have: addresses, since browsers do not look names up."""
        if not self._config.addresses:
            return [host] if host and host not in ("0.0.0.0", "::") else local_addresses()
        found: list[str] = []
        for name in self._config.addresses:
            try:
                infos = await anyio.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            except OSError as e:
                raise UserError(
                    f"webrtc.addresses: {name} cannot be found ({e.strerror}); correct it."
                ) from None
            found += [str(info[4][0]) for info in infos]
        return list(dict.fromkeys(found))

    async def _dismiss(self, shared: Shared) -> None:
        reason = "the server is stopping" if self._server.stopping else "webrtc is switched off"
        for peer in tuple(shared.peers.values()):
            peer.session.kick(reason)
        with anyio.move_on_after(GOODBYE_SECONDS):
            while shared.peers:
                await anyio.sleep(0.01)
