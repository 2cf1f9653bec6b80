"""Sections (H.222.0 2.4.4): tables in pieces of up to 4096 bytes, with a check value."""

from __future__ import annotations

import zlib

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts.packet import BODY

MAX_SECTION = 4096
"""Bytes of a private section; those of PAT and PMT have at most 1024."""
MAX_TABLE = 1024
CRC_SIZE = 4
HEADER_SIZE = 8

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32(data: bytes) -> int:
    """The CRC of H.222.0 annex B, which is that of zlib with the bits of each byte, and of the sum, turned round."""
    reflected = zlib.crc32(data.translate(_REVERSED)) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


@frozen
class Section:
    """One section of the long form. `extension` is the transport stream's id in a PAT, the program number in a PMT."""

    table_id: int
    extension: int
    body: bytes
    version: int = 0
    current: bool = True
    number: int = 0
    last: int = 0

    @staticmethod
    def parse(data: bytes) -> Section:
        """A whole section, from its table id to its CRC. Raises `ProtocolViolation`."""
        clause = "H.222.0 2.4.4.11"
        if len(data) < HEADER_SIZE + CRC_SIZE or not data[1] & 0x80:
            raise ProtocolViolation("a section is too short or of the short form", clause)
        if crc32(data):
            raise ProtocolViolation("a section's CRC does not fit", "H.222.0 annex A")
        extension = int.from_bytes(data[3:5], "big")
        version, current = data[5] >> 1 & 31, data[5] & 1 == 1
        return Section(data[0], extension, data[HEADER_SIZE:-CRC_SIZE], version, current, data[6], data[7])

    def encode(self) -> bytes:
        """The section with its CRC."""
        length = len(self.body) + HEADER_SIZE - 3 + CRC_SIZE
        head = bytes((self.table_id, 0xB0 | length >> 8, length & 255))
        head += self.extension.to_bytes(2, "big")
        head += bytes((0xC0 | self.version << 1 | self.current, self.number, self.last))
        data = head + self.body
        return data + crc32(data).to_bytes(4, "big")


def packed(section: bytes) -> bytes:
    """A section as packets carry it: behind a pointer, and filled up to whole packets (2.4.4.1)."""
    data = b"\x00" + section
    return data + b"\xff" * (-len(data) % BODY)


class SectionReader:
    """Payloads of one PID to whole sections."""

    def __init__(self) -> None:
        self._pending: bytes | None = None

    def drop(self) -> None:
        """Packets are missing: what is pending is not finished any more."""
        self._pending = None

    def push(self, payload: bytes, start: bool) -> list[bytes]:
        """The sections that end in `payload`; `start` says that one begins in it, behind a pointer."""
        found: list[bytes] = []
        if start:
            pointer = payload[0] + 1
            if pointer > len(payload):
                self._pending = None
                raise ProtocolViolation("pointer_field points past its packet", "H.222.0 2.4.4.2")
            if self._pending is not None:
                self._take(self._pending + payload[1:pointer], found)
            self._pending = None
            payload = payload[pointer:]
        elif self._pending is None:
            return found
        self._take(payload if self._pending is None else self._pending + payload, found)
        return found

    def _take(self, data: bytes, found: list[bytes]) -> None:
        """Add the whole sections that `data` begins with to `found`; what is left is pending."""
        self._pending = None
        at = 0
        # 2.4.4.1: what follows the last section of a packet is filled up with 0xFF, which is no table id.
        while at < len(data) and data[at] != 0xFF:
            end = at + 3
            if end <= len(data):
                end += (data[at + 1] & 15) << 8 | data[at + 2]
                if end - at > MAX_SECTION:
                    raise ProtocolViolation(f"a section of {end - at} bytes", "H.222.0 2.4.4.11")
            if end > len(data):
                self._pending = data[at:]
                return
            found.append(data[at:end])
            at = end
