"""The client's side of one connection: numbered requests, authentication, and what the replies mean."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_formats.decimal import parse_decimal
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.auth import Algorithm, Challenge
from penstock_rtsp.headers import Headers
from penstock_rtsp.message import REASONS, InterleavedFrame, Request, Response
from penstock_rtsp.range import Range
from penstock_rtsp.reader import MessageReader
from penstock_rtsp.rtp_info import RtpInfo, parse_rtp_info
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.state import StateMachine, WrongState
from penstock_rtsp.transport import Transport, parse_transports
from penstock_rtsp.url import resolve_control

MAX_CHALLENGES = 8
MAX_ATTEMPTS = 3
"""Tries of one request: without credentials, with them, and with a fresh nonce."""
DEFAULT_TIMEOUT = 60
"""Seconds after which a server forgets a session (RFC 2326 12.37)."""


@frozen
class Described:
    """The server's description; controls are relative to `base`."""

    description: SessionDescription
    base: str


@frozen
class Prepared:
    """A track is set up; `transport` is what the server chose."""

    url: str
    transport: Transport


@frozen
class Started:
    """PLAY or RECORD succeeded."""

    range: Range | None
    rtp_info: tuple[RtpInfo, ...]


@frozen
class Answered:
    """Another request succeeded."""

    method: str


@frozen
class Redirected:
    """The presentation is elsewhere; whether to follow is the caller's to decide."""

    url: str


@frozen
class TransportRefused:
    """461 for the track at `url`: another transport may work."""

    url: str


@frozen
class Failed:
    """The server said no."""

    method: str
    status: int
    reason: str


Event = (
    Described
    | Prepared
    | Started
    | Answered
    | Redirected
    | TransportRefused
    | Failed
    | Request
    | InterleavedFrame
)


