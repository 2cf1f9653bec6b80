"""G.711: A-law (``pcma``) and mu-law (``pcmu``). A frame is one unit: a byte a sample, interleaved.

The track's clock is the sample rate. A unit is of any length that a sender chose (RFC 3551 4.5.14).
"""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.g711.config import PCMA, PCMU, G711Config
from penstock_codecs.g711.flv import G711Flv
from penstock_codecs.g711.info import G711Info
from penstock_codecs.g711.isobmff import G711Isobmff
from penstock_codecs.g711.rtp import G711Rtp
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF
from penstock_formats.rtp import RTP

__all__ = ["PCMA", "PCMU", "G711Config", "G711Plugin", "plugin"]


class G711Plugin(Plugin):
    """Registers both laws with their INFO, RTP, FLV and ISOBMFF bindings."""

    name = "g711"

    @hookimpl
    def register(self, registry: Registry) -> None:
        for codec, law, static, legacy in ((PCMA, "alaw", 8, 7), (PCMU, "ulaw", 0, 8)):
            registry.add(codec)
            registry.bind(codec, INFO, G711Info(law))
            registry.bind(codec, RTP, G711Rtp(codec, static))
            registry.bind(codec, FLV, G711Flv(legacy))
            registry.bind(codec, ISOBMFF, G711Isobmff(codec, law))


plugin = G711Plugin()
