"""What an Opus decoder must know: the fields of RFC 7845's identification header (OpusHead)."""

from __future__ import annotations

import struct

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind

OPUS = Codec("opus", Kind.AUDIO)

CLOCK_RATE = 48000
"""Of every Opus stream, whatever its bandwidth (RFC 7587 4.1)."""

MAX_CHANNELS = 8
"""Of the channel mapping families that have loudspeaker positions (RFC 7845 5.1.1.2)."""

_HEAD = struct.Struct("<8sBBHIhB")
_MAGIC = b"OpusHead"
_SPECIFIC = struct.Struct(">BBHIhB")

# RFC 7845 5.1.1.2: Vorbis order; streams, coupled streams and mapping as libopus encodes each count.
_SURROUND: dict[int, tuple[int, int, bytes]] = {
    1: (1, 0, b"\0"),
    2: (1, 1, b"\0\1"),
    3: (2, 1, b"\0\2\1"),
    4: (2, 2, b"\0\1\2\3"),
    5: (3, 2, b"\0\4\1\2\3"),
    6: (4, 2, b"\0\4\1\2\3\5"),
    7: (4, 3, b"\0\4\1\2\3\5\6"),
    8: (5, 3, b"\0\6\1\2\3\4\5\7"),
}


@frozen
class OpusConfig(CodecConfig):
    """`pre_skip` counts samples at 48 kHz, `gain` is in 1/256 dB; `mapping` is empty in family 0."""

    channels: int
    pre_skip: int = 0
    input_rate: int = CLOCK_RATE
    gain: int = 0
    family: int = 0
    streams: int = 1
    coupled: int = 0
    mapping: bytes = b""

    @staticmethod
    def simple(channels: int) -> OpusConfig:
        """The usual config of so many channels, in the order that libopus encodes them."""
        if channels not in _SURROUND:
            raise ProtocolViolation(f"Opus with {channels} channels is not supported", "RFC 7845 5.1.1.2")
        if channels <= 2:
            return OpusConfig(channels, coupled=channels - 1)
        streams, coupled, mapping = _SURROUND[channels]
        return OpusConfig(channels, family=1, streams=streams, coupled=coupled, mapping=mapping)

    @staticmethod
    def mapped(channels: int, streams: int, coupled: int, mapping: bytes, family: int = 1) -> OpusConfig:
        """A config with an explicit channel mapping."""
        if not 0 < channels <= 255 or len(mapping) != channels:
            raise ProtocolViolation("the Opus channel mapping has not one entry a channel", "RFC 7845 5.1.1")
        if not streams or coupled > streams or streams + coupled > 255:
            raise ProtocolViolation("Opus stream counts do not fit together", "RFC 7845 5.1.1")
        if any(index != 255 and index >= streams + coupled for index in mapping):
            raise ProtocolViolation(
                "the Opus channel mapping names a stream that is not there", "RFC 7845 5.1.1"
            )
        return OpusConfig(channels, family=family, streams=streams, coupled=coupled, mapping=mapping)


def parse_head(data: bytes) -> OpusConfig:
    """An OpusHead, with or without what follows a mapping family 0."""
    if len(data) < _HEAD.size:
        raise ProtocolViolation("OpusHead is too short", "RFC 7845 5.1")
    magic, version, channels, pre_skip, input_rate, gain, family = _HEAD.unpack_from(data)
    if magic != _MAGIC or version & 0xF0:
        raise ProtocolViolation("not an OpusHead of version 1", "RFC 7845 5.1")
    config = _mapped(channels, family, data[_HEAD.size :])
    return evolve(config, pre_skip=pre_skip, input_rate=input_rate, gain=gain)


def write_head(config: OpusConfig) -> bytes:
    """The OpusHead of `config`."""
    head = _HEAD.pack(
        _MAGIC, 1, config.channels, config.pre_skip, config.input_rate, config.gain, config.family
    )
    return head + _table(config)


def parse_specific(body: bytes) -> OpusConfig:
    """The body of ``dOps``: the fields of an OpusHead in the byte order of ISO media files."""
    if len(body) < _SPECIFIC.size:
        raise ProtocolViolation("dOps is too short", "Opus in ISOBMFF 4.3.2")
    version, channels, pre_skip, input_rate, gain, family = _SPECIFIC.unpack_from(body)
    if version:
        raise ProtocolViolation(f"a dOps of version {version}", "Opus in ISOBMFF 4.3.2")
    config = _mapped(channels, family, body[_SPECIFIC.size :])
    return evolve(config, pre_skip=pre_skip, input_rate=input_rate, gain=gain)


def write_specific(config: OpusConfig) -> bytes:
    """The body of ``dOps``."""
    head = _SPECIFIC.pack(0, config.channels, config.pre_skip, config.input_rate, config.gain, config.family)
    return head + _table(config)


def _mapped(channels: int, family: int, rest: bytes) -> OpusConfig:
    """The config of so many channels, with the channel mapping table that `rest` begins with."""
    if family == 0:
        if channels not in (1, 2):
            raise ProtocolViolation("Opus mapping family 0 has one or two channels", "RFC 7845 5.1.1.1")
        return OpusConfig(channels, coupled=channels - 1)
    table = rest[: 2 + channels]
    if len(table) < 2 + channels or (family == 1 and channels > MAX_CHANNELS):
        raise ProtocolViolation("the Opus channel mapping table does not fit", "RFC 7845 5.1.1")
    return OpusConfig.mapped(channels, table[0], table[1], table[2:], family)


def _table(config: OpusConfig) -> bytes:
    return bytes((config.streams, config.coupled)) + config.mapping if config.family else b""
