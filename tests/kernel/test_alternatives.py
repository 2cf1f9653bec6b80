"""Which track of a group readers get that do not choose."""

from __future__ import annotations

import pytest

from penstock import Alternatives, Registry, Track
from penstock_codecs.vp8 import plugin as vp8
from penstock_codecs.vp8.header import VP8, Vp8Config

REGISTRY = Registry()
vp8.register(registry=REGISTRY)
SMALL = Track(1, VP8, 90_000, Vp8Config(320, 180), group="simulcast")
LARGE = Track(2, VP8, 90_000, Vp8Config(1280, 720), group="simulcast")
MIDDLE = Track(3, VP8, 90_000, Vp8Config(640, 360), group="simulcast")
ALONE = Track(4, VP8, 90_000, Vp8Config(1920, 1080))


def taken(tracks: list[Track], *chosen: int) -> list[int]:
    alternatives = Alternatives(REGISTRY, tracks, chosen)
    return [track.id for track in tracks if not alternatives.reason(track)]


@pytest.mark.parametrize(
    ("tracks", "chosen", "ids"),
    [
        ([SMALL, LARGE, MIDDLE, ALONE], (), [2, 4]),
        ([ALONE, LARGE, SMALL], (), [4, 2]),
        ([SMALL, LARGE, MIDDLE, ALONE], (3, 4), [3, 4]),
        ([Track(5, VP8, 90_000, group="simulcast"), SMALL], (), [1]),
        ([Track(5, VP8, 90_000, group="other"), SMALL], (), [5, 1]),
    ],
)
def test_one_of_a_group_is_taken(tracks: list[Track], chosen: tuple[int, ...], ids: list[int]) -> None:
    assert taken(tracks, *chosen) == ids


def test_what_comes_later_is_left_out_where_its_group_has_one() -> None:
    alternatives = Alternatives(REGISTRY, [SMALL])
    assert "another of its group" in alternatives.reason(LARGE)
    assert not alternatives.reason(Track(7, VP8, 90_000, group="other"))
    assert alternatives.reason(Track(8, VP8, 90_000, group="other"))
