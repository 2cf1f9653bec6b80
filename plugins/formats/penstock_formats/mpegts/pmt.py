"""The program map table (H.222.0 2.4.4.8): what a program consists of."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts.descriptor import Descriptor, encode_descriptors, parse_descriptors
from penstock_formats.mpegts.section import Section

TABLE_ID = 2

CLAUSE = "H.222.0 2.4.4.9"


@frozen
class PmtEntry:
    """One elementary stream as the table has it."""

    pid: int
    stream_type: int
    descriptors: tuple[Descriptor, ...] = ()


@frozen
class Pmt:
    """A program: the PID of its clock, its descriptors, its streams."""

    pcr_pid: int
    descriptors: tuple[Descriptor, ...] = ()
    entries: tuple[PmtEntry, ...] = ()

    @staticmethod
    def parse(section: Section) -> Pmt:
        """The map in a section. Raises `ProtocolViolation`."""
        body = section.body
        if section.table_id != TABLE_ID or len(body) < 4:
            raise ProtocolViolation("not a program map table", CLAUSE)
        pcr_pid = (body[0] & 31) << 8 | body[1]
        descriptors, at = _loop(body, 2)
        entries: list[PmtEntry] = []
        while at < len(body):
            if at + 5 > len(body):
                raise ProtocolViolation("an entry of the program map is cut", CLAUSE)
            stream_type, pid = body[at], (body[at + 1] & 31) << 8 | body[at + 2]
            own, at = _loop(body, at + 3)
            entries.append(PmtEntry(pid, stream_type, own))
        return Pmt(pcr_pid, descriptors, tuple(entries))

    def section(self, program: int, version: int) -> Section:
        """The section that says this."""
        parts = [(0xE000 | self.pcr_pid).to_bytes(2, "big"), _counted(self.descriptors)]
        for entry in self.entries:
            parts.append(bytes((entry.stream_type,)) + (0xE000 | entry.pid).to_bytes(2, "big"))
            parts.append(_counted(entry.descriptors))
        return Section(TABLE_ID, program, b"".join(parts), version)


def _loop(body: bytes, at: int) -> tuple[tuple[Descriptor, ...], int]:
    """The descriptors behind the length at `at`, and where they end."""
    start = at + 2
    end = start + ((body[at] & 15) << 8 | body[at + 1])
    if end > len(body):
        raise ProtocolViolation("descriptors go past the end of the program map", CLAUSE)
    return parse_descriptors(body[start:end]), end


def _counted(descriptors: tuple[Descriptor, ...]) -> bytes:
    data = encode_descriptors(descriptors)
    return (0xF000 | len(data)).to_bytes(2, "big") + data
