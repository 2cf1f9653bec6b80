"""Opus over RTP (RFC 7587): one packet a payload; libwebrtc's ``multiopus`` for more than two channels."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.opus.config import CLOCK_RATE, OPUS, OpusConfig
from penstock_codecs.opus.packet import duration
from penstock_formats.rtp import AccessUnit, RtpFormat

_CLAUSE = "RFC 7587 7"


class OpusPacketizer:
    """One packet, one payload: RFC 7587 4.2 has no fragments, and libopus stays below 1276 bytes a stream."""

    def packetize(self, frame: Frame) -> list[bytes]:
        return list(frame.units)


class OpusDepacketizer:
    """One payload, one packet."""

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        duration(payload)
        return [AccessUnit(timestamp, (payload,))]

    def flush(self) -> list[AccessUnit]:
        return []


class OpusRtp:
    """RTP binding of Opus."""

    encodings: tuple[str, ...] = ("OPUS", "MULTIOPUS")
    # RFC 7587 4.1: the marker says where a talk spurt begins, and is 0 in continuous streams.
    marks_last = False

    def describe(self, track: Track) -> RtpFormat:
        config = OpusConfig.of(track.config)
        if config.channels > 2:
            fmtp = {
                "channel_mapping": ",".join(map(str, config.mapping)),
                "num_streams": str(config.streams),
                "coupled_streams": str(config.coupled),
            }
            return RtpFormat("MULTIOPUS", CLOCK_RATE, config.channels, fmtp)
        # RFC 7587 7: always announced with two channels; what is really sent is a parameter.
        stereo = str(config.channels - 1)
        return RtpFormat("OPUS", CLOCK_RATE, 2, {"sprop-stereo": stereo, "stereo": stereo})

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        if fmt.clock_rate != CLOCK_RATE:
            raise ProtocolViolation(f"Opus with a clock of {fmt.clock_rate} Hz", _CLAUSE)
        if fmt.encoding == "MULTIOPUS":
            return OPUS, _multiopus(fmt.channels, fmt.fmtp)
        # Some senders announce opus/48000/1, or nothing of stereo and send it; decoders take both.
        mono = fmt.channels == 1 or fmt.fmtp.get("sprop-stereo") == "0"
        return OPUS, OpusConfig.simple(1 if mono else 2)

    def packetizer(self, track: Track, max_payload: int) -> OpusPacketizer:
        return OpusPacketizer()

    def depacketizer(self, fmt: RtpFormat) -> OpusDepacketizer:
        return OpusDepacketizer()


def _multiopus(channels: int, fmtp: Mapping[str, str]) -> OpusConfig:
    if "channel_mapping" not in fmtp:
        return OpusConfig.simple(channels)
    fields = [
        *fmtp["channel_mapping"].split(","),
        fmtp.get("num_streams", ""),
        fmtp.get("coupled_streams", ""),
    ]
    if not all(f.isascii() and f.isdigit() and len(f) <= 3 and int(f) <= 255 for f in fields):
        raise ProtocolViolation("bad channel mapping of multiopus")
    *mapping, streams, coupled = map(int, fields)
    return OpusConfig.mapped(channels, streams, coupled, bytes(mapping))
