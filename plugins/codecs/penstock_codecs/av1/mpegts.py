"""AV1 in MPEG-TS (AOM, Carriage of AV1 in MPEG-2 TS): private data named ``AV01``, each OBU behind a start code.

A PES packet has a temporal unit. The draft wants one for each frame, shown or not; those are put together again.
"""

from __future__ import annotations

import re

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Track
from penstock_codecs.av1.obu import MAX_OBUS, is_key, shows, sort, split, with_size, without_size
from penstock_codecs.av1.record import write_record
from penstock_codecs.av1.sequence import Av1Config
from penstock_formats.mpegts.binding import TsFormat, TsUnit
from penstock_formats.mpegts.descriptor import REGISTRATION, Descriptor, registration

CLAUSE = "AV1 TS 3.2"

STREAM_TYPE = 0x06
NAME = b"AV01"
VIDEO_DESCRIPTOR = 0x80
NO_INDICATION = 3 << 6
"""hdr_wcg_idc: nothing is said of dynamic range and colour gamut beyond what the sequence header has."""

MAX_UNIT = 8 << 20
"""Bytes of a temporal unit, as in RTP."""

START_CODE = b"\x00\x00\x01"
DELIMITER = START_CODE + b"\x12\x00"

_FORBIDDEN = re.compile(rb"\x00\x00(?=[\x00-\x03])")


class Av1Ts:
    """MPEG-TS binding of AV1."""

    def accepts(self, fmt: TsFormat) -> bool:
        return fmt.stream_type == STREAM_TYPE and registration(fmt.descriptors) == NAME

    def reader(self, fmt: TsFormat) -> Av1Reader:
        return Av1Reader()

    def describe(self, track: Track) -> TsFormat:
        record = write_record(Av1Config.of(track.config))
        video = Descriptor(VIDEO_DESCRIPTOR, record[:3] + bytes((NO_INDICATION,)))
        return TsFormat(STREAM_TYPE, (Descriptor(REGISTRATION, NAME), video))

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        obus = frame.units
        if fresh and (header := Av1Config.of(frame.track.config).sequence_header):
            obus = (header, *obus)
        parts = [START_CODE + _FORBIDDEN.sub(b"\x00\x00\x03", with_size(obu)) for obu in obus]
        return DELIMITER + b"".join(parts)


class Av1Reader:
    """`PesReader` of AV1. Frames that are not shown wait for the one that is."""

    def __init__(self) -> None:
        self._config: Av1Config | None = None
        self._news: Av1Config | None = None
        self._drop()

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        if lost:
            self._drop()
        try:
            return self._take(data, pts, dts)
        except ProtocolViolation:
            self._drop()
            raise

    def _drop(self) -> None:
        self._units: tuple[bytes, ...] = ()
        self._size = 0
        self._dts: int | None = None

    def _take(self, data: bytes, pts: int | None, dts: int | None) -> list[TsUnit]:
        units, header = sort(split_start_codes(data))
        if header is not None and (self._config is None or self._config.sequence_header != header):
            self._config = self._news = Av1Config.parse(header)
        if not self._units:
            self._dts = dts
        self._units += units
        self._size += len(data)
        if self._size > MAX_UNIT or len(self._units) > MAX_OBUS:
            raise ProtocolViolation("a temporal unit is too long", CLAUSE)
        reduced = self._config is not None and self._config.reduced
        if not shows(units, reduced):
            return []
        if pts is None:
            raise ProtocolViolation("a picture without a time", "AV1 TS 3.5")
        unit = TsUnit(pts, self._dts, self._units, is_key(self._units, reduced), self._news)
        self._news = None
        self._drop()
        return [unit]


def split_start_codes(data: bytes) -> list[bytes]:
    """OBUs in the normal form; in front of each is a start code, and in it are escapes."""
    if not data.startswith(START_CODE):
        # What FFmpeg's muxer writes under whatever name: the low-overhead format as it is.
        return split(data)
    pieces = data[len(START_CODE) :].split(START_CODE, MAX_OBUS)
    if len(pieces) > MAX_OBUS:
        raise ProtocolViolation(f"a temporal unit of more than {MAX_OBUS} OBUs", CLAUSE)
    return [without_size(piece.replace(b"\x00\x00\x03", b"\x00\x00")) for piece in pieces]
