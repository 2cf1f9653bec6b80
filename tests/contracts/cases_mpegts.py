"""MPEG-TS: packets, tables, PES packets, and the carriage of each codec, under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, Frame, Track
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.aac.adts import Adts
from penstock_codecs.aac.adts import encode as encode_adts
from penstock_codecs.aac.mpegts import AacTs
from penstock_codecs.av1.mpegts import Av1Reader, Av1Ts, split_start_codes
from penstock_codecs.h264 import H264
from penstock_codecs.h264.unit import NALS as H264_NALS
from penstock_codecs.h265 import H265
from penstock_codecs.h265.unit import NALS as H265_NALS
from penstock_codecs.mp3.mpegts import Mp3Syntax, Mp3Ts
from penstock_codecs.opus import OpusConfig
from penstock_codecs.opus.mpegts import OpusReader, encode_layout, parse_control, parse_layout
from penstock_formats.mpegts import Demuxer, PesReader, TsFormat
from penstock_formats.mpegts.alignment import Alignment
from penstock_formats.mpegts.audio import AudioReader
from penstock_formats.mpegts.demuxer import MAX_PENDING
from penstock_formats.mpegts.descriptor import (
    Descriptor,
    encode_descriptors,
    language,
    language_descriptor,
    parse_descriptors,
)
from penstock_formats.mpegts.packet import parse_body
from penstock_formats.mpegts.pat import build_pat, parse_pat
from penstock_formats.mpegts.pes import build_header, parse_header
from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from penstock_formats.mpegts.private import PRIVATE
from penstock_formats.mpegts.section import Section, SectionReader
from penstock_formats.nal.mpegts import NalTs
from tests.codecs import transport
from tests.codecs.test_mpegts import av1_frames
from tests.codecs.transport import registry
from tests.contracts.case import ParserCase
from tests.contracts.cases_h26x import H264_UNITS, H265_UNITS
from tests.formats.transport_stream import LONG, OPUS, PMT, SECTION, VIDEO, Made

BAD_PMT = Pmt(0x1FFF, (), (PmtEntry(0x100, 0x1B), PmtEntry(0x100, 0x1B), PmtEntry(0, 3), PmtEntry(0x1000, 3)))
CAPTURED = [
    transport.capture(name)[:size]
    for name, size in (
        ("ffmpeg5-h264", 188 * 40),
        ("gst-hevc", 188 * 24),
        ("ffmpeg9-m2ts", 192 * 20),
        ("ffmpeg5-latm", 188 * 12),
        ("ffmpeg5-mp3", 188 * 12),
    )
]


def crowd() -> Made:
    """More packets without a length begun than there is room for."""
    made = Made(MANY)
    for n in range(6):
        made.pes(0x100 + n, LONG, length=0)
    return made


MANY = Pmt(0x1FFF, (), tuple([PmtEntry(0x100 + n, 0x1B) for n in range(34)]))
MADE: list[Made | bytes] = [
    # Everything at once, then the same program without some, then another one.
    Made()
    .pes(0x100, VIDEO, 900_000, 870_000)
    .section(0x102, SECTION)
    .pes(0x103, b"\x06\x0e\x2b\x34" * 60, None, stream_id=0xBD)
    .pes(0x103, b"", stream_id=0xBD)
    .pes(0x104, OPUS, 900_000, stream_id=0xBD)
    .pes(0x105, OPUS, 900_000, stream_id=0xBD)
    .tables(Pmt(0x100, (), PMT.entries[:2]), 1)
    .tables(PMT, 2, {8: 0x1001, 7: 0x1002})
    .tables(PMT, 3, {9: 0x1001}, 9),
    # Lengths: none, too short, too long, of packets that go on in the next without a time.
    Made()
    .pes(0x100, LONG, length=0)
    .pes(0x100, b"\0\0\1\x41\x9a" + bytes(40), None, length=0)
    .pes(0x100, LONG, length=20)
    .pes(0x100, LONG, length=60_000)
    .pes(0x100, LONG, length=65_100)
    .pes(0x100, b"\0\0\1\x41\x9a" + bytes(40), None, length=0)
    .packets(0x100, b"\0\0\1\xe0")
    .pes(0x100, VIDEO, 1, 900_000)
    .pes(0x100, VIDEO, 900_000)
    .pes(0x100, VIDEO, 800_000)
    .pes(0x100, VIDEO, None)
    .pes(0x101, bytes(20), 900_000, length=0, stream_id=0xC0)
    .pes(0x101, bytes(20), 900_000, length=60_000, stream_id=0xC0),
    # Announced gaps, before a start and within; an adaptation field that is all there is, or too long.
    Made()
    .pes(0x100, LONG, length=0)
    .raw(0x47410037, b"\x01\x80" + b"\0\0\1\xe0\0\0\x80\x80\x05\x21\0\1\0\1" + VIDEO)
    .raw(0x47010038, b"\x01\x00" + VIDEO)
    .raw(0x4701003B, b"\x01\x80" + VIDEO)
    .raw(0x4701002B, b"\xb7")
    .raw(0x4701003C, b"\xb7")
    .raw(0x4701000C)
    .raw(0x4781001C)
    .raw(0x470100DC)
    .raw(0x4741001D, VIDEO),
    # A packet twice, and one that is missing.
    (lambda data: data[:564] + data[376:752] + data[940:])(Made().pes(0x100, LONG).pes(0x100, LONG).data),
    Made(BAD_PMT).pes(0x100, VIDEO, stream_id=0xBE),
    Made(MANY).pes(0x100, VIDEO),
    crowd(),
    # Sections: a pointer past the packet, others on the same PID, one that is not in force yet.
    Made().raw(0x47500012, b"\xff").raw(0x47400011, b"\0\0\xb0\xff" + bytes(180)),
    Made()
    .section(0x1000, SECTION)
    .section(0x1000, PMT.section(6, 1).encode())
    .section(0x1000, evolve(PMT.section(7, 1), current=False).encode())
    .section(0, evolve(build_pat({7: 0x1003}), current=False).encode())
    .section(0, evolve(build_pat({6: 0x1003}), number=1, last=1).encode()),
    *[capture[:188] + b"abc" + capture[188:] for capture in CAPTURED[:1]],
    bytes(70_000),
]
STREAMS = [made if isinstance(made, bytes) else made.data for made in MADE]


def events(data: Iterable[bytes]) -> list[Any]:
    """All events of one demuxer; a violation, which ends the stream, is the last."""
    demuxer = Demuxer(registry())
    found: list[Any] = []

    def drain() -> None:
        while (event := demuxer.next_event()) is not None:
            found.append(plain(event))

    try:
        for piece in data:
            demuxer.receive_data(piece)
            drain()
        demuxer.end()
    except ProtocolViolation as violation:
        drain()
        return [*found, str(violation)]
    drain()
    return found


def plain(event: Any) -> Any:
    """A fault as its text: violations are compared by identity."""
    return (event.pid, str(event.violation)) if hasattr(event, "violation") else event


def demux(data: bytes) -> list[Any]:
    """As `events`, with a violation raised."""
    found = events([data])
    if found and isinstance(found[-1], str):
        raise ProtocolViolation(found[-1])
    return found


def fresh() -> tuple[object, Callable[[bytes], object]]:
    demuxer = Demuxer(registry())

    def take(data: bytes) -> None:
        demuxer.receive_data(data)
        while demuxer.next_event() is not None:
            pass

    return demuxer, take


def runs(data: Iterable[bytes]) -> list[Any]:
    """Packets without what lies between, as they are found."""
    alignment = Alignment()
    found: list[Any] = []
    try:
        for piece in [*data, None]:
            for packets, stride in alignment.push(piece or b"", final=piece is None):
                found += [packets[at : at + 188] for at in range(0, len(packets), stride)]
    except ProtocolViolation as violation:
        found.append(str(violation))
    return found


def sections(data: bytes) -> list[bytes]:
    """Packets' payloads behind a byte each that says whether a section begins in it, and its length."""
    reader = SectionReader()
    found: list[bytes] = []
    for start, payload in framed(data):
        if payload:
            found += reader.push(payload, start & 1 == 1)
    return found


