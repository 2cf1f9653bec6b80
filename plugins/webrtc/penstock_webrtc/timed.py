"""Credentials of TURN that are good for some time (draft-uberti-behave-turn-rest): who has the secret needs no list of them."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha1

from attrs import field, frozen

VALID_SECONDS = 86_400
"""How long an allocation may be made with them: what the draft recommends. Those that are made go on."""


@frozen
class TimedCredentials:
    """Names tell when they expire, in seconds since 1970, and for whom they are; passwords prove that we made the name."""

    secret: bytes = field(repr=False)

    def issue(self, wall: float, token: str) -> tuple[str, str]:
        """A name and its password; `token` tells it from others."""
        name = f"{int(wall) + VALID_SECONDS}:{token}"
        return name, self.password(name.encode()).decode()

    def password(self, name: bytes) -> bytes:
        return b64encode(hmac.digest(self.secret, name, sha1))

    def expired(self, name: bytes, wall: float) -> bool:
        """Whether it is too late for `name`, or it is none of ours."""
        until = name.partition(b":")[0]
        return not (until.isdigit() and len(until) <= 12 and int(until) > wall)
