"""LOAS (ISO/IEC 14496-3 1.7.2): LATM elements behind headers with a sync word and their size."""

from __future__ import annotations

from penstock_codecs.aac.latm import CLAUSE, LatmReader
from penstock_formats.bits import BitReader
from penstock_formats.mpegts.audio import AudioFrame

HEADER_SIZE = 3


class Loas:
    """`AudioSyntax` of an AudioSyncStream."""

    sync = 0x56
    header_size = HEADER_SIZE

    def __init__(self) -> None:
        self._reader = LatmReader(None, in_band=True)

    def size(self, data: bytes, at: int) -> int | None:
        if data[at] != 0x56 or data[at + 1] & 0xE0 != 0xE0:
            return None
        return HEADER_SIZE + ((data[at + 1] & 0x1F) << 8 | data[at + 2])

    def parse(self, frame: bytes) -> AudioFrame | None:
        units = self._reader.read(BitReader(frame, CLAUSE, 8 * HEADER_SIZE))
        config = self._reader.config
        return AudioFrame(units, config.frame_samples, config.sample_rate, config) if config else None
