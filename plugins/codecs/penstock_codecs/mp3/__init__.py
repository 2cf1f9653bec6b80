"""MP3: layer III of MPEG-1, MPEG-2 and MPEG-2.5 (ISO/IEC 11172-3, 13818-3).

A frame's units are whole MP3 frames with their headers; one, but where an FLV tag had several. The track's
clock is the sample rate (RTP alone counts in 90 kHz). Layers I and II are other codecs, and are refused.
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.mp3.flv import Mp3Flv
from penstock_codecs.mp3.header import MP3, FrameHeader, Mp3Config
from penstock_codecs.mp3.info import Mp3Info
from penstock_codecs.mp3.isobmff import Mp3Isobmff
from penstock_codecs.mp3.mpegts import Mp3Ts
from penstock_codecs.mp3.rtp import Mp3Rtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.rtp import RTP

__all__ = ["MP3", "FrameHeader", "Mp3Config", "Mp3Plugin", "plugin"]


class Mp3Plugin(Plugin):
    """Registers MP3 with its INFO, RTP, FLV, ISOBMFF and MPEG-TS bindings."""

    name = "mp3"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(MP3)
        registry.bind(MP3, INFO, Mp3Info())
        registry.bind(MP3, RTP, Mp3Rtp())
        registry.bind(MP3, FLV, Mp3Flv())
        registry.bind(MP3, ISOBMFF, Mp3Isobmff())
        registry.bind(MP3, MPEGTS, Mp3Ts())


plugin = Mp3Plugin()
