"""A publisher leaves and one comes back while players of HLS stay: what is decoded over the discontinuity is every picture of
both, in order.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from . import clients
from .binaries import path_of, require
from .clips import CLIPS, Clip
from .crossing import JOIN_AFTER
from .hls import VARIANTS
from .process import Child, stop_all
from .server import Penstock, penstock

FIRST = CLIPS["short"]
SECOND = {"the-same": FIRST, "another": CLIPS["short-large"]}
"""Who comes: with the same parameter sets, whose pictures are told apart by their order alone, or with another size."""
LEAVES_AFTER = 2.8
"""Seconds: in the middle of a group of pictures."""
REORDERED = 3
"""B-frames in a row of the first clip."""
GONE = 0.7
"""Seconds for which there is no publisher."""
BEHIND = 8.0
"""Seconds in which players come to the end of what was published."""

Decoded = dict[str, tuple[list[str], str]]


def _md5s(listing: Path) -> list[str]:
    return [line.rsplit(",", 1)[1].strip() for line in listing.read_text().splitlines() if line[:1] == "0"]


def _decoding(url: str, listing: Path) -> list[str]:
    out = ["-map", "0:v", "-noautoscale", "-fps_mode", "passthrough", "-f", "framemd5", "-flush_packets", "1"]
    begin = ["-live_start_index", "0"] if ".m3u8" in url else []
    return [path_of("ffmpeg-new"), "-nostdin", "-y", "-v", "error", *begin, "-i", url, *out, str(listing)]


@cache
def _pictures(clip: Clip) -> list[str]:
    """The decoded pictures of a clip."""
    listing = clip.file(clip.base).with_suffix(".decoded")
    subprocess.run(_decoding(str(clip.file(clip.base)), listing), check=True, timeout=60)
    return _md5s(listing)


@pytest.fixture(scope="module")
def decoded(work: Path) -> Iterator[dict[str, Future[Decoded]]]:
    """What each player has decoded, and what it said, by the second publisher; all at once."""
    require("ffmpeg-new")
    for clip in (FIRST, *SECOND.values()):
        _pictures(clip)
    settings = ("server.segment_seconds=1", "server.reconnect_grace=3")
    with penstock(work / "server", *settings) as server, server.explained(), ThreadPoolExecutor(2) as lanes:
        yield {name: lanes.submit(_played, server, name, work / name) for name in SECOND}


def _played(server: Penstock, name: str, work: Path) -> Decoded:
    work.mkdir()
    path, source = f"live/{name}", clients.publisher("ffmpeg new rtmp")

    def publish(clip: Clip) -> Child:
        argv = source.argv(clip, server.endpoints.url("rtmp", path), work)
        return Child.start("publisher", argv, work / "publisher.log")

    children = [publish(FIRST)]
    try:
        time.sleep(JOIN_AFTER)
        players = {v: work / f"{v}.md5" for v in VARIANTS}
        for variant, listing in players.items():
            url = f"{server.endpoints.http}/{path}.m3u8?variant={variant}"
            children.append(
                Child.start(f"ffmpeg {variant}", _decoding(url, listing), work / f"{variant}.log")
            )
        # Not at its end: what breaks off, breaks off anywhere.
        children[0].wait(LEAVES_AFTER - JOIN_AFTER)
        children[0].process.send_signal(signal.SIGKILL)
        children[0].process.wait()
        time.sleep(GONE)
        children.append(publish(SECOND[name]))
        for child in children[1:-1]:
            child.wait(SECOND[name].seconds + BEHIND)
    finally:
        stop_all(children)
    return {v: (_md5s(listing), children[1 + i].words()) for i, (v, listing) in enumerate(players.items())}


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("variant", VARIANTS)
def test_pictures_of_both_publishers_are_decoded(
    variant: str, second: str, decoded: dict[str, Future[Decoded]]
) -> None:
    got, words = decoded[second].result()[variant]
    before, after = _pictures(FIRST), _pictures(SECOND[second])
    seen = 0
    while seen < min(len(got), len(before)) and got[seen] == before[seen]:
        seen += 1
    assert len(before) / 2 <= seen < len(before), words
    # Cut off in decoding order: of what is shown behind the cut, some may have come.
    late = got[seen : -len(after)]
    assert len(late) <= REORDERED, words
    assert set(late) <= set(before[seen:]), words
    assert got[-len(after) :] == after, words
    assert "[h264" not in words, words
