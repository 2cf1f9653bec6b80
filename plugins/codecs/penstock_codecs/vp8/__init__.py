"""VP8 (RFC 6386). A frame is one unit: the frame as it is coded; key frames tell their size."""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.vp8.flv import Vp8Flv
from penstock_codecs.vp8.header import VP8, Vp8Config
from penstock_codecs.vp8.info import Vp8Info
from penstock_codecs.vp8.isobmff import Vp8Isobmff
from penstock_codecs.vp8.rtp import Vp8Rtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.rtp import RTP

__all__ = ["VP8", "Vp8Config", "Vp8Plugin", "plugin"]


class Vp8Plugin(Plugin):
    """Registers VP8 with its INFO, RTP, FLV and ISOBMFF bindings."""

    name = "vp8"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(VP8)
        registry.bind(VP8, INFO, Vp8Info())
        registry.bind(VP8, RTP, Vp8Rtp())
        registry.bind(VP8, FLV, Vp8Flv())
        registry.bind(VP8, ISOBMFF, Vp8Isobmff())


plugin = Vp8Plugin()
