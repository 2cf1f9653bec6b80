"""Transcoding as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

from penstock.derived import Derivation
from penstock.hooks import Plugin, Service, hookimpl
from penstock.media import Track
from penstock.path import StreamPath
from penstock.registry import INFO, AudioInfo, VideoInfo
from penstock.server import Server
from penstock.settings import Pattern
from penstock_transcode.config import TranscodeConfig
from penstock_transcode.decoders import PICTURES, SOUND

if find_spec("av") is None:
    raise ModuleNotFoundError("no module named 'av'", name="av")


class TranscodePlugin(Plugin):
    """Makes Opus of AAC, MP3 and G.711, AAC of MP3, Opus and G.711, and where the config asks for it H.264 without
    B-frames of any picture, for readers that cannot have these.
    """

    name = "transcode"
    version = version("penstock")
    config = TranscodeConfig

    @hookimpl
    def services(self, server: Server, config: TranscodeConfig) -> Iterable[Service]:
        if config.video:
            # Sooner or later they are needed: now nobody watches yet, who would be held up by the loading.
            import_module("penstock_transcode.offers")
        return ()

    @hookimpl
    def derive(
        self, track: Track, path: StreamPath, server: Server, config: TranscodeConfig
    ) -> Iterable[Derivation]:
        name = track.codec.name
        wanted = name in PICTURES and any(Pattern.parse(text).matches(path) for text in config.video)
        info = server.registry.get(track.codec, INFO)
        if track.config is None or info is None or not (wanted or name in SOUND):
            return ()
        described = info.describe(track.config)
        # 24 MB and a tenth of a second at once: most servers start without ever needing it.
        from penstock_transcode import offers

        if isinstance(described, AudioInfo):
            return offers.sound(track.codec, described, server, config)
        return offers.pictures(described, server, config, path) if isinstance(described, VideoInfo) else ()


plugin = TranscodePlugin()
"""What the entry point names."""
