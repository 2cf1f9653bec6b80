"""Enhanced RTMP v2 with several tracks of a kind: FFmpeg publishes them, and who can take them gets them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from .binaries import path_of, require
from .clients import FFmpegPlayer, Player, player
from .clips import AAC, CLIPS, X264_JOINABLE, Clip
from .compare import compare
from .crossing import Endpoints, cross_command
from .frames import FrameList, dump_options, read_dump
from .server import penstock

FIRST = CLIPS["short"]
SECOND = Clip("second", ("h264", "aac"), X264_JOINABLE, AAC, size="240x136", rate=44100, seconds=4)


def _of(number: int, options: Iterable[str]) -> list[str]:
    """Words that map the first track of each kind, for the second (1) instead."""
    return [word.replace(":v:0", f":v:{number}").replace(":a:0", f":a:{number}") for word in options]


@frozen
class SecondTracks(FFmpegPlayer):
    """An FFmpeg that takes the second picture and the second sound."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return _of(1, super().argv(clip, url, work))


@frozen
class Multitrack(Player):
    """A player that announces multitrack; which of the tracks are looked at is `number`'s to say."""

    number: int = 0

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("rtmp_play.py")), url, str(work / "all.flv")]

    def frames(self, work: Path) -> FrameList:
        stem = work / "tracks"
        listing = _of(self.number, dump_options("h264", "aac", stem))
        command = [
            path_of("ffmpeg-new"),
            "-v",
            "error",
            "-y",
            "-copyts",
            "-i",
            str(work / "all.flv"),
            *listing,
        ]
        subprocess.run(command, check=False, capture_output=True, timeout=60)
        return read_dump(stem)


def test_every_track_reaches_who_can_take_it(folder: Path) -> None:
    """RTMP's players are at the server, RTSP's at another penstock, which pulls all tracks from it by RTMP."""
    require("ffmpeg", "ffmpeg-new")
    old, new, rtsp = player("ffmpeg 5.1 rtmp"), player("ffmpeg new rtmp"), player("ffmpeg new rtsp-tcp")
    many = Multitrack("multitrack", "rtmp", ("ffmpeg-new",), new.codecs, new.rules)
    firsts: list[Player] = [old, new, many, rtsp]
    seconds: list[Player] = [
        evolve(many, number=1),
        SecondTracks("second", "rtsp-tcp", rtsp.needs, rtsp.codecs, rtsp.rules),
    ]
    path = "live/many"
    with penstock(folder / "server") as server, server.explained():
        source = server.endpoints.url("rtmp", path)
        config = f'[streams."{path}"]\nsource = "{source}"\nsource_on_demand = true\n'
        with penstock(folder / "relay", config=config) as relay, relay.explained():
            outcomes = cross_command(
                Endpoints(server.endpoints.rtmp, relay.endpoints.rtsp),
                _command(source),
                FIRST.frames("mp4"),
                FIRST,
                [*firsts, *seconds],
                path,
                folder,
                same_dts=True,
            )
    assert all(outcome.report.ok for outcome in outcomes[: len(firsts)]), "\n".join(map(str, outcomes))
    for number, second in enumerate(seconds, len(firsts)):
        got = second.frames(folder / f"{number}-{second.name.replace(' ', '-')}")
        report = compare(SECOND.frames("mp4"), got, evolve(second.rules, same_dts=second.scheme == "rtmp"))
        assert report.ok, f"{second.name}: {report}\n{outcomes[number].words}"
    # Who announces no multitrack is sent one track of a kind; lines about many such peers are put together.
    left_out = [str(line["tracks"]) for line in server.log() if line.get("event") == "tracks left out"]
    assert left_out
    assert all(text.count("the reader takes one track of a kind") == 2 for text in left_out)


def _command(url: str) -> list[str]:
    """FFmpeg publishes both clips in one stream."""
    command = [path_of("ffmpeg-new"), "-nostdin", "-v", "warning"]
    for clip in (FIRST, SECOND):
        command += ["-re", "-i", str(clip.file("mp4"))]
    for track in ("0:v", "1:v", "0:a", "1:a"):
        command += ["-map", track]
    return [*command, "-c", "copy", "-f", "flv", url]
