"""FFmpeg as a client that misbehaves, beside a canary: stopped, slow, half open, reconnecting, second of two."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.settings import ServerConfig
from tests.interop.binaries import path_of, require
from tests.interop.clips import Clip
from tests.interop.frames import CodedFrame, read_frames
from tests.interop.process import Child

from .rig import Rig, rig
from .rtsp import eventually
from .server import MIB
from .slow_link import SlowLink

CLIP = Clip(
    "heavy",
    ("h264",),
    ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-qp", "4"),
    size="640x360",
    seconds=12,
)
"""About 4 Mbit/s with a key frame each second: it fills a socket's buffers soon."""
SETTINGS = (
    "server.handshake_timeout=10",
    "server.stall_timeout=2",
    "server.publisher_timeout=2",
    "server.reconnect_grace=6",
    "server.wait_for_stream=20",
    "server.max_backlog_seconds=1",
    "rtsp.session_timeout=3",
)
OVERRIDE = '[streams."takeover/*"]\noverride = true\n'
PLAYERS = {"rtmp": [], "rtsp-tcp": ["-rtsp_transport", "tcp"], "rtsp-udp": ["-rtsp_transport", "udp"]}
# It would look at five seconds of a stream before it begins, and at its sound, of which there is none.
SOON = ("-analyzeduration", "200000", "-probesize", "100000")
STARTED = 50_000
"""Bytes of a recording that show that its player plays."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    require("ffmpeg-new")
    CLIP.file("mp4")
    with rig(tmp_path_factory.mktemp("real"), *SETTINGS, config=OVERRIDE) as running:
        yield running


class Clients:
    """FFmpeg processes of one test, all of which are ended with it."""

    def __init__(self, faults: Rig, work: Path) -> None:
        self._faults = faults
        self._work = work
        self._numbers = itertools.count()
        self._children: list[Child] = []

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if child.running:
                child.process.send_signal(signal.SIGCONT)
                child.process.kill()
                child.process.wait()

    def _start(self, name: str, *options: str) -> Child:
        argv = [path_of("ffmpeg-new"), "-nostdin", "-v", "error", "-y", *options]
        child = Child.start(name, argv, self._work / f"{name}-{next(self._numbers)}.log")
        self._children.append(child)
        return child

    def publish(self, path: str) -> Child:
        url = f"rtmp://127.0.0.1:{self._faults.server.rtmp}/{path}"
        source = ["-re", "-stream_loop", "-1", "-i", str(CLIP.file("mp4"))]
        return self._start("publisher", *source, "-c", "copy", "-f", "flv", url)

    def play(self, how: str, path: str, port: int = 0) -> tuple[Child, Path]:
        """The player, and the file in which it records, once there is something in it."""
        scheme = how.partition("-")[0]
        url = f"{scheme}://127.0.0.1:{port or self._faults.server.ports[scheme]}/{path}"
        out = self._work / f"{how}-{next(self._numbers)}.ts"
        child = self._start(
            how,
            *SOON,
            *PLAYERS[how],
            "-i",
            url,
            "-c",
            "copy",
            "-flush_packets",
            "1",
            "-f",
            "mpegts",
            str(out),
        )
        plays = eventually(lambda: out.exists() and out.stat().st_size > STARTED, 10)
        assert plays, f"{how} does not play: {child.words()}"
        return child, out


@pytest.fixture
def clients(real: Rig, tmp_path: Path) -> Iterator[Clients]:
    with Clients(real, tmp_path) as started:
        yield started


def grows(out: Path) -> bool:
    """Whether a recording goes on."""
    size = out.stat().st_size
    return eventually(lambda: out.stat().st_size > size + STARTED, 10)


def numbers_of(frames: Iterable[CodedFrame]) -> list[int]:
    """Which pictures of the clip these are."""
    source = CLIP.frames("mp4").video
    assert source is not None
    places = {frame.digest: number for number, frame in enumerate(source.frames)}
    return [places[frame.digest] for frame in frames]


def begins_again(out: Path) -> None:
    """The recording has the end of one publisher and the beginning of the next, with times that go on."""
    video = read_frames(out, out.parent).video
    assert video is not None
    numbers = numbers_of(video.frames[:-1])
    last = CLIP.seconds * int(CLIP.fps) - 1
    assert any(after == 0 and before != last for before, after in itertools.pairwise(numbers)), numbers
    times = [frame.dts for frame in video.frames if frame.dts is not None]
    assert all(a < b for a, b in itertools.pairwise(times))


def decodes(out: Path) -> None:
    """All of it can be shown, and nothing is said about it."""
    argv = [path_of("ffmpeg-new"), "-nostdin", "-v", "error", "-i", str(out), "-f", "null", "-"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_stopped_players_cost_bounded_memory_and_are_closed(real: Rig, clients: Clients) -> None:
    """SIGSTOP over each carrier: who takes no data, or shows no sign of life, is closed; another player goes on."""
    server = real.server
    with real.watched(rss=16 * MIB), clients:
        clients.publish("real/stop")
        _, healthy = clients.play("rtmp", "real/stop")
        stopped = [clients.play(how, "real/stop")[0] for how in PLAYERS]
        said = len(server.log())
        for child in stopped:
            child.process.send_signal(signal.SIGSTOP)

        def reasons() -> list[str]:
            return sorted(
                str(line["reason"]) for line in server.log()[said:] if line["event"] == "session closed"
            )

        wanted = ["no sign of life for 3 s", *["the peer took no data for 2 s"] * 2]
        assert eventually(lambda: reasons() == wanted, 15), reasons()
        assert grows(healthy)


def test_slow_players_skip_to_key_frames(real: Rig, clients: Clients) -> None:
    """On links of half the rate: what arrives can be decoded, after each gap comes a key frame, and gaps are counted."""
    rate = CLIP.file("mp4").stat().st_size / CLIP.seconds / 2
    with real.watched(rss=16 * MIB), ExitStack() as links, clients:
        clients.publish("real/slow")
        clients.play("rtmp", "real/slow")
        slow: list[tuple[SlowLink, Path]] = []
        for how in ("rtmp", "rtsp-tcp"):
            link = links.enter_context(SlowLink(real.server.ports[how.partition("-")[0]], rate))
            slow.append((link, clients.play(how, "real/slow", link.port)[1]))
        time.sleep(7)
    for link, out in slow:
        video = read_frames(out, out.parent).video
        assert video is not None
        # The last one may be half written.
        frames = video.frames[:-1]
        numbers = numbers_of(frames)
        gaps = 0
        for (before, after), frame in zip(itertools.pairwise(numbers), frames[1:], strict=True):
            missed = (after - before - 1) % (CLIP.seconds * int(CLIP.fps))
            gaps += missed
            assert not missed or frame.key, f"a gap of {missed} frames ends at one that is not key"
        assert gaps, "nothing was skipped, so that it shows nothing"
        counted = real.line(link.address)["skipped_frames"]
        assert counted >= gaps, (counted, gaps)
        decodes(out)


def test_half_open_publisher_is_noticed_and_its_players_stay_for_the_next(
    real: Rig, clients: Clients
) -> None:
    """The publisher is stopped: closed after ``publisher_timeout``. Another comes in time, and all players go on."""
    assert ServerConfig().publisher_timeout <= 10
    server = real.server
    with real.watched(rss=16 * MIB), clients:
        first = clients.publish("real/again")
        players = [clients.play(how, "real/again") for how in PLAYERS]
        said = len(server.log())
        first.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()

        def evicted() -> bool:
            return any(
                line.get("reason") == "the publisher sent nothing for 2 s" for line in server.log()[said:]
            )

        assert eventually(evicted, 10)
        assert time.monotonic() - began > 1
        clients.publish("real/again")
        for child, out in players:
            assert grows(out), child.words()
            assert child.running
    for _, out in players:
        begins_again(out)


def test_publisher_that_is_killed_and_comes_back_keeps_its_players(real: Rig, clients: Clients) -> None:
    with real.watched(rss=16 * MIB), clients:
        first = clients.publish("real/killed")
        players = [clients.play(how, "real/killed") for how in PLAYERS]
        first.process.kill()
        first.process.wait()
        clients.publish("real/killed")
        for child, out in players:
            assert grows(out), child.words()
            assert child.running
    for _, out in players:
        begins_again(out)


def test_second_publisher_is_refused_or_takes_over(real: Rig, clients: Clients) -> None:
    """FFmpeg is told so and ends; where ``override`` is set, it is the first that ends, and its players stay."""
    with real.watched(rss=16 * MIB), clients:
        first = clients.publish("real/one")
        player, out = clients.play("rtsp-tcp", "real/one")
        second = clients.publish("real/one")
        assert second.wait(10), "the second publisher is not refused"
        assert second.process.returncode != 0
        assert first.running
        assert grows(out), player.words()
        old = clients.publish("takeover/one")
        player, out = clients.play("rtmp", "takeover/one")
        new = clients.publish("takeover/one")
        assert old.wait(10), "the first publisher goes on"
        assert grows(out), player.words()
        assert new.running
        assert player.running
