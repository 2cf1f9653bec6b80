"""ISO media files under the contract of every parser: boxes, descriptions, fragments, tables, and every codec's samples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

from penstock.errors import ProtocolViolation
from penstock.media import Frame, Track
from penstock_codecs.av1.obu import with_size
from penstock_codecs.opus.config import parse_specific, write_specific
from penstock_codecs.vp8.record import parse_record as parse_vp8
from penstock_codecs.vp9.record import parse_record as parse_vp9
from penstock_codecs.vp9.record import write_record as write_vp9
from penstock_formats.isobmff.binding import accept
from penstock_formats.isobmff.box import Box, box, full_box, parse_header, split
from penstock_formats.isobmff.brand import Brands, parse_brands
from penstock_formats.isobmff.demuxer import Demuxer
from penstock_formats.isobmff.esds import Esds, build_esds, parse_esds
from penstock_formats.isobmff.event_message import EventMessage, parse_event_message
from penstock_formats.isobmff.file import MovieFile
from penstock_formats.isobmff.fragment import TrackRun, build_moof, parse_moof
from penstock_formats.isobmff.movie import parse_movie
from penstock_formats.isobmff.producer_time import ProducerTime, parse_producer_time
from penstock_formats.isobmff.sample import Sample
from penstock_formats.isobmff.sample_entry import (
    SOUND,
    VIDEO,
    AudioEntry,
    VisualEntry,
    parse_entries,
    pasp,
    stsd,
)
from penstock_formats.isobmff.segment_index import Reference, SegmentIndex, parse_segment_index
from penstock_formats.isobmff.track import SampleDefaults
from tests.contracts.case import ParserCase
from tests.contracts.cases_h26x import H264_RECORDS, H264_UNITS, H265_RECORDS, H265_UNITS
from tests.contracts.cases_video_other import sequence
from tests.formats.isobmff.captures import FRAGMENTED, REGISTRY, STREAMABLE, read

MOST_SAMPLES = 200
"""Of a table: a small one may claim any number of samples without a size."""


def one(type: str, parse: Callable[[Box], Any]) -> Callable[[bytes], Any]:
    """The first box of the data, which must be of that type."""

    def parse_it(data: bytes) -> Any:
        found = next(split(data), None)
        if found is None or found.type != type:
            raise ProtocolViolation(f"no {type}")
        return parse(found)

    return parse_it


def _movie(moov: Box) -> Any:
    movie = parse_movie(moov)
    return movie, [list(islice(track.table or (), MOST_SAMPLES)) for track in movie.tracks]


def _boxes(data: bytes) -> list[tuple[str, bytes]]:
    """Boxes and the boxes in them, as long as these are well-formed."""
    parse_header(data)
    return [(found.type, found.body) for found in split(data)]


def _described(data: bytes) -> Any:
    """A handler in one byte, ``stsd``, and a sample of its first entry: all of it there and back."""
    handler = VIDEO if data[:1] == b"v" else SOUND
    entries = one("stsd", lambda found: parse_entries(found, handler))(data[1:])
    again = parse_entries(next(split(stsd(entries))), handler)
    sizes = [entry.display for entry in entries if isinstance(entry, VisualEntry)]
    if not entries or [entry.boxes for entry in again] != [entry.boxes for entry in entries]:
        raise ProtocolViolation("no sample entry, or one that is no longer the same")
    codec, config, binding = accept(REGISTRY, entries[0])
    sample = list(split(data[1:]))[-1].body
    unit = binding.decode(sample, True, config)
    config = unit.config or config
    if config is None or not unit.units:
        return codec, config, unit
    track = Track(1, codec, 90000, config)
    for in_band in (False, True):
        entry = binding.describe(track, in_band)
        if entry.format not in binding.formats:
            raise AssertionError("a codec describes what it does not read")
        back = binding.accept(entry)
        if back is None or back[1] not in (config, None):
            raise AssertionError(f"{config!r} came back as {back!r}")
        encoded = binding.encode(Frame(track, 0, 0, unit.units, unit.key), in_band)
        if b"".join(binding.decode(encoded, unit.key, config).units) != b"".join(unit.units):
            raise AssertionError(f"{unit.units!r} came back otherwise")
    return codec, config, unit, sizes


def described(kind: str, entry: bytes, sample: bytes, count: int = 1, version: int = 0) -> bytes:
    return kind.encode() + full_box("stsd", version, 0, count.to_bytes(4, "big"), entry) + box("mdat", sample)


def _visual(format: str, boxes: tuple[tuple[str, bytes], ...], sample: bytes, width: int = 64) -> bytes:
    return described("v", VisualEntry(format, boxes, width, 48).build(), sample)


def _audio(format: str, boxes: tuple[tuple[str, bytes], ...], sample: bytes, rate: int = 48000) -> bytes:
    return described("a", AudioEntry(format, boxes, 2, rate).build(), sample)


def _quicktime(version: int, extra: bytes, format: str = "alaw", boxes: bytes = b"") -> bytes:
    head = bytes(6) + struct.pack(">HHHIHHHHI", 1, version, 0, 0, 2, 16, 0, 0, 8000 << 16)
    return described("a", box(format, head, extra, boxes), b"\x55" * 8)


def _lengths(units: Iterable[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


_VERSION_2 = struct.pack(">IdIIIIII", 72, 8000.0, 2, 0x7F000000, 16, 0, 2, 1)
_WAVE = box("wave", box("frma", b"mp4a"), box(*build_esds(Esds(0x40, b"\x12\x10"))), bytes(4))
_OPUS = write_specific(parse_specific(bytes.fromhex("0002013800000bb8000000")))
_AV1C = bytes.fromhex("81000c000a0a00000051da7fb895f208"[:32])
_VP9C = bytes.fromhex("01000000000a820202020000")
AV1_COLOURED = sequence(1, "01" + f"{1:08b}{13:08b}{0:08b}")
_MP3 = bytes.fromhex("fffb1064") + bytes(100)
_ESDS = build_esds(Esds(0x40, b"\x12\x10"))

ENTRIES = [
    _visual("avc1", (("avcC", H264_RECORDS[0]),), _lengths(H264_UNITS)),
    *(_visual("avc1", (("avcC", record),), _lengths(H264_UNITS[3:])) for record in H264_RECORDS),
    _visual("avc3", (("avcC", b"\1\x42\0\x0a\xff\xe0\0"),), _lengths(H264_UNITS)),
    _visual("avc1", (("avcC", b"\1\x42\0\x0a\xff\xe0\0"),), _lengths(H264_UNITS)),
    _visual("avc1", (), _lengths(H264_UNITS)),
    _visual("hvc1", (("hvcC", H265_RECORDS[0]), ("pasp", bytes(8))), _lengths(H265_UNITS)),
    _visual("av01", (("av1C", b"\x81\0\x0c\0" + _AV1C[4:]),), b"\x32\x12\x10" + bytes(17)),
    _visual("av01", (("av1C", b"\x81\0\x0c\0"),), b"\x32\x12\x10" + bytes(17)),
    _visual("av01", (("av1C", b"\x81\0\x0c\0"),), b"\x12\0"),
    _visual("av01", (("av1C", b"\x81\0\x0c\0" + with_size(AV1_COLOURED)),), b"\x32\x12\x10" + bytes(17)),
    _visual("vp09", (("vpcC", _VP9C),), bytes.fromhex("824983420009f0077000") + bytes(9)),
    _visual("vp09", (("vpcC", _VP9C),), b"\x86\0" + bytes(60)),
    _visual("vp08", (("vpcC", _VP9C),), b"\x10\2\0\x9d\1\x2a\xa0\0\x78\0" + bytes(60)),
    _visual("vp08", (("vpcC", _VP9C),), b"\x11\2\0" + bytes(60)),
    _visual("vp09", (("vpcC", _VP9C), pasp(0, 0)), b"\x86\0" + bytes(60), 0),
    _visual("av01", (("av1C", b"\x81\0\x0c\0"), pasp(4, 3)), b"\x32\x12\x10" + bytes(17), 0),
    _visual("vp08", (("vpcC", _VP9C), ("pasp", b"")), b"\x11\2\0" + bytes(60), 0),
    _audio("vp09", (("vpcC", _VP9C),), b"\x86\0" + bytes(60)),
    _visual("zzzz", (), b"a"),
    _audio("mp4a", (_ESDS,), b"abc"),
    _audio("mp4a", (build_esds(Esds(0x67)),), b"abc"),
    _audio("mp4a", (build_esds(Esds(0x6B)),), _MP3),
    _audio("mp4a", (build_esds(Esds(0x69)),), _MP3),
    _audio("mp4a", (build_esds(Esds(0xA9)),), _MP3),
    _audio(".mp3", (), _MP3),
    _audio("Opus", (("dOps", _OPUS),), b"\xfc" + bytes(20)),
    _audio("alaw", (), bytes(8), 8000),
    _audio("ulaw", (), bytes(7), 8000),
    _visual("ulaw", (), bytes(8)),
    _quicktime(1, bytes(16)),
    _quicktime(2, _VERSION_2),
    _quicktime(2, struct.pack(">IdIIIIII", 72, float("nan"), 2, 0, 0, 0, 0, 0)),
    _quicktime(1, bytes(16), "mp4a", _WAVE),
    described("a", AudioEntry("alaw", (), 1, 8000).build() * 2, b"ab", 1),
    described("a", AudioEntry("alaw", (), 1, 8000).build() * 33, b"ab", 33),
    described("a", AudioEntry("alaw", (), 1, 8000).build(), b"ab", 1, version=1),
]

_RUNS = [
    TrackRun(1, 900, [30, 30, 40], [5, 6, 7], [True, False, False], [0, 60, 0]),
    TrackRun(2, 7, [9], [4], [True]),
]
_MIXED = [TrackRun(3, 1 << 33, [1, 1], [2, 2], [False, True]), TrackRun(4, 0, [1, 1], [2, 2], [False, False])]


def _moof(runs: list[TrackRun]) -> bytes:
    return build_moof(1, runs)[:-8]


def trun(flags: int, count: int, body: bytes, tfhd: int = 0, fields: bytes = b"", version: int = 0) -> bytes:
    """A ``moof`` of one ``trun``."""
    return box(
        "moof",
        full_box("mfhd", 0, 0, bytes(4)),
        box(
            "traf",
            full_box("tfhd", 0, tfhd, b"\0\0\0\1", fields),
            full_box("tfdt", 0, 0, b"\0\0\0\x09"),
            full_box("trun", version, flags, count.to_bytes(4, "big"), body),
        ),
    )


MOOFS = [
    _moof(_RUNS),
    _moof(_MIXED),
    trun(0xF05, 2, struct.pack(">iI8I", 100, 7, 1, 2, 3, 0xFFFFFFFF, 5, 6, 7, 8), 1, struct.pack(">Q", 1000)),
    trun(0, 3, b"", 0x3A, struct.pack(">4I", 2, 10, 20, 0x10000)),
    trun(0, 1 << 31, b"", 0x10, struct.pack(">I", 1)),
    trun(0x100, 1 << 31, bytes(8)),
    trun(4, 0, bytes(4)),
    box("moof", full_box("mfhd", 0, 0, bytes(4)), box("traf", full_box("trun", 0, 0, bytes(4)))),
    box("moof"),
]


def part(name: str, type: str) -> bytes:
    """A box of a capture, with its header."""
    data = read(name)
    found = next(found for found in split(data) if found.type == type)
    return data[found.start - 8 : found.end]


def changed(moov: bytes, type: bytes, old: bytes, new: bytes) -> bytes:
    """A ``moov`` whose first box of a type has other fields."""
    at = moov.index(type)
    return moov[:at] + moov[at:].replace(old, new, 1)


_INIT = part("ffmpeg5-h264-aac", "moov")
_TABLES = part("ffmpeg5-tables", "moov")
_STZ2 = full_box("stz2", 0, 0, b"\0\0\0\4", b"\0\0\0\3", b"\x12\x30")


def table(*boxes: bytes, handler: bytes = b"soun", sizes: bytes = b"") -> bytes:
    """A ``moov`` of one track with the tables given."""
    entry = AudioEntry("alaw", (), 1, 8000) if handler == b"soun" else VisualEntry("vp08", (), 64, 48)
    stbl = box("stbl", stsd((entry,)), sizes, *boxes)
    mdhd = full_box("mdhd", 1, 0, bytes(16), struct.pack(">IQHH", 8000, 0, 0x15C7, 0))
    media = box(
        "mdia", mdhd, full_box("hdlr", 0, 0, bytes(4), handler, bytes(13)), full_box("elng", 0, 0, b"de-AT"),
        box("minf", stbl),
    )  # fmt: skip
    tkhd = full_box("tkhd", 1, 0, bytes(16), b"\0\0\0\1", bytes(60))
    edits = full_box("elst", 1, 0, b"\0\0\0\2", struct.pack(">QqIQqI", 500, -1, 0, 0, 80, 0))
    mvhd = full_box("mvhd", 1, 0, bytes(16), b"\0\0\3\xe8", bytes(80))
    return box("moov", mvhd, box("trak", tkhd, box("edts", edits), media))


def rows(type: str, *numbers: int, columns: int = 1, code: str = "I") -> bytes:
    count = len(numbers) // columns
    return full_box(type, 0, 0, struct.pack(f">I{len(numbers)}{code}", count, *numbers))


_CONSTANT = full_box("stsz", 0, 0, struct.pack(">II", 1, 2500))
_CHUNKS = rows("stsc", 1, 2000, 1, 2, 3000, 1, columns=3)
MOVIES = [
    _INIT,
    _TABLES,
    *(part(name, "moov") for name in ("ffmpeg5-edits", "ffmpeg9-alaw", "gst-hevc-opus")),
    changed(_INIT, b"mvhd", b"\0\0\3\xe8", bytes(4)),
    changed(_INIT, b"mdhd", b"\0\0\x32\0", bytes(4)),
    changed(_INIT, b"tkhd", b"\0\0\0\1", bytes(4)),
    changed(_INIT, b"tkhd", b"\0\0\0\1", b"\0\0\0\2"),
    box("moov", full_box("mvhd", 0, 0, bytes(8), b"\0\0\0\1")),
    table(rows("stts", 1, 1, columns=2), rows("stco", 50, 90), _CHUNKS, sizes=_CONSTANT),
    table(rows("stts", 2, 5, 9, 2, columns=2), rows("co64", 50, code="Q"), rows("stsc", 1, 9, 1, columns=3), sizes=_STZ2),
    table(rows("stts", 3, 5, columns=2), rows("stco", 50), rows("stsc", 2, 9, 1, columns=3), sizes=_STZ2),
    table(
        rows("stts", 3, 5, columns=2), rows("stco", 50), rows("stsc", 1, 9, 1, columns=3),
        rows("ctts", 3, -7, columns=2, code="i"), rows("stss", 1, 3), handler=b"vide",
        sizes=full_box("stz2", 0, 0, b"\0\0\0\x10", b"\0\0\0\2", b"\0\1\0\2"),
    ),
    table(sizes=full_box("stz2", 0, 0, b"\0\0\0\7", b"\0\0\0\2", b"\0\1\0\2")),
    table(sizes=full_box("stz2", 0, 0, b"\0\0\0\x08", b"\0\0\0\2", b"\1\2")),
    table(),
]  # fmt: skip

MAX_FRAGMENT = 1 << 17


def _demux(pieces: Iterable[bytes]) -> list[Any]:
    demuxer = Demuxer(MAX_FRAGMENT)
    events: list[Any] = []
    for piece in pieces:
        demuxer.receive_data(piece)
        try:
            while (event := demuxer.next_event()) is not None:
                events.append(event)
        except ProtocolViolation as violation:
            return [*events, str(violation)]
    return events


def _strict(data: bytes) -> list[Any]:
    events = _demux([data])
    if events and isinstance(events[-1], str):
        raise ProtocolViolation(events[-1])
    # What is taken out is no more than what came in.
    if sum(len(event.data) for event in events if isinstance(event, Sample)) > len(data):
        raise AssertionError("more data than there was")
    return events


def _fresh() -> tuple[object, Callable[[bytes], object]]:
    demuxer = Demuxer(MAX_FRAGMENT)

    def take(data: bytes) -> None:
        demuxer.receive_data(data)
        while demuxer.next_event() is not None:
            pass

    return demuxer, take


_PRFT = ProducerTime(1, 90000, 1_700_000_000_123_456_789)
_EMSG = EventMessage("urn:scte:scte35:2013:bin", "1", 90000, 12, b"\xfc0", 0, 3)
_TABLE_FILE = table(rows("stts", 1, 1, columns=2), rows("stco", 1000), _CHUNKS, sizes=_CONSTANT)
STREAMS = [
    *map(read, ("ffmpeg5-h264-aac", "ffmpeg5-tables", "ffmpeg5-edits", "gst-avc3", "ffmpeg5-mp3")),
    _INIT + _PRFT.build() + _EMSG.build() + _moof(_RUNS[1:]) + box("mdat", b"abcd") + box("free", bytes(50)),
    _INIT + _moof([TrackRun(2, 7, [9, 9], [4, 400], [True] * 2)]) + box("mdat", bytes(404)),
    _INIT + _moof([TrackRun(1, 7, [9], [4], [True]), TrackRun(2, 7, [9], [90], [True])]) + box("mdat", bytes(94)),
    _INIT + _moof([TrackRun(1, 7, [9], [4], [True])]) * 2,
    _INIT + _moof([TrackRun(9, 7, [9], [4], [True])]),
    _INIT + _moof([TrackRun(1, 7, [9], [MAX_FRAGMENT + 1], [True])]),
    _INIT + _moof([TrackRun(1, 0, [9], [4], [True])]) + box("mdat", b"abc"),
    _INIT + trun(0x201, 2, struct.pack(">iII", 1, 2, 3), 0x20000) + box("mdat", b"abcd"),
    _INIT + trun(0x200, 3, struct.pack(">III", 1, 0, 2)) + box("mdat", b"abcd"),
    _INIT + trun(0x201, 1, struct.pack(">iI", 5, 2), 0x1, struct.pack(">Q", 1 << 20)) + box("mdat", b"abcd"),
    _INIT + box("mdat", bytes(20)) + b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + bytes(4) + bytes(4) + b"mdat",
    _INIT + bytes(4) + b"free" + bytes(90),
    _INIT + bytes(4) + b"moof" + bytes(90),
    _INIT + (9 << 20).to_bytes(4, "big") + b"moof" + bytes(90),
    _TABLE_FILE + box("free", bytes(1000 - len(_TABLE_FILE) - 16)) + box("mdat", bytes(2500)),
    table(rows("stts", 1, 1, columns=2), rows("stco", 900, 901), _CHUNKS, sizes=_CONSTANT),
    table(
        rows("stts", 3, 5, columns=2), rows("stco", 900), rows("stsc", 1, 9, 1, columns=3), handler=b"vide",
        sizes=full_box("stsz", 0, 0, struct.pack(">III", 0, 1, MAX_FRAGMENT + 1)),
    ) + (1 << 30).to_bytes(4, "big") + b"mdat" + bytes(2000),
    table(
        rows("stts", 4, 5, columns=2), rows("stco", 900, 901), rows("stsc", 1, 2, 1, columns=3), handler=b"vide",
        sizes=full_box("stsz", 0, 0, struct.pack(">IIIIII", 0, 4, 1, 0, 1, 1)),
    ) + box("free", bytes(300)) + box("mdat", bytes(2000)),
    _moof(_RUNS),
    box("mdat", b"abc"),
    b"GET / HTTP/1.1\r\n\r\n",
    *(read(name)[:3000] for name in FRAGMENTED if name not in STREAMABLE[:4]),
]  # fmt: skip

FILES = [
    _INIT + trun(0x201, 1, struct.pack(">iI", -5000, 2), 0x20000),
    _INIT + _moof(_RUNS) + box("mdat", bytes(10)),
    _INIT + _moof([TrackRun(1, 7, [9], [1 << 20], [True])]) + b"\0\0\0\0mdat",
]


def _file(data: bytes) -> Any:
    file = MovieFile(data)
    return file.movie, list(islice(file.samples(), MOST_SAMPLES))


MODULE = "penstock_formats.isobmff."
CASES = [
    ParserCase(
        name="ISO boxes",
        parse=_boxes,
        encode=lambda found: b"".join(box(type, body) for type, body in found),
        valid=[
            box("free", b"abc") + box("mdat"),
            b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + b"abcd",
            b"\0\0\0\0mdatabc",
            box("free") + bytes(4),
            b"\0\0\0\7free",
            b"\0\0\0\1mdat" + (15).to_bytes(8, "big"),
            b"\0\0\0\1mdat" + (1 << 63).to_bytes(8, "big"),
            b"\0\0\0\1mdat",
        ],
        modules=[MODULE + "box"],
    ),
    ParserCase(
        name="ISO brands",
        parse=one("ftyp", parse_brands),
        encode=lambda brands: brands.build(),
        valid=[Brands("iso6", ("mp41", "cmfc")).build(), box("ftyp", bytes(7)), box("ftyp", bytes(8 + 4 * 65))],
        modules=[MODULE + "brand"],
    ),
    ParserCase(
        name="ISO segment index",
        parse=one("sidx", parse_segment_index),
        encode=lambda index: index.build(),
        valid=[
            SegmentIndex(1, 90000, 1 << 33, (Reference(1000, 90000), Reference(7, 8, False, True, 2, 5))).build(),
            full_box("sidx", 0, 0, struct.pack(">IIIIHHIII", 1, 2, 3, 4, 0, 1, 5, 6, 7)),
        ],
        modules=[MODULE + "segment_index"],
    ),
    ParserCase(
        name="ISO producer time",
        parse=one("prft", parse_producer_time),
        encode=lambda found: found.build(),
        valid=[_PRFT.build(), full_box("prft", 0, 0, struct.pack(">IQI", 1, 1 << 63, 3)), full_box("prft", 0, 0, bytes(16))],
        modules=[MODULE + "producer_time"],
    ),
    ParserCase(
        name="ISO event message",
        parse=one("emsg", parse_event_message),
        encode=lambda found: found.build(),
        valid=[_EMSG.build(), EventMessage("a", "", 1, 2, b"", relative=True).build(), full_box("emsg", 1, 0, bytes(20), b"a")],
        modules=[MODULE + "event_message"],
    ),
    ParserCase(
        name="ISO esds",
        parse=parse_esds,
        encode=lambda esds: build_esds(esds)[1],
        valid=[
            build_esds(Esds(0x40, b"\x12\x10"))[1],
            build_esds(Esds(0x6B))[1],
            bytes(4) + b"\3\x1b\0\0\xe0\0\1\1a\0\2" + b"\4\x0f" + bytes(13) + b"\5\0",
            bytes(4) + b"\4\0",
            bytes(4) + b"\3\x80\x80\x80\x80\0",
        ],
        modules=[MODULE + "esds"],
    ),
    ParserCase(
        name="ISO sample entries, with a sample of each codec",
        parse=_described,
        valid=ENTRIES,
        modules=[
            MODULE + "sample_entry", MODULE + "binding", "penstock_formats.nal.isobmff",
            *(f"penstock_codecs.{codec}.isobmff" for codec in ("av1", "vp8", "vp9", "aac", "mp3", "opus", "g711")),
            "penstock_codecs.av1.sample",
        ],
    ),
    ParserCase(
        name="Opus dOps",
        parse=parse_specific,
        encode=write_specific,
        valid=[_OPUS, bytes.fromhex("000601380000bb8000000104020004010203 05".replace(" ", ""))],
        modules=["penstock_codecs.opus.config"],
    ),
    ParserCase(name="VP8 vpcC", parse=parse_vp8, valid=[_VP9C], modules=["penstock_codecs.vp8.record"]),
    ParserCase(
        name="VP9 vpcC record",
        parse=parse_vp9,
        encode=write_vp9,
        valid=[_VP9C, bytes.fromhex("021fa20101010000")],
        modules=["penstock_codecs.vp9.record"],
    ),
    ParserCase(
        name="ISO movie",
        parse=one("moov", _movie),
        valid=MOVIES,
        modules=[MODULE + "movie", MODULE + "track", MODULE + "sample_table"],
    ),
    ParserCase(
        name="ISO fragment",
        parse=one("moof", lambda moof: parse_moof(moof, lambda id: SampleDefaults(size=id))),
        valid=MOOFS,
        modules=[MODULE + "fragment"],
    ),
    ParserCase(
        name="ISO demuxer",
        parse=_strict,
        feed=_demux,
        fresh=_fresh,
        limit=9 << 20,
        valid=STREAMS,
        modules=[MODULE + "demuxer", MODULE + "sample"],
        seeds=[
            "mediacommon/pkg/formats/fmp4/FuzzInitUnmarshal",
            "mediacommon/pkg/formats/pmp4/FuzzPresentationUnmarshal",
        ],
    ),
    ParserCase(
        name="ISO files in memory",
        parse=_file,
        valid=[*STREAMS, *map(read, ("ffmpeg9-alaw", "ffmpeg9-progressive")), *FILES],
        modules=[MODULE + "file"],
        seeds=["mediacommon/pkg/formats/pmp4/FuzzPresentationUnmarshal"],
    ),
    ParserCase(
        name="ISO fragments, behind a movie",
        parse=lambda data: _strict(_INIT + data),
        feed=lambda pieces: _demux(chain((_INIT,), pieces)),
        valid=[_moof(_RUNS) + box("mdat", bytes(22)), read("ffmpeg5-h264-aac")[len(_INIT) + 28 :]],
        modules=[],
        seeds=["mediacommon/pkg/formats/fmp4/FuzzPartsUnmarshal"],
    ),
]  # fmt: skip
