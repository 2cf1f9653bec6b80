"""What transcoding of sound costs: ``python -m bench.transcode [--streams 20] [--seconds 5]``.

AAC of 44.1 kHz is made Opus for one reader a stream. Printed are the processor's time, how late the event loop is for who
wants it each millisecond, and memory, without and with that.
"""

from __future__ import annotations

import argparse
import time
from resource import RUSAGE_SELF, getrusage

import anyio
import structlog

import penstock
from penstock import NS
from penstock_webrtc.muxer import PayloadMuxer
from tests.transcode.test_sound import encoded

SAMPLES = 1024
RATE = 44_100


async def measure(streams: int, seconds: float) -> None:
    disabled = ("http", "rtmp", "rtsp", "srt", "webrtc", "hls", "dash", "page", "progressive")
    config = {name: {"enabled": False} for name in disabled}
    async with penstock.Server({"server": {"drain_timeout": 0.0}, **config}) as server:
        track, coded = encoded("aac", server.registry)
        publishers = []
        for n in range(streams):
            publisher = await server.streams.publish(server.sessions.add("bench", "here"), f"bench/{n}")
            own = publisher.add_track(track.codec, track.clock_rate, track.config)
            publisher.tracks_complete()
            publishers.append((publisher, own.id))
        frame = 0
        for what in ("as it is", "transcoded"):
            if what == "transcoded":
                for publisher, _ in publishers:
                    tracks = await publisher.stream.tracks_for(lambda t: t.codec.name == "opus")
                    publisher.stream.feed(PayloadMuxer(server.registry, tracks), tracks=tracks)
            late: list[float] = []
            before, begun, first = getrusage(RUSAGE_SELF), time.perf_counter(), frame
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_beat, late)
                while (now := time.perf_counter()) - begun < seconds:
                    await anyio.sleep(max(0.0, begun + (frame - first) * SAMPLES / RATE - now))
                    for publisher, number in publishers:
                        data = coded[20 + frame % 80][0]
                        publisher.write(number, (data,), pts=frame * SAMPLES * NS // RATE)
                        await publisher.flush()
                    frame += 1
                tasks.cancel_scope.cancel()
            after = getrusage(RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            late.sort()
            half, most = (1000 * late[int(share * (len(late) - 1))] for share in (0.5, 0.99))
            missed = sum(d.missed for publisher, _ in publishers for d in publisher.stream.derived)
            print(
                f"{streams} streams {what}: {100 * used / seconds:.1f} % of a core, loop late by {half:.1f} ms (median), "
                f"{most:.1f} ms (p99), {after.ru_maxrss >> 10} MB, {missed} frames missed"
            )


async def _beat(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.001
        await anyio.sleep(0.001)
        late.append(time.perf_counter() - due)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.transcode", description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    anyio.run(measure, options.streams, options.seconds)


if __name__ == "__main__":
    main()
