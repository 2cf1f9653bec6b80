"""ADTS (ISO/IEC 14496-3 1.A.2.2): each access unit behind a header that has its config."""

from __future__ import annotations

from functools import lru_cache

from penstock.errors import ProtocolViolation
from penstock_codecs.aac.config import SAMPLE_RATES, AacConfig
from penstock_codecs.aac.program import begins_with_program, block_of_program, program_of_block
from penstock_formats.mpegts.audio import AudioFrame

CLAUSE = "ISO/IEC 14496-3 1.A.2.2"

HEADER_SIZE = 7
CRC_SIZE = 2
MAX_FRAME = (1 << 13) - 1
FRAME_LENGTH = 1024
"""Samples of an access unit; ADTS has no other."""

MAX_OBJECT_TYPE = 4
"""AAC Main, LC, SSR and LTP: what two bits can tell."""
MAX_LAYOUT = 7
"""Channel configurations: what three bits can tell."""

_UNKNOWN_FULLNESS = 0x7FF


class Adts:
    """`AudioSyntax` of ADTS."""

    sync = 0xFF
    header_size = HEADER_SIZE

    def size(self, data: bytes, at: int) -> int | None:
        # Twelve bits of sync word, MPEG-2 or MPEG-4, and a layer of 0.
        if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
            return None
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        return size if size > HEADER_SIZE else None

    def parse(self, frame: bytes) -> AudioFrame:
        if frame[6] & 3:
            raise ProtocolViolation("several raw data blocks in one ADTS frame are not supported", CLAUSE)
        unit = frame[HEADER_SIZE + (0 if frame[1] & 1 else CRC_SIZE) :]
        if not unit:
            raise ProtocolViolation("an ADTS frame without a raw data block", CLAUSE)
        layout = (frame[2] & 1) << 2 | frame[3] >> 6
        config = _config(frame[2] >> 6, frame[2] >> 2 & 15, layout, b"" if layout else program_of_block(unit))
        return AudioFrame((unit,), FRAME_LENGTH, config.sample_rate, config)


@lru_cache(maxsize=64)
def _config(profile: int, rate: int, layout: int, program: bytes) -> AacConfig:
    return AacConfig.parse(((profile + 1) << 11 | rate << 7 | layout << 3).to_bytes(2, "big") + program)


@lru_cache(maxsize=64)
def _header(asc: bytes) -> tuple[int, bytes]:
    """The header of frames without bytes, and what a raw data block needs in front to tell its channels."""
    config = AacConfig.parse(asc)
    if config.object_type > MAX_OBJECT_TYPE or config.frame_length != FRAME_LENGTH:
        raise ProtocolViolation(
            f"ADTS cannot tell object type {config.object_type} of {config.frame_length} samples", CLAUSE
        )
    # 1.6.2.1: five bits of object type, four of rate; with SBR or PS told first, the extension's rate and the core's type.
    layout = int.from_bytes(asc[:2], "big") >> 3 & 15
    if config.core_rate not in SAMPLE_RATES or layout > MAX_LAYOUT:
        raise ProtocolViolation(f"ADTS cannot tell {config.core_rate} Hz or channels {layout}", CLAUSE)
    program = b""
    if not layout:
        told_first = asc[0] >> 3 > MAX_OBJECT_TYPE
        program = block_of_program(asc, 25 if told_first else 16)
    rate = SAMPLE_RATES.index(config.core_rate)
    fields = (config.object_type - 1) << 38 | rate << 34 | layout << 30 | _UNKNOWN_FULLNESS << 2
    return 0xFFF1 << 40 | fields, program


def check(config: AacConfig) -> None:
    """Raises `ProtocolViolation` where ADTS cannot carry AAC of `config`."""
    _header(config.asc)


def encode(config: AacConfig, unit: bytes) -> bytes:
    """An access unit as an ADTS frame. Raises `ProtocolViolation` where it is empty or too long."""
    header, program = _header(config.asc)
    if program and unit and not begins_with_program(unit):
        unit = program + unit
    size = HEADER_SIZE + len(unit)
    if size > MAX_FRAME or not unit:
        raise ProtocolViolation(f"ADTS cannot carry an access unit of {len(unit)} bytes", CLAUSE)
    return (header | size << 13).to_bytes(HEADER_SIZE, "big") + unit
