"""The demuxer of MPEG-TS at its worst: group M of the bad inputs, with damage in the middle of a real stream."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from penstock.media import NS, Kind
from penstock_formats.mpegts import (
    PRIVATE,
    Demuxer,
    Fault,
    PrivateConfig,
    Program,
    StreamConfig,
    TsEvent,
    TsFrame,
    datagrams,
)
from penstock_formats.mpegts.demuxer import MAX_PES, MAX_STREAMS
from penstock_formats.mpegts.descriptor import Descriptor
from penstock_formats.mpegts.packet import SIZE
from penstock_formats.mpegts.pat import build_pat
from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from tests.codecs.transport import capture, demux, frames, mux, registry, streams
from tests.formats.transport_stream import LONG, OPUS, PMT, SECTION, VIDEO, Made

REAL = capture("ffmpeg5-h264")


def kinds(events: Iterable[TsEvent]) -> Counter[str]:
    return Counter([type(event).__name__ for event in events])


def faults(events: Iterable[TsEvent]) -> list[str]:
    return [event.violation.reason for event in events if isinstance(event, Fault)]


def units(events: Iterable[TsEvent], pid: int | None = None) -> list[tuple[bytes, ...]]:
    found = [event for event in events if isinstance(event, TsFrame)]
    return [frame.units for frame in found if pid in (None, frame.pid)]


ALL = units(demux(REAL))
"""The frames of the real stream."""


def lossy(data: bytes, keep: Callable[[int], bool]) -> bytes:
    return b"".join([data[at : at + SIZE] for at in range(0, len(data), SIZE) if keep(at // SIZE)])


def test_m1_stuffing_alone_is_nothing() -> None:
    assert demux((b"\x47\x1f\xff\x10" + b"\xff" * 184) * 2000) == []


def test_m1_null_packets_between_change_nothing() -> None:
    null = b"\x47\x1f\xff\x10" + bytes(184)
    data = b"".join([REAL[at : at + SIZE] + null for at in range(0, len(REAL), SIZE)])
    assert demux(data) == demux(REAL)


def test_m1_adaptation_fields_that_are_too_long_cost_their_frame() -> None:
    good = Made().pes(0x100, VIDEO).data
    for length in (184, 255):
        bad = Made().raw(0x47410030, bytes((length,)) + VIDEO).pes(0x100, VIDEO).pes(0x100, VIDEO)
        events = demux(bad.data)
        assert f"an adaptation field of {length} bytes" in faults(events)
        assert units(events)[-1] == units(demux(good))[0]


def test_m2_a_pat_of_many_programs() -> None:
    programs = {n: 0x1000 if n == 7 else 0x20 + n for n in range(7, 250)}
    events = demux(Made().tables(PMT, 1, programs).pes(0x100, VIDEO).data)
    assert len(units(events)) == 1
    many = build_pat({n: 16 + n for n in range(1, 1001)}).encode()
    assert len(many) > 4000
    events = demux(Made().section(0, many).pes(0x100, VIDEO).data)
    assert not [event for event in events if isinstance(event, TsFrame)]


def test_m2_one_program_of_several_is_read() -> None:
    one, two = Pmt(0x100, (), (PmtEntry(0x100, 0x1B),)), Pmt(0x200, (), (PmtEntry(0x200, 0x1B),))
    made = Made(None).tables(one, 0, {7: 0x1000, 8: 0x1001})
    made.section(0x1001, two.section(8, 0).encode())
    made.pes(0x100, VIDEO).pes(0x200, VIDEO + b"\0\0\1\x41\x9a\x55")
    assert len(units(demux(made.data), 0x100)) == 1
    assert len(units(demux(made.data, program=8), 0x200)) == 1
    assert demux(made.data, program=9) == []


@pytest.mark.parametrize("damage", ["length", "crc", "short"])
def test_m2_damaged_tables_are_left_out_and_the_next_is_taken(damage: str) -> None:
    good = PMT.section(7, 0).encode()
    bad = {
        "length": good[:1] + b"\xbf\xfd" + good[3:],
        "crc": good[:-1] + bytes((good[-1] ^ 1,)),
        "short": good[:1] + b"\xb0\x05" + good[3:8],
    }[damage]
    made = Made(None)
    made.section(0, build_pat({7: 0x1000}).encode()).section(0x1000, bad).section(0x1000, good)
    events = demux(made.pes(0x100, VIDEO).data)
    assert kinds(events)["Program"] == 1
    assert len(units(events)) == 1
    assert faults(events) or damage == "length"


def test_m2_a_map_that_changes_with_each_packet_is_cheap_and_loses_nothing_that_stays() -> None:
    made = Made()
    other = Pmt(0x100, (), (*PMT.entries[:1], PmtEntry(0x1FF, 0x0F)))
    for n in range(200):
        made.section(0x1000, (other if n % 2 else PMT).section(7, n % 32).encode())
        made.pes(0x100, VIDEO)
    start = time.perf_counter()
    events = demux(made.data)
    assert time.perf_counter() - start < 2
    assert len(units(events, 0x100)) == 200
    # Where nothing but the version changes, nothing is said.
    made = Made()
    for n in range(1, 50):
        made.section(0x1000, PMT.section(7, n % 32).encode())
    assert kinds(demux(made.data)) == {"Program": 1}


@pytest.mark.parametrize("pid", [0, 1, 0x0F, 0x1000, 0x1FFF])
def test_m2_streams_on_pids_that_are_taken_are_left_out(pid: int) -> None:
    pmt = Pmt(pid, (), (PmtEntry(pid, 0x1B), PmtEntry(0x100, 0x1B), PmtEntry(0x100, 0x0F)))
    events = demux(Made(pmt).pes(0x100, VIDEO).data)
    (program,) = [event for event in events if isinstance(event, Program)]
    assert [(stream.pid, stream.codec.name) for stream in program.streams] == [(0x100, "h264")]
    assert len(faults(events)) == 2
    assert len(units(events)) == 1


@pytest.mark.parametrize("pid", [0, 0x1FFF])
def test_m2_a_map_where_the_pat_is_or_nothing_may_be(pid: int) -> None:
    made = Made(None).section(0, build_pat({7: pid}).encode())
    events = demux(made.section(0, PMT.section(7, 0).encode()).pes(0x100, VIDEO).data)
    # The map itself is no association table, and that is all that is said.
    assert kinds(events) == {"Fault": 1}


def test_m2_no_more_streams_than_a_publisher_may_have() -> None:
    entries = tuple([PmtEntry(0x100 + n, 0x1B) for n in range(MAX_STREAMS + 2)])
    events = demux(Made(Pmt(0x100, (), entries)).data)
    (program,) = [event for event in events if isinstance(event, Program)]
    assert len(program.streams) == MAX_STREAMS
    assert len(faults(events)) == 2


def test_m3_a_pes_packet_of_sound_without_a_length() -> None:
    made = Made()
    for n in range(3):
        made.pes(0x104, OPUS, 90_000 * (n + 1), length=0, stream_id=0xBD)
    assert units(demux(made.data), 0x104) == [(b"\xfc\x01",)] * 3


def test_m3_a_header_past_its_end() -> None:
    made = Made().packets(0x100, b"\0\0\1\xe0\0\x1a\x80\x80\xff" + bytes(23)).pes(0x100, VIDEO)
    events = demux(made.data)
    assert faults(events) == ["a PES header goes past its end"]
    assert len(units(events)) == 1


def test_m3_a_pts_hours_before_its_dts_costs_the_dts() -> None:
    made = Made().pes(0x100, VIDEO, 90_000, 90_000 * 7200).pes(0x100, VIDEO, 93_600, 90_000)
    first, second = [event for event in demux(made.data) if isinstance(event, TsFrame)]
    assert (first.pts, first.dts) == (NS, None)
    assert (second.pts, second.dts) == (NS + NS // 25, NS)


def test_m3_times_wrap_where_pts_and_dts_lie_on_both_sides() -> None:
    top = 1 << 33
    made = Made().pes(0x100, VIDEO, top - 900, top - 900)
    for n in range(4):
        made.pes(0x100, VIDEO, (top + 3600 * (n + 1)) % top, (top - 450 + 3600 * n) % top)
    found = [event for event in demux(made.data) if isinstance(event, TsFrame)]
    steps = [(frame.pts - found[0].pts, (frame.dts or 0) - found[0].pts) for frame in found[1:]]
    # ns from ticks: each is rounded by itself.
    for n, (pts, dts) in enumerate(steps):
        assert abs(pts - (900 + 3600 * (n + 1)) * NS // 90_000) <= 1
        assert abs(dts - (450 + 3600 * n) * NS // 90_000) <= 1


def test_m3_a_storm_of_discontinuity_flags_costs_nothing_that_is_whole() -> None:
    made = Made()
    for n in range(100):
        made.pes(0x100, LONG, 90_000 + 3600 * n, adaptation=b"\x80")
    events = demux(made.data)
    assert len(units(events)) == 100
    assert not faults(events)


def test_m3_an_announced_gap_before_a_start_keeps_what_is_whole() -> None:
    made = Made().pes(0x100, LONG, length=0)
    rest = Made().pes(0x100, LONG).pes(0x100, LONG).pes(0x100, LONG, adaptation=b"\x80").data
    packets = [rest[at : at + SIZE] for at in range(0, len(rest), SIZE)]
    start = max(n for n, packet in enumerate(packets) if packet[1] & 0x40)
    events = demux(made.data + b"".join(packets[start:]))
    assert len(units(events)) == 2
    assert not faults(events)


def test_counters_may_begin_anew_in_each_segment() -> None:
    """Segments of HLS that another program made each: all frames come, the last of a segment with its end."""
    demuxer = Demuxer(registry())
    for _ in range(3):
        demuxer.start_segment()
        demuxer.receive_data(REAL)
        demuxer.end()
        events: list[TsEvent] = []
        while (event := demuxer.next_event()) is not None:
            events.append(event)
        assert units(events) == ALL
        assert not faults(events)
    # Without being told, it takes that for a loss.
    assert faults(demux(REAL + REAL))


def test_m4_a_pes_packet_that_never_ends_is_given_up() -> None:
    made = Made().pes(0x100, VIDEO)
    head = Made().pes(0x100, bytes(MAX_PES + 1000), length=0).data[2 * SIZE :]
    demuxer = Demuxer(registry())
    found: list[TsEvent] = []
    for piece in [made.data, *datagrams(head)]:
        demuxer.receive_data(piece)
        while (event := demuxer.next_event()) is not None:
            found.append(event)
    assert f"a PES packet of more than {MAX_PES} bytes" in faults(found)
    assert len(units(found)) == 1


def test_m4_half_of_the_packets_are_lost() -> None:
    rng = random.Random(4)
    events = demux(lossy(REAL, lambda n: n < 4 or rng.random() < 0.5))
    assert "packets are missing" in faults(events)
    # What comes out is whole.
    assert set(units(events)) < set(ALL)


@pytest.mark.parametrize("lost", [9, 23, 40, 71])
def test_m4_a_lost_packet_costs_its_frames_and_no_others(lost: int) -> None:
    got = units(demux(lossy(REAL, lambda n: n != lost)))
    assert set(got) <= set(ALL)
    # FFmpeg puts up to a dozen frames of sound into a PES packet.
    assert len(ALL) - 24 <= len(got) <= len(ALL)


def test_packets_that_come_twice_count_once() -> None:
    data = b"".join([REAL[at : at + SIZE] * 2 for at in range(0, len(REAL), SIZE)])
    assert demux(data) == demux(REAL)


def test_packets_with_errors_and_scrambled_ones_are_left_out() -> None:
    """transport_error_indicator, transport_scrambling_control: of video only, sound goes on."""
    for position, flag, reason in ((1, 0x80, "transport_error"), (3, 0x80, "scrambled")):
        data = bytearray(REAL)
        for at in range(SIZE * 20, len(data), SIZE):
            if data[at + 1] & 0x1F == 1 and data[at + 2] == 0:
                data[at + position] |= flag
        events = demux(bytes(data))
        assert [text for text in faults(events) if reason in text]
        (video, sound) = streams(events)
        assert len(video.frames) < 10
        assert len(sound.frames) == 53


def test_interleaved_packet_by_packet() -> None:
    """As broadcasters do, and as no muxer of files does."""
    one = Made().pes(0x100, LONG * 3, 90_000)
    tables, video = one.data[: 2 * SIZE], one.data[2 * SIZE :]
    sound = Made().pes(0x103, bytes(1500), 90_000, stream_id=0xBD).data[2 * SIZE :]
    mixed = [tables]
    for at in range(0, max(len(video), len(sound)), SIZE):
        mixed += [video[at : at + SIZE], sound[at : at + SIZE]]
    events = demux(b"".join(mixed))
    assert units(events, 0x100) == units(demux(one.data), 0x100)
    assert units(events, 0x103) == [(bytes(1500),)]


def test_data_that_no_plugin_knows_goes_through() -> None:
    """KLV with times and without, SCTE 35 as sections, AC-3: as they came, with what the program map says of them."""
    cuei = Descriptor(5, b"CUEI")
    pmt = Pmt(
        0x100,
        (cuei,),
        (
            PmtEntry(0x100, 0x1B),
            PmtEntry(0x101, 0x86),
            PmtEntry(0x102, 0x06, (Descriptor(5, b"KLVA"),)),
            PmtEntry(0x103, 0x15, (Descriptor(0x26, b"\x01\0\xffKLVA\0\x0f"),)),
            PmtEntry(0x104, 0x81, (Descriptor(10, b"fra\0"),)),
        ),
    )
    made = Made(pmt).pes(0x100, VIDEO, 900_000)
    made.section(0x101, SECTION).pes(0x102, b"\x06\x0e\x2b\x34klv", None, stream_id=0xBD)
    made.pes(0x103, b"\0\0\xdf\0\3klv", 903_600, stream_id=0xFC)
    made.pes(0x104, b"\x0b\x77ac3", 907_200, stream_id=0xBD)

    def check(events: list[TsEvent]) -> None:
        video, *data = streams(events)
        assert video.stream.codec.kind is Kind.VIDEO
        assert [one.stream.codec for one in data] == [PRIVATE] * 4
        assert [one.stream.format.stream_type for one in data] == [0x86, 0x06, 0x15, 0x81]
        assert data[3].stream.language == "fra"
        got = [(frame.units[0], frame.pts) for one in data for frame in one.frames]
        assert got == [
            (SECTION, 10 * NS),
            (b"\x06\x0e\x2b\x34klv", 10 * NS),
            (b"\0\0\xdf\0\3klv", 10 * NS + NS // 25),
            (b"\x0b\x77ac3", 10 * NS + 2 * NS // 25),
        ]
        stream_ids = [PrivateConfig.of(one.configs[0]).format.stream_id for one in data]
        assert stream_ids == [0xBD, 0xBD, 0xFC, 0xBD]
        assert all(PrivateConfig.of(one.configs[0]).program == (cuei,) for one in data)

    events = demux(made.data)
    check(events)
    check(demux(mux(frames(events))))


def test_a_program_that_moves_is_followed() -> None:
    made = Made().pes(0x100, VIDEO, 90_000)
    moved = Pmt(0x200, (), (PmtEntry(0x200, 0x1B),))
    made.tables(moved, 1, {7: 0x1100}).pes(0x100, VIDEO, 93_600).pes(0x200, VIDEO, 93_600)
    events = demux(made.data)
    assert [event.pid for event in events if isinstance(event, TsFrame)] == [0x100, 0x200]
    assert kinds(events)["Program"] == 2
    # Its parameter sets are told again: it is another stream.
    assert [event.pid for event in events if isinstance(event, StreamConfig)] == [0x100, 0x200]


def test_a_picture_that_goes_on_in_a_packet_without_a_time() -> None:
    whole = VIDEO + b"\0\0\1\x41\x9a" + bytes(range(1, 60))
    made = Made()
    for length in (0, 65_100):
        made.pes(0x100, whole[:150], 90_000, length=length).pes(0x100, whole[150:], None, length=0)
    made.pes(0x100, VIDEO, 93_600)
    found = units(demux(made.data), 0x100)
    assert len(found) == 3
    assert found[0] == found[1] == units(demux(Made().pes(0x100, whole).data))[0]


def test_bytes_behind_a_length_are_not_of_the_packet() -> None:
    made = Made().pes(0x104, OPUS + b"\xff" * 9, length=8 + len(OPUS), stream_id=0xBD)
    assert units(demux(made.data), 0x104) == [(b"\xfc\x01",)]
