"""What is worked out once for all viewers of a pass."""

from __future__ import annotations

from penstock.media import NS, Frame, Track
from penstock.ring import Unit
from penstock_codecs.g711 import PCMA, G711Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp8.header import VP8, Vp8Config
from penstock_webrtc.units import Batches, PayloadUnit

PICTURE, SOUND = Track(1, VP8, 90_000, Vp8Config()), Track(2, OPUS, 48_000, OpusConfig.simple(2))
SAMPLES = Track(3, PCMA, 8000, G711Config())


def unit(
    track: Track, at: int, sizes: list[int], after: PayloadUnit | None = None, *ticks: int
) -> PayloadUnit:
    payloads = tuple(map(bytes, sizes))
    frame = Frame(track, at, at, payloads)
    return PayloadUnit(frame, payloads, ticks, track.clock_rate, key=False, after=after)


def test_frames_are_together_by_track_with_pictures_first() -> None:
    sound = [unit(SOUND, NS, [3])]
    sound.append(unit(SOUND, NS // 2, [4], sound[0]))
    pictures = [unit(PICTURE, 2 * NS, [9, 9, 1])]
    units = [sound[0], Unit(None, (b"x",), 0), pictures[0], sound[1]]
    batches = Batches()
    found = batches.of(units)
    assert [(f.track, f.units, f.last, f.number, f.pts, f.plain) for f in found] == [
        (1, pictures, pictures[0], 0, 2 * NS, True),
        (2, sound, sound[1], 0, NS // 2, True),
    ]
    assert found[1].rows == [(0, 48_000, (bytes(3),)), (1, 24_000, (bytes(4),))]
    assert batches.of(units) is found
    assert batches.of(list(units)) is not found
    assert not batches.of([])


def test_what_is_not_plain() -> None:
    first = unit(SOUND, 0, [3, 3])
    missing = unit(SOUND, 2, [3], unit(SOUND, 1, [3], first))
    assert [f.plain for f in Batches().of([first, missing])] == [False]
    assert [f.plain for f in Batches().of([missing])] == [True]
    assert [f.plain for f in Batches().of([unit(SAMPLES, 0, [8, 8], None, 8)])] == [False]
