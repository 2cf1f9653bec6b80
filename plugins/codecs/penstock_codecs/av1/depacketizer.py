"""RTP payloads to temporal units (AV1 RTP 4)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_codecs.av1.obu import (
    MAX_OBUS,
    PADDING,
    REDUNDANT_FRAME_HEADER,
    TILE_GROUP,
    TILE_LIST,
    is_key,
    kind,
    leb128,
    sort,
    without_size,
)
from penstock_codecs.av1.packetizer import CONTINUED, CONTINUES, NEW_SEQUENCE
from penstock_codecs.av1.sequence import Av1Config
from penstock_formats.rtp import AccessUnit

CLAUSE = "AV1 RTP 4.4"
MAX_UNIT = 8 << 20
"""Bytes of a temporal unit."""


# A packet that begins with one of these is not the first of its temporal unit.
_INNER = frozenset({TILE_GROUP, REDUNDANT_FRAME_HEADER, TILE_LIST, PADDING})


class Av1Depacketizer:
    """Collects OBU elements up to the marker; after a loss, skips to what begins a temporal unit."""

    def __init__(self) -> None:
        self._obus: list[bytes] = []
        self._part: bytearray | None = None
        self._size = 0
        self._timestamp: int | None = None
        self._torn = True
        self._config: Av1Config | None = None
        self._news: Av1Config | None = None

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        done: list[AccessUnit] = []
        try:
            if lost:
                self._drop(torn=True)
            elif timestamp != self._timestamp and self._timestamp is not None:
                # Without the marker of RFC 3550, the next timestamp ends a temporal unit.
                done = self._finish()
            self._timestamp = timestamp
            self._take(payload)
            if marker:
                done += self._finish()
        except ProtocolViolation:
            self._drop(torn=True)
            raise
        return done

    def flush(self) -> list[AccessUnit]:
        try:
            return self._finish() if self._part is None else []
        except ProtocolViolation:
            # The stream ended inside a unit: as good as lost.
            return []
        finally:
            self._drop(torn=True)

    def _drop(self, *, torn: bool) -> None:
        self._obus = []
        self._part = None
        self._size = 0
        self._torn = torn

    def _take(self, payload: bytes) -> None:
        if len(payload) < 2:
            raise ProtocolViolation("an AV1 packet without an OBU", CLAUSE)
        flags = payload[0]
        if flags & CONTINUES and flags & NEW_SEQUENCE:
            raise ProtocolViolation("a new sequence begins inside an OBU (Z and N)", CLAUSE)
        elements = _elements(payload, flags >> 4 & 3)
        if self._torn:
            if flags & CONTINUES or kind(elements[0]) in _INNER:
                return
            self._torn = False
        if (self._part is not None) != (flags & CONTINUES > 0):
            raise ProtocolViolation("an OBU is begun and not continued, or the other way round (Z)", CLAUSE)
        self._size += len(payload)
        if self._size > MAX_UNIT or len(self._obus) + len(elements) > MAX_OBUS:
            raise ProtocolViolation("a temporal unit is too long", CLAUSE)
        if self._part is not None:
            self._part += elements.pop(0)
            if not elements and flags & CONTINUED:
                return
            self._obus.append(without_size(bytes(self._part)))
            self._part = None
        if flags & CONTINUED:
            self._part = bytearray(elements.pop())
        self._obus += map(without_size, elements)

    def _finish(self) -> list[AccessUnit]:
        if self._part is not None:
            raise ProtocolViolation("a temporal unit ends inside an OBU (Y)", CLAUSE)
        obus, timestamp = self._obus, self._timestamp
        self._drop(torn=False)
        units, header = sort(obus)
        if header is not None and (self._config is None or self._config.sequence_header != header):
            self._config = self._news = Av1Config.parse(header)
        if not units or timestamp is None:
            return []
        news, self._news = self._news, None
        key = is_key(units, self._config is not None and self._config.reduced)
        return [AccessUnit(timestamp, units, key, news)]


def _elements(payload: bytes, count: int) -> list[bytes]:
    """The OBU elements of a packet; `count` is W, and 0 says that each has its length."""
    elements: list[bytes] = []
    at = 1
    while at < len(payload):
        end = len(payload)
        if not count or len(elements) < count - 1:
            size, at = leb128(payload, at)
            end = at + size
        if end == at or end > len(payload):
            raise ProtocolViolation("an OBU element is empty or runs past its packet", CLAUSE)
        elements.append(payload[at:end])
        at = end
    if count and len(elements) != count:
        raise ProtocolViolation(f"{len(elements)} OBU elements where W says {count}", CLAUSE)
    return elements
