"""AV1 over RTP (AOM, "RTP Payload Format For AV1"), in band and with its three parameters in the SDP."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Track
from penstock_codecs.av1.depacketizer import Av1Depacketizer
from penstock_codecs.av1.packetizer import Av1Packetizer
from penstock_codecs.av1.sequence import AV1, Av1Config
from penstock_formats.rtp import RtpFormat

CLOCK_RATE = 90_000


class Av1Rtp:
    """RTP binding of AV1."""

    encodings: tuple[str, ...] = ("AV1",)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        config = Av1Config.of(track.config)
        fmtp = {"profile": str(config.profile), "level-idx": str(config.level), "tier": str(config.tier)}
        return RtpFormat("AV1", CLOCK_RATE, fmtp=fmtp)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if fmt.clock_rate != CLOCK_RATE:
            raise ProtocolViolation(f"AV1 with a clock of {fmt.clock_rate} Hz", "AV1 RTP 7.1")
        return AV1, None

    def fit(self, offered: RtpFormat, track: Track) -> int:
        # AV1 RTP 7.2.3: what is not said is profile 0.
        return int(offered.fmtp.get("profile", "0") == str(Av1Config.of(track.config).profile))

    def packetizer(self, track: Track, max_payload: int) -> Av1Packetizer:
        return Av1Packetizer(max_payload)

    def depacketizer(self, fmt: RtpFormat) -> Av1Depacketizer:
        return Av1Depacketizer()
