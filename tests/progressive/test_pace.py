"""How fast a body is taken."""

from __future__ import annotations

from penstock.media import NS
from penstock_progressive.pace import LEAD, Pace


def test_a_live_encoder_is_never_held_up() -> None:
    pace = Pace()
    # For a day, with a clock a ten-thousandth fast, and what it has gathered at once in between.
    for second in range(0, 86_400, 7):
        assert not pace.wait(second * NS + second * 100_000, second * NS)
        assert not pace.wait(second * NS + NS, second * NS)


def test_a_file_is_taken_as_it_plays() -> None:
    pace = Pace()
    now, media = 50 * NS, 9 * NS
    for _ in range(1000):
        media += NS // 25
        now += pace.wait(media, now)
    # 40 s of media take 38: the lead that everybody has; a thousandth is let pass.
    assert abs(now - 50 * NS - (40 * NS - LEAD)) < NS // 10


def test_who_was_held_up_may_catch_up() -> None:
    pace = Pace()
    assert not pace.wait(0, 0)
    assert not pace.wait(10 * NS, 30 * NS)