class Requester:
    """Requests go out by `data_to_send`, in the order of `state`; a request of the server's is an event too.

    `url` is without credentials; `cnonce` is random text for Digest.
    """

    def __init__(
        self, url: str, agent: str, cnonce: str, user: str | None = None, password: str = ""
    ) -> None:
        self.state = StateMachine()
        self.url = url
        self.session: SessionHeader | None = None
        self._agent = agent
        self._cnonce = cnonce
        self._user = user
        self._password = password
        self._reader = MessageReader()
        self._out = bytearray()
        self._cseq = 0
        self._waiting: dict[int, tuple[Request, int]] = {}
        self._challenge: Challenge | None = None
        self._nonce_count = 0
        self._public: frozenset[str] = frozenset()

    def data_to_send(self) -> bytes:
        """What is to be written now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the server."""
        self._reader.receive_data(data)

    def next_event(self) -> Event | None:
        """The next event, None where more bytes are needed; raises `ProtocolViolation`."""
        while (message := self._reader.next_event()) is not None:
            if not isinstance(message, Response):
                return message
            if (event := self._answered(message)) is not None:
                return event
        return None

    @property
    def keep_alive_interval(self) -> int:
        """Nanoseconds between keep-alives: well within the server's timeout."""
        timeout = self.session.timeout if self.session is not None else None
        return max(timeout or DEFAULT_TIMEOUT, 2) * NS // 2

    def options(self) -> None:
        self._send("OPTIONS", self.url)

    def describe(self) -> None:
        self._send("DESCRIBE", self.url, ("Accept", "application/sdp"))

    def announce(self, description: SessionDescription) -> None:
        self._send("ANNOUNCE", self.url, ("Content-Type", "application/sdp"), body=description.build())

    def setup(self, control: str | None, *transports: Transport) -> None:
        """Ask for the track of that ``a=control``, by the first of `transports` that the server takes."""
        wanted = ",".join(transport.build() for transport in transports)
        self._send("SETUP", resolve_control(self.url, control), ("Transport", wanted))

    def play(self, range: Range | None = None) -> None:
        self._send("PLAY", self.url, ("Range", (range or Range()).build()))

    def record(self) -> None:
        self._send("RECORD", self.url, ("Range", Range().build()))

    def pause(self) -> None:
        self._send("PAUSE", self.url)

    def keep_alive(self) -> None:
        """Tell the server that the session lives: by GET_PARAMETER where it knows that, which some do not."""
        self._send("GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS", self.url)

    def teardown(self) -> None:
        self._send("TEARDOWN", self.url)

    def reply(self, request: Request, status: int) -> None:
        """Answer a request of the server's."""
        cseq = [("CSeq", value) for value in request.headers.all("CSeq")[:1]]
        self._out += Response(status, REASONS.get(status, "Error"), Headers(cseq)).encode()

    def _send(self, method: str, url: str, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.state.expect(method)
        self._write(Request(method, url, Headers(headers), body), 1)

    def _write(self, request: Request, attempt: int) -> None:
        self._cseq += 1
        self._waiting[self._cseq] = request, attempt
        lines = [("CSeq", str(self._cseq)), ("User-Agent", self._agent)]
        if self.session is not None:
            lines.append(("Session", self.session.id))
        if self._challenge is not None and self._user is not None:
            self._nonce_count += 1
            lines.append(("Authorization", self._challenge.answer(
                self._user, self._password, request.method, request.url, self._cnonce, self._nonce_count
            )))  # fmt: skip
        self._out += Request(
            request.method, request.url, Headers((*lines, *request.headers)), request.body
        ).encode()

    def _answered(self, response: Response) -> Event | None:
        if response.status < 200 or not self._waiting:
            return None
        text = response.headers.get("CSeq")
        cseq = next(iter(self._waiting))
        if text is not None:
            cseq = parse_decimal(text, (1 << 32) - 1, "CSeq", "RFC 2326 12.17")
        if cseq not in self._waiting:
            return None
        request, attempt = self._waiting.pop(cseq)
        if response.status == 200:
            return self._succeeded(request, response)
        if response.status == 401 and attempt < MAX_ATTEMPTS and self._take_challenge(response, attempt):
            self._write(request, attempt + 1)
            return None
        location = response.headers.get("Location")
        if response.status in (301, 302) and location is not None:
            if not location.lower().startswith(("rtsp://", "rtsps://")):
                raise ProtocolViolation("redirected to what is not RTSP", "RFC 2326 11.3")
            return Redirected(location)
        if response.status == 461:
            return TransportRefused(request.url)
        return Failed(request.method, response.status, response.reason)

    def _take_challenge(self, response: Response, attempt: int) -> bool:
        """Whether another try may succeed, now that the strongest known challenge is taken."""
        if self._user is None:
            return False
        offered = response.headers.all("WWW-Authenticate")[:MAX_CHALLENGES]
        known = [challenge for value in offered if (challenge := Challenge.parse(value))]
        if not known:
            return False
        best = max(known, key=lambda c: (c.scheme == "Digest", c.algorithm is Algorithm.SHA256))
        refused = self._challenge is not None and not (best.stale or best.nonce != self._challenge.nonce)
        if refused or (attempt > 1 and not best.stale):
            return False
        self._challenge = best
        self._nonce_count = 0
        return True

    def _succeeded(self, request: Request, response: Response) -> Event:
        try:
            self.state.advance(request.method)
        except WrongState:
            raise ProtocolViolation("reply out of order", "RFC 2326 A.1") from None
        session = response.headers.get("Session")
        if session is not None:
            self.session = SessionHeader.parse(session)
        match request.method:
            case "OPTIONS":
                public = response.headers.get("Public") or ""
                self._public = frozenset(word.strip().upper() for word in public.split(","))
            case "DESCRIBE":
                description = SessionDescription.parse(response.body)
                base = response.headers.get("Content-Base") or response.headers.get("Content-Location")
                if base is not None and base.lower().startswith(("rtsp://", "rtsps://")):
                    self.url = base
                self.url = resolve_control(self.url, description.control)
                return Described(description, self.url)
            case "SETUP":
                chosen = parse_transports(response.headers.get("Transport") or "")
                if not chosen:
                    raise ProtocolViolation("SETUP reply without an RTP transport", "RFC 2326 12.39")
                return Prepared(request.url, chosen[0])
            case "PLAY" | "RECORD":
                return _started(response)
            case _:
                pass
        return Answered(request.method)


def _started(response: Response) -> Started:
    info = response.headers.get("RTP-Info")
    range_text = response.headers.get("Range")
    return Started(
        Range.parse(range_text) if range_text else None,
        parse_rtp_info(info) if info else (),
    )
