"""AAC (ISO/IEC 14496-3). A frame is one unit: one raw access unit (raw_data_block), no ADTS or LATM.

The track's clock is the output sample rate: that of the core, or of the extension where the
AudioSpecificConfig signals SBR explicitly (an access unit of HE-AAC then lasts 2048 ticks). SBR that only
the access units know of (implicit signalling) does not count, as in every carrier's header.
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_codecs.aac.flv import AacFlv
from penstock_codecs.aac.info import AacInfo
from penstock_codecs.aac.isobmff import AacIsobmff
from penstock_codecs.aac.mpegts import AacTs
from penstock_codecs.aac.rtp import AacRtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.rtp import RTP

__all__ = ["AAC", "AacConfig", "AacPlugin", "plugin"]


class AacPlugin(Plugin):
    """Registers AAC with its INFO, RTP, FLV, ISOBMFF and MPEG-TS bindings."""

    name = "aac"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(AAC)
        registry.bind(AAC, INFO, AacInfo())
        registry.bind(AAC, RTP, AacRtp())
        registry.bind(AAC, FLV, AacFlv())
        registry.bind(AAC, ISOBMFF, AacIsobmff())
        registry.bind(AAC, MPEGTS, AacTs())


plugin = AacPlugin()
