"""AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1): what an AAC decoder must know."""

from __future__ import annotations

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind
from penstock_codecs.aac.program import program_config_channels
from penstock_formats.bits import BitReader

AAC = Codec("aac", Kind.AUDIO)

CLAUSE = "ISO/IEC 14496-3 1.6.2.1"

SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
MAX_RATE = 192_000
"""Twice the highest rate of the table; an explicit rate has 24 bits."""

MAX_ASC = 64
"""Bytes. A program config element without its comment is the longest part, of at most 40."""

SBR, PS, ELD, LD = 5, 29, 39, 23
_SYNC_SBR, _SYNC_PS = 0x2B7, 0x548

_GENERAL_AUDIO = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})
_ERROR_RESILIENT = frozenset({17, 19, 20, 21, 22, 23, 39})
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 13: 24, 14: 8}


@frozen
class AacConfig(CodecConfig):
    """`asc` is the AudioSpecificConfig; the rest is what it says.

    `object_type` and `core_rate` are those of the core; `sample_rate` and `channels` are of the output, after
    explicitly signalled SBR and PS. `frame_length` counts samples of the core (1024, 960, 512 or 480).
    """

    asc: bytes
    object_type: int
    core_rate: int
    sample_rate: int
    channels: int
    frame_length: int
    sbr: bool = False
    ps: bool = False

    @staticmethod
    def parse(asc: bytes) -> AacConfig:
        """The config that `asc` describes. Raises `ProtocolViolation`."""
        if len(asc) > MAX_ASC:
            raise ProtocolViolation(f"an AudioSpecificConfig of {len(asc)} bytes", CLAUSE)
        return evolve(read_config(BitReader(asc, CLAUSE), to_the_end=True), asc=asc)

    @staticmethod
    def lc(sample_rate: int, channels: int) -> AacConfig:
        """AAC-LC where nothing but these two numbers is known."""
        layout = next((k for k, v in _CHANNELS.items() if v == channels), None)
        if layout is None or not 0 < sample_rate <= MAX_RATE:
            raise ProtocolViolation(f"AAC of {channels} channels at {sample_rate} Hz", CLAUSE)
        if sample_rate in SAMPLE_RATES:
            bits, count = 2 << 11 | SAMPLE_RATES.index(sample_rate) << 7 | layout << 3, 2
        else:
            bits, count = 2 << 35 | 15 << 31 | sample_rate << 7 | layout << 3, 5
        return AacConfig.parse(bits.to_bytes(count, "big"))

    @property
    def frame_samples(self) -> int:
        """Samples of one access unit after decoding."""
        return self.frame_length * self.sample_rate // self.core_rate


def read_config(bits: BitReader, *, to_the_end: bool) -> AacConfig:
    """The AudioSpecificConfig at `bits`; `to_the_end`: it fills the rest, so that extensions may follow."""
    start = bits.position
    object_type = _object_type(bits)
    rate = core_rate = _sample_rate(bits)
    layout = bits.u(4)
    sbr = ps = False
    if object_type in (SBR, PS):
        sbr, ps = True, object_type == PS
        rate = _sample_rate(bits)
        object_type = _object_type(bits)
    if object_type in _GENERAL_AUDIO:
        frame_length, channels = _general_audio(bits, object_type, layout, start)
    elif object_type == ELD:
        frame_length, channels = _low_delay(bits), _layout_channels(layout)
    else:
        raise ProtocolViolation(f"MPEG-4 audio object type {object_type} is not supported", CLAUSE)
    # ISO/IEC 14496-3 1.6.5: explicit signalling that old decoders do not see.
    if to_the_end and not sbr and bits.left >= 16 and bits.u(11) == _SYNC_SBR and _object_type(bits) == SBR:
        sbr = bits.flag()
        if sbr:
            rate = _sample_rate(bits)
            ps = bits.left >= 12 and bits.u(11) == _SYNC_PS and bits.flag()
    if rate not in (core_rate, 2 * core_rate):
        raise ProtocolViolation(
            "the SBR rate is neither the core's nor twice that", "ISO/IEC 14496-3 4.6.18.2"
        )
    asc = _copied(bits, start)
    return AacConfig(asc, object_type, core_rate, rate, 2 if ps else channels, frame_length, sbr, ps)


def _copied(bits: BitReader, start: int) -> bytes:
    """What was read since `start`, from its first bit to a whole number of bytes."""
    size = bits.position - start
    bits.position = start
    return (bits.u(size) << (-size % 8)).to_bytes((size + 7) // 8, "big")


def _object_type(bits: BitReader) -> int:
    object_type = bits.u(5)
    return 32 + bits.u(6) if object_type == 31 else object_type


def _sample_rate(bits: BitReader) -> int:
    index = bits.u(4)
    rate = bits.u(24) if index == 15 else SAMPLE_RATES[index] if index < len(SAMPLE_RATES) else 0
    if not 0 < rate <= MAX_RATE:
        raise ProtocolViolation(f"a reserved or impossible sample rate (index {index}, {rate} Hz)", CLAUSE)
    return rate


def _layout_channels(layout: int) -> int:
    if layout not in _CHANNELS:
        raise ProtocolViolation(f"channel configuration {layout} is reserved", "ISO/IEC 14496-3 table 1.19")
    return _CHANNELS[layout]


def _general_audio(bits: BitReader, object_type: int, layout: int, start: int) -> tuple[int, int]:
    """Frame length and channels of a GASpecificConfig (4.4.1)."""
    short = bits.flag()
    if bits.flag():
        bits.skip(14)
    extension = bits.flag()
    channels = _layout_channels(layout) if layout else program_config_channels(bits, start)
    if object_type in (6, 20):
        bits.skip(3)
    if extension:
        if object_type == 22:
            bits.skip(16)
        elif object_type in (17, 19, 20, LD):
            bits.skip(3)
        bits.skip(1)
    if object_type in _ERROR_RESILIENT:
        bits.skip(2)
    if object_type == LD:
        return 480 if short else 512, channels
    return 960 if short else 1024, channels


def _low_delay(bits: BitReader) -> int:
    """Frame length of an ELDSpecificConfig (4.6.20) without low-delay SBR or extensions."""
    short = bits.flag()
    bits.skip(3)
    if bits.flag():
        raise ProtocolViolation("AAC-ELD with low-delay SBR is not supported", "ISO/IEC 14496-3 4.6.20")
    if bits.u(4):
        raise ProtocolViolation("AAC-ELD extensions are not supported", "ISO/IEC 14496-3 4.6.20")
    bits.skip(2)
    return 480 if short else 512
