"""Transport streams made by hand, for what no muxer writes."""

from __future__ import annotations

from typing import Any

from penstock_formats.mpegts.descriptor import Descriptor
from penstock_formats.mpegts.packetizer import Packetizer
from penstock_formats.mpegts.pat import build_pat
from penstock_formats.mpegts.pes import build_header
from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from penstock_formats.mpegts.section import packed
from tests.contracts.cases_h26x import H264_UNITS

PMT = Pmt(
    0x100,
    (Descriptor(5, b"HDMV"),),
    (
        PmtEntry(0x100, 0x1B),
        PmtEntry(0x101, 0x0F, (Descriptor(10, b"deu\0"),)),
        PmtEntry(0x102, 0x86, (Descriptor(5, b"CUEI"),)),
        PmtEntry(0x103, 0x06, (Descriptor(5, b"KLVA"),)),
        PmtEntry(0x104, 0x06, (Descriptor(5, b"Opus"), Descriptor(0x7F, b"\x80\x02"))),
        PmtEntry(0x105, 0x06, (Descriptor(5, b"Opus"), Descriptor(0x7F, b"\x80\x8f"))),
    ),
)
OPUS = b"\x7f\xe0\x02\xfc\x01"
SECTION = b"\xfc\x30\x11" + bytes(range(17))
VIDEO = b"\0\0\0\1\x09\xf0" + b"".join([b"\0\0\0\1" + nal for nal in H264_UNITS])
LONG = VIDEO + b"\x0c" * 400


class Made:
    """A transport stream made by hand, packet by packet."""

    def __init__(self, pmt: Pmt | None = PMT) -> None:
        self.data = b""
        self._packetizers: dict[int, Packetizer] = {}
        if pmt is not None:
            self.tables(pmt)

    def packets(self, pid: int, data: bytes, adaptation: bytes = b"") -> Made:
        self.data += self._packetizers.setdefault(pid, Packetizer(pid)).packets(data, adaptation)
        return self

    def section(self, pid: int, section: bytes) -> Made:
        return self.packets(pid, packed(section))

    def tables(
        self, pmt: Pmt, version: int = 0, programs: dict[int, int] | None = None, number: int = 7
    ) -> Made:
        programs = programs or {number: 0x1000}
        self.section(0, build_pat(programs, version).encode())
        return self.section(programs[number], pmt.section(number, version).encode())

    def pes(
        self, pid: int, data: bytes, pts: int | None = 90_000, dts: int | None = None, **changes: Any
    ) -> Made:
        """A PES packet; `length` and `stream_id` are written as they are, `adaptation` is the first packet's."""
        header = build_header(
            changes.get("stream_id", 0xE0), len(data), pts or 0, dts or pts or 0, unbounded=True
        )
        if pts is None:
            header = header[:4] + (len(data) + 3).to_bytes(2, "big") + b"\x84\x00\x00"
        if "length" in changes:
            header = header[:4] + int(changes["length"]).to_bytes(2, "big") + header[6:]
        return self.packets(pid, header + data, changes.get("adaptation", b""))

    def raw(self, header: int, body: bytes = b"") -> Made:
        self.data += header.to_bytes(4, "big") + body[:184].ljust(184, b"\xff")
        return self
