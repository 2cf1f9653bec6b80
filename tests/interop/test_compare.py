"""The comparison itself must be able to fail."""

from __future__ import annotations

import hashlib

import pytest
from attrs import evolve

from .compare import Rules, compare
from .frames import MS, CodedFrame, FrameList, FrameTrack


def _frame(kind: str, n: int, ms: float, *, key: bool = True, cts: float = 0.0) -> CodedFrame:
    digest = hashlib.md5(f"{kind}{n}".encode()).hexdigest()
    return CodedFrame(round((ms + cts) * MS), round(ms * MS), 100 + n, digest, key)


def _source() -> FrameList:
    video = [_frame("v", n, n * 40, key=n % 25 == 0, cts=(80, 200, 120, 40)[n % 4]) for n in range(150)]
    audio = [_frame("a", n, n * 1024 / 48) for n in range(280)]
    return FrameList(FrameTrack("video", "h264", tuple(video)), FrameTrack("audio", "aac", tuple(audio)))


def _shift(track: FrameTrack, ms: float, *, first: int = 0) -> FrameTrack:
    frames = tuple(
        evolve(f, pts=(f.pts or 0) + round(ms * MS), dts=None if f.dts is None else f.dts + round(ms * MS))
        if n >= first
        else f
        for n, f in enumerate(track.frames)
    )
    return evolve(track, frames=frames)


def _edit(source: FrameList, kind: str, frames: tuple[CodedFrame, ...]) -> FrameList:
    track: FrameTrack | None = getattr(source, kind)
    assert track is not None
    changed = evolve(track, frames=frames)
    return evolve(source, video=changed) if kind == "video" else evolve(source, audio=changed)


def _tracks(source: FrameList) -> tuple[FrameTrack, FrameTrack]:
    assert source.video is not None
    assert source.audio is not None
    return source.video, source.audio


def test_equal_lists_agree() -> None:
    assert compare(_source(), _source(), Rules(from_start=True)).ok


def test_a_constant_offset_and_roundings_to_milliseconds_agree() -> None:
    video, audio = _tracks(_source())

    def rounded(track: FrameTrack) -> FrameTrack:
        return evolve(
            track,
            frames=tuple(
                evolve(
                    f,
                    pts=round((f.pts or 0) / MS) * MS + 777 * MS,
                    dts=round((f.dts or 0) / MS) * MS + 777 * MS,
                )
                for f in track.frames
            ),
        )

    assert compare(_source(), FrameList(rounded(video), rounded(audio))).ok


def test_joining_at_a_later_key_frame_agrees() -> None:
    video, audio = _tracks(_source())
    late = FrameList(evolve(video, frames=video.frames[50:]), evolve(audio, frames=audio.frames[94:]))
    report = compare(_source(), late)
    assert report.ok, report
    assert report.tracks[0].joined == 50
    assert not compare(_source(), late, Rules(from_start=True)).ok


def test_lists_without_dts_agree() -> None:
    assert compare(_source(), _source().without_dts()).ok
    assert compare(_source().without_dts(), _source()).ok


def test_a_bounded_tail_may_be_missing() -> None:
    video, audio = _tracks(_source())
    short = FrameList(evolve(video, frames=video.frames[:-3]), evolve(audio, frames=audio.frames[:-3]))
    assert compare(_source(), short, Rules(tail=3)).ok
    assert "missing at the end" in str(compare(_source(), short, Rules(tail=2)))


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("at", [1, 60, 120])
def test_a_dropped_frame_is_seen(kind: str, at: int) -> None:
    track: FrameTrack = getattr(_source(), kind)
    report = compare(
        _source(), _edit(_source(), kind, track.frames[:at] + track.frames[at + 1 :]), Rules(tail=5)
    )
    assert f"{kind}: frame {at} should be" in str(report)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_two_frames_in_the_wrong_order_are_seen(kind: str) -> None:
    f = getattr(_source(), kind).frames
    assert not compare(_source(), _edit(_source(), kind, (*f[:10], f[11], f[10], *f[12:]))).ok


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_a_frame_sent_twice_is_seen(kind: str) -> None:
    f = getattr(_source(), kind).frames
    assert not compare(_source(), _edit(_source(), kind, (*f[:10], f[9], *f[10:]))).ok


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_what_is_sent_again_after_the_end_is_seen(kind: str) -> None:
    f = getattr(_source(), kind).frames
    assert "should be nothing" in str(compare(_source(), _edit(_source(), kind, (*f, *f[:10]))))


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_one_changed_byte_is_seen(kind: str) -> None:
    f = getattr(_source(), kind).frames
    changed = evolve(f[30], digest="0" * 32)
    assert "never published" in str(compare(_source(), _edit(_source(), kind, (*f[:30], changed, *f[31:]))))


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("ms", [40.0, -40.0, 2.5])
def test_one_pts_away_is_seen(kind: str, ms: float) -> None:
    f = getattr(_source(), kind).frames
    moved = evolve(f[30], pts=(f[30].pts or 0) + round(ms * MS))
    assert "pts move" in str(compare(_source(), _edit(_source(), kind, (*f[:30], moved, *f[31:]))))


