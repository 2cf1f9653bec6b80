"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): when which packet came in."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.rtcp import Feedback

EXTENSION = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
"""The URI of the header extension that numbers packets."""
PACKET_TYPE, FORMAT = 205, 15
MAX_STATUSES = 4096
"""Packets that one feedback tells of: seconds of any rate; what says more is made to cost work."""
TICK_NS = 250_000
REFERENCE_NS = 64_000_000

_CLAUSE = "draft-holmer-rmcat-transport-wide-cc-extensions-01 3.1"
_HEAD = struct.Struct("!HHI")
_CHUNK = struct.Struct("!H")
_SMALL, _LARGE = 1, 2
_MAX_RUN = 0x1FFF
_VECTOR = 7
"""Statuses of a vector chunk with two bits for each."""


@frozen
class TransportFeedback:
    """`arrivals` has for each packet from `base` on the ticks of 250 us since the one before it, None for one that did not come.

    The first counts from `reference` (64 ms each, 24 bits with a sign).
    """

    base: int
    reference: int
    count: int
    arrivals: tuple[int | None, ...]

    @classmethod
    def parse(cls, data: bytes) -> TransportFeedback:
        """What `penstock_formats.rtcp.Feedback.data` of that format holds. Raises `ProtocolViolation`."""
        if len(data) < 8:
            raise ProtocolViolation("transport feedback shorter than its header", _CLAUSE)
        base, statuses, word = _HEAD.unpack_from(data)
        if not 0 < statuses <= MAX_STATUSES:
            raise ProtocolViolation(f"transport feedback of no or more than {MAX_STATUSES} packets", _CLAUSE)
        reference = word >> 8
        if reference & 0x800000:
            reference -= 1 << 24
        symbols: list[int] = []
        at = 8
        while len(symbols) < statuses:
            if at + 2 > len(data):
                raise ProtocolViolation("transport feedback ends in its chunks", _CLAUSE)
            symbols += _symbols(int.from_bytes(data[at : at + 2], "big"))
            at += 2
        arrivals: list[int | None] = []
        for symbol in symbols[:statuses]:
            if not symbol:
                arrivals.append(None)
                continue
            if symbol > _LARGE:
                raise ProtocolViolation("a packet status that is reserved", _CLAUSE)
            if at + symbol > len(data):
                raise ProtocolViolation("transport feedback ends in its deltas", _CLAUSE)
            arrivals.append(int.from_bytes(data[at : at + symbol], "big", signed=symbol == _LARGE))
            at += symbol
        return cls(base, reference, word & 0xFF, tuple(arrivals))

    def encode(self, sender: int, media: int) -> Feedback:
        """The RTCP packet, in whole words."""
        symbols = [_symbol(arrival) for arrival in self.arrivals]
        word = (self.reference & 0xFFFFFF) << 8 | self.count & 0xFF
        parts = [_HEAD.pack(self.base & 0xFFFF, len(symbols), word), *_chunks(symbols)]
        parts += [
            arrival.to_bytes(symbol, "big", signed=symbol == _LARGE)
            for arrival, symbol in zip(self.arrivals, symbols, strict=True)
            if arrival is not None
        ]
        data = b"".join(parts)
        return Feedback(PACKET_TYPE, FORMAT, sender, media, data + bytes(-len(data) % 4))


def _symbol(arrival: int | None) -> int:
    if arrival is None:
        return 0
    return _SMALL if 0 <= arrival <= 0xFF else _LARGE


def _symbols(chunk: int) -> list[int]:
    if not chunk & 0x8000:
        # A run, of no more than is asked for at all.
        return [chunk >> 13 & 3] * min(chunk & _MAX_RUN, MAX_STATUSES)
    if chunk & 0x4000:
        return [chunk >> shift & 3 for shift in range(12, -2, -2)]
    return [chunk >> shift & 1 for shift in range(13, -1, -1)]


def _chunks(symbols: Sequence[int]) -> Iterable[bytes]:
    at = 0
    while at < len(symbols):
        run = 1
        while at + run < len(symbols) and run < _MAX_RUN and symbols[at + run] == symbols[at]:
            run += 1
        if run >= _VECTOR or at + run == len(symbols):
            yield _CHUNK.pack(symbols[at] << 13 | run)
            at += run
            continue
        vector = 0xC000
        for index, symbol in enumerate(symbols[at : at + _VECTOR]):
            vector |= symbol << 12 - 2 * index
        yield _CHUNK.pack(vector)
        at += _VECTOR


class Arrivals:
    """Gathers when packets came in, and tells the sender now and then. Times are ns of any steady clock."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._highest: int | None = None
        self._told = 0
        self._count = 0

    def add(self, number: int, now: int) -> None:
        """The packet with the transport-wide `number` came in."""
        if self._highest is None:
            self._highest = self._told = number
        unwrapped = self._highest + ((number - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if unwrapped < self._told:
            return  # told of as lost already
        self._highest = max(self._highest, unwrapped)
        self._times.setdefault(unwrapped, now)
        if self._highest - self._told >= MAX_STATUSES:
            # The sender jumped: what lies between is nobody's.
            self._told = unwrapped
            self._times = {unwrapped: now}

    def feedback(self) -> TransportFeedback | None:
        """What has come in since the last one; None where nothing has."""
        times = self._times
        if not times or self._highest is None:
            return None
        first = times[min(times)]
        reference = first // REFERENCE_NS
        at = reference * REFERENCE_NS // TICK_NS
        arrivals: list[int | None] = []
        for number in range(self._told, self._highest + 1):
            time = times.get(number)
            if time is None:
                arrivals.append(None)
                continue
            step = max(-0x8000, min(0x7FFF, time // TICK_NS - at))
            at += step
            arrivals.append(step)
        # 24 bits with a sign: seen as the receiver of them does.
        reference = (reference + 0x800000 & 0xFFFFFF) - 0x800000
        found = TransportFeedback(self._told & 0xFFFF, reference, self._count, tuple(arrivals))
        self._count = self._count + 1 & 0xFF
        self._told = self._highest + 1
        self._times = {}
        return found
