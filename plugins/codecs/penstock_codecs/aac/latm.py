"""LATM (ISO/IEC 14496-3 1.7), and over RTP (RFC 6416): one program, one layer, frames of variable length."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_codecs.aac.config import MAX_ASC, AacConfig, read_config
from penstock_formats.bits import BitReader
from penstock_formats.rtp import AccessUnit

CLAUSE = "ISO/IEC 14496-3 1.7.3"
MAX_ELEMENT = 1 << 20
"""Bytes of one audioMuxElement: 64 access units of the longest AAC frame are half of that."""


@frozen
class StreamMuxConfig:
    """`frames` access units an element; `other` bits of other data behind them."""

    config: AacConfig
    frames: int
    other: int

    @staticmethod
    def parse(data: bytes) -> StreamMuxConfig:
        return StreamMuxConfig.read(BitReader(data, CLAUSE))

    @staticmethod
    def read(bits: BitReader) -> StreamMuxConfig:
        """Raises `ProtocolViolation` also for what is allowed but not supported."""
        version = bits.u(1)
        if version and bits.flag():
            raise ProtocolViolation("audioMuxVersionA 1 is reserved", CLAUSE)
        if version:
            _value(bits)
        same_framing = bits.flag()
        frames = bits.u(6) + 1
        programs, layers = bits.u(4), bits.u(3)
        if not same_framing or programs or layers:
            raise ProtocolViolation("LATM with several programs, layers or framings is not supported", CLAUSE)
        if version:
            length = _value(bits)
            if length > MAX_ASC * 8:
                raise ProtocolViolation(f"an AudioSpecificConfig of {length} bits", CLAUSE)
            asc = bits.u(length) << (-length % 8)
            config = AacConfig.parse(asc.to_bytes((length + 7) // 8, "big"))
        else:
            config = read_config(bits, to_the_end=False)
        if kind := bits.u(3):
            # GStreamer's rtpmp4apay has the SBR sync word behind the config, and none of the rest.
            if kind == 2 and bits.left >= 8 and bits.u(8) == 0xB7:
                return StreamMuxConfig(config, frames, 0)
            raise ProtocolViolation("LATM frames of fixed length are not supported", CLAUSE)
        bits.skip(8)
        other = 0
        if bits.flag():
            other = _value(bits) if version else _escaped(bits)
        if bits.flag():
            bits.skip(8)
        return StreamMuxConfig(config, frames, other)


def _value(bits: BitReader) -> int:
    """LatmGetValue."""
    return bits.u(8 * (bits.u(2) + 1))


def _escaped(bits: BitReader) -> int:
    """otherDataLenBits: bytes for as long as each says that one follows; four hold any sane length."""
    length = 0
    for _ in range(4):
        more = bits.flag()
        length = length << 8 | bits.u(8)
        if not more:
            return length
    raise ProtocolViolation("otherDataLenBits has no end", CLAUSE)


class LatmReader:
    """audioMuxElements to access units; `in_band` says that their config is, or may be, among them."""

    def __init__(self, mux: StreamMuxConfig | None, *, in_band: bool) -> None:
        self._mux = mux
        self._in_band = in_band

    @property
    def config(self) -> AacConfig | None:
        """The config of what was read last; None before the first StreamMuxConfig, when there is nothing to decode with."""
        return self._mux.config if self._mux else None

    def read(self, bits: BitReader) -> tuple[bytes, ...]:
        """The access units of the element at `bits`; an empty one is a frame that the encoder left out."""
        if self._in_band and not bits.flag():
            self._mux = StreamMuxConfig.read(bits)
        mux = self._mux
        if mux is None:
            return ()
        units: list[bytes] = []
        for _ in range(mux.frames):
            size = 0
            while (part := bits.u(8)) == 255:
                size += part
            size += part
            units.append(bits.u(8 * size).to_bytes(size, "big"))
        bits.skip(mux.other)
        return tuple(units)


class LatmDepacketizer:
    """audioMuxElements, each in one packet or in several up to the marker."""

    def __init__(self, clock_rate: int, mux: StreamMuxConfig | None, *, in_band: bool) -> None:
        self._clock_rate = clock_rate
        self._reader = LatmReader(mux, in_band=in_band)
        self._told = self._reader.config
        self._pending = bytearray()
        self._timestamp = 0
        self._torn = False

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        if lost or (self._pending and timestamp != self._timestamp):
            self._drop()
            # The packets before the next marker may be the rest of what was lost.
            self._torn = lost
        self._pending += payload
        self._timestamp = timestamp
        if len(self._pending) > MAX_ELEMENT:
            self._drop()
            raise ProtocolViolation("an audioMuxElement is too long", "RFC 6416 6.1")
        if not marker:
            return []
        element, torn = bytes(self._pending), self._torn
        self._drop()
        try:
            return self._element(BitReader(element, CLAUSE), timestamp)
        except ProtocolViolation:
            if torn:
                return []
            raise

    def flush(self) -> list[AccessUnit]:
        self._drop()
        return []

    def _drop(self) -> None:
        self._pending = bytearray()
        self._torn = False

    def _element(self, bits: BitReader, timestamp: int) -> list[AccessUnit]:
        units = self._reader.read(bits)
        config = self._reader.config
        found: list[AccessUnit] = []
        for n, unit in enumerate(units):
            if not unit or config is None:
                continue
            at = timestamp + n * config.frame_length * self._clock_rate // config.core_rate
            found.append(AccessUnit(at, (unit,), config=None if config == self._told else config))
            self._told = config
        return found
