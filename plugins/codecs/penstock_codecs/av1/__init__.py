"""AV1. A frame is one temporal unit: its units are OBUs without size field, as RTP has them.

Temporal delimiters, padding and tile lists are dropped; the sequence header lives in the config, not among the
units. Carriers in low-overhead format (FLV, ISO media files) get size fields, and the sequence header back in
front of each key frame. A frame is key where a shown key frame comes first.
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.av1.flv import Av1Flv
from penstock_codecs.av1.info import Av1Info
from penstock_codecs.av1.isobmff import Av1Isobmff
from penstock_codecs.av1.mpegts import Av1Ts
from penstock_codecs.av1.rtp import Av1Rtp
from penstock_codecs.av1.sequence import AV1, Av1Config
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.rtp import RTP

__all__ = ["AV1", "Av1Config", "Av1Plugin", "plugin"]


class Av1Plugin(Plugin):
    """Registers AV1 with its INFO, RTP, FLV, ISOBMFF and MPEG-TS bindings."""

    name = "av1"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(AV1)
        registry.bind(AV1, INFO, Av1Info())
        registry.bind(AV1, RTP, Av1Rtp())
        registry.bind(AV1, FLV, Av1Flv())
        registry.bind(AV1, ISOBMFF, Av1Isobmff())
        registry.bind(AV1, MPEGTS, Av1Ts())


plugin = Av1Plugin()
