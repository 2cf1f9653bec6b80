"""What the muxer of MPEG-TS promises: tables, clock, counters, tracks that come and go, segments that stand alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import frozen

from penstock.media import NS, Frame, Track
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_formats.mpegts import PRIVATE, Muxer, PrivateConfig, Program, StreamConfig, TsFormat, TsFrame
from penstock_formats.mpegts.descriptor import Descriptor
from penstock_formats.mpegts.muxer import JUMP_NS, MAX_STREAMS, PCR_LEAD_NS, PID_MAP
from penstock_formats.mpegts.packet import SIZE
from penstock_formats.mpegts.section import Section
from tests.codecs.transport import demux, registry
from tests.contracts.cases_h26x import H264_PPS, H264_SPS

PICTURE = NS // 25
SOUND = NS * 1024 // 44100
VIDEO = Track(1, H264, 90000, H264Config((H264_SPS[0],), (H264_PPS,)))
AUDIO = Track(2, AAC, 44100, AacConfig.lc(44100, 2))


def picture(n: int, key: bool = False, track: Track = VIDEO, step: int = PICTURE, size: int = 500) -> Frame:
    time = NS + n * step
    return Frame(track, time, time, ((b"\x65" if key else b"\x41") + b"\x88" * size,), key)


def sound(n: int, track: Track = AUDIO, step: int = SOUND) -> Frame:
    time = NS + n * step
    return Frame(track, time, time, (b"\x21" * 200,))


@frozen
class Packet:
    """A transport packet, taken apart here and not by the code that is tested."""

    pid: int
    start: bool
    counter: int
    has_payload: bool
    discontinuity: bool
    random_access: bool
    pcr: int | None
    """Ticks of 27 MHz."""


def parse(data: bytes) -> list[Packet]:
    found: list[Packet] = []
    for at in range(0, len(data), SIZE):
        p = data[at : at + SIZE]
        assert p[0] == 0x47
        flags = p[5] if p[3] & 0x20 and p[4] else 0
        pcr = None
        if flags & 0x10:
            pcr = int.from_bytes(p[6:11], "big") >> 7
            pcr = pcr * 300 + ((p[10] & 1) << 8 | p[11])
        pid = (p[1] & 31) << 8 | p[2]
        found.append(
            Packet(pid, p[1] & 0x40 > 0, p[3] & 15, p[3] & 0x10 > 0, flags & 0x80 > 0, flags & 0x40 > 0, pcr)
        )
    return found


def interleaved(seconds: float, picture_step: int = PICTURE) -> list[Frame]:
    end = NS + int(seconds * NS)
    frames = [picture(n, n % 50 == 0, step=picture_step) for n in range(int(seconds * NS) // picture_step)]
    frames += [sound(n) for n in range(int(seconds * NS) // SOUND)]
    return sorted([frame for frame in frames if frame.dts < end], key=lambda frame: frame.dts)


def maps(data: bytes) -> list[Section]:
    """The program maps in packets, which each has its own."""
    found: list[Section] = []
    for at in range(0, len(data), SIZE):
        p = data[at : at + SIZE]
        if (p[1] & 31) << 8 | p[2] == PID_MAP:
            size = 3 + ((p[6] & 15) << 8 | p[7])
            found.append(Section.parse(p[5 : 5 + size]))
    return found


def test_counters_go_on_without_a_gap() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    packets = parse(b"".join([muxer.mux(frame) for frame in interleaved(3)]))
    for pid in {packet.pid for packet in packets}:
        counters = [packet.counter for packet in packets if packet.pid == pid and packet.has_payload]
        assert counters == [n % 16 for n in range(len(counters))]


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60])
def test_tables_and_clock_come_each_100_ms(rate: int) -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    tables: list[int] = []
    clocks: list[int] = []
    for frame in interleaved(4, NS // rate):
        packets = parse(muxer.mux(frame))
        if packets[0].pid == 0:
            assert packets[1].pid == PID_MAP
            tables.append(frame.dts)
        clocks += [frame.dts for packet in packets if packet.pcr is not None]
    for times in (tables, clocks):
        assert max(b - a for a, b in pairwise(times)) <= NS // 10


def test_the_clock_is_written_alone_where_pictures_are_rare() -> None:
    """A shared screen: a picture in two seconds, and sound."""
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    times: list[int] = []
    alone = 0
    for frame in interleaved(6, 2 * NS):
        for packet in parse(muxer.mux(frame)):
            if packet.pcr is not None:
                assert packet.pid == 0x100
                alone += not packet.has_payload
                times.append(packet.pcr)
    assert alone > 50
    assert all(0 < b - a <= 2_700_000 for a, b in pairwise(times))


def test_the_clock_is_behind_by_what_a_receiver_evens_out() -> None:
    muxer = Muxer(registry(), [VIDEO])
    frame = picture(7)
    (pcr,) = [packet.pcr for packet in parse(muxer.mux(frame)) if packet.pcr is not None]
    assert pcr == (frame.dts - PCR_LEAD_NS) * 27 // 1000


def test_sound_alone_has_the_clock() -> None:
    muxer = Muxer(registry(), [AUDIO])
    packets = parse(b"".join([muxer.mux(sound(n)) for n in range(20)]))
    assert {packet.pid for packet in packets if packet.pcr is not None} == {0x100}
    assert sum(packet.pcr is not None for packet in packets) == 20


@pytest.mark.parametrize("jump", [JUMP_NS + PICTURE, 3600 * NS, -2 * NS])
def test_a_jump_of_the_clock_is_announced_once(jump: int) -> None:
    muxer = Muxer(registry(), [VIDEO])
    data = [muxer.mux(picture(n)) for n in range(5)]
    assert not [packet for packet in parse(b"".join(data)) if packet.discontinuity]
    moved = [picture(n)._replace(dts=NS + n * PICTURE + jump, pts=NS + n * PICTURE + jump) for n in (5, 6, 7)]
    packets = parse(b"".join([muxer.mux(frame) for frame in moved]))
    announced = [packet for packet in packets if packet.discontinuity]
    assert len(announced) == 1
    assert announced[0] is next(packet for packet in packets if packet.pcr is not None)


def test_the_clock_does_not_go_back_where_tracks_are_out_of_step() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    data = muxer.mux(picture(0, True))
    # Sound that is 300 ms ahead, and then pictures from where they were.
    data += b"".join([muxer.mux(sound(n)) for n in range(14)])
    data += b"".join([muxer.mux(picture(n)) for n in range(1, 20)])
    packets = parse(data)
    times = [packet.pcr for packet in packets if packet.pcr is not None]
    assert times == sorted(set(times))
    assert not [packet for packet in packets if packet.discontinuity]


def test_times_wrap() -> None:
    """Written from before 2^33 ticks to after: PCR, PTS and DTS wrap each by itself, and nothing is announced."""
    begin = (1 << 33) * NS // 90_000 - 10 * PICTURE
    muxer = Muxer(registry(), [VIDEO])
    frames = [
        picture(n, n == 0)._replace(dts=begin + n * PICTURE, pts=begin + (n + 2) * PICTURE) for n in range(25)
    ]
    data = b"".join([muxer.mux(frame) for frame in frames])
    packets = parse(data)
    assert not [packet for packet in packets if packet.discontinuity]
    times = [packet.pcr for packet in packets if packet.pcr is not None]
    assert sum(b < a for a, b in pairwise(times)) == 1
    found = [event for event in demux(data) if isinstance(event, TsFrame)]
    for before, after in pairwise(found):
        assert before.dts is not None
        assert after.dts is not None
        assert abs(after.dts - before.dts - PICTURE) <= NS // 90_000
        assert abs(after.pts - after.dts - 2 * PICTURE) <= NS // 90_000


def test_every_segment_from_a_key_frame_on_stands_alone() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    segments: list[bytes] = []
    for frame in interleaved(8):
        data = muxer.mux(frame)
        if frame.key and frame.track is VIDEO:
            segments.append(b"")
            (first, second, third, *_) = parse(data)
            assert (first.pid, second.pid) == (0, PID_MAP)
            assert (third.pid, third.start, third.random_access) == (0x100, True, True)
        segments[-1] += data
    assert len(segments) == 4
    for segment in segments:
        events = demux(segment)
        assert isinstance(events[0], Program)
        assert {event.pid for event in events if isinstance(event, StreamConfig)} == {0x100, 0x101}
        assert next(event for event in events if isinstance(event, TsFrame)).key
    # Joined they are one stream, with counters that go on.
    assert demux(b"".join(segments))[0] == demux(segments[0])[0]


def test_a_segment_of_sound_begins_with_its_config() -> None:
    muxer = Muxer(registry(), [AUDIO], tables_every=None)
    muxer.mux(sound(0))
    later = b"".join([muxer.mux(sound(n)) for n in range(1, 40)])
    assert demux(later) == []
    segment = muxer.config() + b"".join([muxer.mux(sound(n)) for n in range(40, 60)])
    assert sum(isinstance(event, TsFrame) for event in demux(segment)) == 20


def test_without_repetition_tables_come_with_key_frames_alone() -> None:
    muxer = Muxer(registry(), [VIDEO], tables_every=None)
    data = b"".join([muxer.mux(picture(n, n % 50 == 0)) for n in range(100)])
    assert len(maps(data)) == 2


def test_a_late_track_is_told_with_its_first_frame() -> None:
    muxer = Muxer(registry(), [VIDEO])
    data = b"".join([muxer.mux(picture(n, n == 0)) for n in range(3)])
    late = muxer.mux(sound(6))
    assert parse(late)[0].pid == 0
    events = demux(data + late)
    assert [len(event.streams) for event in events if isinstance(event, Program)] == [1, 2]
    assert {section.version for section in maps(data)} == {0}
    assert [section.version for section in maps(late)] == [1]


def test_a_track_that_ends_is_told_and_its_pid_is_not_used_again() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    data = muxer.mux(picture(0, True)) + muxer.mux(sound(0))
    muxer.remove(AUDIO.id)
    muxer.remove(99)
    data += muxer.mux(picture(1))
    data += muxer.mux(sound(2, Track(3, AAC, 44100, AUDIO.config)))
    programs = [event for event in demux(data) if isinstance(event, Program)]
    assert [[stream.pid for stream in program.streams] for program in programs] == [
        [0x100, 0x101],
        [0x100],
        [0x100, 0x102],
    ]


def test_where_the_picture_ends_the_sound_has_the_clock() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    muxer.mux(picture(0, True))
    muxer.remove(VIDEO.id)
    packets = parse(muxer.mux(sound(20)))
    assert [packet.pid for packet in packets if packet.pcr is not None] == [0x101]


def test_a_config_that_changes_between_key_frames_is_in_band_at_once() -> None:
    muxer = Muxer(registry(), [VIDEO])
    data = muxer.mux(picture(0, True)) + muxer.mux(picture(1))
    changed = VIDEO.with_config(H264Config((H264_SPS[1],), (H264_PPS,)))
    data += muxer.mux(picture(2, track=changed)) + muxer.mux(picture(3, track=changed))
    events = [event for event in demux(data) if isinstance(event, StreamConfig | TsFrame)]
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["StreamConfig", "TsFrame", "TsFrame"] * 2
    # The program map says the same as before, so its version stays.
    assert {section.version for section in maps(data)} == {0}


def test_a_config_that_the_map_tells_makes_a_new_version() -> None:
    track = Track(4, OPUS, 48000, OpusConfig.simple(2))
    muxer = Muxer(registry(), [track])
    one = Frame(track, NS, NS, (b"\xfc\x01",))
    wide = track.with_config(OpusConfig.simple(6))
    data = muxer.mux(one) + muxer.mux(one._replace(track=wide, pts=2 * NS, dts=2 * NS))
    assert [section.version for section in maps(data)] == [0, 1]
    told = [event.config for event in demux(data) if isinstance(event, StreamConfig)]
    assert told == [track.config, wide.config]


def test_a_config_that_cannot_be_carried_leaves_the_track_out_until_one_can() -> None:
    muxer = Muxer(registry(), [VIDEO, AUDIO])
    assert muxer.mux(sound(0))
    odd = AUDIO.with_config(AacConfig.lc(44000, 2))
    assert muxer.mux(sound(1, odd)) == b""
    assert "44000 Hz" in muxer.left_out[AUDIO.id]
    again = AUDIO.with_config(AacConfig.lc(48000, 2))
    assert muxer.mux(sound(2, again))
    assert muxer.left_out == {}


def test_a_frame_that_does_not_fit_is_dropped_and_counted_and_the_next_is_written() -> None:
    muxer = Muxer(registry(), [AUDIO])
    data = muxer.mux(sound(0))
    assert muxer.mux(Frame(AUDIO, NS, NS, (bytes(9000),))) == b""
    assert muxer.mux(Frame(AUDIO, NS, NS, (b"",))) == b""
    assert muxer.dropped == 2
    data += muxer.mux(sound(1))
    # No counter was used up by what was not written.
    assert not [event for event in demux(data) if type(event).__name__ == "Fault"]


def test_a_picture_of_any_size_is_written() -> None:
    muxer = Muxer(registry(), [VIDEO])
    for size in (1, 100, 65_000, 70_000, 2_000_000):
        frames = [
            event for event in demux(muxer.mux(picture(0, True, size=size))) if isinstance(event, TsFrame)
        ]
        assert [len(frame.units[0]) for frame in frames] == [size + 1]


def test_more_tracks_than_a_program_may_have_are_left_out() -> None:
    muxer = Muxer(registry(), [Track(n, AAC, 44100, AUDIO.config) for n in range(MAX_STREAMS + 3)])
    assert sorted(muxer.left_out) == [MAX_STREAMS, MAX_STREAMS + 1, MAX_STREAMS + 2]
    assert len(maps(muxer.config())) == 1


def test_descriptors_that_find_no_room_leave_their_track_out() -> None:
    def private(number: int) -> Track:
        fmt = TsFormat(0x06, tuple([Descriptor(0xC0 + n, bytes(250)) for n in range(2)]))
        return Track(number, PRIVATE, 90000, PrivateConfig(fmt))

    muxer = Muxer(registry(), [VIDEO, private(10), private(11)])
    assert list(muxer.left_out) == [11]
    assert "no room" in muxer.left_out[11]
    events = demux(muxer.config() + muxer.mux(picture(0, True)))
    (program,) = [event for event in events if isinstance(event, Program)]
    assert len(program.streams) == 2