def framed(data: bytes) -> Iterable[tuple[int, bytes]]:
    """Flags and payload: a byte of flags, two of length, the payload."""
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        yield data[at], data[at + 3 : at + 3 + size]
        at += 3 + size


def frame(payload: bytes, flags: int = 1) -> bytes:
    return bytes((flags,)) + len(payload).to_bytes(2, "big") + payload


def read(make: Callable[[], PesReader]) -> Callable[[bytes], list[Any]]:
    """All units of PES payloads; flags: 1 with a time, 2 after a loss, 4 in another second. First all is one payload."""

    def parse(data: bytes) -> list[Any]:
        reader, found, time = make(), list[Any](), 0
        for flags, payload in [(1, data), *framed(data)]:
            time += NS if flags & 4 else 0
            pts = time if flags & 1 else None
            try:
                found += reader.push(payload, pts, pts, flags & 2 > 0)
            except ProtocolViolation as violation:
                found.append(str(violation))
        return found

    return parse


def nal_round_trip(binding: NalTs[Any], codec: Codec) -> Callable[[bytes], list[Any]]:
    """As `read`; the frames are written again, with their config, and read back the same."""
    parse = read(lambda: binding.reader(TsFormat(0x1B)))

    def there_and_back(data: bytes) -> list[Any]:
        found = parse(data)
        track = Track(1, codec, 90000)
        again = binding.reader(TsFormat(0x1B))
        for unit in found:
            if isinstance(unit, str):
                continue
            track = track.with_config(unit.config) if unit.config else track
            written = binding.encode(Frame(track, 0, 0, unit.units, unit.key), unit.config is not None)
            (back,) = again.push(written, unit.pts, unit.dts, False)
            if back != unit:
                raise AssertionError(f"{unit} came back as {back}")
        return found

    return there_and_back


