"""Where packets begin in a byte stream: sync bytes at a steady distance, found, lost and found again."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.errors import ProtocolViolation
from penstock_formats.mpegts.packet import SIZE, SYNC

STRIDES = (SIZE, 192, 204)
"""Packets alone, with a time stamp in front (M2TS), and with a Reed-Solomon code behind (DVB)."""

SYNCS = 5
"""Sync bytes in a row before they are believed (H.222.0 G.1)."""

MAX_UNSYNCED = 64 << 10
"""Bytes without a packet among them before the stream is taken for something else."""

_AHEAD = (SYNCS - 1) * max(STRIDES)


class Alignment:
    """Bytes to runs of packets. How they are split changes nothing."""

    def __init__(self) -> None:
        self._pending = b""
        self._stride = 0
        self._skipped = 0

    def push(self, data: bytes, *, final: bool = False) -> Iterator[tuple[bytes, int]]:
        """Runs of packets, each with the distance of their beginnings; the sync byte is the first of each.

        `final` says that nothing follows. Raises `ProtocolViolation` where there is no MPEG-TS to be found.
        """
        if self._pending:
            data = self._pending + data
        at, end = 0, len(data)
        while at < end:
            if not self._stride:
                at = self._search(data, at, final)
                if not self._stride:
                    break
            stride = self._stride
            if final and (end - at) % stride >= SIZE:
                # What lies between packets is not needed of the last one.
                data += bytes(stride - SIZE)
                end = len(data)
            count = (end - at) // stride
            stop = at + count * stride
            syncs = data[at:stop:stride]
            good = count - len(syncs.lstrip(b"\x47"))
            if good:
                self._skipped = 0
                yield data[at : at + good * stride], stride
                at += good * stride
            if good == count:
                break
            self._stride = 0
        self._pending = data[at:]

    def _search(self, data: bytes, at: int, final: bool) -> int:
        """The next place that may be a packet's beginning; the stride is set where it is known to be one."""
        end = len(data)
        begin = at
        while True:
            at = data.find(SYNC, at)
            if at < 0:
                at = end
                break
            if at + _AHEAD >= end and not final:
                break
            for stride in STRIDES:
                syncs = data[at : at + (SYNCS - 1) * stride + 1 : stride]
                if at + SIZE <= end and syncs.count(SYNC) == len(syncs):
                    self._stride = stride
                    break
            if self._stride:
                break
            at += 1
        self._skipped += at - begin
        if self._skipped > MAX_UNSYNCED:
            raise ProtocolViolation(f"no MPEG-TS packet in {MAX_UNSYNCED} bytes", "H.222.0 2.4.3.3")
        return at
