"""What two readers that browsers use, mp4box and mediabunny, find in what we write: ``pytest -m full``.

They come from npm, which is asked once for each version and keeps them with the clips.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from penstock_formats.isobmff import FragmentMuxer
from tests.formats.isobmff.captures import REGISTRY, STREAMABLE, by_key_frame, muxed, read, received
from tests.formats.isobmff.test_muxer import samples
from tests.interop.clips import cache_folder

PACKAGES = ("mp4box@2.4.1", "mediabunny@1.61.0")
READ = Path(__file__).with_name("npm") / "read.cjs"


@cache
def node_modules() -> Path:
    """Where the packages are installed. Raises `CalledProcessError` where npm cannot."""
    folder = cache_folder() / ("npm-" + "-".join(PACKAGES))
    if not (folder / "done").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        (folder / "done").touch()
    return folder / "node_modules"


def found(*files: Path) -> list[dict[str, Any]]:
    """What both find in each file."""
    environment = {**os.environ, "NODE_PATH": str(node_modules())}
    done = subprocess.run(
        ["node", str(READ), *map(str, files)], check=True, capture_output=True, text=True, timeout=120,
        env=environment,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.full
@pytest.mark.skipif(shutil.which("npm") is None, reason="not installed: node and npm")
@pytest.mark.parametrize("size", ["whole", "parts"])
def test_both_find_every_frame_at_its_time(size: str, tmp_path: Path) -> None:
    files: list[Path] = []
    written: list[bytes] = []
    for name in STREAMABLE:
        tracks, frames = received(read(name))
        groups = by_key_frame(frames) if size == "whole" else [[frame] for frame in frames]
        # mp4box adds durations up, and looks at the first decode time only: it needs to be told each of them.
        written.append(muxed(tracks, groups, ends=True))
        files.append(tmp_path / f"{name}.mp4")
        files[-1].write_bytes(written[-1])
    for name, data, both in zip(STREAMABLE, written, found(*files), strict=True):
        assert both["mp4box"]["said"] == [], name
        own = samples(data)
        codecs = FragmentMuxer(REGISTRY, received(data)[0]).codecs
        theirs = both["mp4box"]["tracks"]
        assert [track["codec"].lower() for track in theirs.values()] == [codec.lower() for codec in codecs]
        for id, track in theirs.items():
            mine = [s for s in own if s.track.id == int(id)]
            assert [one[:2] + one[3:] for one in track["samples"]] == [
                [s.dts, s.pts, len(s.data), s.key] for s in mine
            ], name
            packets = both["mediabunny"]["tracks"][id]["packets"]
            assert [
                (round(at * s.track.timescale), size) for (at, size, _), s in zip(packets, mine, strict=True)
            ] == [(s.pts, len(s.data)) for s in mine], name
