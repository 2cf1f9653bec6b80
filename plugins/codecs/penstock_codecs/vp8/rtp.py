"""VP8 over RTP (RFC 7741)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.vp8.header import VP8, Vp8Config, parse_frame
from penstock_formats.rtp import AccessUnit, RtpFormat

CLAUSE = "RFC 7741 4.2"
CLOCK_RATE = 90_000
MAX_FRAME = 8 << 20
"""Bytes of a frame that is put together."""

_HEADER_SIZE = 4
_EXTENDED, _START = 0x80, 0x10
_PICTURE_ID, _TL0PICIDX, _TID, _KEYIDX = 0x80, 0x40, 0x20, 0x10


class Vp8Packetizer:
    """One partition's worth of every frame, with a picture id of 15 bits that begins at 0."""

    def __init__(self, max_payload: int) -> None:
        self._room = max_payload - _HEADER_SIZE
        self._picture = 0

    def packetize(self, frame: Frame) -> list[bytes]:
        data, room = frame.units[0], self._room
        picture = bytes((_PICTURE_ID, 0x80 | self._picture >> 8, self._picture & 0xFF))
        self._picture = (self._picture + 1) & 0x7FFF
        payloads = [bytes((_EXTENDED | _START,)) + picture + data[:room]]
        later = bytes((_EXTENDED,)) + picture
        payloads += [later + data[at : at + room] for at in range(room, len(data), room)]
        return payloads


class Vp8Depacketizer:
    """Collects payloads from the start of partition 0 up to the marker."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._timestamp = 0
        self._torn = True
        self._config: Vp8Config | None = None

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        done: list[AccessUnit] = []
        try:
            if lost:
                self._drop(torn=True)
            elif self._pending and timestamp != self._timestamp:
                done = self._finish()
            at, starts = _descriptor(payload)
            if starts and self._pending:
                raise ProtocolViolation("a VP8 frame begins inside another", CLAUSE)
            if starts:
                self._torn = False
                self._timestamp = timestamp
            elif self._torn:
                return done
            elif not self._pending:
                raise ProtocolViolation("a VP8 frame without its beginning", CLAUSE)
            self._pending += payload[at:]
            if len(self._pending) > MAX_FRAME:
                raise ProtocolViolation("a VP8 frame is too long", CLAUSE)
            if marker:
                done += self._finish()
        except ProtocolViolation:
            self._drop(torn=True)
            raise
        return done

    def flush(self) -> list[AccessUnit]:
        try:
            return self._finish() if self._pending else []
        except ProtocolViolation:
            # The stream ended inside a unit: as good as lost.
            return []
        finally:
            self._drop(torn=True)

    def _drop(self, *, torn: bool) -> None:
        self._pending = bytearray()
        self._torn = torn

    def _finish(self) -> list[AccessUnit]:
        frame = bytes(self._pending)
        self._drop(torn=False)
        found = parse_frame(frame)
        news = found if found != self._config else None
        self._config = found or self._config
        return [AccessUnit(self._timestamp, (frame,), found is not None, news)]


def _descriptor(payload: bytes) -> tuple[int, bool]:
    """Where the payload descriptor ends, and whether a frame begins."""
    first = payload[0] if payload else 0
    at = 1
    if first & _EXTENDED:
        flags = payload[1] if len(payload) > 1 else 0
        at = 2
        if flags & _PICTURE_ID:
            at += 2 if len(payload) > 2 and payload[2] & 0x80 else 1
        if flags & _TL0PICIDX:
            at += 1
        if flags & (_TID | _KEYIDX):
            at += 1
    if at >= len(payload):
        raise ProtocolViolation("a VP8 packet without payload", CLAUSE)
    # RFC 7741 4.2: S, and PID 0.
    return at, first & (_START | 0x07) == _START


class Vp8Rtp:
    """RTP binding of VP8."""

    encodings: tuple[str, ...] = ("VP8",)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        return RtpFormat("VP8", CLOCK_RATE)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if fmt.clock_rate != CLOCK_RATE:
            raise ProtocolViolation(f"VP8 with a clock of {fmt.clock_rate} Hz", "RFC 7741 6.1")
        return VP8, None

    def packetizer(self, track: Track, max_payload: int) -> Vp8Packetizer:
        return Vp8Packetizer(max_payload)

    def depacketizer(self, fmt: RtpFormat) -> Vp8Depacketizer:
        return Vp8Depacketizer()
