"""One track of a movie (ISO/IEC 14496-12 8.3 to 8.6), as its ``trak`` box describes it."""

from __future__ import annotations

from attrs import field, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box
from penstock_formats.isobmff.sample_entry import SampleEntry, parse_entries
from penstock_formats.isobmff.sample_table import SampleTable

_UNDETERMINED = "und"
_EMPTY_EDIT = -1


@frozen
class SampleDefaults:
    """What a fragment leaves out (``trex``, 8.8.3, and ``tfhd``, 8.8.7)."""

    description: int = 1
    duration: int = 0
    size: int = 0
    flags: int = 0


@frozen
class MovieTrack:
    """A track by its file-wide `id`; `timescale` is in ticks a second.

    `shift` is what its edit list adds to composition times, in ticks. `table` has the samples that are not in fragments.
    """

    id: int
    handler: str
    timescale: int
    entries: tuple[SampleEntry, ...] = ()
    language: str | None = None
    shift: int = 0
    defaults: SampleDefaults = SampleDefaults()
    table: SampleTable | None = field(default=None, eq=False, repr=False)


def parse_track(trak: Box, movie_timescale: int) -> MovieTrack:
    """The track of a ``trak`` box; edit lists count empty time in `movie_timescale`. Raises `ProtocolViolation`."""
    id = _track_id(trak.only("tkhd"))
    media = trak.only("mdia")
    timescale, language = _media_header(media.only("mdhd"))
    extended = media.first("elng")
    if extended is not None:
        fields = extended.fields
        fields.full()
        language = fields.text() or language
    handler = _handler(media.only("hdlr"))
    samples = media.only("minf").only("stbl")
    entries = parse_entries(samples.only("stsd"), handler)
    edits = trak.first("edts")
    elst = edits.first("elst") if edits is not None else None
    shift = _shift(elst, timescale, movie_timescale) if elst is not None else 0
    return MovieTrack(
        id, handler, timescale, entries, language, shift, table=SampleTable.parse(samples, handler)
    )


def _track_id(tkhd: Box) -> int:
    fields = tkhd.fields
    version, _ = fields.full()
    fields.skip(16 if version == 1 else 8)
    id = fields.u(4)
    if not id:
        raise ProtocolViolation("track 0", "ISO 14496-12 8.3.2.3")
    return id


def _media_header(mdhd: Box) -> tuple[int, str | None]:
    """Timescale and language."""
    fields = mdhd.fields
    version, _ = fields.full()
    fields.skip(16 if version == 1 else 8)
    timescale = fields.u(4)
    if not timescale:
        raise ProtocolViolation("a track with a timescale of 0", "ISO 14496-12 8.4.2.3")
    fields.skip(8 if version == 1 else 4)
    packed = fields.u(2)
    letters = [packed >> shift & 31 for shift in (10, 5, 0)]
    # QuickTime has numbers of its own there, below 0x400: they give no three letters.
    language = "".join(chr(0x60 + n) for n in letters) if all(0 < n < 27 for n in letters) else None
    return timescale, None if language == _UNDETERMINED else language


def _handler(hdlr: Box) -> str:
    fields = hdlr.fields
    fields.skip(8)
    return fields.take(4).decode("latin-1")


def _shift(elst: Box, timescale: int, movie_timescale: int) -> int:
    """What the edit list adds to the times of a track: empty time first, then the media from some time on.

    Edits after the first of media (cuts, repetitions, other speeds) are for players of finished files.
    """
    fields = elst.fields
    version, _ = fields.full()
    count, size = fields.u(4), 8 if version == 1 else 4
    empty = 0
    for _ in range(count):
        duration, start = fields.u(size), fields.s(size)
        fields.skip(4)
        if start != _EMPTY_EDIT:
            return (empty * timescale + movie_timescale // 2) // movie_timescale - start
        empty += duration
    return 0
