"""The time code that is written in FFmpeg's test picture, as it is seen."""

from __future__ import annotations

import subprocess

from tests.interop.binaries import path_of

CLOCK = "testsrc2=size=320x180:rate=25"
"""FFmpeg's test picture, which has the time code and the frame's number written in it."""
CODE = 104, 40
"""Where: in the corner, so wide and high."""
BRIGHT = 120
"""Digits are orange in a dark box."""


def time_codes(*source: str) -> list[bytes]:
    """The time codes of an input's pictures: of each pixel, whether it is of a digit."""
    width, height = CODE
    argv = [path_of("ffmpeg-new"), "-v", "error", *source, "-vf", f"scale=320:180,crop={width}:{height}:0:0"]
    argv += ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    told = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True).stdout
    lit = bytes(value > BRIGHT for value in told)
    return [lit[at : at + width * height] for at in range(0, len(lit), width * height)]
