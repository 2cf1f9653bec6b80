"""Which GET and which POST of the HTTP tunnels belong together."""

from __future__ import annotations

from typing import Generic, TypeVar

from penstock.errors import ProtocolViolation
from penstock_rtsp.tunnel import CLAUSE

MAX_WAITING = 1024
"""GETs that wait for their POST, in one server."""

T = TypeVar("T")


class TunnelPairs(Generic[T]):
    """The open tunnels of a server by cookie; `T` is what it keeps of a GET."""

    def __init__(self) -> None:
        self._waiting: dict[str, T] = {}
        self._joined: dict[str, T] = {}

    def open(self, cookie: str, get: T) -> None:
        """A GET came; raises `ProtocolViolation` where its cookie is in use or too many wait."""
        if cookie in self._waiting or cookie in self._joined:
            raise ProtocolViolation("tunnel cookie is in use", CLAUSE)
        if len(self._waiting) >= MAX_WAITING:
            raise ProtocolViolation("too many tunnels wait for their POST", CLAUSE)
        self._waiting[cookie] = get

    def join(self, cookie: str) -> T:
        """A POST came: what was kept of its GET; raises `ProtocolViolation` where none waits."""
        if cookie not in self._waiting:
            raise ProtocolViolation("tunnel POST without its GET, or a second one", CLAUSE)
        self._joined[cookie] = get = self._waiting.pop(cookie)
        return get

    def reopen(self, cookie: str, get: T) -> None:
        """The POST ended while its GET goes on: another may come, as clients do that end it between requests."""
        if self._joined.get(cookie) is get:
            self._waiting[cookie] = self._joined.pop(cookie)

    def close(self, cookie: str) -> None:
        """The GET is closed, and the tunnel with it."""
        self._waiting.pop(cookie, None)
        self._joined.pop(cookie, None)