H264_TS = NalTs(H264_NALS, 0x1B, b"\x09\xf0")
H265_TS = NalTs(H265_NALS, 0x24, b"\x46\x01\x50")
_, AV1_FRAMES = av1_frames("av1")
AV1_DATA = [Av1Ts().encode(one, one.key) for one in AV1_FRAMES[:3]]
HIDDEN = next(one for one in AV1_FRAMES if len(one.units) > 1)


def adts(asc: str, unit: bytes) -> bytes:
    return AacTs().encode(
        Frame(Track(1, AAC, 48000, AacConfig.parse(bytes.fromhex(asc))), 0, 0, (unit,)), False
    )


ADTS = adts("1190", bytes(range(90)))
MP3 = Mp3Ts().encode(Frame(Track(1, PRIVATE, 1), 0, 0, (bytes.fromhex("fffb1064") + bytes(100),)), False)
LATM = transport.capture("ffmpeg5-latm")
LOAS = frame(LATM[LATM.index(b"\x56\xe0") :][:120])


def described(data: bytes) -> Any:
    """Descriptors, of which the language is written again."""
    found = parse_descriptors(data)
    code = language(found)
    if code != language(language_descriptor(code)):
        raise AssertionError(f"{code!r} is not written as it was read")
    return found


def timed(data: bytes) -> Any:
    """A PES header; its times are written again, for as many bytes as it claims, twice."""
    header = parse_header(data)
    if header.pts is not None:
        dts = header.pts if header.dts is None else header.dts
        size = 2 * int.from_bytes(data[4:6], "big")
        again = parse_header(build_header(header.stream_id, size, header.pts, dts, unbounded=data[6] & 4 > 0))
        if (again.pts, again.pts if again.dts is None else again.dts) != (header.pts, dts):
            raise AssertionError(f"{header} came back as {again}")
    return header


def adts_written(data: bytes) -> Any:
    """An AudioSpecificConfig behind its length, and an access unit: written as ADTS it reads back."""
    size = data[0] if data else 0
    config, unit = AacConfig.parse(data[1 : 1 + size]), data[1 + size :]
    written = encode_adts(config, unit)
    if Adts().size(written, 0) != len(written):
        raise AssertionError(f"{written!r} tells another size")
    if unit and Adts().parse(written).units[0][-len(unit) :] != unit:
        raise AssertionError(f"{unit!r} came back as another")
    return config


