"""A live publisher: FFmpeg encodes frames that are made as they are sent, with a tone, and sends them over RTMP, RTSP or WHIP.

``python -m tests.browser.publisher RATE`` writes the frames to its output at that rate until it is closed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.binaries import path_of
from tests.interop.process import Child

from .picture import HEIGHT, WIDTH, frame

RATE = 25
TONE = 1000
"""Hertz."""
TAGGED = ("-vf", "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709")
"""Said of the frames as they are: options of the encoder would have FFmpeg convert them."""
LIVE = (
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-b:v",
    "400k",
    "-maxrate",
    "800k",
    "-bufsize",
    "400k",
)
SEED = ("-c:v", "libx264", "-preset", "veryfast")
"""The seed's own command, which leaves groups of pictures (250 frames) and B-frames to x264."""
SOUND = ("-c:a", "aac", "-b:a", "64k", "-ac", "2")


@contextmanager
def publishing(url: str, work: Path, *video: str, audio: tuple[str, ...] = SOUND) -> Generator[Child]:
    """Publish to `url` with these encoder options until the end of the block."""
    name = "publisher-" + "".join(c if c.isalnum() else "-" for c in url.rpartition("/")[2])
    frames = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.publisher", str(RATE)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert frames.stdout is not None
    picture = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        str(RATE),
        "-i",
        "pipe:0",
    ]
    # It ends by itself: where the harness was killed, an encoder without pictures would make sound as fast as it can.
    tone = ["-f", "lavfi", "-i", f"sine=frequency={TONE}:sample_rate=48000:duration=600"]
    argv = [path_of("ffmpeg-new"), "-v", "error", "-fflags", "nobuffer", "-probesize", "32", *picture, *tone]
    carriers = {"rtsp": ("-f", "rtsp", "-rtsp_transport", "tcp"), "http": ("-f", "whip")}
    to = carriers.get(url.partition(":")[0], ("-f", "flv", "-flush_packets", "1"))
    argv += [*video, *TAGGED, "-pix_fmt", "yuv420p", *audio, *to, url]
    log = work / f"{name}.log"
    with log.open("wb") as out:
        encoder = subprocess.Popen(argv, stdin=frames.stdout, stdout=out, stderr=out, start_new_session=True)
    frames.stdout.close()
    child = Child(name, argv, log, encoder)
    try:
        yield child
    finally:
        child.stop()
        frames.terminate()
        frames.wait()


def main(rate: int) -> None:
    start = time.monotonic()
    number = 0
    with os.fdopen(sys.stdout.fileno(), "wb", buffering=0) as out:
        while True:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            try:
                out.write(frame(number, time.time_ns() // 1_000_000))
            except BrokenPipeError:
                return
            number += 1


if __name__ == "__main__":
    main(int(sys.argv[1]))
