"""Opus in MPEG-TS (the draft at wiki.xiph.org/OpusTS, as FFmpeg and GStreamer have it): private data named ``Opus``."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Track, to_ns
from penstock_codecs.opus.config import CLOCK_RATE, OpusConfig
from penstock_codecs.opus.packet import duration
from penstock_formats.bits import BitReader
from penstock_formats.mpegts.binding import TsFormat, TsUnit
from penstock_formats.mpegts.descriptor import EXTENSION, REGISTRATION, Descriptor, registration

CLAUSE = "OpusTS"

STREAM_TYPE = 0x06
NAME = b"Opus"
TAG = 0x80
"""Of the extension descriptor: in its user defined range."""

EXPLICIT = 0x81
"""channel_config_code of a config that is spelled out."""
DUAL_MONO = 0x80
MAX_CODE = 8

PREFIX = 0x3FF
"""control_header_prefix, of 11 bits."""


class OpusTs:
    """MPEG-TS binding of Opus."""

    def accepts(self, fmt: TsFormat) -> bool:
        return fmt.stream_type == STREAM_TYPE and registration(fmt.descriptors) == NAME

    def reader(self, fmt: TsFormat) -> OpusReader:
        return OpusReader(_config(fmt))

    def describe(self, track: Track) -> TsFormat:
        extension = Descriptor(EXTENSION, bytes((TAG,)) + encode_layout(OpusConfig.of(track.config)))
        return TsFormat(STREAM_TYPE, (Descriptor(REGISTRATION, NAME), extension))

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        packet = frame.units[0]
        full, rest = divmod(len(packet), 255)
        return b"\x7f\xe0" + b"\xff" * full + bytes((rest,)) + packet


class OpusReader:
    """Access units, each behind its control header; a PES packet begins with one."""

    def __init__(self, config: OpusConfig) -> None:
        self._config: OpusConfig | None = config
        self._next: int | None = None

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        """See `PesReader.push`. A packet without a time goes on where the one before ended."""
        time = pts if pts is not None or lost else self._next
        found: list[TsUnit] = []
        samples = at = 0
        self._next = None
        while at < len(data):
            start, at = parse_control(data, at)
            unit = data[start:at]
            ticks = duration(unit)
            if time is not None:
                moment = time + to_ns(samples, CLOCK_RATE)
                config, self._config = self._config, None
                found.append(TsUnit(moment, moment, (unit,), config=config))
            samples += ticks
        self._next = None if time is None else time + to_ns(samples, CLOCK_RATE)
        return found


def parse_control(data: bytes, at: int) -> tuple[int, int]:
    """Where the packet behind the control header at `at` begins and ends."""
    end = len(data)
    if end - at < 3 or int.from_bytes(data[at : at + 2], "big") >> 5 != PREFIX:
        raise ProtocolViolation("no Opus control header where one must be", CLAUSE)
    flags = data[at + 1]
    at += 2
    size = 0
    while at < end and data[at] == 255:
        size += 255
        at += 1
    if at < end:
        size += data[at]
    # start_trim and end_trim: the samples are decoded all the same, so the packet is passed on as it is.
    at += 1 + 2 * (flags >> 4 & 1) + 2 * (flags >> 3 & 1)
    if flags & 4 and at < end:
        at += 1 + data[at]
    if not size or at + size > end:
        raise ProtocolViolation("an Opus packet is empty or goes past the end", CLAUSE)
    return at, at + size


def _config(fmt: TsFormat) -> OpusConfig:
    for descriptor in fmt.descriptors:
        if descriptor.tag == EXTENSION and descriptor.data[:1] == bytes((TAG,)):
            return parse_layout(descriptor.data[1:])
    # Some senders write nothing but the registration: what nearly all streams are.
    return OpusConfig.simple(2)


def parse_layout(data: bytes) -> OpusConfig:
    """The config in an extension descriptor. Raises `ProtocolViolation`."""
    code = data[0] if data else -1
    if 0 < code <= MAX_CODE:
        return OpusConfig.simple(code)
    if code in (0, DUAL_MONO):
        streams = 1 if code == 0 else 2
        return OpusConfig.mapped(2, streams, 2 - streams, b"\x00\x01", 255)
    if EXPLICIT < code <= EXPLICIT + 7:
        channels = code & 15
        return OpusConfig.mapped(channels, channels, 0, bytes(range(channels)))
    if code != EXPLICIT or len(data) < 3:
        raise ProtocolViolation("an Opus descriptor without a known channel config", CLAUSE)
    channels, family = data[1], data[2]
    if family == 0:
        if channels not in (1, 2):
            raise ProtocolViolation("Opus mapping family 0 has one or two channels", CLAUSE)
        return OpusConfig.simple(channels)
    bits = BitReader(data, CLAUSE, 24)
    streams = bits.u(_width(channels)) + 1
    coupled = bits.u(_width(streams + 1))
    width = _width(streams + coupled + 1)
    silent = (1 << width) - 1
    mapping = [bits.u(width) for _ in range(channels)]
    heard = bytes([255 if n == silent and n >= streams + coupled else n for n in mapping])
    return OpusConfig.mapped(channels, streams, coupled, heard, family)


def encode_layout(config: OpusConfig) -> bytes:
    """A config as an extension descriptor has it: a code where there is one, spelled out where there is none."""
    for code in (*range(1, MAX_CODE + 1), 0, DUAL_MONO):
        if _layout(config) == _layout(parse_layout(bytes((code,)))):
            return bytes((code,))
    widths = _width(config.streams + 1), _width(config.streams + config.coupled + 1)
    text = f"{config.streams - 1:0{_width(config.channels)}b}" if config.channels > 1 else ""
    text += f"{config.coupled:0{widths[0]}b}"
    text += "".join([f"{n & (1 << widths[1]) - 1:0{widths[1]}b}" for n in config.mapping])
    size = -(-len(text) // 8)
    head = bytes((EXPLICIT, config.channels, config.family))
    return head + int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def _layout(config: OpusConfig) -> tuple[int, int, int, int, bytes]:
    return config.channels, config.family, config.streams, config.coupled, config.mapping


def _width(values: int) -> int:
    """Bits for numbers below `values`: ceil(log2(values))."""
    return max(values - 1, 0).bit_length()
