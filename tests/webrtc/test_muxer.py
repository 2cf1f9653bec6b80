"""What WHEP viewers are sent of pictures that come out of order."""

from __future__ import annotations

import pytest

from penstock.errors import Closed
from penstock.media import NS, Frame, Track
from penstock.registry import Registry
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_codecs.vp8 import plugin as vp8
from penstock_webrtc.muxer import PayloadMuxer

MS = NS // 1000
PICTURE = bytes((0x10, 0, 0, 0x9D, 1, 0x2A, 64, 0, 64, 0, 1, 2, 3))


def _shown(*times: int) -> list[int]:
    """The pts in ms of what is sent of pictures that come each 40 ms and are to be shown at `times`."""
    track = Track(1, VP8, 90_000, Vp8Config())
    muxer = PayloadMuxer(_registry(), [track])
    sent: list[int] = []
    for number, time in enumerate(times):
        units = muxer.mux(Frame(track, time * MS, number * 40 * MS, (PICTURE,)))
        sent += [time for _ in units]
    return sent


def _registry() -> Registry:
    registry = Registry()
    vp8.register(registry)
    return registry


def test_a_clock_that_is_set_back_once_lets_nobody_go() -> None:
    times = (1000, 1040, 1080, 600, 640, 680)
    assert _shown(*times) == list(times)


def test_reordered_pictures_end_it() -> None:
    with pytest.raises(Closed, match="B-frames"):
        _shown(1000, 1120, 1040, 1080, 1240, 1160)
