"""Outgoing SRTP of one peer: each packet to each viewer goes through here, so that there is little of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

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
Row = tuple[int, int, Sequence[bytes]]
"""A frame: the number of its first packet, its RTP time, its payloads."""


class Source:
    """One SSRC's packets. Numbers are unwrapped; `kinds` are the payload type, and that of a frame's last packet with its
    marker.
    """

    __slots__ = ("_base", "_encrypt", "_next", "_ssrc")

    def __init__(self, encrypt: Encrypt, salt: int, ssrc: int) -> None:
        self._encrypt = encrypt
        # RFC 7714 8.1: a vector is the salt with the SSRC, the count of wraps and the sequence number mixed in.
        self._base = salt ^ ssrc << 48
        self._ssrc = ssrc
        self._next = 0

    def frames(self, kinds: tuple[int, int], rows: Iterable[Row], above: int, offset: int) -> list[bytes]:
        """RTP packets of frames that follow each other, encrypted. Numbers and times are so much above those of the rows."""
        encrypt, base, ssrc, pack, end = self._encrypt, self._base, self._ssrc, _HEADER.pack, self._next
        kind, last = kinds
        found: list[bytes] = []
        for first, time, payloads in rows:
            number, timestamp = first + above, time + offset & 0xFFFFFFFF
            if number < end:
                raise _sealed(number)
            self._next = end = number + len(payloads)
            final = end - 1
            for n, payload in enumerate(payloads, number):
                header = pack(0x80, last if n == final else kind, n & 0xFFFF, timestamp, ssrc)
                found.append(header + encrypt((base ^ n).to_bytes(12, "big"), payload, header))
        return found

    def seal(
        self,
        kinds: tuple[int, int],
        timestamp: int,
        payloads: Sequence[bytes],
        number: int,
        extension: bytes = b"",
    ) -> list[bytes]:
        """RTP packets of one frame, encrypted. `number` is the first one's; `extension` is what all of them have between header
        and payload, empty or of whole words (RFC 3550 5.3.1).
        """
        if number < self._next:
            raise _sealed(number)
        self._next = end = number + len(payloads)
        (kind, last), final = kinds, end - 1
        return [
            self.again(last if n == final else kind, timestamp, payload, n, extension)
            for n, payload in enumerate(payloads, number)
        ]

    def again(self, kind: int, timestamp: int, payload: bytes, number: int, extension: bytes = b"") -> bytes:
        """One packet; of the same as before the same bytes. Who asks sees to it that it is not given anything else by then."""
        first = 0x90 if extension else 0x80
        header = _HEADER.pack(first, kind, number & 0xFFFF, timestamp, self._ssrc) + extension
        return header + self._encrypt((self._base ^ number).to_bytes(12, "big"), payload, header)


def _sealed(number: int) -> ValueError:
    # RFC 7714 9.1: the same number with other bytes would give the key away.
    return ValueError(f"packet {number} was sealed before")


class Sealer:
    """One direction of one peer: `salt` is mixed into each vector. `repeats` says whether a packet may be made once more, which
    is the same then.
    """

    __slots__ = ("_encrypt", "_salt", "_sources", "repeats")

    def __init__(self, encrypt: Encrypt, salt: int = 0, *, repeats: bool) -> None:
        self._encrypt = encrypt
        self._salt = salt
        self._sources: dict[int, Source] = {}
        self.repeats = repeats

    @classmethod
    def gcm(cls, master: bytes) -> Sealer:
        """By AES-GCM (RFC 7714): `master` is the key with its salt behind it (RFC 5764 4.2)."""
        key, salt = master[:-SALT_SIZE], master[-SALT_SIZE:]
        encrypt = AESGCM(_derive(key, salt, _KEY, len(key))).encrypt
        return cls(encrypt, int.from_bytes(_derive(key, salt, _SALT, SALT_SIZE), "big"), repeats=True)

    @classmethod
    def whole(cls, protect: Callable[[bytes], bytes]) -> Sealer:
        """By what takes and gives whole packets, knows the rest itself, and takes each number once."""
        return cls(lambda _vector, payload, header: protect(header + payload)[len(header) :], repeats=False)

    def source(self, ssrc: int) -> Source:
        """What seals the packets of that SSRC: always the same one, as it knows which numbers were given."""
        found = self._sources.get(ssrc)
        if found is None:
            found = self._sources[ssrc] = Source(self._encrypt, self._salt, ssrc)
        return found

    def seal(
        self,
        ssrc: int,
        kinds: tuple[int, int],
        timestamp: int,
        payloads: Sequence[bytes],
        number: int,
        extension: bytes = b"",
    ) -> list[bytes]:
        """As `Source.seal`."""
        return self.source(ssrc).seal(kinds, timestamp, payloads, number, extension)


def _derive(key: bytes, salt: bytes, label: int, size: int) -> bytes:
    """RFC 3711 4.3.1, with a salt of 96 bits as RFC 7714 11 has it, and a key that is never derived again."""
    start = int.from_bytes(salt, "big") << 32 ^ label << 64
    return Cipher(AES(key), CTR(start.to_bytes(16, "big"))).encryptor().update(bytes(size))
