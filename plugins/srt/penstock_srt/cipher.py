"""AES of payloads (draft-sharabayko-srt-01 6.2, 6.3) and of keys (RFC 3394). The one module that needs a library."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import count
from typing import Protocol

from penstock_srt.packet import split_headers
from penstock_srt.sequence import MASK

TAG_SIZE = 16
"""Bytes that GCM adds to each payload."""


class Mode(enum.IntEnum):
    """Cipher modes, by their numbers in key material."""

    CTR = 2
    GCM = 4


class PayloadCipher(Protocol):
    """One key's payloads. `header` is the packet's as it was sent first, without the retransmission flag."""

    def encrypt(self, sequence: int, headers: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        """Payloads of packets in a row, from the whole sequence number `sequence` on; `headers` are back to back."""
        ...

    def decrypt(self, sequence: int, header: bytes, payload: bytes) -> bytes | None:
        """None where the payload is not authentic."""
        ...


class CounterCipher:
    """AES-CTR: the counter block is the salt's first 14 bytes with the sequence number added without carry, then 0."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self._salt = int.from_bytes(salt[:14], "big")
        # One context for all packets: a new one for each takes six times as long.
        context = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._reset, self._update = context.reset_nonce, context.update

    def encrypt(self, sequence: int, headers: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        # For each packet of each reader: nothing of ours is called.
        salt, reset, update, sealed = self._salt, self._reset, self._update, list[bytes]()
        for n, payload in enumerate(payloads, sequence):
            reset(((salt ^ n & MASK) << 16).to_bytes(16, "big"))
            sealed.append(update(payload))
        return sealed

    def decrypt(self, sequence: int, header: bytes, payload: bytes) -> bytes:
        self._reset(((self._salt ^ sequence) << 16).to_bytes(16, "big"))
        return self._update(payload)


class GaloisCipher:
    """AES-GCM as libsrt has it since 1.5.4: the nonce is the salt's first 12 bytes with the sequence number added
    without carry, the header is authenticated with the payload.
    """

    def __init__(self, key: bytes, salt: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._salt = int.from_bytes(salt[:12], "big")
        self._invalid = InvalidTag
        self._aead = AESGCM(key)

    def encrypt(self, sequence: int, headers: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        salt, seal = self._salt, self._aead.encrypt
        return [
            seal((salt ^ n & MASK).to_bytes(12, "big"), payload, header)
            for n, header, payload in zip(count(sequence), split_headers(headers), payloads, strict=False)
        ]

    def decrypt(self, sequence: int, header: bytes, payload: bytes) -> bytes | None:
        if len(payload) < TAG_SIZE:
            return None
        try:
            return self._aead.decrypt((self._salt ^ sequence).to_bytes(12, "big"), payload, header)
        except self._invalid:
            return None


def make_cipher(mode: Mode, key: bytes, salt: bytes) -> PayloadCipher:
    """The cipher of one key."""
    return GaloisCipher(key, salt) if mode is Mode.GCM else CounterCipher(key, salt)


def wrap_key(encrypting_key: bytes, key: bytes) -> bytes:
    """RFC 3394: `key` and 8 bytes that show whether it is unwrapped with the same key."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    return aes_key_wrap(encrypting_key, key)


def unwrap_key(encrypting_key: bytes, wrapped: bytes) -> bytes | None:
    """The key of `wrapped`, whose length is a multiple of 8 and at least 24; None where it was wrapped with another."""
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    try:
        return aes_key_unwrap(encrypting_key, wrapped)
    except InvalidUnwrap:
        return None
