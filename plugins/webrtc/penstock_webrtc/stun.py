"""STUN messages (RFC 8489): header, attributes, and what protects them."""

from __future__ import annotations

import enum
import hmac
import ipaddress
import struct
from functools import lru_cache
from hashlib import sha1
from zlib import crc32

from attrs import field, frozen

from penstock.errors import ProtocolViolation

MAGIC_COOKIE = 0x2112A442
HEADER_SIZE = 20
BINDING = 1
MAX_ATTRIBUTES = 32
"""Attributes of one message; browsers send up to ten."""

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_SIZE = 20
_PROTECTION_SIZE = 4 + _INTEGRITY_SIZE + 8
"""Bytes of MESSAGE-INTEGRITY and FINGERPRINT."""
_INTEGRITY_HEAD = b"\0\x08\0\x14"
_FINGERPRINT_HEAD = b"\x80\x28\0\4"
_CLAUSE = "RFC 8489 5"


class Kind(enum.IntEnum):
    """The class of a message (RFC 8489 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(enum.IntEnum):
    """The types of attributes that are read or written here (RFC 8489 18.3, RFC 8445 20.1, RFC 8656 18)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


def _key(_message: StunMessage, _attribute: object, value: bytes) -> None:
    if len(value) != 12:
        raise ValueError("a transaction id has 12 bytes")


