"""Both codecs of G.711, and what a decoder must know."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind

PCMA = Codec("pcma", Kind.AUDIO)
PCMU = Codec("pcmu", Kind.AUDIO)

MAX_RATE = 192_000
MAX_CHANNELS = 8
"""More than any camera or gateway has; they bound what an SDP may claim."""


@frozen
class G711Config(CodecConfig):
    """G.711 proper is 8000 Hz, one channel; RFC 3551 allows others by a dynamic payload type."""

    channels: int = 1
    sample_rate: int = 8000

    @staticmethod
    def checked(channels: int, sample_rate: int) -> G711Config:
        """A config of what a peer claims."""
        if not 0 < channels <= MAX_CHANNELS:
            raise ProtocolViolation(f"G.711 with {channels} channels", "RFC 3551 4.5.14")
        if not 0 < sample_rate <= MAX_RATE:
            raise ProtocolViolation(f"G.711 at {sample_rate} Hz", "RFC 3551 4.5.14")
        return G711Config(channels, sample_rate)
