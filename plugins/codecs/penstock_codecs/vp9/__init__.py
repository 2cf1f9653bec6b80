"""VP9. A frame is one unit: what one picture is coded in, one frame or a superframe (VP9 bitstream, annex B).

Spatial layers of one picture that RTP carried apart are put together as a superframe.
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.vp9.flv import Vp9Flv
from penstock_codecs.vp9.header import VP9, Vp9Config
from penstock_codecs.vp9.info import Vp9Info
from penstock_codecs.vp9.isobmff import Vp9Isobmff
from penstock_codecs.vp9.rtp import Vp9Rtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.rtp import RTP

__all__ = ["VP9", "Vp9Config", "Vp9Plugin", "plugin"]


class Vp9Plugin(Plugin):
    """Registers VP9 with its INFO, RTP, FLV and ISOBMFF bindings."""

    name = "vp9"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(VP9)
        registry.bind(VP9, INFO, Vp9Info())
        registry.bind(VP9, RTP, Vp9Rtp())
        registry.bind(VP9, FLV, Vp9Flv())
        registry.bind(VP9, ISOBMFF, Vp9Isobmff())


plugin = Vp9Plugin()
