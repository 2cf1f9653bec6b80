"""The pairwise subset of the matrix against one running penstock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .binaries import missing, require
from .crossing import Crossing, Outcome
from .matrix import LANES, pairwise, possible, run_one
from .server import Penstock

CLIPS_HERE = ("h264-aac", "h264b-aac44", "hevc-aac", "h264-opus", "h264-pcma", "audio-only")
"""The clips of the subset; the full matrix has more of them, and says in its table which do not cross yet."""

SUBSET = pairwise(possible(CLIPS_HERE))


@pytest.fixture(scope="module")
def crossed(
    server: Penstock, work: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[list[Outcome]]]]:
    """All crossings of the tests selected, begun at once, `LANES` at a time; each test waits for its own."""
    calls: list[Any] = [getattr(item, "callspec", None) for item in request.session.items]
    wanted: set[str] = {call.params["crossing"].name for call in calls if call and "crossing" in call.params}
    here = [crossing for crossing in SUBSET if crossing.name in wanted and missing(*crossing.needs) is None]
    for crossing in here:
        # Made beforehand: encoding beside a running crossing would take its two cores.
        crossing.clip.frames(crossing.publisher.container(crossing.clip))
    lanes = ThreadPoolExecutor(LANES)
    yield {crossing.name: lanes.submit(run_one, server.endpoints, crossing, work) for crossing in here}
    lanes.shutdown(cancel_futures=True)


@pytest.mark.parametrize("crossing", SUBSET, ids=lambda crossing: crossing.name)
def test_every_frame_crosses(
    crossing: Crossing, crossed: dict[str, Future[list[Outcome]]], server: Penstock
) -> None:
    require(*crossing.needs)
    with server.explained():
        outcomes = crossed[crossing.name].result()
        assert len(outcomes) == len(crossing.players)
        assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))
