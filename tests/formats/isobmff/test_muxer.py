"""The muxer: times, durations that are not known yet, changes of config, and what is left out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from penstock.media import NS, Codec, Frame, Kind, Track, to_ns, to_ticks
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_formats.isobmff import Demuxer, FragmentMuxer, Movie, Sample
from penstock_formats.isobmff.box import split
from tests.contracts.cases_h26x import H264_PPS, H264_SPS
from tests.contracts.damage import budget
from tests.formats.isobmff.captures import REGISTRY, received

SMALL, LARGE = (H264Config((sps,), (H264_PPS,)) for sps in H264_SPS[:2])
VIDEO = Track(1, H264, 90_000, SMALL)
SOUND = Track(2, AAC, 44_100, AacConfig.lc(44_100, 2))
SLICE, IDR = b"\x41\x9a\x10", b"\x65\x88\x84"


def picture(ms: float, *, pts: float | None = None, key: bool = False, track: Track = VIDEO) -> Frame:
    shown = ms if pts is None else pts
    return Frame(track, round(shown * NS / 1000), round(ms * NS / 1000), (IDR if key else SLICE,), key)


def sound(ticks: int, duration: int | None = 1024) -> Frame:
    time = to_ns(ticks, 44_100)
    return Frame(SOUND, time, time, (b"abc",), duration=duration and to_ns(duration, 44_100))


def samples(*pieces: bytes) -> list[Sample]:
    demuxer, found = Demuxer(), list[Sample]()
    for piece in pieces:
        demuxer.receive_data(piece)
        while (event := demuxer.next_event()) is not None:
            if isinstance(event, Sample):
                found.append(event)
    return found


def times(muxer: FragmentMuxer, *fragments: list[bytes]) -> list[tuple[int, int, int]]:
    """Decode time, composition offset and duration of each sample, in ms of the clock's 90 kHz."""
    found = samples(muxer.init, *(piece for fragment in fragments for piece in fragment))
    return [(s.dts // 90, (s.pts - s.dts) // 90, s.duration // 90) for s in found]


def number(fragment: list[bytes]) -> int:
    at = fragment[0].index(b"mfhd") + 8
    return int.from_bytes(fragment[0][at : at + 4], "big")


@pytest.mark.parametrize("apart", [40, 1001 / 30])
def test_numbers_follow_while_durations_add_up_to_decode_times(apart: float) -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    # In whole milliseconds, as RTMP has them.
    fragments = [muxer.fragment([picture(round(1000 + n * apart))]) for n in range(100)]
    assert [number(f) for f in fragments] == list(range(1, 101))


@given(steps=st.lists(st.sampled_from([20, 40, 80, 200, 1040, 4000]), min_size=1, max_size=30))
def test_who_adds_up_durations_and_believes_times_where_a_number_is_left_out_has_them(
    steps: list[int],
) -> None:
    """As VLC 3 does, whichever fragment it begins with, but for what nobody sees."""
    muxer = FragmentMuxer(REGISTRY, [VIDEO, SOUND])
    at, fragments = 1000, list[list[bytes]]()
    for step in steps:
        fragments.append(muxer.fragment([picture(at), sound(at * 441 // 10)]))
        at += step
    for first in (0, len(steps) // 2):
        counted: dict[int, float] = {}
        before = -1
        for fragment in fragments[first:]:
            if number(fragment) != before + 1:
                counted.clear()
            before = number(fragment)
            for sample in samples(muxer.init, *fragment):
                rate = sample.track.timescale
                time = counted.setdefault(sample.track.id, sample.dts / rate)
                assert abs(time - sample.dts / rate) <= 2 / 50
                counted[sample.track.id] += sample.duration / rate


def test_a_duration_is_until_the_next_frame() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    first = muxer.fragment([picture(1000, key=True), picture(1040), picture(1100)], {1: 1_130_000_000})
    assert times(muxer, first) == [(1000, 0, 40), (1040, 0, 60), (1100, 0, 30)]


def test_a_last_duration_that_is_not_known_is_that_of_the_frame_before() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    parts = [
        muxer.fragment([picture(1000, key=True), picture(1030)]),
        muxer.fragment([picture(1060)]),
        muxer.fragment([picture(1100)]),
        muxer.fragment([picture(5000)]),
        muxer.fragment([picture(5040)]),
    ]
    # The third comes 10 ms late, and the fourth after a gap that says nothing of the next.
    assert [one[::2] for one in times(muxer, *parts)] == [
        (1000, 30), (1030, 30), (1060, 30), (1100, 40), (5000, 40), (5040, 40),
    ]  # fmt: skip


def test_the_first_duration_is_that_of_the_config() -> None:
    """H264_SPS says 25 pictures a second; VP8 says nothing, and 25 are assumed as well."""
    for track in (VIDEO, Track(1, VP8, 90_000, Vp8Config(64, 48))):
        muxer = FragmentMuxer(REGISTRY, [track])
        assert times(muxer, muxer.fragment([picture(1000, key=True, track=track)])) == [(1000, 0, 40)]


def test_a_frame_that_knows_its_duration_is_believed() -> None:
    muxer = FragmentMuxer(REGISTRY, [SOUND])
    found = samples(muxer.init, *muxer.fragment([sound(44_100), sound(45_124, 2048)]))
    assert [(s.dts, s.duration) for s in found] == [(44_100, 1024), (45_124, 2048)]


def test_reordered_pictures_are_shown_at_their_pts() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    shown = [(1000, 1080), (1040, 1200), (1080, 1120), (1120, 1160)]
    frames = [picture(dts, pts=pts, key=not n) for n, (dts, pts) in enumerate(shown)]
    assert [one[:2] for one in times(muxer, muxer.fragment(frames))] == [
        (dts, pts - dts) for dts, pts in shown
    ]


def test_frames_in_one_tick_are_told_apart() -> None:
    """The kernel moves a decode time that goes back to a microsecond after the last one: less than a tick."""
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    close = [picture(1000 + n / 1000, key=True) for n in range(4)]
    found = samples(muxer.init, *muxer.fragment(close[:3]), *muxer.fragment(close[3:]))
    assert [s.dts for s in found] == [90_000, 90_001, 90_002, 90_003]
    assert all(s.pts >= s.dts and s.duration > 0 for s in found)


def test_what_a_field_does_not_hold_is_cut() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    day = 86_400_000
    first = muxer.fragment([picture(0, pts=day, key=True)], {1: 86_400 * NS})
    found = samples(muxer.init, *first, *muxer.fragment([picture(day)]))
    assert [(s.dts, s.pts, s.duration) for s in found] == [
        (0, 0x7FFFFFFF, 0xFFFFFFFF),
        (day * 90, day * 90, 3600),
    ]


def test_frames_before_the_streams_zero_are_left_out() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO])
    assert muxer.fragment([picture(-40, key=True)]) == []
    assert times(muxer, muxer.fragment([picture(-40, key=True), picture(0, key=True)])) == [(0, 0, 40)]


def test_tracks_are_one_after_the_other_in_a_fragment() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO, SOUND])
    frames = [picture(1000, key=True), sound(44_100), sound(45_124), picture(1040), sound(46_148)]
    pieces = muxer.fragment(frames)
    assert [piece[-3:] for piece in pieces[1:]] == [IDR, SLICE, b"abc", b"abc", b"abc"]
    # Read, they come by time.
    assert [s.track.id for s in samples(muxer.init, *pieces)] == [1, 2, 2, 1, 2]
    assert [box.type for box in split(b"".join(pieces))] == ["moof", "mdat"]


def test_key_frames_are_sync_samples_wherever_they_are() -> None:
    for keys in (
        [True, False, False],
        [False, False],
        [True, True],
        [False, True, False],
        [True, False, True],
    ):
        muxer = FragmentMuxer(REGISTRY, [VIDEO])
        frames = [picture(1000 + 40 * n, key=key) for n, key in enumerate(keys)]
        assert [s.key for s in samples(muxer.init, *muxer.fragment(frames))] == keys


def test_a_new_config_needs_a_new_init_segment() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO, SOUND])
    first = muxer.init
    changed = VIDEO.with_config(LARGE)
    assert muxer.fits(VIDEO)
    assert not muxer.fits(changed)
    with pytest.raises(ValueError, match="config of track 1"):
        muxer.fragment([picture(1000, key=True, track=changed)])
    muxer.change(changed)
    assert muxer.fits(changed)
    assert not muxer.fits(VIDEO)
    assert muxer.init != first
    assert muxer.tracks == (changed, SOUND)
    # Both after the other are one stream to who reads them: numbers of fragments and times go on.
    before = FragmentMuxer(REGISTRY, [VIDEO, SOUND])
    one = before.fragment([picture(1000, key=True)])
    before.change(changed)
    tracks, frames = received(
        first, *one, before.init, *before.fragment([picture(1040, key=True, track=changed)])
    )
    assert [frame.track.config for frame in frames] == [SMALL, LARGE]
    assert len(tracks) == 2


def test_a_new_config_goes_in_band_where_asked() -> None:
    muxer = FragmentMuxer(REGISTRY, [VIDEO, SOUND], in_band=True)
    changed = VIDEO.with_config(LARGE)
    assert muxer.fits(changed)
    assert not muxer.fits(SOUND.with_config(AacConfig.lc(48_000, 2)))
    frames = [picture(1000, key=True), picture(1040, key=True, track=changed), picture(1080, track=changed)]
    _, got = received(muxer.init, *muxer.fragment(frames))
    assert [frame.track.config for frame in got] == [SMALL, LARGE, LARGE]
    assert [frame.units for frame in got] == [frame.units for frame in frames]


def test_what_cannot_be_carried_is_left_out_with_a_reason() -> None:
    odd = Codec("odd", Kind.AUDIO)
    tracks = [
        VIDEO,
        Track(2, odd, 8000, SOUND.config),
        Track(3, AAC, 8000),
        Track(4, VP8, 90_000, Vp8Config()),
    ]
    muxer = FragmentMuxer(REGISTRY, tracks)
    assert muxer.tracks == (VIDEO,)
    assert muxer.left_out == {
        2: "MP4 cannot carry odd",
        3: "the config of aac is not known yet",
        4: "the picture size of VP8 is not known yet (RFC 6386 9.1)",
    }
    assert muxer.fragment([sound(44_100)]) == []
    nothing = FragmentMuxer(REGISTRY, tracks[1:])
    with pytest.raises(ValueError, match="no track to carry"):
        _ = nothing.init


def test_only_what_is_cmaf_says_so() -> None:
    reordered = Track(1, H264, 90_000, H264Config((H264_SPS[2],), (H264_PPS,)))

    def is_cmaf(*tracks: Track) -> bool:
        return b"cmfc" in next(split(FragmentMuxer(REGISTRY, tracks).init)).body

    assert is_cmaf(VIDEO)
    assert is_cmaf(SOUND)
    assert not is_cmaf(VIDEO, SOUND)
    assert not is_cmaf(reordered)


@pytest.mark.parametrize(
    ("language", "told"),
    [(None, None), ("deu", "deu"), ("DEU", "deu"), ("de", "deu"), ("pt-BR", "pt-BR"), ("日本", "日本")],
)
def test_languages_and_groups(language: str | None, told: str | None) -> None:
    tracks = [
        evolve(SOUND, language=language, group="a"),
        evolve(SOUND, id=7, group="b"),
        evolve(SOUND, id=9, group="a"),
    ]
    muxer = FragmentMuxer(REGISTRY, tracks)
    demuxer = Demuxer()
    demuxer.receive_data(muxer.init)
    movie = demuxer.next_event()
    assert isinstance(movie, Movie)
    assert [(track.id, track.language) for track in movie.tracks] == [(2, told), (7, None), (9, None)]
    moov = list(split(muxer.init))[1]
    groups = [
        int.from_bytes(trak.only("tkhd").body[34:36], "big") for trak in moov.children if trak.type == "trak"
    ]
    assert groups == [1, 2, 1]


def test_a_sample_rate_that_does_not_fit_its_field() -> None:
    """12.2.3: 16 bits of Hz; the codec's own box has the rate."""
    track = Track(1, AAC, 96_000, AacConfig.lc(96_000, 2))
    muxer = FragmentMuxer(REGISTRY, [track])
    demuxer = Demuxer()
    demuxer.receive_data(muxer.init)
    movie = demuxer.next_event()
    assert isinstance(movie, Movie)
    assert movie.tracks[0].timescale == 96_000
    assert b"\0\x10\0\0\0\0\0\0\0\0" in muxer.init


@budget(200)
@given(st.data())
def test_every_tick_comes_back(data: st.DataObject) -> None:
    """Wire to ns to wire: exact for any clock rate, over the wrap of 32 bits, whatever the distances are."""
    rate = data.draw(st.sampled_from([8000, 44_100, 48_000, 90_000, 96_000, 12_800]))
    start = data.draw(st.sampled_from([0, (1 << 32) - 5, (1 << 33) - 5, 1 << 40]) | st.integers(0, 1 << 45))
    steps = data.draw(st.lists(st.integers(1, 5 * rate), min_size=1, max_size=12))
    offsets = data.draw(st.lists(st.integers(0, rate), min_size=len(steps), max_size=len(steps)))
    track = Track(1, OPUS, rate, OpusConfig.simple(2))
    ticks = [start + sum(steps[:n]) for n in range(len(steps))]
    frames = [
        Frame(track, to_ns(dts + offset, rate), to_ns(dts, rate), (b"\xfc" + bytes(3),))
        for dts, offset in zip(ticks, offsets, strict=True)
    ]
    muxer = FragmentMuxer(REGISTRY, [track])
    cut = data.draw(st.integers(0, len(frames)))
    found = samples(muxer.init, *muxer.fragment(frames[:cut]), *muxer.fragment(frames[cut:]))
    assert [(s.dts, s.pts) for s in found] == [(t, t + o) for t, o in zip(ticks, offsets, strict=True)]
    assert all(to_ticks(to_ns(s.dts, rate), rate) == s.dts for s in found)
    for n, (one, following) in enumerate(pairwise(found)):
        assert n == cut - 1 or one.dts + one.duration == following.dts
