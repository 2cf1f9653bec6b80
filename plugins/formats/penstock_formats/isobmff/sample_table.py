"""The tables of samples that are not in fragments (ISO/IEC 14496-12 8.6 and 8.7), walked without being unfolded."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box, Fields
from penstock_formats.isobmff.sample_entry import SOUND

PCM_BLOCK = 1024
"""Samples of PCM (of one constant size, each a few bytes) that make one sample here."""
_PCM_SIZE = 64

Numbers = Sequence[int]


class TableSample(NamedTuple):
    """Where a sample is in the file, and when; times in ticks, `dts` without the edit list."""

    offset: int
    size: int
    dts: int
    duration: int
    composition: int
    key: bool
    description: int


class SampleTable:
    """The samples of one track, in decoding order, of a file that is not fragmented; iterated over lazily.

    Nothing in it is larger than the tables themselves, whatever counts they claim.
    """

    __slots__ = (
        "_chunks",
        "_composition",
        "_count",
        "_keys",
        "_offsets",
        "_pcm",
        "_size",
        "_sizes",
        "_times",
    )

    def __init__(self, boxes: dict[str, Box], handler: str) -> None:
        self._size, self._count, self._sizes = _sizes(boxes)
        self._offsets = _table(boxes.get("co64") or boxes.get("stco"), "Q" if "co64" in boxes else "I")
        self._chunks = _table(boxes.get("stsc"), "I", 3)
        self._times = _table(boxes.get("stts"), "I", 2)
        # Negative offsets are of version 1; writers have put them into version 0 as well.
        self._composition = _table(boxes.get("ctts"), "i", 2)
        self._keys = _table(boxes["stss"], "I") if "stss" in boxes else None
        self._pcm = handler == SOUND and 0 < self._size <= _PCM_SIZE and len(self._times) == 2

    def __len__(self) -> int:
        """How many samples it claims to have."""
        return self._count

    @property
    def lag(self) -> int:
        """How far decode times have to be moved down so that none is above its composition time."""
        return max(0, -min(self._composition[1::2], default=0))

    @classmethod
    def parse(cls, stbl: Box, handler: str) -> SampleTable | None:
        """The table of a ``stbl`` box, None where it is empty, as in fragmented files. Raises `ProtocolViolation`."""
        table = cls({box.type: box for box in stbl.children}, handler)
        return table if table._count else None

    def __iter__(self) -> Iterator[TableSample]:
        return self._blocks() if self._pcm else self._samples()

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """Offset, number of samples and sample entry of each chunk (8.7.4: each row says from which chunk on it holds)."""
        rows, end = self._chunks, len(self._offsets) + 1
        for at in range(0, len(rows), 3):
            first, samples, description = rows[at : at + 3]
            last = rows[at + 3] if at + 3 < len(rows) else end
            if not 0 < first <= last <= end:
                raise ProtocolViolation("chunks are out of order", "ISO 14496-12 8.7.4.3")
            for number in range(first - 1, last - 1):
                yield self._offsets[number], samples, description

    def _samples(self) -> Iterator[TableSample]:
        sizes = repeat(self._size, self._count) if self._size else iter(self._sizes)
        durations, composition = _unfolded(self._times), _unfolded(self._composition)
        number = dts = duration = 0
        for offset, samples, description in self._runs():
            for _ in range(samples):
                size = next(sizes, None)
                if size is None:
                    return
                number += 1
                duration = next(durations, duration)
                yield TableSample(
                    offset, size, dts, duration, next(composition, 0), self._is_key(number), description
                )
                offset += size
                dts += duration

    def _is_key(self, number: int) -> bool:
        keys = self._keys
        if keys is None:
            return True
        at = bisect_left(keys, number)
        return at < len(keys) and keys[at] == number

    def _blocks(self) -> Iterator[TableSample]:
        left, dts, duration, size = self._count, 0, self._times[1], self._size
        for offset, samples, description in self._runs():
            while samples and left:
                count = min(samples, left, PCM_BLOCK)
                yield TableSample(offset, count * size, dts, count * duration, 0, True, description)
                offset += count * size
                dts += count * duration
                samples -= count
                left -= count


def _unfolded(rows: Numbers) -> Iterator[int]:
    """The values of rows of count and value."""
    return chain.from_iterable(repeat(value, count) for count, value in _pairs(rows))


def _pairs(rows: Numbers) -> Iterable[tuple[int, int]]:
    return ((rows[at], rows[at + 1]) for at in range(0, len(rows), 2))


def _sizes(boxes: dict[str, Box]) -> tuple[int, int, Numbers]:
    """The size that all samples have, or 0; how many there are; and the size of each."""
    if "stsz" in boxes:
        fields = boxes["stsz"].fields
        fields.full()
        size, count = fields.u(4), fields.u(4)
        return size, count, () if size else _numbers(fields, count, "I")
    if "stz2" not in boxes:
        return 0, 0, ()
    fields = boxes["stz2"].fields
    fields.full()
    width, count = fields.u(4), fields.u(4)
    if width == 4:
        packed = fields.take((count + 1) // 2)
        return 0, count, bytes(chain.from_iterable((n >> 4, n & 15) for n in packed))[:count]
    if width not in (8, 16):
        raise ProtocolViolation(f"sample sizes of {width} bits", "ISO 14496-12 8.7.3.3")
    return 0, count, _numbers(fields, count, "B" if width == 8 else "H")


def _numbers(fields: Fields, count: int, code: str) -> Numbers:
    """`count` numbers of a type of `array`, made only once they are known to be there."""
    found: array[int] = array(code)
    found.frombytes(fields.take(count * found.itemsize))
    if sys.byteorder == "little":
        found.byteswap()
    return found


def _table(box: Box | None, code: str, columns: int = 1) -> Numbers:
    """All numbers of a table, row by row."""
    if box is None:
        return ()
    fields = box.fields
    fields.full()
    return _numbers(fields, fields.u(4) * columns, code)
