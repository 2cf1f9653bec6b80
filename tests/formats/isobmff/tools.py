"""What tools that nobody here wrote have to say of a file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from pymediainfo import MediaInfo

from tests.interop.binaries import path_of, require

NO_USAC = "CMAF does not permit USAC UsacConfig channelConfigurationIndex 0"
"""MediaInfo 24.12 takes AAC for USAC where a file has the brand of CMAF, FFmpeg's own too."""


def warnings(file: Path) -> str:
    """What Debian's ffprobe and the newer FFmpeg have against a file, decoding all of it; empty for nothing."""
    require("ffprobe", "ffmpeg-new")
    strict = ("-v", "warning", "-err_detect", "explode+bitstream+buffer+compliant")
    commands = [
        [path_of("ffprobe"), *strict, "-count_frames", str(file)],
        [path_of("ffmpeg-new"), *strict, "-xerror", "-i", str(file), "-map", "0", "-f", "null", "-"],
    ]
    said = ""
    for command in commands:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        said += done.stderr + (f"{command[0]}: exit status {done.returncode}" if done.returncode else "")
    return said


def counted(file: Path) -> list[int]:
    """How many frames MediaInfo finds in each track. Raises `ValueError` for what it holds to be against a standard."""
    media: Any = MediaInfo.parse(file)
    tracks: list[dict[str, Any]] = [track.to_data() for track in media.tracks]
    for track in tracks:
        errors = int(track.get("conformance_errors", 0))
        errors -= sum(str(value).startswith(NO_USAC) for value in track.values())
        if errors or track.get("istruncated"):
            raise ValueError(f"MediaInfo has something against it: {track}")
    return [int(track["frame_count"]) for track in tracks if track["track_type"] != "General"]


def boxes(file: Path) -> list[tuple[str, int]]:
    """Type and size of each box that tshark's dissector finds, in order, containers in front of what is in them."""
    require("tshark")
    command = [
        path_of("tshark"),
        "-r",
        str(file),
        "-T",
        "fields",
        "-e",
        "mp4.box.type_str",
        "-e",
        "mp4.box.size",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    types, sizes = (column.split(",") for column in done.stdout.rstrip("\n").split("\t"))
    return list(zip(types, map(int, sizes), strict=True))
