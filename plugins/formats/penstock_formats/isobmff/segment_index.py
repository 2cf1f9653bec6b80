"""The segment index (ISO/IEC 14496-12 8.16.3): where the fragments of a segment or a file are."""

from __future__ import annotations

import struct

from attrs import frozen

from penstock_formats.isobmff.box import Box, full_box

_ENTRY = struct.Struct(">III")


@frozen
class Reference:
    """A fragment (or where `index` is set another segment index): `size` in bytes, `duration` in ticks.

    `key` says that it starts with a stream access point; `sap` is its type (1: all from there on decodes), and
    `sap_delta` how many ticks into it that comes.
    """

    size: int
    duration: int
    key: bool = True
    index: bool = False
    sap: int = 1
    sap_delta: int = 0


@frozen
class SegmentIndex:
    """Fragments one after the other from `first_offset` bytes after the box on; `time` is that of the first, in ticks."""

    track_id: int
    timescale: int
    time: int
    references: tuple[Reference, ...]
    first_offset: int = 0

    def build(self) -> bytes:
        """The ``sidx`` box."""
        head = struct.pack(
            ">IIQQHH", self.track_id, self.timescale, self.time, self.first_offset, 0, len(self.references)
        )
        rows = (
            _ENTRY.pack(
                ref.index << 31 | ref.size, ref.duration, ref.key << 31 | ref.sap << 28 | ref.sap_delta
            )
            for ref in self.references
        )
        return full_box("sidx", 1, 0, head, *rows)


def parse_segment_index(sidx: Box) -> SegmentIndex:
    """What a ``sidx`` box says. Raises `ProtocolViolation`."""
    fields = sidx.fields
    version, _ = fields.full()
    track_id, timescale = fields.u(4), fields.u(4)
    size = 8 if version else 4
    time, first = fields.u(size), fields.u(size)
    fields.skip(2)
    rows = _ENTRY.iter_unpack(fields.take(fields.u(2) * _ENTRY.size))
    references = tuple(
        Reference(
            size & 0x7FFFFFFF, duration, sap >> 31 == 1, size >> 31 == 1, sap >> 28 & 7, sap & 0xFFFFFFF
        )
        for size, duration, sap in rows
    )
    return SegmentIndex(track_id, timescale, time, references, first)
