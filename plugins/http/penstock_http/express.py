"""A connection's way past ASGI: plain GETs of what is there already are answered where they are read."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from penstock.sink import broken
from penstock_http.api import Answer, Hold, Shortcut, Shortcuts
from penstock_http.asked import joined

if TYPE_CHECKING:
    from penstock_http.uvicorn_http import HttpConnection

MAX_REQUEST = 2 << 10
"""Bytes of a request that is looked at: browsers send some 700. It bounds what is remembered of heads, too."""

KNOWN = 1024
"""Heads, and whole requests, that are remembered: a program says the same in each request, and so do all of its kind."""

PIECE = 256 << 10
"""How much of what the socket did not take is given to the event loop's transport, which may copy it."""

_CONDITIONS = frozenset(
    {
        "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
        "expect", "upgrade", "content-length", "transfer-encoding",
    }
)  # fmt: skip
"""What makes of a request more than a plain GET."""


class _Lines:
    """Listens to a parser."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.stays = self.whole = False
        self.parser = httptools.HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.stays = self.parser.should_keep_alive() and not self.parser.should_upgrade()

    def on_message_complete(self) -> None:
        self.whole = True


@lru_cache(KNOWN)
def plain_head(block: bytes) -> Mapping[str, str] | None:
    """The headers of a plain GET of HTTP/1.1 whose lines after the first, with the empty one, are `block`.

    None where they ask for more than a representation on a connection that stays, or are in any way wrong.
    """
    lines = _Lines()
    try:
        lines.parser.feed_data(b"GET / HTTP/1.1\r\n" + block)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    hosts = sum(name == b"host" for name, _ in lines.headers)
    headers = joined(lines.headers)
    plain = lines.whole and lines.stays and hosts == 1 and _CONDITIONS.isdisjoint(headers)
    return headers if plain else None


def plain_get(data: bytes, shortcuts: Shortcuts) -> Shortcut | None:
    """What answers `data` where that is a plain GET, one and whole."""
    size = len(data)
    if size > MAX_REQUEST or not data.startswith(b"GET /") or data.find(b"\r\n\r\n") != size - 4:
        return None
    end = data.find(b" HTTP/1.1\r\n")
    headers = plain_head(data[end + 11 :]) if end > 0 else None
    return None if headers is None else shortcuts.shortcut(data[4:end], headers)


class PlainRequests:
    """Those that are known by all of their bytes: viewers of a stream ask for the same few files in the same words."""

    def __init__(self, shortcuts: Shortcuts) -> None:
        self._shortcuts = shortcuts
        self._known: dict[bytes, Shortcut] = {}
        self.known = self._known.get
        """What answers a request, where that is known."""

    def learn(self, data: bytes) -> Shortcut | None:
        """As `plain_get`, and remembered."""
        found = plain_get(data, self._shortcuts)
        if found is not None:
            if len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[data] = found
        return found

    def let_go(self) -> None:
        """Keep no answers: what is asked for is found anew."""
        for known in self._known.values():
            known.let_go()

    def forget(self, data: bytes) -> None:
        """It has to be found out anew."""
        self._known.pop(data, None)


def _send_more(descriptor: int, data: bytes) -> int:
    """Send `data` in one segment with what follows."""
    # Without the class around it, which would cost as much again.
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        return sock.send(data, socket.MSG_MORE)
    finally:
        sock.detach()


class Express:
    """What one connection answers so, one request at a time: written at once, held back, or half out."""

    __slots__ = ("_asked", "_connection", "_data", "_deferred", "_final", "_rest", "_take_back", "_timer")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._asked: Shortcut | None = None
        """What is held."""
        self._data = b""
        self._take_back: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest: memoryview[int] | None = None
        self._deferred = False
        self._final = False

    @property
    def busy(self) -> bool:
        """Whether a request is not answered whole, and the next has to wait."""
        return self._asked is not None or self._rest is not None or self._deferred

    def take(self, data: bytes) -> bool:
        """See to `data`, which begins a request, where it is one whole that can be; false: it is to be parsed."""
        owner = self._connection.owner
        asked = owner.requests.known(data) or owner.requests.learn(data)
        if asked is None:
            return False
        if owner.turns.take():
            return self._answer(asked, data)
        self._deferred = True
        owner.turns.later(partial(self._resume, asked, data))
        return True

    def _resume(self, asked: Shortcut, data: bytes) -> None:
        """It is the turn of a request that was put off."""
        if self._deferred and not self._connection.transport.is_closing():
            self._deferred = False
            if not self._answer(asked, data):
                self._stop_waiting()
                owner = self._connection.owner
                if self._final or owner.server.stopping:
                    # The viewer's session has ended already: it is not to be told that it was refused.
                    self._refuse(asked, owner.stopping or "the server is stopping")
                else:
                    self._connection.parse(data)

    def _answer(self, asked: Shortcut, data: bytes) -> bool:
        found = asked.ask(self._connection.address)
        if type(found) is Answer:
            if self._timer is not None:
                self._stop_waiting()
            self._write(asked, found)
        elif isinstance(found, Hold):
            self._hold(asked, data, found)
        else:
            self._connection.owner.requests.forget(data)
            return False
        return True

    # -- what is held ---------------------------------------------------------

    def _hold(self, asked: Shortcut, data: bytes, hold: Hold) -> None:
        self._asked, self._data = asked, data
        self._take_back = hold.when(self._due)
        if self._timer is None:
            loop = self._connection.loop
            self._timer = loop.call_later(hold.seconds, self._expire, hold.otherwise)

    def _due(self) -> None:
        asked, data = self._asked, self._data
        self._asked = self._take_back = None
        if asked is not None:
            self._deferred = True
            self._connection.owner.turns.later(partial(self._resume, asked, data))

    def _expire(self, otherwise: Callable[[], Answer | None]) -> None:
        asked, data = self._asked, self._data
        self._timer = None
        if asked is None:
            return
        self._stop_waiting()
        answer = otherwise()
        if answer is not None:
            self._write(asked, answer)
        else:
            self._connection.parse(data)

    def _stop_waiting(self) -> None:
        if self._take_back is not None:
            self._take_back()
        if self._timer is not None:
            self._timer.cancel()
        self._asked = self._take_back = self._timer = None
        self._data = b""

    # -- what is written ------------------------------------------------------

    def _write(self, asked: Shortcut, answer: Answer) -> None:
        connection = self._connection
        transport, body = connection.transport, answer.body
        head = b"".join((STATUS_LINE[answer.status], connection.owner.date, asked.head(answer)))
        # Who waits is let go when a publisher's session ends, which may be before the listener is told to stop.
        self._final = self._final or connection.owner.server.stopping
        if self._final:
            head = head[:-2] + b"connection: close\r\n\r\n"
        sent, size = 0, len(head) + len(body)
        if connection.descriptor >= 0 and not transport.get_write_buffer_size():
            # Straight to the socket: the loop's transport would join what it is given, or look at it a pass later.
            try:
                file = connection.owner.bodies.descriptor(body)
                if file < 0:
                    sent = os.writev(connection.descriptor, (head, body))
                else:
                    sent = _send_more(connection.descriptor, head)
                    # What is short by a few pages has room for them as soon as it has been sent.
                    while len(head) <= sent < size and (
                        part := os.sendfile(connection.descriptor, file, sent - len(head), size - sent)
                    ):
                        sent += part
            except BlockingIOError:
                pass
            except OSError as e:
                connection.lost(broken(e))
                return
        if sent == size:
            connection.answered(last=self._final)
            return
        ahead = sent - len(head)
        if ahead < 0:
            transport.write(head[sent:])
        self._rest = memoryview(body)[max(0, ahead) :]
        self.go_on()

    def go_on(self) -> None:
        """The transport takes more: nothing of the body is copied but what it holds."""
        connection = self._connection
        while self._rest and not connection.flow.write_paused:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            connection.transport.write(piece)
        if self._rest is not None and not self._rest:
            self._rest = None
            connection.answered(last=self._final)

    # -- its end ------------------------------------------------------------

    def shut(self) -> None:
        """What is being answered is the last."""
        self._final = True

    def end(self, reason: str) -> None:
        """What is held is refused, and what is half out broken off."""
        asked = self._asked
        if asked is not None:
            self._stop_waiting()
            self._refuse(asked, reason)
        elif self._rest is not None:
            self._connection.lost(reason)

    def _refuse(self, asked: Shortcut, reason: str) -> None:
        self._final = True
        self._write(asked, Answer(f"{reason}\n".encode(), headers=(("retry-after", "1"),), status=503))

    def forget(self) -> None:
        """The connection is lost."""
        self._stop_waiting()
        self._rest = None
        self._deferred = False
