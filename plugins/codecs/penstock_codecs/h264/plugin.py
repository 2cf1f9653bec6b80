"""The plugin that registers H.264."""

from __future__ import annotations

from penstock.hooks import Plugin, hookimpl
from penstock.registry import INFO, Registry
from penstock_codecs.h264.config import H264
from penstock_codecs.h264.info import H264Info
from penstock_codecs.h264.rtp import H264Rtp
from penstock_codecs.h264.unit import NALS
from penstock_formats.flv.binding import FLV
from penstock_formats.isobmff.binding import ISOBMFF
from penstock_formats.mpegts import MPEGTS
from penstock_formats.nal.flv import NalFlv
from penstock_formats.nal.isobmff import NalIsobmff
from penstock_formats.nal.mpegts import NalTs
from penstock_formats.rtp.binding import RTP


class H264Plugin(Plugin):
    """H.264 in RTP, FLV, ISO media files and MPEG-TS."""

    name = "h264"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(H264)
        registry.bind(H264, INFO, H264Info())
        registry.bind(H264, RTP, H264Rtp())
        registry.bind(H264, FLV, NalFlv(NALS, legacy_id=7, fourcc="avc1"))
        registry.bind(H264, ISOBMFF, NalIsobmff(H264, NALS, ("avc1", "avc3"), "avcC"))
        registry.bind(H264, MPEGTS, NalTs(NALS, stream_type=0x1B, delimiter=b"\x09\xf0"))


plugin = H264Plugin()
