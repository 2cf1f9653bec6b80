"""The configuration of an H.264 track: its parameter sets."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, field, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind
from penstock_codecs.h264.sps import Sps, parse_sps
from penstock_formats.bits import BitReader
from penstock_formats.nal import trim_parameter_set, unescape

H264 = Codec("h264", Kind.VIDEO)

NAL_SPS = 7
NAL_PPS = 8

MAX_SPS = 31
"""numOfSequenceParameterSets has 5 bits (ISO 14496-15 5.3.3.1.2); seq_parameter_set_id goes up to 31."""

MAX_PPS = 255
"""numOfPictureParameterSets has 8 bits (ISO 14496-15 5.3.3.1.2); pic_parameter_set_id goes up to 255."""


@frozen
class H264Config(CodecConfig):
    """Sequence and picture parameter sets, as NAL units with their header byte; there is at least one SPS.

    `nal_length` is the size of the lengths in the sender's samples; it is not compared.
    """

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    nal_length: int = field(default=4, eq=False)

    @property
    def parsed(self) -> Sps:
        """The first SPS; raises `ProtocolViolation`."""
        if not self.sps:
            raise ProtocolViolation("there is no sequence parameter set", "H.264 7.4.1.2.1")
        return parse_sps(self.sps[0])


def as_h264(config: CodecConfig | None) -> H264Config:
    """`config`, which is one of H.264."""
    if not isinstance(config, H264Config):
        raise TypeError(f"{config!r} is no H264Config")
    return config


def merge(previous: H264Config | None, sets: Iterable[bytes]) -> H264Config | None:
    """The config after `sets` (SPS and PPS) came in, None where they change nothing or no SPS is known.

    A set replaces the one of the same id in its place, new ones come last. Raises `ProtocolViolation` for
    sets that cannot be parsed.
    """
    fresh = [trim_parameter_set(nal) for nal in sets]
    if previous is not None and all(nal in previous.sps or nal in previous.pps for nal in fresh):
        return None
    base = previous or H264Config((), ())
    sps = {parse_sps(nal).id: nal for nal in base.sps}
    pps = {_pps_id(nal): nal for nal in base.pps}
    for nal in fresh:
        if nal and nal[0] & 31 == NAL_SPS:
            sps[parse_sps(nal).id] = nal
        else:
            pps[_pps_id(nal)] = nal
    if len(sps) > MAX_SPS or len(pps) > MAX_PPS:
        raise ProtocolViolation("more parameter sets than a config record holds", "ISO 14496-15 5.3.3.1.2")
    merged = evolve(base, sps=tuple(sps.values()), pps=tuple(pps.values()))
    return merged if sps and merged != previous else None


def _pps_id(nal: bytes) -> int:
    clause = "H.264 7.3.2.2"
    if not nal or nal[0] & 31 != NAL_PPS:
        raise ProtocolViolation("not a picture parameter set", clause)
    return BitReader(unescape(nal[:16]), clause, 8).ue(255)
