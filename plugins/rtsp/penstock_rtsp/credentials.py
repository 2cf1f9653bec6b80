"""What a request says of who sent it, and what is asked of those who do not say."""

from __future__ import annotations

import time
from random import Random
from urllib.parse import parse_qsl

from penstock.errors import ProtocolViolation
from penstock.session import Credentials
from penstock_rtsp.auth import (
    Algorithm,
    BasicCredentials,
    Challenge,
    NonceState,
    check_nonce,
    make_nonce,
    parse_authorization,
)
from penstock_rtsp.message import Request
from penstock_rtsp.url import Target

MAX_QUERY = 4096
MAX_FIELDS = 64
"""Characters and fields of a query: one with more has no credentials for us."""
MAX_PAUSE = 0.2
"""Seconds, at random, before a refusal: guessing costs time, and the time tells nothing."""


class Authenticator:
    """Challenges and their answers; nonces are not kept, so that nobody can fill a table with them."""

    def __init__(
        self, realm: str, secret: bytes, random: Random, *, digest: bool = True, basic: bool = True
    ) -> None:
        self._realm = realm
        self._digest = digest
        self._basic = basic
        self._secret = secret
        self._random = random

    def credentials(self, request: Request, query: str) -> Credentials:
        """The peer's credentials. RFC 7235 2.1, 3.1: an Authorization that is bad, stale, or of a scheme that was not asked
        for counts as none, so that who needs one asks for it. Several raise `ProtocolViolation`."""
        values = dict(parse_qsl(query)) if len(query) <= MAX_QUERY and query.count("&") < MAX_FIELDS else {}
        header = request.headers.single("Authorization")
        if header is None:
            return Credentials(values.get("user", ""), values.get("pass", values.get("password")), values)
        try:
            given = parse_authorization(header)
        except ProtocolViolation:
            return Credentials(query=values)
        # RFC 7235 4.2: what was not asked for is no answer.
        if not (self._basic if isinstance(given, BasicCredentials) else self._digest):
            return Credentials(query=values)
        if isinstance(given, BasicCredentials):
            return Credentials(given.user, given.secret, values)
        if self._state(given.nonce) is not NonceState.FRESH or given.realm != self._realm:
            return Credentials(query=values)
        # RFC 7616 3.4.6: an answer to one question is none to another. Clients write the URL in many ways, with
        # or without track, host and query, so that the path is what has to be the same.
        if not _same_path(given.url, request.url):
            return Credentials(query=values)
        # An algorithm other than the one that was asked for is no answer to the challenge.
        if given.algorithm is not Algorithm.MD5:
            return Credentials(query=values)
        return Credentials(
            given.user,
            None,
            values,
            verify_ha1=lambda ha1: given.verify(request.method, ha1=ha1),
            realm=self._realm,
        )

    def _state(self, nonce: str) -> NonceState:
        return check_nonce(self._secret, nonce, time.monotonic_ns())

    def challenges(self, request: Request) -> list[str]:
        """What to ask for: Digest first, as clients take the first that they know."""
        stale = False
        header = request.headers.get("Authorization")
        if header is not None:
            try:
                given = parse_authorization(header)
            except ProtocolViolation:
                given = None
            if given is not None and not isinstance(given, BasicCredentials):
                stale = self._state(given.nonce) is NonceState.STALE
        nonce = make_nonce(self._secret, time.monotonic_ns())
        digest = Challenge("Digest", self._realm, nonce, stale=stale)
        basic = Challenge("Basic", self._realm)
        return [c.build() for c, asked in ((digest, self._digest), (basic, self._basic)) if asked]

    def pause(self, request: Request) -> float:
        """Seconds to wait before a refusal: none where no credentials were given."""
        return self._random.uniform(0, MAX_PAUSE) if "Authorization" in request.headers else 0.0


def _same_path(one: str, other: str) -> bool:
    try:
        return Target.parse(one).path == Target.parse(other).path
    except ProtocolViolation:
        return False
