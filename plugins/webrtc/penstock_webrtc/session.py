"""One peer: checks of ICE, then the handshake of DTLS, then media. No DTLS state is made before a check has passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import anyio

from penstock.errors import Closed, ProtocolViolation
from penstock.publisher import Publisher
from penstock.session import Session
from penstock_formats.rtcp import RtcpPacket, parse_rtcp
from penstock_webrtc.dtls import Dtls, Identity
from penstock_webrtc.fragment import Fragment
from penstock_webrtc.ice import Credentials, IceLite
from penstock_webrtc.route import Route
from penstock_webrtc.srtp import Srtp
from penstock_webrtc.stun import StunMessage
from penstock_webrtc.transport import Transport
from penstock_webrtc.udp import Port

REPEAT_NS = 100_000_000
"""After so long without an answer a flight of the handshake is sent again, each time after twice as long (OpenSSL: after 1 s)."""
MAX_REPEATS = 5

_NS = 1e9


class Media(Protocol):
    """What a peer is there for: it plays, or it publishes."""

    @property
    def busy(self) -> bool:
        """Whether `tick` is to be called often."""
        ...

    def connected(self, srtp: Srtp, route: Route) -> None:
        """Media may flow. Raises `Closed` or `StreamError` where there is none any more."""
        ...

    def moved(self, route: Route) -> None: ...

    def rtp(self, data: bytes, now: int) -> Publisher | None:
        """A packet, decrypted. Returns the publisher that has something to flush."""
        ...

    def rtcp(self, packets: Sequence[RtcpPacket], now: int) -> bool:
        """Take what it reports, and tell whether it waits for something."""
        ...

    def tick(self, now: int) -> Publisher | None: ...

    def close(self, reason: str) -> None: ...


class Peer:
    """What is known of one peer. Times are monotonic ns."""

    def __init__(
        self,
        session: Session,
        port: Port,
        identity: Identity,
        media: Media,
        told: Fragment,
        remote: Transport,
        *,
        handshake_timeout: float,
        on_connected: Callable[[], None],
    ) -> None:
        self.session = session
        self.media_side = media
        self.remote = remote
        self.told = told
        """What the answer said of ICE."""
        self.ice = IceLite[Route](told.credentials)
        self._port = port
        self._identity = identity
        self._on_connected = on_connected
        self._dtls: Dtls | None = None
        self._srtp: Srtp | None = None
        self._deadline = time.monotonic_ns() + int(handshake_timeout * _NS)
        self._old: Credentials | None = None
        self._flight: Sequence[bytes] = ()
        self._repeat_at = 0
        self._repeats = 0
        self._bad = 0
        self._over = False
        self._ended = anyio.Event()
        self._error: Exception | None = None
        port.name(told.credentials.ufrag, self)

    @property
    def busy(self) -> bool:
        """Whether it has to be looked after often."""
        return self._dtls is not None and (self._srtp is None or self.media_side.busy)

    @property
    def host(self) -> str:
        """Where its offer came from."""
        return self.session.address.rpartition(":")[0]

    async def run(self) -> None:
        """Wait until it ends; raises why."""
        try:
            await self._ended.wait()
            if self._error is not None:
                raise self._error
        finally:
            # Its traceback has this frame, and would keep all that the peer had.
            self._error = None
            self._close()

    def end(self, error: Exception) -> None:
        """It is over; `error` is raised in its own task."""
        if not self._over:
            self._over, self._error = True, error
            self._ended.set()

    def restart(self, local: Credentials, remote: Credentials) -> None:
        """New credentials (RFC 8445 9): the old ones hold until the first check with the new."""
        if self._old is None:
            self._old = self.ice.local
        else:
            # The answer to the restart before did not reach the peer in time (RFC 9725 4.3.3).
            self._port.unname(self.ice.local.ufrag)
        fresh = IceLite(local, self.ice.selected, dict(self.ice.ways), self.ice.alive_at)
        self.ice = fresh
        self.remote = Transport(remote, self.remote.fingerprints, self.remote.setup)
        self._port.name(local.ufrag, self)

    # -- what the port brings ------------------------------------------------
    # One peer's error ends the peer: it must not end the port of all, and is raised again in the session's own task.

    def again(self, data: bytes, key: Hashable, now: int) -> bool:
        """Answer a check that came by the route of that key, if it is one that says nothing new."""
        selected = self.ice.selected
        if selected is None or selected.key != key or self._over:
            return False
        answer = self.ice.again(data, now / _NS)
        if answer is None:
            return False
        try:
            selected.send([answer])
        except Exception as error:  # noqa: BLE001
            self.end(error)
        return True

    def check(self, message: StunMessage, data: bytes, route: Route, now: int) -> None:
        self._guard(lambda: self._check(message, data, route, now))

    def handshake(self, data: bytes, now: int) -> None:
        self._guard(lambda: self._handshake(data, now))

    def holds(self, route: Route, now: int, *, same: bool) -> bool:
        return self.ice.holds(route, now / _NS, publishing=same and self.session.direction == "publish")

    def lost(self, route: Route) -> None:
        """Send by the route that was heard of last of those that are left."""
        if self.ice.forget(route, time.monotonic_ns() / _NS) and self.ice.selected is not None:
            self.media_side.moved(self.ice.selected)

    def media(self, data: bytes, key: Hashable, now: int) -> Publisher | None:
        if not self._over:
            try:
                return self._media(data, key, now)
            except Exception as error:  # noqa: BLE001
                self.end(error)
        return None

    def _guard(self, work: Callable[[], None]) -> None:
        """What is done seldom."""
        if self._over:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001
            self.end(error)

    def _check(self, message: StunMessage, data: bytes, route: Route, now: int) -> None:
        before, known = self.ice.selected, set(self.ice.ways)
        answer = self.ice.receive(message, route, now / _NS, data)
        if answer is None:
            if self._old is not None:
                # The peer may not have heard of the new credentials yet.
                answer = IceLite[Route](self._old).receive(message, route, now / _NS)
                if answer is not None:
                    self._heard(route.key, now)
                    route.send([answer])
            return
        if self._old is not None:
            self._port.unname(self._old.ufrag)
            self._old = None
        route.send([answer])
        for gone in known - set(self.ice.ways):
            self._port.unbind(gone, self)
        if route in self.ice.ways and route not in known:
            self._port.bind(route, self)
        if self.ice.selected != before and self.ice.selected is not None:
            self.media_side.moved(self.ice.selected)
        if self._dtls is None and self.ice.selected is not None:
            client = self.remote.answer_setup == "active"
            self._dtls = Dtls(self._identity, self.remote.fingerprints, client=client)
            self._dtls.start()
            self._send_flight(now)

    def _handshake(self, data: bytes, now: int) -> None:
        dtls = self._dtls
        if dtls is None:
            return
        dtls.take(data)
        self._send_flight(now)
        if dtls.failure:
            raise Closed(dtls.failure)
        if dtls.keys is not None and self._srtp is None and self.ice.selected is not None:
            self._srtp = Srtp(dtls.keys)
            self.session.info["srtp"] = dtls.keys.profile
            self._on_connected()
            self.media_side.connected(self._srtp, self.ice.selected)

    def _send_flight(self, now: int) -> None:
        dtls = self._dtls
        if dtls is None or self.ice.selected is None:
            return
        flight = dtls.datagrams()
        if flight:
            self._flight, self._repeats = flight, 0
            self._repeat_at = now + REPEAT_NS
            self.ice.selected.send(flight)

    def _heard(self, key: Hashable, now: int) -> None:
        """The peer is there, which is no consent to send by another way than that by which it was heard (RFC 7675 5.1)."""
        if self.ice.selected is not None and self.ice.selected.key == key:
            self.ice.alive_at = now / _NS

    def _media(self, data: bytes, key: Hashable, now: int) -> Publisher | None:
        srtp = self._srtp
        if srtp is None:
            return None
        self.session.bytes_in += len(data)
        # RFC 5761 4: types 192 to 223 are RTCP.
        if len(data) > 1 and 192 <= data[1] <= 223:
            plain = srtp.unprotect_rtcp(data)
            if plain is not None:
                self._heard(key, now)
                try:
                    packets = parse_rtcp(plain)
                except ProtocolViolation:
                    self._bad += 1
                else:
                    if self.media_side.rtcp(packets, now):
                        self._port.asked_at = now
                return None
        else:
            plain = srtp.unprotect(data)
            if plain is not None:
                self._heard(key, now)
                return self.media_side.rtp(plain, now)
        self._bad += 1
        return None

    # -- what time brings -------------------------------------------------------

    def tick(self, now: int) -> Publisher | None:
        """Look at the time. Returns the publisher that has something to flush."""
        if not self._over:
            try:
                return self._tick(now)
            except Exception as error:  # noqa: BLE001
                self.end(error)
        return None

    def _tick(self, now: int) -> Publisher | None:
        if self._srtp is None:
            if now > self._deadline:
                what = "finished no handshake" if self._dtls is not None else "sent no check of ICE"
                raise Closed(f"the peer {what} in time")
            self._repeat(now)
            return None
        if self.ice.selected is not None and self.ice.expired(now / _NS):
            self._port.unbind(self.ice.selected, self)
            if not self.ice.forget(self.ice.selected, now / _NS):
                raise Closed("the peer is gone: no check of ICE in 30 s")
            self.media_side.moved(self.ice.selected)
        return self.media_side.tick(now)

    def _repeat(self, now: int) -> None:
        dtls = self._dtls
        if dtls is None:
            return
        if dtls.timeout == 0:
            dtls.handle_timeout()
            self._send_flight(now)
        elif self._flight and now >= self._repeat_at and self._repeats < MAX_REPEATS:
            self._repeats += 1
            self._repeat_at = now + (REPEAT_NS << self._repeats)
            if self.ice.selected is not None:
                self.ice.selected.send(self._flight)

    def _close(self) -> None:
        self._over = True
        self._ended.set()
        self.media_side.close(self.session.reason)
        if self._dtls is not None and self.ice.selected is not None:
            self._dtls.close()
            self.ice.selected.send(self._dtls.datagrams())
        self._port.unname(self.ice.local.ufrag)
        if self._old is not None:
            self._port.unname(self._old.ufrag)
        for route in self.ice.ways:
            self._port.unbind(route, self)
        self.session.count("bad_packets", self._bad)
