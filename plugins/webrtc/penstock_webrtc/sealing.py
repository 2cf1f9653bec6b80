"""Outgoing SRTP of one peer: each packet to each viewer goes through here, so that there is little of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

SALT_SIZE = 12
_HEADER = struct.Struct("!BBHII")
"""Version and whether there is an extension, payload type with marker, sequence number, time, SSRC (RFC 3550 5.1)."""
_KEY, _SALT = 0, 2
"""Labels (RFC 3711 4.3.2)."""

Encrypt = Callable[[bytes, bytes, bytes], bytes]
"""Makes of a vector (RFC 7714 8.1), a payload and its header what follows the header."""


class Sealer:
    """One direction of one peer: `salt` is mixed into each vector."""

    __slots__ = ("_encrypt", "_next", "_salt")

    def __init__(self, encrypt: Encrypt, salt: int = 0) -> None:
        self._encrypt = encrypt
        self._salt = salt
        self._next: dict[int, int] = {}

    @classmethod
    def gcm(cls, master: bytes) -> Sealer:
        """By AES-GCM (RFC 7714): `master` is the key with its salt behind it (RFC 5764 4.2)."""
        key, salt = master[:-SALT_SIZE], master[-SALT_SIZE:]
        encrypt = AESGCM(_derive(key, salt, _KEY, len(key))).encrypt
        return cls(encrypt, int.from_bytes(_derive(key, salt, _SALT, SALT_SIZE), "big"))

    @classmethod
    def whole(cls, protect: Callable[[bytes], bytes]) -> Sealer:
        """By what takes and gives whole packets, and knows the rest itself."""
        return cls(lambda _vector, payload, header: protect(header + payload)[len(header) :])

    def seal(
        self,
        ssrc: int,
        kinds: tuple[int, int],
        timestamp: int,
        payloads: Sequence[bytes],
        number: int,
        extension: bytes = b"",
    ) -> list[bytes]:
        """RTP packets of one source that follow each other, encrypted.

        `kinds` are the payload type, and that of the last packet with its marker; `number` is the first one's, unwrapped;
        `extension` is what all of them have between header and payload, empty or of whole words (RFC 3550 5.3.1).
        """
        if number < self._next.get(ssrc, 0):
            # RFC 7714 9.1: the same number with other bytes would give the key away.
            raise ValueError(f"packet {number} was sealed before")
        self._next[ssrc] = end = number + len(payloads)
        # RFC 7714 8.1: the vector is the salt with the SSRC, the count of wraps and the sequence number mixed in.
        encrypt, base = self._encrypt, self._salt ^ ssrc << 48
        (kind, last), final, pack = kinds, end - 1, _HEADER.pack
        first = 0x90 if extension else 0x80
        return [
            (header := pack(first, last if n == final else kind, n & 0xFFFF, timestamp, ssrc) + extension)
            + encrypt((base ^ n).to_bytes(12, "big"), payload, header)
            for n, payload in enumerate(payloads, number)
        ]


def _derive(key: bytes, salt: bytes, label: int, size: int) -> bytes:
    """RFC 3711 4.3.1, with a salt of 96 bits as RFC 7714 11 has it, and a key that is never derived again."""
    start = int.from_bytes(salt, "big") << 32 ^ label << 64
    return Cipher(AES(key), CTR(start.to_bytes(16, "big"))).encryptor().update(bytes(size))
