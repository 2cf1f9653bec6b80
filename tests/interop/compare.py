"""Whether what a player received is what was published, frame for frame."""

from __future__ import annotations

from attrs import frozen

from .frames import MS, SAMPLED, CodedFrame, FrameList, FrameTrack

IN_STEP_MS = 20.0
"""How far sound and picture may have moved against each other."""
AUDIO_JOIN_MS = 250.0
"""How long after the joining key frame the first sound may begin: one interleaving interval of any
publisher here.
"""


@frozen
class Rules:
    """What a pair of carriers and a client let us ask.

    `tail` is how many frames may be missing at the end of each track (players that are stopped, or that
    drop what they hold);
    `unsent_sound` as many sound frames more, which the publisher itself keeps back; `times` False compares
    bytes and order only, for clients that write times of their own; `from_start`
    asks that
    nothing is missing at the start either; `same_dts` says that both carriers have decode times.
    """

    tolerance_ms: float = 1.0
    tail: int = 0
    unsent_sound: int = 0
    times: bool = True
    same_dts: bool = True
    from_start: bool = False
    from_key: bool = True
    """Whether the first picture is a key frame: who joins a multicast group gets what is being sent."""
    least: int = 20
    sound_within_ms: float = AUDIO_JOIN_MS


@frozen
class TrackReport:
    """One track's result: `joined` is the index in the source of the first frame received, `offset_ns`
    received minus published.
    """

    kind: str
    codec: str
    published: int
    received: int
    joined: int
    missing_tail: int
    offset_ns: int
    spread_ms: float


