"""The Key Material message (draft-sharabayko-srt-01 3.2.2), and the keys that it carries (6.1)."""

from __future__ import annotations

import enum
import hashlib
import struct

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_srt.cipher import Mode, unwrap_key, wrap_key

CLAUSE = "draft-sharabayko-srt-01 3.2.2"
ITERATIONS = 2048
SALT_SIZE = 16
KEY_SIZES = (16, 24, 32)
MIN_PASSPHRASE = 10
MAX_PASSPHRASE = 79
"""Characters that libsrt allows (6.1.4)."""

_HEADER = struct.Struct(">BHB I BBB x 2x BB")
_VERSION_AND_TYPE = 0x12
_SIGN = 0x2029
_STREAM_SRT = 2
_AUTHENTICATION = {Mode.CTR: 0, Mode.GCM: 1}
_WRAP_OVERHEAD = 8


class KeyState(enum.IntEnum):
    """What a KMRSP of one word says in place of the keys."""

    UNSECURED = 0
    SECURING = 1
    SECURED = 2
    NO_SECRET = 3
    BAD_SECRET = 4
    BAD_CIPHER_MODE = 5


@frozen
class KeyMaterial:
    """`keys` has bit 1 for the even key, 2 for the odd one; both are wrapped together, the even one first."""

    keys: int
    mode: Mode
    key_size: int
    salt: bytes
    wrapped: bytes

    @property
    def blocks(self) -> int:
        """What it takes to open it, in blocks of PBKDF2, which has 20 bytes of SHA-1 in each."""
        return -(-self.key_size // hashlib.sha1(usedforsecurity=False).digest_size)

    @classmethod
    def parse(cls, body: bytes) -> KeyMaterial:
        """The message of a KMREQ's or KMRSP's body; raises `ProtocolViolation`."""
        if len(body) < _HEADER.size + SALT_SIZE:
            raise ProtocolViolation(f"key material of {len(body)} bytes", CLAUSE)
        first, sign, flags, _, cipher, authentication, encapsulation, salt_words, key_words = (
            _HEADER.unpack_from(body)
        )
        if first != _VERSION_AND_TYPE or sign != _SIGN:
            raise ProtocolViolation("this is no key material of version 1", CLAUSE)
        if cipher not in (Mode.CTR, Mode.GCM) or _AUTHENTICATION[Mode(cipher)] != authentication:
            raise ProtocolViolation(f"key material for cipher {cipher}, which SRT does not use", CLAUSE)
        if encapsulation != _STREAM_SRT or 4 * salt_words != SALT_SIZE or 4 * key_words not in KEY_SIZES:
            raise ProtocolViolation("key material with a salt or key of odd size", CLAUSE)
        keys = flags & 3
        wrapped = body[_HEADER.size + SALT_SIZE :]
        if not keys or len(wrapped) != _WRAP_OVERHEAD + 4 * key_words * keys.bit_count():
            raise ProtocolViolation("key material whose keys do not fill it", CLAUSE)
        return cls(keys, Mode(cipher), 4 * key_words, body[_HEADER.size : _HEADER.size + SALT_SIZE], wrapped)

    def build(self) -> bytes:
        """The body on the wire."""
        header = _HEADER.pack(
            _VERSION_AND_TYPE,
            _SIGN,
            self.keys,
            0,
            self.mode,
            _AUTHENTICATION[self.mode],
            _STREAM_SRT,
            SALT_SIZE // 4,
            self.key_size // 4,
        )
        return header + self.salt + self.wrapped

    @classmethod
    def seal(
        cls, encrypting: bytes, mode: Mode, salt: bytes, even: bytes | None, odd: bytes | None
    ) -> KeyMaterial:
        """The message that carries the keys given, of which there is at least one."""
        plain = (even or b"") + (odd or b"")
        keys = (even is not None) | (odd is not None) << 1
        return cls(keys, mode, len(plain) // keys.bit_count(), salt, wrap_key(encrypting, plain))

    def open(self, encrypting: bytes) -> tuple[bytes | None, bytes | None] | None:
        """The even and the odd key, None where they were wrapped with another key."""
        plain = unwrap_key(encrypting, self.wrapped)
        if plain is None:
            return None
        even = plain[: self.key_size] if self.keys & 1 else None
        return even, plain[-self.key_size :] if self.keys & 2 else None


def encrypting_key(passphrase: str, salt: bytes, size: int) -> bytes:
    """What keys of that size are wrapped with. This takes a millisecond or more, as it is meant to."""
    # 6.1.4: the last 8 bytes of the salt.
    return hashlib.pbkdf2_hmac("sha1", passphrase.encode(), salt[8:], ITERATIONS, size)
