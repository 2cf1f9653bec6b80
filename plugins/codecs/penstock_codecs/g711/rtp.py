"""G.711 over RTP (RFC 3551 4.5.14): samples and nothing else; static payload types 0 (PCMU) and 8 (PCMA)."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock_codecs.g711.config import G711Config
from penstock_formats.rtp import AccessUnit, RtpFormat


class G711Packetizer:
    """Frames as they are; a longer one in parts, each of which starts `ticks` of the one before later."""

    def __init__(self, channels: int, max_payload: int) -> None:
        self._channels = channels
        self._size = max(max_payload // channels, 1) * channels

    def packetize(self, frame: Frame) -> list[bytes]:
        size = self._size
        data = frame.units[0]
        if len(data) <= size:
            return [data]
        return [data[at : at + size] for at in range(0, len(data), size)]

    def ticks(self, payload: bytes) -> int:
        """How long `payload` plays: unlike a fragment of a coded frame, the next one is that much later."""
        return len(payload) // self._channels


class G711Depacketizer:
    """One payload, one frame, of any length."""

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        if not payload or len(payload) % self._channels:
            raise ProtocolViolation("a G.711 packet has no whole number of samples", "RFC 3551 4.5.14")
        return [AccessUnit(timestamp, (payload,))]

    def flush(self) -> list[AccessUnit]:
        return []


@frozen
class G711Rtp:
    """RTP binding of one law."""

    codec: Codec
    static: int
    # RFC 3551 4.1: the marker says where a talk spurt begins.
    marks_last: bool = False

    @property
    def encodings(self) -> tuple[str, ...]:
        return (self.codec.name.upper(),)

    def describe(self, track: Track) -> RtpFormat:
        config = G711Config.of(track.config)
        static = self.static if config == G711Config() else None
        return RtpFormat(self.codec.name.upper(), config.sample_rate, config.channels, payload_type=static)

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        return self.codec, G711Config.checked(fmt.channels, fmt.clock_rate)

    def packetizer(self, track: Track, max_payload: int) -> G711Packetizer:
        return G711Packetizer(G711Config.of(track.config).channels, max_payload)

    def depacketizer(self, fmt: RtpFormat) -> G711Depacketizer:
        return G711Depacketizer(G711Config.checked(fmt.channels, fmt.clock_rate).channels)
