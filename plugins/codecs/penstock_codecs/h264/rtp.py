"""H.264 in RTP (RFC 6184): SDP, and packetization mode 1 (single NAL unit, STAP-A, FU-A)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from penstock.errors import ProtocolViolation
from penstock.media import Codec, Track
from penstock_codecs.h264.config import H264, NAL_PPS, NAL_SPS, H264Config, merge
from penstock_codecs.h264.payload import END, FU_A, STAP_A, START, parse_payload
from penstock_codecs.h264.unit import NALS
from penstock_formats.nal.depacketizer import NalDepacketizer
from penstock_formats.nal.packetizer import NalPacketizer
from penstock_formats.nal.rtp import NalFormat, decode_sprop
from penstock_formats.rtp.binding import RtpFormat

CLOCK_RATE = 90000


class H264Rtp:
    """`RtpBinding` of H.264."""

    encodings = ("H264",)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        fmtp = {"packetization-mode": "1"}
        if track.config is not None:
            config = H264Config.of(track.config)
            sets = ",".join([b64encode(nal).decode("ascii") for nal in config.sets])
            sps = config.parsed
            fmtp["profile-level-id"] = f"{sps.profile:02X}{sps.constraints:02X}{sps.level:02X}"
            fmtp["sprop-parameter-sets"] = sets
        return RtpFormat("H264", CLOCK_RATE, fmtp=fmtp)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, H264Config | None]:
        mode = fmt.fmtp.get("packetization-mode", "0")
        if mode not in ("0", "1"):
            raise ProtocolViolation("packetization mode 2 (interleaved) is not supported", "RFC 6184 8.1")
        sets = decode_sprop(fmt.fmtp.get("sprop-parameter-sets", ""), "RFC 6184 8.1")
        return H264, merge(None, [nal for nal in sets if nal[0] & 31 in (NAL_SPS, NAL_PPS)])

    def fit(self, offered: RtpFormat, track: Track) -> int:
        if offered.fmtp.get("packetization-mode") != "1":
            # RFC 6184 8.2.2: a receiver of mode 0 takes no fragments.
            return 0
        profile = f"{H264Config.of(track.config).parsed.profile:02x}"
        # Decoders take the profile from the stream; what was offered beside it is only a better guess.
        return 2 if offered.fmtp.get("profile-level-id", "42").lower().startswith(profile) else 1

    def packetizer(self, track: Track, max_payload: int) -> NalPacketizer[H264Config]:
        return NalPacketizer(FORMAT, max_payload, track.config)

    def depacketizer(self, fmt: RtpFormat) -> NalDepacketizer[H264Config]:
        return NalDepacketizer(FORMAT, self.accept(fmt)[1])


def _stap_header(nals: Sequence[bytes]) -> bytes:
    # RFC 6184 5.7: F is the bitwise or, NRI the maximum of the aggregated units'.
    return bytes((max(nal[0] & 0xE0 for nal in nals) | STAP_A,))


def _fu_headers(nal: bytes) -> tuple[bytes, bytes, bytes]:
    indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 31
    return bytes((indicator, START | kind)), bytes((indicator, kind)), bytes((indicator, END | kind))


FORMAT = NalFormat(
    codec=NALS,
    header_size=1,
    parse=parse_payload,
    aggregate_header=_stap_header,
    fragment_headers=_fu_headers,
)
