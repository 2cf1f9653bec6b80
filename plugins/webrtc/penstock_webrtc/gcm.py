"""Outgoing SRTP under AES-GCM (RFC 7714): each packet to each viewer goes through here, so that there is little of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

SALT_SIZE = 12
HEADER = struct.Struct("!BBHII")
"""Of RTP: version, payload type with marker, sequence number, time, SSRC (RFC 3550 5.1)."""
_KEY, _SALT = 0, 2
"""Labels (RFC 3711 4.3.2)."""


class GcmSender:
    """One direction of one peer: `master` is the key with its salt behind it (RFC 5764 4.2)."""

    def __init__(self, master: bytes) -> None:
        key, salt = master[:-SALT_SIZE], master[-SALT_SIZE:]
        self._encrypt = AESGCM(_derive(key, salt, _KEY, len(key))).encrypt
        self._salt = int.from_bytes(_derive(key, salt, _SALT, SALT_SIZE), "big")
        self._next: dict[int, int] = {}

    def seal(
        self,
        ssrc: int,
        kinds: tuple[int, int],
        timestamp: int,
        payloads: Sequence[bytes],
        number: int,
        extension: bytes = b"",
    ) -> list[bytes]:
        """As `penstock_webrtc.srtp.Seal`."""
        if number < self._next.get(ssrc, 0):
            # RFC 7714 9.1: the same number with other bytes would give the key away.
            raise ValueError(f"packet {number} was sealed before")
        self._next[ssrc] = end = number + len(payloads)
        # RFC 7714 8.1: the vector is the salt with the SSRC, the count of wraps and the sequence number mixed in.
        encrypt, base = self._encrypt, self._salt ^ ssrc << 48
        (kind, last), final, pack = kinds, end - 1, HEADER.pack
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
