"""What changes while a session goes on: the size of the pictures, and how the peers reach each other."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
from aiortc import RTCPeerConnection, RTCSessionDescription
from playwright.sync_api import Page

from tests.interop.binaries import path_of
from tests.interop.server import Penstock

from .play import origin
from .test_webrtc import LIMIT, Told, begin, live, page, until

__all__ = ["page"]

SIZES = ("320x240", "640x480")
PART = 1.2
"""Seconds of each size."""
TURNS = 8
ENOUGH = 10
"""Pictures of either size."""
MORE = 25
"""Pictures that are decoded after a restart."""


@contextlib.contextmanager
def changing(url: str, work: Path) -> Generator[None]:
    """FFmpeg publishes pictures of both sizes by turns: each has parameter sets of its own."""
    program = path_of("ffmpeg-new")
    for size in SIZES:
        source = [
            "-f",
            "lavfi",
            "-i",
            f"testsrc2=size={size}:rate=25",
            "-t",
            str(PART),
            "-pix_fmt",
            "yuv420p",
        ]
        coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"]
        subprocess.run(
            [program, "-v", "error", "-y", *source, *coding, str(work / f"{size}.ts")],
            check=True,
            timeout=LIMIT,
        )
    turns = work / "turns.txt"
    turns.write_text("".join(f"file '{size}.ts'\n" for size in SIZES * TURNS))
    # The filter has FLV told of each change, as encoders do it that change their size.
    argv = [
        program,
        "-v",
        "error",
        "-re",
        "-f",
        "concat",
        "-i",
        str(turns),
        "-c",
        "copy",
        "-bsf:v",
        "extract_extradata",
    ]
    with subprocess.Popen([*argv, "-f", "flv", "-flush_packets", "1", url]) as encoder:
        try:
            yield
        finally:
            encoder.terminate()


async def decoded(url: str) -> Counter[str]:
    """How many pictures of each size aiortc decodes, until there are enough of both."""
    peer, found = RTCPeerConnection(), Counter[str]()
    track: Any = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    async with httpx2.AsyncClient() as http:
        headers = {"content-type": "application/sdp"}
        answer = await http.post(url, content=peer.localDescription.sdp, headers=headers)
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    try:
        async with asyncio.timeout(LIMIT):
            while min(found[size] for size in SIZES) < ENOUGH:
                picture = await track.track.recv()
                found[f"{picture.width}x{picture.height}"] += 1
    finally:
        await peer.close()
    return found


def eventually(page: Page, expression: str, value: object) -> None:
    """Wait until what a function of the page promises is true."""
    deadline = time.monotonic() + LIMIT
    while not page.evaluate(expression, value):
        assert time.monotonic() < deadline, (expression, value)
        page.wait_for_timeout(50)


def test_pictures_that_change_their_size_are_decoded(server: Penstock, page: Page, work: Path) -> None:
    url = f"{origin(server)}/live/sizes/whep"
    with changing(server.endpoints.url("rtmp", "live/sizes"), work), ThreadPoolExecutor() as threads:
        live(server, "live/sizes")
        other = threads.submit(asyncio.run, asyncio.wait_for(decoded(url), 2 * LIMIT))
        told = begin(page, "Playing", "sizes", url)
        assert told["status"] == 201, told
        page.evaluate(
            "() => { const peer = Playing.all.sizes; peer.sizes = {}; const note = (_, { width, height }) => {"
            " const size = `${width}x${height}`; peer.sizes[size] = (peer.sizes[size] ?? 0) + 1;"
            " peer.video.requestVideoFrameCallback(note); }; peer.video.requestVideoFrameCallback(note); }"
        )
        until(page, f"{list(SIZES)}.every((size) => peer.sizes[size] >= {ENOUGH})", "sizes")
        # No picture was lost at a change, and none had to be asked for.
        stats: Told = page.evaluate("() => Playing.all.sizes.stats()")["video"]
        assert (stats["packetsLost"], stats["pliCount"]) == (0, 0), stats
        assert set(other.result(LIMIT)) == set(SIZES)


def test_candidates_that_come_later_and_an_ice_restart(server: Penstock, page: Page) -> None:
    """By who publishes and by who plays: nothing stops, and what goes by the new session is the same media."""
    url = f"{origin(server)}/live/restarted"
    sessions: dict[str, Told] = {}
    for kind, name, end in (("Publishing", "source", "whip"), ("Playing", "restarted", "whep")):
        more = ("video/VP8", 440) if kind == "Publishing" else ()
        told = begin(page, kind, name, f"{url}/{end}", *more)
        assert told["status"] == 201, told
        assert "a=candidate" not in told["offer"]
        trickled: Told = page.evaluate("name => patch(Playing.all[name], false)", name)
        assert (trickled["status"], trickled["fragment"], trickled["etag"]) == (204, "", None), trickled
        assert trickled["candidates"], trickled
        sessions[name] = told
        if kind == "Publishing":
            live(server, "live/restarted")
    until(page, "peer.first !== null", "restarted")
    for name, told in sessions.items():
        assert page.evaluate("name => sessionOf(Playing.all[name].pc)", name) == told["etag"]
        restarted: Told = page.evaluate("name => patch(Playing.all[name], true)", name)
        assert restarted["status"] == 200, restarted
        assert restarted["etag"] != told["etag"]
        eventually(
            page,
            "async ([name, tag]) => await sessionOf(Playing.all[name].pc) === tag",
            [name, restarted["etag"]],
        )
        assert page.evaluate("name => Playing.all[name].pc.connectionState", name) == "connected"
        before: int = page.evaluate("() => Playing.all.restarted.stats()")["video"]["framesDecoded"]
        eventually(
            page,
            "async (count) => (await Playing.all.restarted.stats()).video.framesDecoded > count",
            before + MORE,
        )
    lost: Told = page.evaluate("() => Playing.all.restarted.stats()")["video"]
    assert lost["packetsLost"] == 0, lost
