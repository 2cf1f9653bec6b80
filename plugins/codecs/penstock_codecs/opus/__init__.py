"""Opus (RFC 6716). A frame is one unit: one Opus packet with its TOC byte; the track's clock is 48000 Hz.

Self-delimiting framing and Ogg pages do not occur. DTX packets of one byte are packets as any other.
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.opus.config import OPUS, OpusConfig
from penstock_codecs.opus.flv import OpusFlv
from penstock_codecs.opus.info import OpusInfo
from penstock_codecs.opus.isobmff import OpusIsobmff
from penstock_codecs.opus.mpegts import OpusTs
from penstock_codecs.opus.packet import duration
from penstock_codecs.opus.rtp import OpusRtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.rtp import RTP

__all__ = ["OPUS", "OpusConfig", "OpusPlugin", "duration", "plugin"]


class OpusPlugin(Plugin):
    """Registers Opus with its INFO, RTP, FLV, ISOBMFF and MPEG-TS bindings."""

    name = "opus"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(OPUS)
        registry.bind(OPUS, INFO, OpusInfo())
        registry.bind(OPUS, RTP, OpusRtp())
        registry.bind(OPUS, FLV, OpusFlv())
        registry.bind(OPUS, ISOBMFF, OpusIsobmff())
        registry.bind(OPUS, MPEGTS, OpusTs())


plugin = OpusPlugin()
