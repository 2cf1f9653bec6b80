"""The program association table (H.222.0 2.4.4.3): where the map of each program is."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts.packet import PID_FIRST, PID_NULL
from penstock_formats.mpegts.section import Section

TABLE_ID = 0

CLAUSE = "H.222.0 2.4.4.5"


def parse_pat(section: Section) -> dict[int, int]:
    """The PID of each program's map by program number, in order; the network's (0) is left out."""
    body = section.body
    if section.table_id != TABLE_ID or len(body) % 4:
        raise ProtocolViolation("not a program association table", CLAUSE)
    found: dict[int, int] = {}
    for at in range(0, len(body), 4):
        number = body[at] << 8 | body[at + 1]
        pid = (body[at + 2] & 31) << 8 | body[at + 3]
        if number and PID_FIRST <= pid < PID_NULL:
            found.setdefault(number, pid)
    return found


def build_pat(programs: dict[int, int], version: int = 0, stream_id: int = 1) -> Section:
    """The table with the PIDs of `programs` by number."""
    body = b"".join(
        [number.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for number, pid in programs.items()]
    )
    return Section(TABLE_ID, stream_id, body, version)
