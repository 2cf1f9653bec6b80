"""What can be made of a track, and the making: decoding and encoding in threads, what has come at a time; the loop only
passes it on. Imports FFmpeg's libraries.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from weakref import WeakKeyDictionary

import anyio
import structlog
from anyio.to_thread import run_sync

from penstock.derived import Derivation, DerivedTrack
from penstock.media import Codec, Frame
from penstock.path import StreamPath
from penstock.registry import AudioInfo, VideoInfo
from penstock.server import Server
from penstock_formats.flv import FLV
from penstock_transcode.config import TranscodeConfig
from penstock_transcode.picture import PictureEncoding, Pictures, Shape
from penstock_transcode.sound import Encoding, Sound

AT_A_TIME = 4
"""Pictures that are worked on before the first of them is passed on."""
MOST_THREADS = 4
"""Of one encoder: each makes a slice of each picture, and slices cost bits."""
LEAST_RATE, USUAL_RATE, MOST_RATE = 1, 30, 120
"""Pictures a second; what is usual counts where a config tells nothing, or what cannot be."""

_sound: WeakKeyDictionary[Server, anyio.CapacityLimiter] = WeakKeyDictionary()
"""How many threads work at a time, by server."""
_pictures: WeakKeyDictionary[Server, anyio.CapacityLimiter] = WeakKeyDictionary()
"""Threads of their own, as they may take all that there are: sound goes on."""


def sound(codec: Codec, info: AudioInfo, server: Server, config: TranscodeConfig) -> Iterator[Derivation]:
    """AAC and Opus of a track of sound: first what more players have."""
    registry = server.registry
    # Everybody plays stereo; of more channels not every carrier tells which is which.
    channels = min(2, info.channels)
    for name, encoding in (
        ("aac", Encoding("aac", "fltp", config.aac_bit_rate, {})),
        ("opus", Encoding("libopus", "flt", config.opus_bit_rate, {"frame_duration": "20"})),
    ):
        made = registry.codec(name)
        binding = registry.get(made, FLV) if made is not None else None
        if made is not None and binding is not None and made != codec:
            told = encoding.config(binding, channels)
            yield Derivation(made, encoding.rate, told, partial(_make_sound, server, encoding, channels))


async def _make_sound(server: Server, encoding: Encoding, channels: int, track: DerivedTrack) -> None:
    limit = _sound.setdefault(server, anyio.CapacityLimiter(os.cpu_count() or 1))
    made = Sound(server.registry, encoding, channels)
    while events := await track.read():
        frames = [event for event in events if isinstance(event, Frame)]
        for coded in await run_sync(made.transcode, frames, limiter=limit):
            track.write((coded.data,), pts=coded.pts, duration=coded.duration)
        await track.flush()


def pictures(
    info: VideoInfo, server: Server, config: TranscodeConfig, path: StreamPath
) -> Iterator[Derivation]:
    """H.264 without B-frames of a track of video, also of H.264."""
    codec = server.registry.codec("h264")
    rate = info.frame_rate or 0.0
    if codec is None:
        return
    encoding = PictureEncoding(
        config.video_bit_rate,
        Fraction(rate if LEAST_RATE <= rate <= MOST_RATE else USUAL_RATE).limit_denominator(1001),
        min(MOST_THREADS, os.cpu_count() or 1),
    )
    told = encoding.config(server.registry, codec, Shape.sized(info.width, info.height))
    if told is not None:
        yield Derivation(codec, 90_000, told, partial(_make_pictures, server, path, codec, encoding))


async def _make_pictures(
    server: Server, path: StreamPath, codec: Codec, encoding: PictureEncoding, track: DerivedTrack
) -> None:
    limit = _pictures.setdefault(server, anyio.CapacityLimiter(os.cpu_count() or 1))
    made = Pictures(server.registry, codec, encoding, time.monotonic_ns)
    track.on_key_frame_request = made.request_key_frame
    behind = True
    while events := await track.read():
        before = made.left_out
        waiting = made.current(events)
        for start in range(0, len(waiting), AT_A_TIME):
            end = start + AT_A_TIME
            work = partial(made.transcode, waiting[start:end], end < len(waiting))
            for coded in await run_sync(work, limiter=limit):
                if coded.config is not None:
                    track.configure(coded.config)
                track.write(coded.units, pts=coded.pts, key=coded.key)
            await track.flush()
        if behind:
            behind = False
            made.caught_up()
        track.missed += made.left_out - before
        if made.left_out and not before:
            structlog.get_logger("penstock").warning(
                "pictures are not transcoded as fast as they come: some are left out", path=path
            )
