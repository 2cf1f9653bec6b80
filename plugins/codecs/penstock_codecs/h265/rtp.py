"""H.265 in RTP (RFC 7798): SDP, and single NAL unit, aggregation and fragmentation packets without DON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from penstock.errors import ProtocolViolation
from penstock.media import Codec, Track
from penstock_codecs.h265.config import H265, NAL_PPS, NAL_SPS, NAL_VPS, H265Config, merge
from penstock_codecs.h265.payload import AP, END, FU, START, parse_payload
from penstock_codecs.h265.unit import NALS
from penstock_formats.nal.depacketizer import NalDepacketizer
from penstock_formats.nal.packetizer import NalPacketizer
from penstock_formats.nal.rtp import NalFormat, decode_sprop
from penstock_formats.rtp.binding import RtpFormat

CLOCK_RATE = 90000

SPROPS = ("sprop-vps", "sprop-sps", "sprop-pps")


class H265Rtp:
    """`RtpBinding` of H.265."""

    encodings = ("H265",)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        fmtp: dict[str, str] = {}
        if track.config is not None:
            config = H265Config.of(track.config)
            for name, nals in zip(SPROPS, (config.vps, config.sps, config.pps), strict=True):
                if nals:
                    fmtp[name] = ",".join([b64encode(nal).decode("ascii") for nal in nals])
        return RtpFormat("H265", CLOCK_RATE, fmtp=fmtp)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, H265Config | None]:
        if fmt.fmtp.get("sprop-max-don-diff", "0").strip() != "0":
            # RFC 7798 4.4: every AP and FU would have decoding order numbers.
            raise ProtocolViolation("a decoding order that is not the sending order", "RFC 7798 7.1")
        sets = [nal for name in SPROPS for nal in decode_sprop(fmt.fmtp.get(name, ""), "RFC 7798 7.1")]
        kinds = (NAL_VPS, NAL_SPS, NAL_PPS)
        return H265, merge(None, [nal for nal in sets if nal[0] >> 1 & 63 in kinds])

    def packetizer(self, track: Track, max_payload: int) -> NalPacketizer[H265Config]:
        return NalPacketizer(FORMAT, max_payload, track.config)

    def depacketizer(self, fmt: RtpFormat) -> NalDepacketizer[H265Config]:
        return NalDepacketizer(FORMAT, self.accept(fmt)[1])


def _ap_header(nals: Sequence[bytes]) -> bytes:
    # RFC 7798 4.4.2: F is the bitwise or, layer and temporal id are the lowest of the aggregated units'.
    forbidden = max(nal[0] & 0x80 for nal in nals)
    lowest = min((nal[0] & 1) << 8 | nal[1] >> 3 << 3 for nal in nals)
    temporal = min(nal[1] & 7 for nal in nals)
    return bytes((forbidden | AP << 1 | lowest >> 8, lowest & 0xF8 | temporal))


def _fu_headers(nal: bytes) -> tuple[bytes, bytes, bytes]:
    head, kind = bytes((nal[0] & 0x81 | FU << 1, nal[1])), nal[0] >> 1 & 63
    return head + bytes((START | kind,)), head + bytes((kind,)), head + bytes((END | kind,))


FORMAT = NalFormat(
    codec=NALS,
    header_size=2,
    parse=parse_payload,
    aggregate_header=_ap_header,
    fragment_headers=_fu_headers,
)
