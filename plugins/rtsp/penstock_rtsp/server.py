"""The RTSP and RTSPS listeners, and the UDP ports that all sessions share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import SystemRandom
from secrets import token_bytes

import anyio

from penstock.errors import UserError
from penstock.hooks import Endpoint
from penstock.net import open_listener, open_udp
from penstock.server import Server
from penstock.settings import parse_listen
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.credentials import Authenticator
from penstock_rtsp.multicast import Multicast
from penstock_rtsp.shared import Shared
from penstock_rtsp.tunnelled import Tunnels
from penstock_rtsp.udp import Ports

PAIR_TRIES = 64
"""Pairs of ports that are tried where the system is to choose them."""


class RtspService:
    """Everything that RTSP listens on, so that the UDP ports live as long as the sessions that use them."""

    name = "rtsp"

    def __init__(self, server: Server, config: RtspConfig) -> None:
        self._server = server
        self._config = config

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        config, server = self._config, self._server
        authenticator = Authenticator(
            config.realm,
            token_bytes(32),
            SystemRandom(),
            digest=config.auth != "basic",
            basic=config.auth != "digest",
        )
        shared = Shared(server, config, authenticator)
        endpoints: list[Endpoint] = []
        try:
            async with anyio.create_task_group() as tasks:
                if config.rtp:
                    shared.ports = self._open_ports(endpoints)
                    if config.multicast:
                        shared.multicast = Multicast(server, shared.ports, config, shared.random)
                    tasks.start_soon(shared.ports.run, shared.server.poller)
                tasks.start_soon(shared.watch)
                serve = Tunnels(shared).serve
                for name, listen, secure in (
                    ("rtsp", config.listen, False),
                    ("rtsps", config.listen_tls if server.has_tls else "", True),
                ):
                    if not listen:
                        continue
                    context = server.tls_context() if secure else None
                    host, port = parse_listen(listen)
                    key = "rtsp.listen_tls" if secure else "rtsp.listen"
                    listeners = open_listener(host, port, what=name.upper(), key=key)
                    port = listeners[0].getsockname()[1]
                    shown = "" if port == (322 if secure else 554) else f":{port}"
                    url = f"{name}://{{host}}{shown}/live/stream"
                    endpoints.append(Endpoint(name, host or "", port, "tcp", (url,)))
                    tasks.start_soon(partial(server.serve_tcp, listeners, name, serve, tls=context))
                started(sorted(endpoints, key=lambda e: e.transport))
                await anyio.sleep_forever()
        finally:
            # After the tasks that read them: libuv aborts the process where a descriptor that it watches is closed.
            if shared.ports is not None:
                shared.ports.close()

    def _open_ports(self, endpoints: list[Endpoint]) -> Ports:
        rtp_host, rtp_port = parse_listen(self._config.rtp)
        rtcp_host, rtcp_port = parse_listen(self._config.rtcp)
        for attempt in range(PAIR_TRIES):
            rtp = open_udp(rtp_host, rtp_port, what="RTP", key="rtsp.rtp")
            number: int = rtp.getsockname()[1]
            try:
                # RFC 3550 11: RTCP on the odd port after RTP's even one, which clients rely on.
                if rtp_port == rtcp_port == 0 and number % 2:
                    rtp.close()
                    continue
                rtcp = open_udp(rtcp_host, rtcp_port or number + 1, what="RTCP", key="rtsp.rtcp")
            except UserError:
                rtp.close()
                if rtcp_port or attempt == PAIR_TRIES - 1:
                    raise
                continue
            for what, host, sock in (("rtp", rtp_host, rtp), ("rtcp", rtcp_host, rtcp)):
                endpoints.append(Endpoint(what, host or "", sock.getsockname()[1], "udp"))
            return Ports(rtp, rtcp)
        raise UserError("no two UDP ports in a row are free; set rtsp.rtp and rtsp.rtcp to ports that are.")
