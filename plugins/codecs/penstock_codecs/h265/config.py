"""The configuration of an H.265 track: its parameter sets."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, Kind
from penstock_codecs.h265.sps import Sps, parse_sps
from penstock_formats.bits import BitReader
from penstock_formats.nal import NalConfig, unescape
from penstock_formats.nal.codec import merge_sets

H265 = Codec("h265", Kind.VIDEO)

NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34

MAX_PPS_ID = 63
"""7.4.3.3.1."""


@frozen
class H265Config(NalConfig):
    """Video, sequence and picture parameter sets, as NAL units with their header; there is at least one SPS."""

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def sets(self) -> tuple[bytes, ...]:
        return self.vps + self.sps + self.pps

    @property
    def parsed(self) -> Sps:
        """The first SPS; raises `ProtocolViolation`."""
        if not self.sps:
            raise ProtocolViolation("there is no sequence parameter set", "H.265 7.4.2.4.2")
        return parse_sps(self.sps[0])


def merge(previous: H265Config | None, sets: Iterable[bytes]) -> H265Config | None:
    """The config after `sets` (VPS, SPS, PPS) came in, None where they change nothing or no SPS is known.

    Raises `ProtocolViolation` for sets that cannot be parsed.
    """
    base = previous or H265Config((), (), ())
    merged = merge_sets((base.vps, base.sps, base.pps), sets, _identify)
    if merged is None:
        return None
    vps, sps, pps = merged
    return evolve(base, vps=vps, sps=sps, pps=pps) if sps else None


def _identify(nal: bytes) -> tuple[int, int]:
    kind = nal[0] >> 1 & 63 if nal else 0
    if kind == NAL_VPS:
        if len(nal) < 3:
            raise ProtocolViolation("a video parameter set is cut", "H.265 7.3.2.1")
        return 0, nal[2] >> 4
    if kind == NAL_SPS:
        return 1, parse_sps(nal).id
    clause = "H.265 7.3.2.3.1"
    if kind != NAL_PPS:
        raise ProtocolViolation("not a parameter set", clause)
    reader = BitReader(unescape(nal[:16]), clause)
    reader.skip(16)
    return 2, reader.ue(MAX_PPS_ID)