def test_times_that_jump_in_mid_stream_are_seen() -> None:
    video, audio = _tracks(_source())
    assert "pts move" in str(compare(_source(), FrameList(_shift(video, 40, first=70), audio)))


@pytest.mark.parametrize("ms", [40.0, -40.0, 21.5])
def test_sound_out_of_step_is_seen(ms: float) -> None:
    video, audio = _tracks(_source())
    assert "out of step" in str(compare(_source(), FrameList(video, _shift(audio, ms))))


def test_sound_within_twenty_milliseconds_is_in_step() -> None:
    video, audio = _tracks(_source())
    assert compare(_source(), FrameList(video, _shift(audio, 18))).ok


def test_swapped_tracks_are_seen() -> None:
    video, audio = _tracks(_source())
    swapped = FrameList(evolve(audio, kind="video"), evolve(video, kind="audio"))
    assert not compare(_source(), swapped).ok
    relabelled = FrameList(evolve(video, frames=audio.frames), evolve(audio, frames=video.frames))
    assert not compare(_source(), relabelled).ok


def test_a_missing_track_is_seen() -> None:
    video, _ = _tracks(_source())
    assert not compare(_source(), FrameList(video, None)).ok
    assert not compare(FrameList(video, None), _source()).ok
    assert not compare(_source(), FrameList()).ok


def test_joining_at_no_key_frame_is_seen() -> None:
    video, audio = _tracks(_source())
    late = FrameList(evolve(video, frames=video.frames[30:]), evolve(audio, frames=audio.frames[60:]))
    assert "not a key frame" in str(compare(_source(), late))


def test_sound_that_begins_late_is_seen() -> None:
    video, audio = _tracks(_source())
    assert "sound begins" in str(
        compare(_source(), FrameList(video, evolve(audio, frames=audio.frames[20:])))
    )


def test_dts_faults_are_seen() -> None:
    video, _ = _tracks(_source())
    f = video.frames
    other = Rules(same_dts=False)
    above = _edit(_source(), "video", (*f[:20], evolve(f[20], dts=(f[20].pts or 0) + MS), *f[21:]))
    assert "above pts" in str(compare(_source(), above, other))
    back = _edit(_source(), "video", (*f[:20], evolve(f[20], dts=f[19].dts), *f[21:]))
    assert "not increase" in str(compare(_source(), back, other))
    assert not compare(_source(), above).ok
    assert not compare(_source(), back).ok
    away = evolve(f[20], dts=(f[20].dts or 0) - 10 * MS)
    changed = _edit(_source(), "video", (*f[:20], away, *f[21:]))
    assert "dts is -10.000 ms away" in str(compare(_source(), changed))
    assert compare(_source(), changed, Rules(same_dts=False)).ok


def test_too_little_proves_nothing() -> None:
    video, audio = _tracks(_source())
    few = FrameList(evolve(video, frames=video.frames[:5]), evolve(audio, frames=audio.frames[:5]))
    assert "least" in str(compare(_source(), few, Rules(tail=500)))


def _g711(cut: int, *, begin: int = 0, samples: bytes | None = None, ms: float = 0.0) -> FrameList:
    row = (
        samples
        if samples is not None
        else b"".join(hashlib.md5(bytes([n % 256, n // 256])).digest() for n in range(2000))
    )
    row = row[begin:]
    frames = tuple(
        CodedFrame(round((begin + at) * 125_000 + ms * MS), None, len(row[at : at + cut]), "-")
        for at in range(0, len(row), cut)
    )
    return FrameList(None, FrameTrack("audio", "pcm_alaw", frames, row))


def test_g711_is_compared_by_samples_however_it_is_cut() -> None:
    assert compare(_g711(160), _g711(1024)).ok
    assert compare(_g711(160), _g711(237, begin=5000)).ok
    whole = _g711(160).tracks[0].samples
    assert not compare(_g711(160), _g711(160, samples=whole[:9000] + b"\0" + whole[9001:])).ok
    assert not compare(_g711(160), _g711(160, samples=whole[:9000] + whole[9160:]), Rules(tail=5)).ok
    assert not compare(_g711(160), _g711(160, samples=whole[:-1600]), Rules(tail=5)).ok
