"""What two WebRTC peers must know of each other before they can speak: ICE credentials, certificate, who says hello."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.sdp import MediaDescription, SessionDescription
from penstock_webrtc.dtls import HASHES, Fingerprint
from penstock_webrtc.ice import Credentials

MAX_FINGERPRINTS = 8
SETUPS = ("actpass", "active", "passive")

# RFC 8839 5.4: ice-char, and how many of them.
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")


@frozen
class Transport:
    """The lines of SDP about it: `setup` is ``actpass``, ``active`` (says hello) or ``passive`` (RFC 8842 5.2)."""

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str

    @classmethod
    def read(cls, session: SessionDescription, media: MediaDescription) -> Transport:
        """What holds for `media`: its own lines, or else those of the session. Raises `ProtocolViolation`."""

        def value(name: str) -> str | None:
            own = media.attribute(name)
            return own if own is not None else first(session.attributes, name)

        own = [v for key, v in media.attributes if key == "fingerprint"]
        texts = own or [v for key, v in session.attributes if key == "fingerprint"]
        fingerprints = tuple(read_fingerprint(text or "") for text in texts[:MAX_FINGERPRINTS])
        if not any(name in HASHES for name, _ in fingerprints):
            raise ProtocolViolation("no fingerprint of SHA-256, SHA-384 or SHA-512", "RFC 8827 6.5")
        setup = value("setup") or "actpass"
        if setup not in SETUPS:
            raise ProtocolViolation("setup is none of actpass, active and passive", "RFC 8842 5.2")
        return cls(read_credentials(value("ice-ufrag"), value("ice-pwd")), fingerprints, setup)

    @property
    def answer_setup(self) -> str:
        """What to answer: who may choose says hello, since it is the peer who can reach us at any time."""
        return "active" if self.setup == "passive" else "passive"

    def attributes(self) -> list[tuple[str, str | None]]:
        """The lines."""
        return [
            ("ice-ufrag", self.credentials.ufrag),
            ("ice-pwd", self.credentials.password),
            *(("fingerprint", f"{name} {value.hex(':').upper()}") for name, value in self.fingerprints),
            ("setup", self.setup),
        ]


def first(attributes: Iterable[tuple[str, str | None]], name: str) -> str | None:
    """The value of the first attribute of that name."""
    return next((value or "" for key, value in attributes if key == name), None)


def read_credentials(ufrag: str | None, password: str | None) -> Credentials:
    """The values of ``ice-ufrag`` and ``ice-pwd``. Raises `ProtocolViolation`."""
    if ufrag is None or password is None:
        raise ProtocolViolation("no ICE user name fragment or password", "RFC 8839 5.4")
    if not (_UFRAG.fullmatch(ufrag) and _PASSWORD.fullmatch(password)):
        raise ProtocolViolation("the ICE user name fragment or password is none", "RFC 8839 5.4")
    return Credentials(ufrag, password)


def read_fingerprint(text: str) -> Fingerprint:
    """The value of ``fingerprint`` (RFC 8122 5). Raises `ProtocolViolation`."""
    name, _, value = text.partition(" ")
    try:
        return name.lower(), binascii.unhexlify(value.strip().replace(":", ""))
    except (binascii.Error, UnicodeError):
        raise ProtocolViolation("a fingerprint is not of hexadecimal digits", "RFC 8122 5") from None


def bundle(session: SessionDescription) -> Sequence[str]:
    """The identifications of the media that share one transport (RFC 9143 7); empty where the peer says nothing of it."""
    for key, value in session.attributes:
        if key == "group" and value and value.split()[0] == "BUNDLE":
            return value.split()[1:]
    return ()