@frozen
class Report:
    """`problems` is empty where the crossing is frame-exact."""

    problems: tuple[str, ...]
    tracks: tuple[TrackReport, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        lines = [
            f"{t.kind} {t.codec}: {t.received} of {t.published} from frame {t.joined} on, "
            f"tail {t.missing_tail}, "
            f"offset {t.offset_ns / MS:.3f} ms, spread {t.spread_ms:.3f} ms"
            for t in self.tracks
        ]
        return "\n".join([*(f"PROBLEM {problem}" for problem in self.problems), *lines])


def compare(published: FrameList, received: FrameList, rules: Rules | None = None) -> Report:
    """Compare two frame lists from the joining key frame on; never raises on bad lists, it reports them."""
    rules = rules or Rules()
    problems: list[str] = []
    tracks: list[TrackReport] = []
    for kind in ("video", "audio"):
        source: FrameTrack | None = getattr(published, kind)
        got: FrameTrack | None = getattr(received, kind)
        if source is None and got is None:
            continue
        if source is None or got is None or not got.frames:
            problems.append(f"{kind}: published {source and source.codec}, received {got and got.codec}")
            continue
        if source.codec != got.codec:
            problems.append(f"{kind}: published {source.codec}, received {got.codec}")
            continue
        one = _compare_samples if source.codec in SAMPLED else _compare_frames
        report = one(source, got, rules, problems)
        if report is not None:
            tracks.append(report)
    _check_join(published, tracks, rules, problems)
    return Report(tuple(problems), tuple(tracks))


def _compare_frames(
    source: FrameTrack, got: FrameTrack, rules: Rules, problems: list[str]
) -> TrackReport | None:
    kind, frames, theirs = source.kind, source.frames, got.frames
    first = theirs[0]
    places = [i for i, frame in enumerate(frames) if frame.digest == first.digest]
    if not places:
        problems.append(f"{kind}: the first frame received ({_show(first)}) was never published")
        return None
    # Equal frames (digital silence) may stand in many places: the place after which most is equal is meant.
    joined = max(places, key=lambda i: _run(frames, theirs, i))
    if kind == "video" and rules.from_key and not frames[joined].key:
        problems.append(
            f"{kind}: joined at frame {joined}, which is not a key frame ({_show(frames[joined])})"
        )
    if rules.from_start and joined:
        problems.append(f"{kind}: {joined} frames are missing at the start")
    same = _run(frames, theirs, joined)
    if same < len(theirs):
        problems.append(_first_mismatch(kind, frames, theirs, joined, same))
    missing = len(frames) - joined - len(theirs)
    tail = rules.tail + (rules.unsent_sound if kind == "audio" else 0)
    if missing > tail:
        problems.append(f"{kind}: {missing} frames are missing at the end, at most {tail} may be")
    if len(theirs) < rules.least:
        problems.append(
            f"{kind}: only {len(theirs)} frames received, {rules.least} are the least that prove anything"
        )
    pairs = list(zip(frames[joined : joined + same], theirs, strict=False))
    times = [(a.pts, b.pts, f"frame {joined + n}") for n, (a, b) in enumerate(pairs)]
    offset, spread = _check_pts(kind, times, rules, problems)
    if rules.times:
        _check_dts(kind, pairs, offset, rules, problems)
    return TrackReport(kind, source.codec, len(frames), len(theirs), joined, max(missing, 0), offset, spread)


def _compare_samples(
    source: FrameTrack, got: FrameTrack, rules: Rules, problems: list[str]
) -> TrackReport | None:
    """G.711: one byte is one sample of 125 us, and carriers cut where they like."""
    head = got.samples[:400]
    joined = source.samples.find(head)
    if joined < 0 or not head:
        problems.append(f"{source.kind}: the first {len(head)} samples received were never published")
        return None
    rest = source.samples[joined:]
    if not rest.startswith(got.samples):
        at = next((i for i, (a, b) in enumerate(zip(rest, got.samples, strict=False)) if a != b), len(rest))
        problems.append(f"{source.kind}: samples differ from {at} of {len(got.samples)} received on")
    missing = len(rest) - len(got.samples)
    if missing > rules.tail * 160:
        problems.append(
            f"{source.kind}: {missing} samples are missing at the end, at most {rules.tail * 160} may be"
        )
    begin = source.frames[0].pts or 0
    times: list[tuple[int | None, int | None, str]] = []
    position = joined
    for frame in got.frames:
        times.append((begin + position * 125_000, frame.pts, f"sample {position}"))
        position += frame.size
    offset, spread = _check_pts(source.kind, times, rules, problems)
    # joined is counted in frames of 20 ms here, as elsewhere it is counted in frames
    return TrackReport(
        source.kind, source.codec, len(source.samples) // 160, len(got.samples) // 160, joined // 160,
        max(missing, 0) // 160, offset, spread,
    )  # fmt: skip


def _run(frames: tuple[CodedFrame, ...], theirs: tuple[CodedFrame, ...], joined: int) -> int:
    count = 0
    for mine, other in zip(frames[joined:], theirs, strict=False):
        if mine.digest != other.digest:
            break
        count += 1
    return count


def _first_mismatch(
    kind: str, frames: tuple[CodedFrame, ...], theirs: tuple[CodedFrame, ...], joined: int, same: int
) -> str:
    bad = theirs[same]
    where = joined + same
    expected = _show(frames[where]) if where < len(frames) else "nothing"
    elsewhere = [i for i, frame in enumerate(frames) if frame.digest == bad.digest]
    hint = (
        f"; it was published as frame {elsewhere[0]}" if elsewhere else "; these bytes were never published"
    )
    return f"{kind}: frame {where} should be {expected}, is {_show(bad)}{hint}"


def _check_pts(
    kind: str, times: list[tuple[int | None, int | None, str]], rules: Rules, problems: list[str]
) -> tuple[int, float]:
    """The offset in ns (middle of the range, so that roundings to ms on both sides stay in) and the spread
    in ms.
    """
    deltas = [
        (theirs - mine, where) for mine, theirs, where in times if mine is not None and theirs is not None
    ]
    # FFmpeg's RTSP client gives its first picture no pts, and no other may be without.
    unknown = [where for mine, theirs, where in times[1:] if mine is not None and theirs is None]
    if rules.times and (unknown or not deltas):
        problems.append(f"{kind}: {len(unknown)} frames without pts, first {unknown[:1]}")
    if not deltas:
        return 0, 0.0
    low, high = min(deltas), max(deltas)
    spread = (high[0] - low[0]) / MS
    if rules.times and spread > 2 * rules.tolerance_ms:
        first = deltas[0][0]
        away = next((d for d in deltas if abs(d[0] - first) > rules.tolerance_ms * MS), high)
        problems.append(
            f"{kind}: pts move by {spread:.3f} ms against the source, "
            f"first at {away[1]} by {(away[0] - first) / MS:+.3f} ms"
        )
    # A long-term offset is what most frames have, not what one outlier makes of it.
    middle = (
        sorted(d for d, _ in deltas)[len(deltas) // 2]
        if spread > 2 * rules.tolerance_ms
        else (low[0] + high[0]) // 2
    )
    return middle, spread


def _check_dts(
    kind: str, pairs: list[tuple[CodedFrame, CodedFrame]], offset: int, rules: Rules, problems: list[str]
) -> None:
    last: int | None = None
    for number, (mine, theirs) in enumerate(pairs):
        if theirs.dts is None:
            return
        if rules.same_dts and mine.dts is not None:
            away = (theirs.dts - mine.dts - offset) / MS
            if abs(away) > rules.tolerance_ms:
                problems.append(
                    f"{kind}: dts is {away:+.3f} ms away {number} frames after joining ({_show(theirs)})"
                )
                return
            # Equal is all that can be asked: GStreamer's flvmux sends the same dts twice at its start.
            continue
        if theirs.pts is not None and theirs.dts > theirs.pts:
            problems.append(f"{kind}: dts above pts {number} frames after joining ({_show(theirs)})")
            return
        if last is not None and theirs.dts <= last:
            problems.append(f"{kind}: dts does not increase {number} frames after joining ({_show(theirs)})")
            return
        last = theirs.dts


def _check_join(published: FrameList, tracks: list[TrackReport], rules: Rules, problems: list[str]) -> None:
    by_kind = {track.kind: track for track in tracks}
    video, audio = by_kind.get("video"), by_kind.get("audio")
    if video is None or audio is None or published.video is None or published.audio is None:
        return
    if rules.times:
        apart = (audio.offset_ns - video.offset_ns) / MS
        if abs(apart) > IN_STEP_MS:
            problems.append(
                f"sound is {apart:+.1f} ms out of step with the picture, at most {IN_STEP_MS:.0f} may be"
            )
    key = published.video.frames[video.joined].pts or 0
    if published.audio.codec in SAMPLED:
        sound = (published.audio.frames[0].pts or 0) + audio.joined * 20 * MS
    else:
        sound = published.audio.frames[audio.joined].pts or 0
    late = (sound - key) / MS
    if late > rules.sound_within_ms:
        problems.append(
            f"sound begins {late:.0f} ms after the joining key frame, at most {rules.sound_within_ms:.0f} may be"
        )


def _show(frame: CodedFrame) -> str:
    pts, dts = ("-" if time is None else f"{time / MS:.3f}" for time in (frame.pts, frame.dts))
    return f"pts {pts} dts {dts} size {frame.size} md5 {frame.digest[:8]}"
