"""Segments that are encrypted whole (RFC 8216bis 4.4.4.4, METHOD=AES-128): AES in CBC mode with PKCS 7 padding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from penstock.errors import Closed, ProtocolViolation
from penstock_hls.media_playlist import Key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

BLOCK = 16
KEY_SIZE = 16
_IV = re.compile(r"0[xX]([0-9a-fA-F]{1,32})")
CLAUSE = "RFC 8216bis 4.4.4.4"


def check_key(key: Key) -> str:
    """The URI of a key. Raises `ProtocolViolation` for what is not AES-128 of whole segments."""
    if key.method != "AES-128":
        raise ProtocolViolation(f"segments encrypted by {key.method[:40]}, which is not supported", CLAUSE)
    if key.key_format not in (None, "identity"):
        raise ProtocolViolation(f"a key of the format {(key.key_format or '')[:40]}", CLAUSE)
    if not key.uri:
        raise ProtocolViolation("a key without a URI", CLAUSE)
    return key.uri


def initialization_vector(key: Key, number: int) -> bytes:
    """The IV of a segment: the key's own, else its media sequence number (5.2)."""
    if key.iv is None:
        return number.to_bytes(BLOCK, "big")
    match = _IV.fullmatch(key.iv)
    if match is None:
        raise ProtocolViolation(f"an IV of {key.iv[:40]!r}", CLAUSE)
    return int(match[1], 16).to_bytes(BLOCK, "big")


class Decryption:
    """One resource: bytes in, bytes out, the last block once it is known to be that."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise Closed(
                "the source is encrypted, which needs the library cryptography: pip install 'penstock[hls]'"
            ) from None
        if len(key) != KEY_SIZE:
            raise ProtocolViolation(f"a key of {len(key)} bytes", CLAUSE)
        self._cipher: CipherContext = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        self._last = b""
        self._size = 0

    def update(self, data: bytes) -> bytes:
        """What is known to be plain text by now."""
        self._size += len(data)
        found = self._last + self._cipher.update(data)
        self._last = found[-BLOCK:]
        return found[:-BLOCK]

    def finish(self) -> bytes:
        """The rest, without its padding. Raises `ProtocolViolation` where there is none."""
        if self._size % BLOCK:
            raise ProtocolViolation("an encrypted segment that is not whole blocks", CLAUSE)
        found = self._last + self._cipher.finalize()
        padding = found[-1] if found else 0
        if not 0 < padding <= BLOCK or found[-padding:] != bytes((padding,)) * padding:
            raise ProtocolViolation(
                "an encrypted segment without padding: another key, or not AES-128", CLAUSE
            )
        return found[:-padding]
