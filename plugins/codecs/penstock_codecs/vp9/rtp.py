"""VP9 over RTP (RFC 9628)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Track
from penstock_codecs.vp9.depacketizer import Vp9Depacketizer
from penstock_codecs.vp9.header import VP9, Vp9Config
from penstock_codecs.vp9.packetizer import Vp9Packetizer
from penstock_formats.rtp import RtpFormat

CLOCK_RATE = 90_000


class Vp9Rtp:
    """RTP binding of VP9."""

    encodings: tuple[str, ...] = ("VP9",)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        return RtpFormat("VP9", CLOCK_RATE, fmtp={"profile-id": str(Vp9Config.of(track.config).profile)})

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if fmt.clock_rate != CLOCK_RATE:
            raise ProtocolViolation(f"VP9 with a clock of {fmt.clock_rate} Hz", "RFC 9628 7.1")
        return VP9, None

    def fit(self, offered: RtpFormat, track: Track) -> int:
        # RFC 9628 7.1: what is not said is profile 0.
        return int(offered.fmtp.get("profile-id", "0") == str(Vp9Config.of(track.config).profile))

    def packetizer(self, track: Track, max_payload: int) -> Vp9Packetizer:
        return Vp9Packetizer(max_payload)

    def depacketizer(self, fmt: RtpFormat) -> Vp9Depacketizer:
        return Vp9Depacketizer()
