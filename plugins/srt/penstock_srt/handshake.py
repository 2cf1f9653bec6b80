"""The handshake packet's fixed part (draft-sharabayko-srt-01 3.2.1)."""

from __future__ import annotations

import enum
import struct

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_srt.rejection import Rejection
from penstock_srt.sequence import MASK

CLAUSE = "draft-sharabayko-srt-01 3.2.1"
SIZE = 48
"""Bytes of the fixed part."""
VERSION = 5
LEGACY_VERSION = 4
"""What callers say in the induction, and what those of before SRT 1.3 say throughout."""
MAGIC = 0x4A17
"""In the extension field of a listener's induction: it speaks version 5."""
LEGACY_DATAGRAM = 2
"""In the extension field of a caller's induction, which is of version 4."""

MIN_MTU = 44 + 188 + 16
"""Bytes of IP, UDP and SRT header (44), one packet of MPEG-TS and what GCM adds to it: with less, nothing can be sent."""
MIN_WINDOW = 2

HSREQ_FLAG = 1
KMREQ_FLAG = 2
CONFIG_FLAG = 4

_FIELDS = struct.Struct(">I2H6I16s")


class Kind(enum.IntEnum):
    """Handshake types; a value from 1000 on is a refusal: 1000 and its reason."""

    WAVE_A_HAND = 0
    INDUCTION = 1
    CONCLUSION = 0xFFFFFFFF
    AGREEMENT = 0xFFFFFFFE


_KINDS = frozenset(Kind)
REFUSAL = 1000
_LAST_REFUSAL = 0x7FFFFFFF


class RejectReason(enum.IntEnum):
    """Why a connection was refused, by libsrt's numbers; those from 1000 on are the application's (`Rejection`)."""

    UNKNOWN = 0
    SYSTEM = 1
    PEER = 2
    RESOURCE = 3
    ROGUE = 4
    BACKLOG = 5
    INTERNAL = 6
    CLOSE = 7
    VERSION = 8
    RENDEZVOUS_COOKIE = 9
    BAD_SECRET = 10
    UNSECURE = 11
    MESSAGE_API = 12
    CONGESTION = 13
    FILTER = 14
    GROUP = 15
    TIMEOUT = 16
    CRYPTO = 17


_MEANINGS: dict[int, str] = {
    RejectReason.RESOURCE: "it has no room",
    RejectReason.ROGUE: "it found the handshake wrong",
    RejectReason.BACKLOG: "it has too many callers",
    RejectReason.CLOSE: "it is closing",
    RejectReason.VERSION: "it does not speak this version",
    RejectReason.RENDEZVOUS_COOKIE: "its cookie is ours, as where a rendezvous without `adapter` calls itself",
    RejectReason.BAD_SECRET: "the passphrase is wrong",
    RejectReason.UNSECURE: "one side wants encryption, the other does not",
    RejectReason.MESSAGE_API: "one side wants live mode, the other streams",
    RejectReason.CONGESTION: "one side wants live mode, the other files",
    RejectReason.FILTER: "the packet filter does not suit it",
    RejectReason.GROUP: "it takes no groups",
    RejectReason.TIMEOUT: "no answer in time",
    RejectReason.CRYPTO: "the cipher modes differ",
    Rejection.BAD_REQUEST: "it does not understand the stream id",
    Rejection.UNAUTHORIZED: "it wants a login",
    Rejection.OVERLOAD: "it is overloaded",
    Rejection.FORBIDDEN: "that is not allowed",
    Rejection.NOT_FOUND: "there is no such stream",
    Rejection.BAD_MODE: "it does not do that with this stream",
    Rejection.UNACCEPTABLE: "it does not take such a stream",
    Rejection.CONFLICT: "somebody publishes that stream already",
    Rejection.INTERNAL: "it has a fault",
    Rejection.DOWN: "it stops",
}


def meaning(reason: int) -> str:
    """`reason` in words, with its number."""
    known = _MEANINGS.get(reason)
    return f"{known} ({reason})" if known else f"reason {reason}"


@frozen
class Handshake:
    """`kind` is a `Kind`, or `REFUSAL` and a reason. `encryption` is the key's length in units of 8 bytes, 0 for none
    said; `extension` are flags, or what the induction has in their place.
    """

    version: int
    encryption: int
    extension: int
    initial_sequence: int
    mtu: int
    window: int
    kind: int
    socket_id: int
    cookie: int
    peer_ip: bytes = bytes(16)
    extensions: bytes = b""

    @classmethod
    def parse(cls, body: bytes) -> Handshake:
        """The handshake of a control packet's body, its extensions unread; raises `ProtocolViolation`."""
        if len(body) < SIZE:
            raise ProtocolViolation(f"handshake of {len(body)} bytes", CLAUSE)
        fields = _FIELDS.unpack_from(body)
        made = evolve(cls(*fields), extensions=body[SIZE:])
        if made.kind not in _KINDS and not REFUSAL <= made.kind <= _LAST_REFUSAL:
            raise ProtocolViolation(f"handshake of unknown type {made.kind}", CLAUSE)
        return made

    def build(self) -> bytes:
        """The body on the wire."""
        return (
            _FIELDS.pack(
                self.version,
                self.encryption,
                self.extension,
                self.initial_sequence,
                self.mtu,
                self.window,
                self.kind,
                self.socket_id,
                self.cookie,
                self.peer_ip,
            )
            + self.extensions
        )

    @property
    def refusal(self) -> int | None:
        """Why the peer refuses, None where it does not."""
        return self.kind - REFUSAL if REFUSAL <= self.kind <= _LAST_REFUSAL else None

    def check(self) -> None:
        """Raises `ProtocolViolation` where no connection can be made of what a conclusion says."""
        if self.initial_sequence > MASK:
            raise ProtocolViolation("initial sequence number above 31 bits", CLAUSE)
        if self.mtu < MIN_MTU:
            raise ProtocolViolation(f"MTU of {self.mtu} bytes", CLAUSE)
        if self.window < MIN_WINDOW:
            raise ProtocolViolation(f"flow window of {self.window} packets", CLAUSE)
        if not self.socket_id:
            raise ProtocolViolation("socket id 0", CLAUSE)
