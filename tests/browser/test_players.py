"""Players that nobody here wrote, side by side in one browser, of one stream: no stall, every picture as it was published,
and the tone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.interop.server import Penstock
from tests.machine import alone

from .chromium import chromium
from .play import GOPS, origin
from .publisher import RATE, TONE, publishing
from .wall import PLAYERS, Shown, Wall

SECONDS = 6.0
SETTLE = 2.0
"""Seconds in which players come back to what they aim for, if others had the machine."""
UNSTEADY = ("native m3u8 fmp4",)
"""What Chromium 156's own HLS shows of separate sound and picture stands still now and then on a busy machine;
`tests.browser.play` shows it.
"""
STEADY = tuple(player for player in PLAYERS if player not in UNSTEADY)
START_LIMIT = 60.0


@pytest.fixture(scope="module")
def shown(server: Penstock, work: Path) -> Iterator[dict[str, Shown]]:
    """What all players show of one stream in the same seconds."""
    with chromium() as browser, publishing(server.endpoints.url("rtmp", "live/wall"), work, *GOPS["1 s"]):
        wall = Wall(browser, origin(server), "live/wall", STEADY)
        wall.wait(START_LIMIT)
        # Thirteen players take a whole core: what they show beside other tests says more of these than of the server.
        with alone():
            found = wall.watch(SECONDS, settle=SETTLE, attempts=6)
    with server.explained():
        yield found


@pytest.mark.parametrize("player", STEADY)
def test_it_plays_without_a_stall_what_was_published(player: str, shown: dict[str, Shown]) -> None:
    seen = shown[player]
    assert not seen.faults(RATE), seen


@pytest.mark.parametrize("player", STEADY)
def test_it_is_heard(player: str, shown: dict[str, Shown]) -> None:
    frequency = shown[player].frequency
    assert frequency is not None
    assert abs(frequency - TONE) < 15, shown[player]


LATE = Shown(
    player="hls.js ll",
    seconds=6.0165,
    played=7.22,
    frames=146,
    decoded=181,
    dropped=0,
    missing=34,
    backwards=0,
    unreadable=0,
    stalls=0,
    longest=0.1,
    colour=6,
    sound=60_000,
    frequency=1000.0,
    delay=3888.9,
    delay_least=3298.1,
    delay_most=4485.0,
    begun=2.7,
    error="",
)
"""Begun beside other tests: what it shows 4.5 s late is 3.3 s late six seconds after that, at the pace of 1.2 that it takes."""


def test_who_makes_up_for_a_delay_decodes_more_in_a_second_and_is_not_wrong() -> None:
    assert not LATE.faults(RATE)
    assert evolve(LATE, played=6.0).faults(RATE) == ["181 frames decoded of 6.0 s of the stream"]
    assert evolve(LATE, played=8.0, decoded=200).faults(RATE) == ["8.0 s of the stream played in 6.0 s"]
    assert evolve(LATE, played=0.0, decoded=0).faults(RATE) == ["0.0 s of the stream played in 6.0 s"]
