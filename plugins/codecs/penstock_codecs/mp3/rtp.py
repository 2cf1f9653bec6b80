"""MP3 over RTP (RFC 2250 3.5, ``MPA``): four bytes of header, whole frames or one fragment; 90 kHz."""

from __future__ import annotations

import struct

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.mp3.header import MP3, FrameHeader, Mp3Config, split
from penstock_formats.rtp import AccessUnit, RtpFormat

CLAUSE = "RFC 2250 3.5"
CLOCK_RATE = 90_000
STATIC_TYPE = 14

_HEADER = struct.Struct(">HH")
_WHOLE = _HEADER.pack(0, 0)


class Mp3Packetizer:
    """Frames whole where they fit, else in fragments with their offset."""

    def __init__(self, max_payload: int) -> None:
        self._room = max_payload - _HEADER.size

    def packetize(self, frame: Frame) -> list[bytes]:
        room = self._room
        data = b"".join(frame.units)
        if len(data) <= room:
            return [_WHOLE + data]
        payloads: list[bytes] = []
        for unit in frame.units:
            payloads += [_HEADER.pack(0, at) + unit[at : at + room] for at in range(0, len(unit), room)]
        return payloads


class Mp3Depacketizer:
    """A packet with several frames gives one access unit for each; at most one frame is pending."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._pending = bytearray()
        self._size = 0
        self._timestamp = 0
        self._torn = True
        self._config: Mp3Config | None = None

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        if lost:
            self._drop(torn=True)
        if len(payload) <= _HEADER.size:
            self._drop(torn=True)
            raise ProtocolViolation("an MPA packet without audio", CLAUSE)
        offset = _HEADER.unpack_from(payload)[1]
        if offset:
            return self._continue(payload[_HEADER.size :], offset)
        data = payload[_HEADER.size :]
        # A frame whose other fragments never came.
        self._drop(torn=True)
        header = FrameHeader.parse(data)
        if header.size > len(data):
            self._pending += data
            self._size, self._timestamp, self._torn = header.size, timestamp, False
            return []
        frames, config = split(data)
        return self._units(frames, config, timestamp)

    def flush(self) -> list[AccessUnit]:
        self._drop(torn=True)
        return []

    def _drop(self, *, torn: bool) -> None:
        self._pending = bytearray()
        self._torn = torn

    def _continue(self, data: bytes, offset: int) -> list[AccessUnit]:
        if self._torn:
            return []
        have = len(self._pending)
        if offset != have or have + len(data) > self._size:
            self._drop(torn=True)
            raise ProtocolViolation(f"a fragment at {offset} where {have} bytes are there", CLAUSE)
        self._pending += data
        if have + len(data) < self._size:
            return []
        frames, config = split(bytes(self._pending))
        self._drop(torn=True)
        return self._units(frames, config, self._timestamp)

    def _units(self, frames: tuple[bytes, ...], config: Mp3Config, timestamp: int) -> list[AccessUnit]:
        ticks, rate = config.frame_samples * self._clock_rate, config.sample_rate
        units: list[AccessUnit] = []
        for n, frame in enumerate(frames):
            changed = config if config != self._config else None
            self._config = config
            units.append(AccessUnit(timestamp + n * ticks // rate, (frame,), config=changed))
        return units


class Mp3Rtp:
    """RTP binding of MP3."""

    encodings: tuple[str, ...] = ("MPA",)
    # RFC 2250 3.5: the marker says where a talk spurt begins.
    marks_last = False

    def describe(self, track: Track) -> RtpFormat:
        return RtpFormat("MPA", CLOCK_RATE, payload_type=STATIC_TYPE)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if fmt.clock_rate != CLOCK_RATE:
            raise ProtocolViolation(f"MPA with a clock of {fmt.clock_rate} Hz", "RFC 3551 4.5.13")
        return MP3, None

    def packetizer(self, track: Track, max_payload: int) -> Mp3Packetizer:
        return Mp3Packetizer(max_payload)

    def depacketizer(self, fmt: RtpFormat) -> Mp3Depacketizer:
        return Mp3Depacketizer(fmt.clock_rate)