@frozen
class StunMessage:
    """One message. `attributes` are (type, value) in order, without MESSAGE-INTEGRITY and what follows it.

    `integrity` is the value of MESSAGE-INTEGRITY as it came in, which `verify` holds against a key.
    """

    kind: Kind
    method: int
    transaction: bytes = field(validator=_key)
    attributes: tuple[tuple[int, bytes], ...] = ()
    integrity: bytes | None = None
    _covered: bytes = field(default=b"", eq=False, repr=False)

    @classmethod
    def parse(cls, data: bytes) -> StunMessage:
        """The message that a datagram holds. Raises `ProtocolViolation`."""
        if len(data) < HEADER_SIZE:
            raise ProtocolViolation("STUN message shorter than its header", _CLAUSE)
        kind, length, cookie, transaction = _HEADER.unpack_from(data)
        if kind & 0xC000 or cookie != MAGIC_COOKIE:
            raise ProtocolViolation("not a STUN message", _CLAUSE)
        if length % 4 or HEADER_SIZE + length != len(data):
            raise ProtocolViolation("the length of a STUN message is not that of its datagram", _CLAUSE)
        # RFC 8489 5: the bits of the class lie between those of the method.
        method = (kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | kind & 0x000F
        found: list[tuple[int, bytes]] = []
        integrity: bytes | None = None
        covered = b""
        at = HEADER_SIZE
        while at < len(data):
            number, size = _ATTRIBUTE.unpack_from(data, at)
            end = at + 4 + size
            if end > len(data):
                raise ProtocolViolation("a STUN attribute runs past the end", "RFC 8489 14")
            value = data[at + 4 : end]
            if number == Attribute.FINGERPRINT:
                _check_fingerprint(data, at, value)
            elif number == Attribute.MESSAGE_INTEGRITY and integrity is None:
                if size != _INTEGRITY_SIZE:
                    raise ProtocolViolation("MESSAGE-INTEGRITY has not 20 bytes", "RFC 8489 14.5")
                integrity = value
                covered = _with_length(data[:at], at + 4 + _INTEGRITY_SIZE)
            elif integrity is None:
                # RFC 8489 14.5: what follows MESSAGE-INTEGRITY is not protected, and ignored.
                if len(found) == MAX_ATTRIBUTES:
                    raise ProtocolViolation(f"more than {MAX_ATTRIBUTES} STUN attributes", _CLAUSE)
                found.append((number, value))
            at = end + -size % 4
        return cls(
            Kind((kind & 0x100) >> 7 | (kind & 0x10) >> 4),
            method,
            transaction,
            tuple(found),
            integrity,
            covered,
        )

    def get(self, attribute: Attribute) -> bytes | None:
        """The value of the first attribute of that type, None where there is none (RFC 8489 14: others are ignored)."""
        return next((value for number, value in self.attributes if number == attribute), None)

    def verify(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and right, in constant time."""
        return self.integrity is not None and hmac.compare_digest(
            hmac.digest(key, self._covered, sha1), self.integrity
        )

    @property
    def unknown(self) -> list[int]:
        """Attributes that must be understood (RFC 8489 15), and are not."""
        return [number for number, _ in self.attributes if number < 0x8000 and number not in _KNOWN]

    def encode(self, key: bytes | None = None) -> bytes:
        """The message on the wire; with `key` it gets MESSAGE-INTEGRITY and FINGERPRINT."""
        kind = (self.kind & 2) << 7 | (self.kind & 1) << 4
        kind |= (self.method & 0xF80) << 2 | (self.method & 0x70) << 1 | self.method & 0xF
        body = b"".join(_encode_attribute(number, value) for number, value in self.attributes)
        if key is None and self.integrity is not None:
            body += _encode_attribute(Attribute.MESSAGE_INTEGRITY, self.integrity)
        data = _HEADER.pack(kind, len(body), MAGIC_COOKIE, self.transaction) + body
        if key is None:
            return data
        digest = hmac.digest(key, _with_length(data, len(data) + 4 + _INTEGRITY_SIZE), sha1)
        data += _encode_attribute(Attribute.MESSAGE_INTEGRITY, digest)
        data = _with_length(data, len(data) + 8)
        return data + _encode_attribute(Attribute.FINGERPRINT, _fingerprint(data))


@frozen
class Said:
    """What a request says. Others that say the same, but for their transaction and what protects them, need not be taken apart:
    checks of ICE do all the time, to show that they are still there (RFC 7675).
    """

    _head: bytes
    _attributes: bytes

    @classmethod
    def of(cls, data: bytes) -> Said | None:
        """Of a message that `StunMessage.parse` takes; None where FINGERPRINT does not follow MESSAGE-INTEGRITY at once."""
        end = len(data) - _PROTECTION_SIZE
        if end < HEADER_SIZE or data[end : end + 4] != _INTEGRITY_HEAD or data[-8:-4] != _FINGERPRINT_HEAD:
            return None
        return cls(data[:8], data[HEADER_SIZE : end + 4])

    def again(self, data: bytes, key: bytes) -> bytes | None:
        """The transaction of a datagram that says the same and is protected by `key`; None of any other."""
        end = len(data) - _PROTECTION_SIZE
        if data[:8] != self._head or data[HEADER_SIZE : end + 4] != self._attributes:
            return None
        if data[-8:] != _FINGERPRINT_HEAD + _fingerprint(data[:-8]):
            return None
        covered = _with_length(data[:end], end + 4 + _INTEGRITY_SIZE)
        if not hmac.compare_digest(hmac.digest(key, covered, sha1), data[end + 4 : -8]):
            return None
        return data[8:HEADER_SIZE]


_KNOWN = frozenset(Attribute)


def _encode_attribute(number: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(number, len(value)) + value + bytes(-len(value) % 4)


def _with_length(data: bytes, end: int) -> bytes:
    """`data` with the length in its header as it is where the message ends at `end` (RFC 8489 14.5, 14.7)."""
    return data[:2] + (end - HEADER_SIZE).to_bytes(2, "big") + data[4:]


def _fingerprint(data: bytes) -> bytes:
    return (crc32(data) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _check_fingerprint(data: bytes, at: int, value: bytes) -> None:
    if at + 8 != len(data) or _fingerprint(data[:at]) != value:
        raise ProtocolViolation("FINGERPRINT is not last, or not that of the message", "RFC 8489 14.7")


def xor_address(host: str, port: int, transaction: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (RFC 8489 14.2); an IPv4 address on a socket for both families is IPv4."""
    version, packed = _packed(host)
    mask = int.from_bytes((COOKIE + transaction)[: len(packed)], "big")
    raw = (int.from_bytes(packed, "big") ^ mask).to_bytes(len(packed), "big")
    return struct.pack("!BBH", 0, 1 if version == 4 else 2, port ^ MAGIC_COOKIE >> 16) + raw


@lru_cache(maxsize=1024)
def _packed(host: str) -> tuple[int, bytes]:
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.version, ip.packed


def parse_xor_address(value: bytes, transaction: bytes) -> tuple[str, int]:
    """Host and port of XOR-MAPPED-ADDRESS and its like. Raises `ProtocolViolation`."""
    if len(value) != {1: 8, 2: 20}.get(value[1] if len(value) > 1 else 0):
        raise ProtocolViolation("an address of no family, or not of its length", "RFC 8489 14.2")
    raw = bytes(a ^ b for a, b in zip(value[4:], COOKIE + transaction, strict=False))
    return str(ipaddress.ip_address(raw)), int.from_bytes(value[2:4], "big") ^ MAGIC_COOKIE >> 16


def error_code(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE (RFC 8489 14.8)."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()