CASES = [
    ParserCase(
        name="mpegts demuxer",
        parse=demux,
        feed=events,
        fresh=fresh,
        valid=[*CAPTURED, *STREAMS],
        modules=[
            "penstock_formats.mpegts.demuxer",
            "penstock_formats.mpegts.channel",
            "penstock_formats.mpegts.private",
        ],
        seeds=["mediacommon/pkg/formats/mpegts/FuzzReader"],
        limit=MAX_PENDING + (1 << 20),
    ),
    ParserCase(
        name="mpegts alignment",
        parse=lambda data: runs([data]),
        feed=runs,
        valid=[
            CAPTURED[1],
            CAPTURED[2],
            b"\x47" * 3000,
            b"abc" + CAPTURED[0][:1900] + b"\x47abc" + CAPTURED[0],
        ],
        modules=["penstock_formats.mpegts.alignment"],
    ),
    ParserCase(
        name="mpegts packet",
        parse=lambda data: parse_body(int.from_bytes(data[:4], "big"), data[4:188].ljust(184, b"\xff")),
        valid=[CAPTURED[0][n : n + 188] for n in (0, 376, 564, 752)]
        + [b"\x47\x01\0\x20\xb7", b"\x47\x01\0\x30\xb7", b"\x47\1\0\0"],
        modules=["penstock_formats.mpegts.packet"],
    ),
    ParserCase(
        name="mpegts section",
        parse=Section.parse,
        encode=Section.encode,
        valid=[
            PMT.section(1, 3).encode(),
            build_pat({1: 0x1000}).encode(),
            build_pat({n: 16 + n for n in range(253)}).encode(),
        ],
        modules=["penstock_formats.mpegts.section"],
    ),
    ParserCase(
        name="mpegts sections in packets",
        parse=sections,
        valid=[
            frame(b"\0" + SECTION)
            + frame(b"\3" + b"\xff" * 3 + SECTION[:9])
            + frame(SECTION[9:] + b"\xff", 0),
            frame(b"\0" + SECTION[:2])
            + frame(SECTION[2:] + SECTION[:1], 0)
            + frame(b"\x13" + SECTION[1:] + SECTION),
            frame(b"\0\xfc\x3f\xff") + frame(b"\x20") + frame(SECTION, 0),
        ],
        modules=["penstock_formats.mpegts.section"],
    ),
    ParserCase(
        name="mpegts PAT",
        parse=lambda data: parse_pat(Section(data[0] if data else 0, 1, data[1:])),
        encode=lambda programs: b"\0" + build_pat(programs).body,
        valid=[
            b"\0" + build_pat({1: 0x1000, 2: 0x1001}).body,
            b"\0\0\0\xe0\x10\0\1\xe0\0\0\2\xff\xff",
            b"\1",
            b"\0\0",
        ],
        modules=["penstock_formats.mpegts.pat"],
    ),
    ParserCase(
        name="mpegts PMT",
        parse=lambda data: Pmt.parse(Section(data[0] if data else 0, 1, data[1:])),
        encode=lambda pmt: b"\2" + pmt.section(1, 0).body,
        valid=[b"\2" + PMT.section(1, 0).body, b"\2" + BAD_PMT.section(1, 0).body],
        modules=["penstock_formats.mpegts.pmt"],
    ),
    ParserCase(
        name="mpegts descriptors",
        parse=described,
        encode=encode_descriptors,
        valid=[
            encode_descriptors(
                [Descriptor(5, b"Opus"), Descriptor(0x7F, b"\x80\2"), Descriptor(10, b"eng\0")]
            ),
            b"\x0a\2en",
        ],
        modules=["penstock_formats.mpegts.descriptor"],
        seeds=["mediacommon/pkg/formats/mpegts/substructs/FuzzMetadataDescriptor"],
    ),
    ParserCase(
        name="mpegts PES header",
        parse=timed,
        valid=[
            build_header(0xE0, 100, (1 << 33) - 1, (1 << 33) - 90_000, unbounded=False),
            build_header(0xBD, 100, 5, 5, unbounded=False),
            build_header(0xE0, 60_000, 5, 5, unbounded=True),
            build_header(0xE0, 60_000, 5, 5, unbounded=True).replace(b"\x84", b"\x80"),
            b"\0\0\1\xbe\0\0",
            b"\0\0\1\xe0\0\0\x80\0\0",
        ],
        modules=["penstock_formats.mpegts.pes"],
    ),
    ParserCase(
        name="H.264 in MPEG-TS",
        parse=nal_round_trip(H264_TS, H264),
        valid=[
            frame(VIDEO) + frame(VIDEO, 0),
            frame(b"\0\0\1" + H264_UNITS[0]) + frame(b"\0\0\1" + H264_UNITS[3]),
        ],
        modules=["penstock_formats.nal.mpegts"],
    ),
    ParserCase(
        name="H.265 in MPEG-TS",
        parse=nal_round_trip(H265_TS, H265),
        valid=[frame(b"".join([b"\0\0\1" + nal for nal in H265_UNITS]))],
        modules=["penstock_formats.nal.mpegts"],
    ),
    ParserCase(
        name="AAC in ADTS",
        parse=read(lambda: AacTs().reader(TsFormat(0x0F))),
        valid=[
            frame(ADTS * 3) + frame(ADTS[:50]) + frame(ADTS[50:] + ADTS, 5) + frame(ADTS[:20], 3),
            frame(ADTS[40:] + ADTS + b"\xff\xf1" + adts("1210", b"abc"), 1),
            frame(ADTS[:6] + b"\x01" + ADTS[7:])
            + frame(b"\xff\xf0" + ADTS[2:])
            + frame(ADTS[:2] + b"\xfc" + ADTS[3:]),
            frame(ADTS[:3] + b"\0" + ADTS[4:]) + frame(b"\xff\xf0\x4c\x80\1\x3f\xfc\0\0"),
        ],
        modules=["penstock_formats.mpegts.audio"],
    ),
    ParserCase(
        name="ADTS frame",
        parse=lambda data: (Adts().size(data, 0), Adts().parse(data)) if len(data) >= 7 else None,
        valid=[
            ADTS,
            adts("1210", b"\xa0" * 30),
            ADTS[:3] + b"\0" + ADTS[4:7] + b"\xa4\x09\0\x88\1\x48\x80\xc0\0" + bytes(20),
        ],
        modules=["penstock_codecs.aac.adts", "penstock_codecs.aac.program"],
        seeds=[
            "mediacommon/pkg/codecs/mpeg4audio/FuzzADTSUnmarshal",
            "mediacommon/pkg/codecs/mpeg4audio/FuzzParsePCEFromRawDataBlock",
        ],
    ),
    ParserCase(
        name="AAC in ADTS, written",
        parse=adts_written,
        valid=[
            b"\2\x12\x10" + bytes(40),
            b"\x0a" + bytes.fromhex("11800508050001088000") + b"\x21\x1b\x80",
            b"\x0b" + bytes.fromhex("2b82080284028000844000") + b"\x21\x1b\x80",
            b"\2\x12\x10" + bytes(9000),
            b"\5" + AacConfig.lc(44000, 2).asc + b"\x21",
            b"\2\x12\x14\x21",
        ],
        modules=["penstock_codecs.aac.adts"],
    ),
    ParserCase(
        name="AAC in LOAS",
        parse=read(lambda: AacTs().reader(TsFormat(0x11))),
        valid=[LOAS, frame(b"\x56\xe0\x01\x80"), frame(b"\x56\xe0\x01")],
        modules=["penstock_codecs.aac.loas", "penstock_codecs.aac.latm"],
        seeds=["mediacommon/pkg/codecs/mpeg4audio/FuzzAudioSyncStreamUnmarshal"],
    ),
    ParserCase(
        name="MP3 in MPEG-TS",
        parse=read(lambda: AudioReader(Mp3Syntax())),
        valid=[frame(MP3 * 2 + MP3[:50]) + frame(MP3[50:], 0), frame(b"\xff\xfd" + MP3[2:])],
        modules=["penstock_codecs.mp3.mpegts", "penstock_formats.mpegts.audio"],
    ),
    ParserCase(
        name="Opus in MPEG-TS",
        parse=read(lambda: OpusReader(OpusConfig.simple(2))),
        valid=[
            frame(OPUS * 2) + frame(OPUS, 0),
            frame(b"\x7f\xfc\x02\0\1\0\1\1a\xfc\1"),
            frame(b"\x7f\xe0" + b"\xff\0" + bytes(300)),
        ],
        modules=["penstock_codecs.opus.mpegts"],
        seeds=["mediacommon/pkg/formats/mpegts/substructs/FuzzOpusAccessUnitUnmarshal"],
    ),
    ParserCase(
        name="Opus control header",
        parse=lambda data: parse_control(data, 0),
        valid=[OPUS],
        modules=["penstock_codecs.opus.mpegts"],
        seeds=["mediacommon/pkg/formats/mpegts/substructs/FuzzOpusControlHeaderUnmarshal"],
    ),
    ParserCase(
        name="Opus channels in MPEG-TS",
        parse=parse_layout,
        encode=encode_layout,
        valid=[
            bytes.fromhex(code)
            for code in (
                "02",
                "00",
                "80",
                "84",
                "810100",
                "810300",
                "81060168429d",
                "8103ff8180",
                "810101ff",
                "90",
            )
        ],
        modules=["penstock_codecs.opus.mpegts"],
        seeds=["mediacommon/pkg/formats/mpegts/substructs/FuzzOpusAudioDescriptorUnmarshal"],
    ),
    ParserCase(
        name="AV1 in MPEG-TS",
        parse=read(Av1Reader),
        valid=[
            b"".join(map(frame, AV1_DATA)),
            frame(Av1Ts().encode(HIDDEN._replace(units=HIDDEN.units[:1]), True))
            + frame(AV1_DATA[1], 3)
            + frame(AV1_DATA[0], 0),
            frame(b"\x12\0\x0a\1\0"),
        ],
        modules=["penstock_codecs.av1.mpegts"],
    ),
    ParserCase(
        name="AV1 behind start codes",
        parse=split_start_codes,
        valid=[AV1_DATA[0], b"\0\0\1\x32\1\0" * 4300, b"\x12\0\x32\1\0"],
        modules=["penstock_codecs.av1.mpegts"],
    ),
]
