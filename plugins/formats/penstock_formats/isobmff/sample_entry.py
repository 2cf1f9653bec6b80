"""Sample entries (ISO/IEC 14496-12 8.5.2): what a track's samples are, with the codec's own boxes."""

from __future__ import annotations

import struct

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import HEADER, Box, Fields, box, full_box, split

VIDEO, SOUND = "vide", "soun"
"""The handlers (12.1.1, 12.2.1) whose sample entries have fields of their own."""

MAX_ENTRIES = 32
"""Sample entries of one track: an encoder that changes its config writes a few."""

_REFERENCE = bytes(6) + b"\0\1"
# Reserved; width and height; 72 dpi twice; reserved; one frame a sample; no compressor name; depth 24; -1.
_VISUAL = struct.Struct(">16xHHIIIH32xHh")
_DPI_72 = 72 << 16
_AUDIO = struct.Struct(">HHIHHHHI")
_AUDIO_2 = struct.Struct(">4xdI20x")
_MAX_RATE = 0xFFFF


@frozen
class SampleEntry:
    """One sample entry: its type (a FourCC) and the boxes in it, each as type and body, without headers."""

    format: str
    boxes: tuple[tuple[str, bytes], ...] = ()

    def box(self, type: str) -> bytes | None:
        """The body of the first box of a type."""
        return next((body for name, body in self.boxes if name == type), None)

    def needed(self, type: str) -> bytes:
        """The body of a box without which the entry means nothing. Raises `ProtocolViolation`."""
        body = self.box(type)
        if body is None:
            raise ProtocolViolation(f"a sample entry {self.format!a} without {type}", "ISO 14496-12 8.5.2")
        return body

    def build(self) -> bytes:
        """The entry as a box of ``stsd``."""
        return box(self.format, _REFERENCE, self._fields(), *(box(name, body) for name, body in self.boxes))

    def _fields(self) -> bytes:
        return b""


@frozen
class VisualEntry(SampleEntry):
    """`width` and `height` are those of the coded picture after cropping, in pixels."""

    width: int = 0
    height: int = 0

    def _fields(self) -> bytes:
        return _VISUAL.pack(self.width, self.height, _DPI_72, _DPI_72, 0, 1, 24, -1)

    @property
    def display(self) -> tuple[int, int]:
        """The size at which it is shown: its width stretched as ``pasp`` says (12.1.4)."""
        aspect = self.box("pasp")
        if aspect is None or len(aspect) < 8 or not all(pair := struct.unpack_from(">II", aspect)):
            return self.width, self.height
        return min(self.width * pair[0] // pair[1], 0xFFFF), self.height


@frozen
class AudioEntry(SampleEntry):
    """`sample_rate` is in Hz, 0 where the 16 bits of the field do not hold it: the codec's own box knows it then."""

    channels: int = 2
    sample_rate: int = 0

    def _fields(self) -> bytes:
        rate = self.sample_rate if self.sample_rate <= _MAX_RATE else 0
        return _AUDIO.pack(0, 0, 0, self.channels, 16, 0, 0, rate << 16)


def pasp(horizontal: int, vertical: int) -> tuple[str, bytes]:
    """The box of a pixel's aspect ratio (12.1.4)."""
    return "pasp", struct.pack(">II", horizontal, vertical)


def colr(primaries: int, transfer: int, matrix: int, full_range: bool) -> tuple[str, bytes]:
    """The box of colours by the code points of ISO/IEC 23091-2 (12.1.5)."""
    return "colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7)


def parse_entries(stsd: Box, handler: str) -> tuple[SampleEntry, ...]:
    """The entries of a track with that handler. Raises `ProtocolViolation`."""
    fields = stsd.fields
    version, _ = fields.full()
    count = fields.u(4)
    entries: list[SampleEntry] = []
    for entry in split(stsd.data, fields.position, stsd.end):
        if len(entries) == count:
            break
        if len(entries) == MAX_ENTRIES:
            raise ProtocolViolation(f"more than {MAX_ENTRIES} sample entries", "ISO 14496-12 8.5.2")
        entries.append(_parse_entry(entry, handler, version))
    return tuple(entries)


def _parse_entry(entry: Box, handler: str, version: int) -> SampleEntry:
    fields = entry.fields
    fields.skip(len(_REFERENCE))
    if handler == VIDEO:
        width, height = _VISUAL.unpack(fields.take(_VISUAL.size))[:2]
        return VisualEntry(entry.type, _boxes(entry, fields), width, height)
    if handler == SOUND:
        return _parse_audio(entry, fields, version)
    return SampleEntry(entry.type)


def _parse_audio(entry: Box, fields: Fields, stsd_version: int) -> AudioEntry:
    layout, _, _, channels, _, _, _, rate = _AUDIO.unpack(fields.take(_AUDIO.size))
    rate >>= 16
    # QuickTime's sound descriptions of version 1 and 2 are longer; ISO's version 1, in a stsd of version 1, is not.
    if not stsd_version and layout == 1:
        fields.skip(16)
    elif not stsd_version and layout == 2:
        exact, channels = _AUDIO_2.unpack(fields.take(_AUDIO_2.size))
        rate = int(exact) if 0 < exact < 1 << 24 else 0
    found = AudioEntry(entry.type, _boxes(entry, fields), channels, rate)
    # QuickTime wraps what belongs to the codec once more.
    wave = found.box("wave")
    if wave is None:
        return found
    return evolve(found, boxes=(*(one for one in found.boxes if one[0] != "wave"), *_bodies(wave)))


def _boxes(entry: Box, fields: Fields) -> tuple[tuple[str, bytes], ...]:
    if fields.left < HEADER:
        return ()
    return _bodies(entry.data, fields.position, entry.end)


def _bodies(data: bytes, start: int = 0, end: int | None = None) -> tuple[tuple[str, bytes], ...]:
    return tuple((child.type, child.body) for child in split(data, start, end))


def stsd(entries: tuple[SampleEntry, ...]) -> bytes:
    """The box of a track's sample entries."""
    return full_box("stsd", 0, 0, len(entries).to_bytes(4, "big"), *(entry.build() for entry in entries))
