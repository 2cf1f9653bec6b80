"""Boxes (ISO/IEC 14496-12 4.2): the only syntax that an ISO media file has."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from penstock.errors import ProtocolViolation

CLAUSE = "ISO 14496-12 4.2"

HEADER = 8
LARGE_HEADER = 16
_LARGE, _TO_THE_END = 1, 0


class Fields:
    """Reads the fields of one box; reading past its end is a `ProtocolViolation` that names it."""

    __slots__ = ("_data", "end", "position", "type")

    def __init__(self, data: bytes, type: str, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self.type = type
        self.position = start
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self.end - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.position
        self.skip(size)
        return self._data[start : self.position]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if size > self.end - self.position:
            raise ProtocolViolation(f"the {self.type} box is cut short", CLAUSE)
        self.position += size

    def u(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def s(self, size: int) -> int:
        """The next `size` bytes as a signed number."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def full(self) -> tuple[int, int]:
        """Version and flags, with which a full box begins."""
        word = self.u(4)
        return word >> 24, word & 0xFFFFFF

    def text(self) -> str:
        """A string up to its zero, or to the end of the box, where some writers leave the zero out."""
        end = self._data.find(b"\0", self.position, self.end)
        if end < 0:
            return self.rest().decode("utf-8", "replace")
        found = self.take(end - self.position)
        self.skip(1)
        return found.decode("utf-8", "replace")

    def table(self, count: int, entry: int) -> int:
        """Where a table of `count` entries of `entry` bytes starts, once it is known to be there; it is passed over."""
        start = self.position
        self.skip(count * entry)
        return start


@frozen
class Box:
    """A box in `data`; its body is from `start` to `end`."""

    type: str
    data: bytes
    start: int
    end: int

    @property
    def body(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def fields(self) -> Fields:
        return Fields(self.data, self.type, self.start, self.end)

    @property
    def children(self) -> Iterator[Box]:
        """The boxes that a container consists of. Raises `ProtocolViolation`."""
        return split(self.data, self.start, self.end)

    def first(self, type: str) -> Box | None:
        """The first child of a type."""
        return next((box for box in self.children if box.type == type), None)

    def only(self, type: str) -> Box:
        """The child of a type that must be there."""
        found = self.first(type)
        if found is None:
            raise ProtocolViolation(f"a {self.type} box without {type}", "ISO 14496-12 6.2.3")
        return found


@frozen
class BoxHeader:
    """The header of a box; `size` is that of the whole box, None where it goes on to the end of the file."""

    type: str
    length: int
    size: int | None


def parse_header(data: bytes | bytearray, at: int = 0, end: int | None = None) -> BoxHeader | None:
    """The header at `data[at:]`, None where more bytes are needed to tell. Raises `ProtocolViolation`."""
    left = (len(data) if end is None else end) - at
    if left < HEADER:
        return None
    size = int.from_bytes(data[at : at + 4], "big")
    type = data[at + 4 : at + 8].decode("latin-1")
    length = HEADER
    if size == _LARGE:
        length = LARGE_HEADER
        if left < length:
            return None
        size = int.from_bytes(data[at + 8 : at + 16], "big")
    elif size == _TO_THE_END:
        return BoxHeader(type, length, None)
    if size < length:
        raise ProtocolViolation(f"a {type!a} box of {size} bytes", CLAUSE)
    return BoxHeader(type, length, size)


def split(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that fill `data[start:end]`, one after the other. Raises `ProtocolViolation`."""
    end = len(data) if end is None else end
    while start < end:
        header = parse_header(data, start, end)
        if header is None:
            # QuickTime ends some containers with a size of zero and no type.
            if not data[start:end].strip(b"\0"):
                return
            raise ProtocolViolation("a box header is cut short", CLAUSE)
        stop = end if header.size is None else start + header.size
        if stop > end:
            raise ProtocolViolation(f"a {header.type!a} box goes past the end of what it is in", CLAUSE)
        yield Box(header.type, data, start + header.length, stop)
        start = stop


def box(type: str, *body: bytes) -> bytes:
    """A box of less than 4 GiB."""
    size = HEADER + sum(map(len, body))
    return b"".join((size.to_bytes(4, "big"), type.encode("latin-1"), *body))


def full_box(type: str, version: int, flags: int, *body: bytes) -> bytes:
    """A box that begins with version and flags."""
    return box(type, (version << 24 | flags).to_bytes(4, "big"), *body)
