"""Requests on httpcore2's connections, which are made only to addresses that a source may lead to."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import anyio
import httpcore2

from penstock import Closed
from penstock_http.location import Location
from penstock_http.reach import Reach

MAX_CONNECTIONS = 20
IDLE_SECONDS = 30.0
_FAILURES = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)

Opened = tuple[int, dict[str, str], Callable[[], Awaitable[bytes]]]
"""Status, headers by lower-case name, and what gives the next bytes of the body."""


class Spending(Protocol):
    """What bounds the time that one response takes."""

    @property
    def left(self) -> float | None: ...

    def spend(self, since: float) -> None: ...


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to what a name means once that is found to be allowed, so that it cannot mean something else then."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._backend = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        found: Sequence[tuple[Any, ...]] = ()
        with anyio.move_on_after(timeout) as deadline:
            try:
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as e:
                raise Closed(f"{host} is not known: {getattr(e, 'strerror', None) or e}") from None
        if deadline.cancelled_caught:
            raise Closed(f"the name {host} was not found in time")
        addresses = self._reach.allowed(host, [str(entry[4][0]) for entry in found])
        error: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as e:
                error = e
        raise error or Closed(f"{host} has no address")


class Fetcher:
    """The connections of one source; `seconds` is how long one step may take."""

    def __init__(self, reach: Reach, seconds: float) -> None:
        self._seconds = seconds
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=_Backend(reach),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    @asynccontextmanager
    async def open(
        self, location: Location, headers: list[tuple[str, str]], budget: Spending
    ) -> AsyncGenerator[Opened]:
        """One GET. Raises `Closed` where there is no response, or its body breaks off."""
        step = self._seconds if budget.left is None else min(self._seconds, budget.left)
        request = httpcore2.Request(
            "GET",
            httpcore2.URL(
                scheme=location.scheme.encode(),
                host=location.host.encode(),
                port=location.port,
                target=location.target.encode(),
            ),
            headers=[(name.encode(), value.encode()) for name, value in headers],
            extensions={"timeout": {"connect": step, "read": step, "write": step, "pool": step}},
        )
        began = time.monotonic()
        try:
            response = await self._pool.handle_async_request(request)
        except _FAILURES as e:
            raise self._failed(location, e) from None
        chunks = response.aiter_stream()

        async def receive() -> bytes:
            since = time.monotonic()
            try:
                data = await anext(chunks, b"")
            except _FAILURES as e:
                raise self._failed(location, e) from None
            budget.spend(since)
            return data

        try:
            budget.spend(began)
            found = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in response.headers}
            yield response.status, found, receive
        finally:
            with anyio.CancelScope(shield=True):
                await chunks.aclose()
                await response.aclose()

    def _failed(self, location: Location, error: Exception) -> Closed:
        if isinstance(error, httpcore2.TimeoutException):
            return Closed(f"{location.authority} did not answer within {self._seconds:g} s")
        if isinstance(error, httpcore2.ConnectError):
            return Closed(f"{location.authority} cannot be reached: {error}")
        return Closed(f"the connection to {location.authority} failed: {error or type(error).__name__}")
