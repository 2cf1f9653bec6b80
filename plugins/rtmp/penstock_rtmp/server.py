"""The RTMP and RTMPS listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from penstock.hooks import Endpoint
from penstock.net import open_listener
from penstock.server import Server
from penstock.settings import parse_listen
from penstock_rtmp.config import RtmpConfig
from penstock_rtmp.session import serve


class RtmpService:
    """One listener; each connection is a session of its own."""

    def __init__(self, server: Server, config: RtmpConfig, *, secure: bool) -> None:
        self._server = server
        self._config = config
        self._listen = config.listen_tls if secure else config.listen
        self._secure = secure
        self.name = "rtmps" if secure else "rtmp"

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        tls = self._server.tls_context() if self._secure else None
        host, port = parse_listen(self._listen)
        key = "rtmp.listen_tls" if self._secure else "rtmp.listen"
        listeners = open_listener(host, port, what=self.name.upper(), key=key)
        port = listeners[0].getsockname()[1]
        usual = 443 if self._secure else 1935
        shown = "" if port == usual else f":{port}"
        url = f"{self.name}://{{host}}{shown}/live/stream"
        started([Endpoint(self.name, host or "", port, "tcp", (url,))])
        await self._server.serve_tcp(
            listeners, self.name, partial(serve, self._server, self._config), tls=tls
        )
