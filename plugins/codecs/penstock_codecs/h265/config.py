"""The configuration of an H.265 track: its parameter sets."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, field, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind
from penstock_codecs.h265.sps import Sps, parse_sps
from penstock_formats.bits import BitReader
from penstock_formats.nal import trim_parameter_set, unescape

H265 = Codec("h265", Kind.VIDEO)

NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34

MAX_PPS_ID = 63
"""7.4.3.3.1."""


@frozen
class H265Config(CodecConfig):
    """Video, sequence and picture parameter sets, as NAL units with their header; there is at least one SPS.

    `nal_length` is the size of the lengths in the sender's samples; it is not compared.
    """

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    nal_length: int = field(default=4, eq=False)

    @property
    def parsed(self) -> Sps:
        """The first SPS; raises `ProtocolViolation`."""
        if not self.sps:
            raise ProtocolViolation("there is no sequence parameter set", "H.265 7.4.2.4.2")
        return parse_sps(self.sps[0])


def as_h265(config: CodecConfig | None) -> H265Config:
    """`config`, which is one of H.265."""
    if not isinstance(config, H265Config):
        raise TypeError(f"{config!r} is no H265Config")
    return config


def merge(previous: H265Config | None, sets: Iterable[bytes]) -> H265Config | None:
    """The config after `sets` (VPS, SPS, PPS) came in, None where they change nothing or no SPS is known.

    A set replaces the one of the same id in its place, new ones come last. Raises `ProtocolViolation` for
    sets that cannot be parsed.
    """
    fresh = [trim_parameter_set(nal) for nal in sets]
    base = previous or H265Config((), (), ())
    known = base.vps + base.sps + base.pps
    if all(nal in known for nal in fresh):
        return None
    vps = {_vps_id(nal): nal for nal in base.vps}
    sps = {parse_sps(nal).id: nal for nal in base.sps}
    pps = {_pps_id(nal): nal for nal in base.pps}
    for nal in fresh:
        kind = nal[0] >> 1 & 63 if nal else 0
        if kind == NAL_VPS:
            vps[_vps_id(nal)] = nal
        elif kind == NAL_SPS:
            sps[parse_sps(nal).id] = nal
        else:
            pps[_pps_id(nal)] = nal
    merged = evolve(base, vps=tuple(vps.values()), sps=tuple(sps.values()), pps=tuple(pps.values()))
    return merged if sps and merged != previous else None


def _vps_id(nal: bytes) -> int:
    if len(nal) < 3:
        raise ProtocolViolation("a video parameter set is cut", "H.265 7.3.2.1")
    return nal[2] >> 4


def _pps_id(nal: bytes) -> int:
    clause = "H.265 7.3.2.3.1"
    if not nal or nal[0] >> 1 & 63 != NAL_PPS:
        raise ProtocolViolation("not a picture parameter set", clause)
    reader = BitReader(unescape(nal[:16]), clause)
    reader.skip(16)
    return reader.ue(MAX_PPS_ID)
