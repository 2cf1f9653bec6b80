"""The ASGI extension ``penstock.socket``: what our own ASGI server offers beyond ASGI, so that a response costs less."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from penstock.sink import ByteSink

EXTENSION = "penstock.socket"

RawHeaders = list[tuple[bytes, bytes]]


class Peer(Protocol):
    """The connection beneath one request, as ``scope["extensions"]["penstock.socket"]``."""

    @property
    def gone(self) -> str:
        """Why nothing more can be sent to the peer, empty while something can."""
        ...

    @property
    def broken(self) -> str:
        """What was wrong with the request's body, so that nothing more of it can be read; empty while all is well."""
        ...

    def watch(self, ended: Callable[[str], None] | None) -> None:
        """Call `ended` with a reason, at once, where the peer leaves or the response has to end."""
        ...

    async def turn(self) -> None:
        """Wait for a moment in which a response may be written without holding up everything else."""
        ...

    def respond(self, status: int, headers: RawHeaders, body: bytes | memoryview) -> bool:
        """Send a whole response by one write; false where something of others has to go first. `headers` tell its length."""
        ...

    async def begin(self, status: int, headers: RawHeaders) -> None:
        """Send the head of an HTTP response that ends with the connection; `write` and `end` follow, or `sink`."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a part of the body that `begin` began, unframed; waits while the peer does not read."""
        ...

    async def sink(self) -> ByteSink | None:
        """A sink on a duplicate of the socket, once all that was sent is out. The ASGI server writes past it no more.

        Only a plain HTTP/1.1 response that was begun by `begin`, or a plain WebSocket, has one.
        """
        ...

    async def end(self) -> None:
        """The end of what `begin` began: what the sink holds is sent, and the connection closed."""
        ...

    def abort(self) -> None:
        """Break the connection off: what was begun is not whole."""
        ...
