"""AAC over RTP: MPEG4-GENERIC (RFC 3640) both ways, MP4A-LATM (RFC 6416) inwards."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Track
from penstock_codecs.aac.config import AAC, MAX_RATE, AacConfig
from penstock_codecs.aac.generic import GenericDepacketizer, GenericFormat, GenericPacketizer
from penstock_codecs.aac.latm import LatmDepacketizer, StreamMuxConfig
from penstock_formats.rtp import Depacketizer, RtpFormat

LATM = "MP4A-LATM"
_FMTP = {
    "streamtype": "5",
    "profile-level-id": "1",
    "mode": "AAC-hbr",
    "sizelength": "13",
    "indexlength": "3",
    "indexdeltalength": "3",
}


class AacRtp:
    """RTP binding of AAC."""

    encodings: tuple[str, ...] = ("MPEG4-GENERIC", LATM)
    marks_last = True

    def describe(self, track: Track) -> RtpFormat:
        config = AacConfig.of(track.config)
        fmtp = _FMTP | {"config": config.asc.hex()}
        return RtpFormat("MPEG4-GENERIC", config.sample_rate, config.channels, fmtp)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if not 0 < fmt.clock_rate <= MAX_RATE:
            raise ProtocolViolation(f"AAC with a clock of {fmt.clock_rate} Hz", "RFC 3640 3.1")
        if fmt.encoding == LATM:
            mux = _latm_config(fmt)
            return AAC, mux.config if mux else None
        GenericFormat.parse(fmt.fmtp)
        return AAC, _generic_config(fmt)

    def packetizer(self, track: Track, max_payload: int) -> GenericPacketizer:
        return GenericPacketizer(max_payload)

    def depacketizer(self, fmt: RtpFormat) -> Depacketizer:
        if fmt.encoding == LATM:
            return LatmDepacketizer(
                fmt.clock_rate, _latm_config(fmt), in_band=fmt.fmtp.get("cpresent", "1") != "0"
            )
        config = _generic_config(fmt)
        return GenericDepacketizer(
            GenericFormat.parse(fmt.fmtp), fmt.clock_rate, config.frame_length, config.core_rate
        )


def _hex(text: str) -> bytes:
    # Some cameras put the value in quotes, as RFC 3640 4.1 allows for strings.
    try:
        return bytes.fromhex(text.strip('"'))
    except ValueError:
        raise ProtocolViolation("config= is no hexadecimal string", "RFC 3640 4.1") from None


def _generic_config(fmt: RtpFormat) -> AacConfig:
    mode = fmt.fmtp.get("mode", "AAC-hbr").lower()
    if not mode.startswith("aac-") and mode != "generic":
        raise ProtocolViolation(f"mode={mode[:32]} is not AAC", "RFC 3640 3.3")
    asc = _hex(fmt.fmtp.get("config", ""))
    # Seen where a publisher announces before its encoder has told: the rtpmap is then all there is.
    return AacConfig.parse(asc) if asc else AacConfig.lc(fmt.clock_rate, fmt.channels)


def _latm_config(fmt: RtpFormat) -> StreamMuxConfig | None:
    data = _hex(fmt.fmtp.get("config", ""))
    if data:
        return StreamMuxConfig.parse(data)
    if fmt.fmtp.get("cpresent", "1") == "0":
        raise ProtocolViolation("cpresent=0 without config=", "RFC 6416 7.3")
    return None
