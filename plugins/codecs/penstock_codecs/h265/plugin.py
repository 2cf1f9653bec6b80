"""The plugin that registers H.265."""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.h265.config import H265
from penstock_codecs.h265.info import H265Info
from penstock_codecs.h265.rtp import H265Rtp
from penstock_codecs.h265.unit import NALS
from penstock_formats.flv.binding import FLV
from penstock_formats.isobmff.binding import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.nal.flv import NalFlv
from penstock_formats.nal.isobmff import NalIsobmff
from penstock_formats.nal.mpegts import NalTs
from penstock_formats.rtp.binding import RTP


class H265Plugin(Plugin):
    """H.265 in RTP, FLV, ISO media files and MPEG-TS."""

    name = "h265"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(H265)
        registry.bind(H265, INFO, H265Info())
        registry.bind(H265, RTP, H265Rtp())
        registry.bind(H265, FLV, NalFlv(NALS, legacy_id=12, fourcc="hvc1"))
        registry.bind(H265, ISOBMFF, NalIsobmff(H265, NALS, ("hvc1", "hev1"), "hvcC"))
        registry.bind(
            H265, MPEGTS, NalTs(NALS, stream_type=0x24, delimiter=b"\x46\x01\x50", registered=b"HEVC")
        )


plugin = H265Plugin()
