"""What transcoding costs: ``python -m bench.transcode [--streams 20] [--pictures 1] [--seconds 5]``.

Sound: AAC of 44.1 kHz is made Opus for one reader a stream. Pictures: H.264 of 1280x720 at 30 a second, as x264 makes it where
it is told nothing (three B-frames), of a moving test picture with noise, is made H.264 without B-frames. Printed are the
processor's time, how late the event loop is for who wants it each millisecond, and memory, without and with that.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import anyio
import av
import structlog
from attrs import frozen

import penstock
from penstock import NS
from penstock.media import Track
from penstock.plugins import PluginSet
from penstock.registry import Registry
from penstock_formats.flv import FLV
from penstock_webrtc.muxer import PayloadMuxer
from tests.interop.binaries import path_of
from tests.transcode.test_sound import encoded

SAMPLES = 1024
RATE = 44_100
SIZE, PICTURES, CLIP_SECONDS = "1280x720", 30, 6


@frozen
class Source:
    """What each stream is given, again and again: units, pts, dts and key; times in ns from 0 on, of `length` in all."""

    name: str
    track: Track
    frames: Sequence[tuple[tuple[bytes, ...], int, int, bool]]
    length: int


def sound(registry: Registry) -> Source:
    track, coded = encoded("aac", registry)
    step = SAMPLES * NS // RATE
    frames = [((data,), n * step, n * step, True) for n, (data, _) in enumerate(coded[20:100])]
    return Source("AAC, 44.1 kHz", track, frames, len(frames) * step)


def pictures(registry: Registry) -> Source:
    codec = registry.codec("h264")
    binding = registry.get(codec, FLV) if codec is not None else None
    assert codec is not None
    assert binding is not None
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        clip = Path(folder) / "clip.flv"
        picture = f"testsrc2=s={SIZE}:r={PICTURES}:d={CLIP_SECONDS},noise=alls=6:allf=t"
        argv = [path_of("ffmpeg-new"), "-v", "error", "-f", "lavfi", "-i", picture, "-pix_fmt", "yuv420p"]
        subprocess.run([*argv, "-c:v", "libx264", "-b:v", "3M", str(clip)], check=True, timeout=120)
        with av.open(str(clip)) as container:
            stream: Any = container.streams.video[0]
            config = binding.parse_config(bytes(stream.codec_context.extradata))
            base = float(stream.time_base) * NS
            packets = [p for p in container.demux(stream) if p.pts is not None]
            first = packets[0].dts
            frames = [
                (
                    binding.decode(bytes(p), p.is_keyframe, config).units,
                    round((p.pts - first) * base),
                    round((p.dts - first) * base),
                    p.is_keyframe,
                )
                for p in packets
            ]
    return Source(f"H.264, {SIZE}, {PICTURES}/s", Track(1, codec, 90_000, config), frames, CLIP_SECONDS * NS)


async def measure(source: Source, target: str, streams: int, seconds: float) -> None:
    disabled = ("http", "rtmp", "rtsp", "srt", "webrtc", "hls", "dash", "page", "progressive")
    config: dict[str, Any] = {name: {"enabled": False} for name in disabled}
    config |= {"server": {"drain_timeout": 0.0}, "transcode": {"video": ["**"]}}
    async with penstock.Server(config) as server:
        publishers: list[tuple[penstock.Publisher, int]] = []
        for n in range(streams):
            publisher = await server.streams.publish(server.sessions.add("bench", "here"), f"bench/{n}")
            own = publisher.add_track(source.track.codec, source.track.clock_rate, source.track.config)
            publisher.tracks_complete()
            publishers.append((publisher, own.id))
        number = 0
        for what in ("as it is", "transcoded"):
            if what == "transcoded":
                for publisher, own_id in publishers:
                    tracks = await publisher.stream.tracks_for(
                        lambda t, own_id=own_id: t.id != own_id and t.codec.name == target
                    )  # type: ignore[misc]
                    publisher.stream.feed(PayloadMuxer(server.registry, tracks), tracks=tracks)
            late: list[float] = []
            before, begun, first = getrusage(RUSAGE_SELF), time.perf_counter(), number
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_beat, late)
                while (now := time.perf_counter()) - begun < seconds:
                    due = _at(source, number)[1] - _at(source, first)[1]
                    await anyio.sleep(max(0.0, begun + due / NS - now))
                    (units, _, _, key), (pts, dts) = (
                        source.frames[number % len(source.frames)],
                        _at(source, number),
                    )
                    for publisher, own_id in publishers:
                        publisher.write(own_id, units, pts=pts, dts=dts, key=key)
                        await publisher.flush()
                    number += 1
                tasks.cancel_scope.cancel()
            after = getrusage(RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            late.sort()
            half, most = (1000 * late[int(share * (len(late) - 1))] for share in (0.5, 0.99))
            missed = sum(d.missed for publisher, _ in publishers for d in publisher.stream.derived)
            print(
                f"{streams} of {source.name}, {what}: {100 * used / seconds:.1f} % of a core, loop late by {half:.1f} ms "
                f"(median), {most:.1f} ms (p99), {after.ru_maxrss >> 10} MB, {missed} frames missed"
            )


def _at(source: Source, number: int) -> tuple[int, int]:
    """Times of a frame, counted over all rounds."""
    rounds, index = divmod(number, len(source.frames))
    _, pts, dts, _ = source.frames[index]
    return rounds * source.length + pts, rounds * source.length + dts


async def _beat(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.001
        await anyio.sleep(0.001)
        late.append(time.perf_counter() - due)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.transcode", description=__doc__)
    parser.add_argument("--streams", type=int, default=20, help="of sound")
    parser.add_argument("--pictures", type=int, default=1, help="streams of pictures")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    plugins = PluginSet.discover()
    plugins.activate(penstock.Config.from_mapping({}, plugins.configs))
    for source, target, streams in (
        (sound(plugins.registry), "opus", options.streams),
        (pictures(plugins.registry), "h264", options.pictures),
    ):
        anyio.run(measure, source, target, streams, options.seconds)


if __name__ == "__main__":
    main()
