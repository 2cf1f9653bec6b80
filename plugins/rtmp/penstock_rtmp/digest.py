"""The digest of the "complex" handshake of Flash and FFmpeg (not in RTMP 1.0; known from practice)."""

from __future__ import annotations

import hashlib
import hmac

SIZE = 1536
DIGEST = 32
PLAYER_KEY = b"Genuine Adobe Flash Player 001"
SERVER_KEY = b"Genuine Adobe Flash Media Server 001"
KEY_TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
BLOCKS = (8, 772)
"""Where the block with the digest begins: before or after the block with the key."""


def place(packet: bytes, block: int) -> int:
    """Where the digest is in C1 or S1; within its block four bytes say."""
    return sum(packet[block : block + 4]) % 728 + block + 4


def _sum(packet: bytes, at: int, key: bytes) -> bytes:
    return hmac.digest(key, packet[:at] + packet[at + DIGEST :], hashlib.sha256)


def sign(packet: bytes, block: int, key: bytes) -> bytes:
    """`packet` (C1 or S1) with its digest in place."""
    at = place(packet, block)
    return packet[:at] + _sum(packet, at, key) + packet[at + DIGEST :]


def find(packet: bytes, key: bytes) -> tuple[int, bytes] | None:
    """The block and digest of C1 or S1, or None where neither place has one that is right."""
    for block in BLOCKS:
        at = place(packet, block)
        digest = packet[at : at + DIGEST]
        if hmac.compare_digest(digest, _sum(packet, at, key)):
            return block, digest
    return None


def answer(random: bytes, digest: bytes, key: bytes) -> bytes:
    """S2 or C2: `random` with a digest made from the peer's."""
    own = hmac.digest(key + KEY_TAIL, digest, hashlib.sha256)
    return random[: SIZE - DIGEST] + hmac.digest(own, random[: SIZE - DIGEST], hashlib.sha256)
