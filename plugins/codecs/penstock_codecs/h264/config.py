"""The configuration of an H.264 track: its parameter sets."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, Kind
from penstock_codecs.h264.sps import Sps, parse_sps
from penstock_formats.bits import BitReader
from penstock_formats.nal import NalConfig, unescape
from penstock_formats.nal.codec import merge_sets

H264 = Codec("h264", Kind.VIDEO)

NAL_SPS = 7
NAL_PPS = 8

MAX_SPS = 31
"""numOfSequenceParameterSets has 5 bits (ISO 14496-15 5.3.3.1.2); seq_parameter_set_id goes up to 31."""

MAX_PPS = 255
"""numOfPictureParameterSets has 8 bits (ISO 14496-15 5.3.3.1.2); pic_parameter_set_id goes up to 255."""


@frozen
class H264Config(NalConfig):
    """Sequence and picture parameter sets, as NAL units with their header byte; there is at least one SPS."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def sets(self) -> tuple[bytes, ...]:
        return self.sps + self.pps

    @property
    def parsed(self) -> Sps:
        """The first SPS; raises `ProtocolViolation`."""
        if not self.sps:
            raise ProtocolViolation("there is no sequence parameter set", "H.264 7.4.1.2.1")
        return parse_sps(self.sps[0])


def merge(previous: H264Config | None, sets: Iterable[bytes]) -> H264Config | None:
    """The config after `sets` (SPS and PPS) came in, None where they change nothing or no SPS is known.

    Raises `ProtocolViolation` for sets that cannot be parsed.
    """
    base = previous or H264Config((), ())
    merged = merge_sets((base.sps, base.pps), sets, _identify)
    if merged is None:
        return None
    sps, pps = merged
    if len(sps) > MAX_SPS or len(pps) > MAX_PPS:
        raise ProtocolViolation("more parameter sets than a config record holds", "ISO 14496-15 5.3.3.1.2")
    return evolve(base, sps=sps, pps=pps) if sps else None


def _identify(nal: bytes) -> tuple[int, int]:
    kind = nal[0] & 31 if nal else 0
    if kind == NAL_SPS:
        return 0, parse_sps(nal).id
    clause = "H.264 7.3.2.2"
    if kind != NAL_PPS:
        raise ProtocolViolation("not a parameter set", clause)
    return 1, BitReader(unescape(nal[:16]), clause, 8).ue(255)
