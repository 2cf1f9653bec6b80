"""The elementary stream descriptor (ISO/IEC 14496-1 7.2.6) in ``esds``, with which ``mp4a`` tells what it is."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Fields

CLAUSE = "ISO 14496-1 7.2.6"

MPEG4_AUDIO, MPEG2_AUDIO, MPEG1_AUDIO = 0x40, 0x69, 0x6B
MPEG2_AAC = (0x66, 0x67, 0x68)
"""Object type indications (table 5); AAC of MPEG-2 is Main, LC and SSR."""

_ES, _DECODER_CONFIG, _DECODER_SPECIFIC, _SYNC_LAYER = 3, 4, 5, 6
_AUDIO_STREAM = 5 << 2 | 1
_MP4 = 2
_STREAM_DEPENDENCE, _URL, _OCR = 0x80, 0x40, 0x20


@frozen
class Esds:
    """The object type, and the decoder specific info (an AudioSpecificConfig), empty where there is none."""

    object_type: int
    specific: bytes = b""


def build_esds(esds: Esds) -> tuple[str, bytes]:
    """The box of a sample entry; buffer size and bit rates are left unsaid, as they are not known of a live stream."""
    config = bytes((esds.object_type, _AUDIO_STREAM)) + bytes(11)
    if esds.specific:
        config += _descriptor(_DECODER_SPECIFIC, esds.specific)
    stream = bytes(3) + _descriptor(_DECODER_CONFIG, config) + _descriptor(_SYNC_LAYER, bytes((_MP4,)))
    return "esds", bytes(4) + _descriptor(_ES, stream)


def parse_esds(body: bytes) -> Esds:
    """What an ``esds`` says. Raises `ProtocolViolation`."""
    fields = Fields(body, "esds")
    fields.full()
    stream = _descriptor_at(fields, _ES)
    stream.skip(2)
    flags = stream.u(1)
    if flags & _STREAM_DEPENDENCE:
        stream.skip(2)
    if flags & _URL:
        stream.skip(stream.u(1))
    if flags & _OCR:
        stream.skip(2)
    config = _descriptor_at(stream, _DECODER_CONFIG)
    object_type = config.u(1)
    config.skip(12)
    specific = _descriptor_at(config, _DECODER_SPECIFIC).rest() if config.left else b""
    return Esds(object_type, specific)


def _descriptor(tag: int, body: bytes) -> bytes:
    # 8.3.3: sizes are told in groups of 7 bits; four groups always is what other writers do.
    size = len(body)
    groups = (size >> 21 | 0x80, size >> 14 & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size & 0x7F)
    return bytes((tag, *groups)) + body


def _descriptor_at(fields: Fields, tag: int) -> Fields:
    found = fields.u(1)
    if found != tag:
        raise ProtocolViolation(f"a descriptor {found} where {tag} must be", CLAUSE)
    size = 0
    for _ in range(4):
        group = fields.u(1)
        size = size << 7 | group & 0x7F
        if group < 0x80:
            break
    else:
        raise ProtocolViolation("the size of a descriptor has more than four bytes", "ISO 14496-1 8.3.3")
    return Fields(fields.take(size), fields.type)
