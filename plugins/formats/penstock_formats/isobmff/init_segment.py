"""The init segment (ISO/IEC 14496-12 8.16): ``ftyp`` and a ``moov`` that describes tracks and has no samples."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import frozen

from penstock.media import Kind, Track
from penstock_formats.isobmff.binding import IsobmffBinding
from penstock_formats.isobmff.box import box, full_box
from penstock_formats.isobmff.brand import Brands
from penstock_formats.isobmff.sample_entry import SOUND, VIDEO, SampleEntry, VisualEntry, stsd
from penstock_formats.language import UNDETERMINED, language_code

MOVIE_TIMESCALE = 1000
"""Of durations of the whole, which a live stream does not have."""

BRANDS = Brands("iso6", ("iso6", "mp41"))
"""iso6 has all that is written here: fragments whose base is their ``moof``, ``tfdt``, signed composition offsets."""

CMAF_BRANDS = Brands("iso6", (*BRANDS.compatible, "cmfc"))
"""What ISO/IEC 23000-19 7 asks for as well: one track, whose fragments each begin at their decode time."""

_UNITY = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_ENABLED, _IN_MOVIE, _SELF_CONTAINED = 1, 2, 1
_HANDLERS = {Kind.VIDEO: VIDEO, Kind.AUDIO: SOUND}
_FULL_VOLUME, _ONE = 0x0100, 0x00010000


@frozen
class InitTrack:
    """One track of an init segment: with the config in force, its binding and its sample entry."""

    track: Track
    binding: IsobmffBinding
    entry: SampleEntry


def build_init(tracks: Sequence[InitTrack], brands: Brands = BRANDS) -> bytes:
    """The init segment of `tracks`, each of which has the id of its `Track`."""
    groups = sorted({t.track.group for t in tracks if t.track.group is not None})
    numbers = {group: number for number, group in enumerate(groups, 1)}
    header = struct.pack(">IIIIIH10x", 0, 0, MOVIE_TIMESCALE, 0, _ONE, _FULL_VOLUME) + _UNITY + bytes(24)
    following = max(t.track.id for t in tracks) + 1
    moov = box(
        "moov",
        full_box("mvhd", 0, 0, header, following.to_bytes(4, "big")),
        *(_trak(t, numbers.get(t.track.group or "", 0)) for t in tracks),
        box("mvex", *(_trex(t.track.id) for t in tracks)),
    )
    return brands.build() + moov


def _trak(one: InitTrack, group: int) -> bytes:
    track, entry = one.track, one.entry
    sound = track.kind is Kind.AUDIO
    width, height = entry.display if isinstance(entry, VisualEntry) else (0, 0)
    tkhd = struct.pack(">IIIII8xhhH2x", 0, 0, track.id, 0, 0, 0, group, _FULL_VOLUME if sound else 0)
    code, extended = _language(track.language)
    handler = _HANDLERS[track.kind]
    name = b"SoundHandler\0" if sound else b"VideoHandler\0"
    # 12.1.2: copy, no colour; 12.2.2: balance in the middle.
    media = full_box("smhd", 0, 0, bytes(4)) if sound else full_box("vmhd", 0, 1, bytes(8))
    return box(
        "trak",
        full_box(
            "tkhd", 0, _ENABLED | _IN_MOVIE, tkhd, _UNITY, struct.pack(">II", width << 16, height << 16)
        ),
        box(
            "mdia",
            full_box("mdhd", 0, 0, struct.pack(">IIIIH2x", 0, 0, track.clock_rate, 0, code)),
            full_box("hdlr", 0, 0, bytes(4), handler.encode("latin-1"), bytes(12), name),
            extended,
            box("minf", media, box("dinf", _DREF), box("stbl", stsd((entry,)), *_EMPTY_TABLES)),
        ),
    )


_DREF = full_box("dref", 0, 0, b"\0\0\0\1", full_box("url ", 0, _SELF_CONTAINED))
_EMPTY_TABLES = (
    full_box("stts", 0, 0, bytes(4)),
    full_box("stsc", 0, 0, bytes(4)),
    full_box("stsz", 0, 0, bytes(8)),
    full_box("stco", 0, 0, bytes(4)),
)


def _trex(track_id: int) -> bytes:
    return full_box("trex", 0, 0, struct.pack(">IIIII", track_id, 1, 0, 0, 0))


def _language(tag: str | None) -> tuple[int, bytes]:
    """A language as three packed letters (8.4.2.3), and the box for what these cannot say (8.4.6)."""
    code = language_code(tag)
    first, second, third = (ord(letter) - 0x60 for letter in code or UNDETERMINED)
    extended = full_box("elng", 0, 0, tag.encode(), b"\0") if tag and not code else b""
    return first << 10 | second << 5 | third, extended
