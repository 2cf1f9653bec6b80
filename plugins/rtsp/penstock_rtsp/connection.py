"""The server's side of one connection: requests that are fit to be answered, and their replies."""

from __future__ import annotations

import functools

from attrs import field, frozen

from penstock.errors import ProtocolViolation
from penstock.log import escape
from penstock_formats.decimal import parse_decimal
from penstock_rtsp.headers import Headers
from penstock_rtsp.message import REASONS, VERSION, InterleavedFrame, Request, Response
from penstock_rtsp.reader import MessageReader
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.state import METHODS, StateMachine, WrongState
from penstock_rtsp.url import Target

MAX_WHY = 200
"""Characters of a reason in the status line: clients print it in a line of their own."""
MAX_CSEQ = (1 << 32) - 1


@frozen
class Asked:
    """A request to answer: known, numbered, allowed in the session's state, and about `target`."""

    request: Request
    cseq: int
    target: Target
    session: str | None = None


@frozen
class Refused:
    """A request that is answered with `status`, `reason` and `headers` alone."""

    request: Request
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = field(default=())


class Refusal(Exception):
    """What answers a request with a status other than 200, after which the session goes on."""

    def __init__(self, status: int, *headers: tuple[str, str], why: str = "") -> None:
        self.status = status
        self.headers = headers
        self.why = why


Event = Asked | Refused | Response | InterleavedFrame

RECENT = 1024
"""URLs and sessions that are known again: a player's keep-alives are the same but for their number."""

_target = functools.lru_cache(RECENT)(Target.parse)
_session = functools.lru_cache(RECENT)(SessionHeader.parse)


class ServerConnection:
    """Bytes in, requests out. `state` is that of the connection's one session; the caller advances it.

    A `ProtocolViolation` of `next_event` means that no message can be found any more: `farewell`, then close.
    """

    def __init__(self, server: str) -> None:
        self.state = StateMachine()
        self.session: SessionHeader | None = None
        self._server = server
        self._reader = MessageReader()

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the peer."""
        self._reader.receive_data(data)

    def next_event(self) -> Event | None:
        """The next event, None where more bytes are needed; raises `ProtocolViolation`."""
        message = self._reader.next_event()
        if isinstance(message, Request):
            return self._check(message)
        return message

    def respond(
        self,
        request: Request,
        status: int,
        *headers: tuple[str, str],
        body: bytes = b"",
        date: str | None = None,
        why: str = "",
    ) -> bytes:
        """The reply to `request`, with its CSeq, the server's name and the session where there is one.

        `why` is for the reader of the status line, and may be any text.
        """
        lines: list[tuple[str, str]] = []
        cseq = request.headers.get("CSeq")
        # A number that is none is not sent back: it could be anything.
        if cseq is not None and cseq.isascii() and cseq.isdigit() and len(cseq) <= 10:
            lines.append(("CSeq", cseq))
        lines.append(("Server", self._server))
        if date is not None:
            lines.append(("Date", date))
        if self.session is not None:
            lines.append(("Session", self.session.build()))
        reason = REASONS.get(status, "Error") + (f": {escape(why[:MAX_WHY])}" if why else "")
        return Response(status, reason, Headers((*lines, *headers)), body).encode()

    def refuse(self, refused: Refused, date: str | None = None) -> bytes:
        """The reply to a request that was refused."""
        return self.respond(refused.request, refused.status, *refused.headers, date=date, why=refused.reason)

    def farewell(self) -> bytes:
        """The reply before closing on a violation."""
        return Response(
            400, REASONS[400], Headers([("Server", self._server), ("Connection", "close")])
        ).encode()

    def _check(self, request: Request) -> Asked | Refused:
        if request.version != VERSION:
            return Refused(request, 505, f"version {request.version}")
        try:
            cseq_text = request.headers.single("CSeq")
            if cseq_text is None:
                return Refused(request, 400, "no CSeq")
            cseq = parse_decimal(cseq_text, MAX_CSEQ, "CSeq", "RFC 2326 12.17")
            if request.method not in METHODS:
                return Refused(request, 501, "unknown method", (("Allow", ", ".join(METHODS)),))
            if request.headers.get("Require") is not None:
                # RFC 2326 12.32: nothing that a client may require is offered.
                unsupported = ("Unsupported", request.headers.get("Require") or "")
                return Refused(request, 551, "Require", (unsupported,))
            session = request.headers.single("Session")
            known = _session(session).id if session is not None else None
            target = _target(request.url)
        except ProtocolViolation as violation:
            return Refused(request, 400, str(violation))
        if known is not None and (self.session is None or known != self.session.id):
            return Refused(request, 454, "foreign session")
        try:
            self.state.expect(request.method)
        except WrongState as wrong:
            return Refused(request, 455, str(wrong), (("Allow", ", ".join(self.state.allowed)),))
        return Asked(request, cseq, target, known)
