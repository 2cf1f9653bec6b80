"""Transcoding as a plugin."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from weakref import WeakKeyDictionary

import anyio
from anyio.to_thread import run_sync

from penstock.derived import Derivation, DerivedTrack
from penstock.hooks import Plugin, hookimpl
from penstock.media import Frame, Track
from penstock.registry import INFO, AudioInfo
from penstock.server import Server
from penstock_formats.flv import FLV
from penstock_transcode.config import TranscodeConfig
from penstock_transcode.sound import DECODERS, Encoding, Sound

_limits: WeakKeyDictionary[Server, anyio.CapacityLimiter] = WeakKeyDictionary()
"""How many threads work at a time, by server."""


class TranscodePlugin(Plugin):
    """Makes Opus of AAC, MP3 and G.711, and AAC of MP3, Opus and G.711, for readers that cannot have these."""

    name = "transcode"
    version = version("penstock")
    config = TranscodeConfig

    @hookimpl
    def derive(self, track: Track, server: Server, config: TranscodeConfig) -> Iterable[Derivation]:
        registry = server.registry
        info = registry.get(track.codec, INFO)
        if track.codec.name not in DECODERS or track.config is None or info is None:
            return
        described = info.describe(track.config)
        if not isinstance(described, AudioInfo):
            return
        # Everybody plays stereo; of more channels not every carrier tells which is which.
        channels = min(2, described.channels)
        for name, encoding in (
            ("opus", Encoding("libopus", "flt", config.opus_bit_rate, {"frame_duration": "20"})),
            ("aac", Encoding("aac", "fltp", config.aac_bit_rate, {})),
        ):
            codec = registry.codec(name)
            binding = registry.get(codec, FLV) if codec is not None else None
            if codec is not None and binding is not None and codec != track.codec:
                told = encoding.config(binding, channels)
                yield Derivation(codec, encoding.rate, told, partial(_make, server, encoding, channels))


async def _make(server: Server, encoding: Encoding, channels: int, track: DerivedTrack) -> None:
    """Decode and encode in threads, what has come at a time: the loop only passes it on."""
    limit = _limits.setdefault(server, anyio.CapacityLimiter(os.cpu_count() or 1))
    sound = Sound(server.registry, encoding, channels)
    while events := await track.read():
        frames = [event for event in events if isinstance(event, Frame)]
        for coded in await run_sync(sound.transcode, frames, limiter=limit):
            track.write((coded.data,), pts=coded.pts, duration=coded.duration)
        await track.flush()


plugin = TranscodePlugin()
"""What the entry point names."""
