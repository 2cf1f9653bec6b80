"""What the RTP payload formats of H.264 (RFC 6184) and H.265 (RFC 7798) have in common."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.nal.codec import NalCodec, NalConfig
from penstock_formats.nal.syntax import trim_parameter_set

MAX_SPROP = 64 << 10
"""Characters of one sprop parameter; those of real cameras have a few hundred."""

C = TypeVar("C", bound=NalConfig)


class Fragment(NamedTuple):
    """A part of a NAL unit; `header` is that of the whole unit."""

    start: bool
    end: bool
    header: bytes
    body: bytes


@frozen(eq=False)
class NalFormat(Generic[C]):
    """How one codec fills the common payload format; `fragment_headers` are of a unit's first, middle and last fragment."""

    codec: NalCodec[C]
    header_size: int
    parse: Callable[[bytes], Fragment | list[bytes]]
    aggregate_header: Callable[[Sequence[bytes]], bytes]
    fragment_headers: Callable[[bytes], tuple[bytes, bytes, bytes]]


def split_aggregate(payload: bytes, start: int, clause: str) -> list[bytes]:
    """The NAL units behind 16-bit lengths from `start` on."""
    nals: list[bytes] = []
    end = len(payload)
    while start < end:
        body = start + 2
        if body > end:
            raise ProtocolViolation("an aggregation packet ends in a size", clause)
        start = body + (payload[body - 2] << 8 | payload[body - 1])
        if start == body:
            raise ProtocolViolation("an aggregated NAL unit is empty", clause)
        if start > end:
            raise ProtocolViolation("an aggregated NAL unit goes past the end of its packet", clause)
        nals.append(payload[body:start])
    if not nals:
        raise ProtocolViolation("an aggregation packet is empty", clause)
    return nals


def decode_sprop(value: str, clause: str) -> list[bytes]:
    """The parameter sets of a comma-separated base64 list. Raises `ProtocolViolation`."""
    if len(value) > MAX_SPROP:
        raise ProtocolViolation(f"parameter sets of {len(value)} characters", clause)
    if not value.isascii():
        raise ProtocolViolation("a parameter set is not base64", clause)
    nals: list[bytes] = []
    for item in value.split(","):
        text = item.strip()
        try:
            # Some cameras leave the padding out.
            nal = b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            raise ProtocolViolation("a parameter set is not base64", clause) from None
        if nal := trim_parameter_set(nal):
            nals.append(nal)
    return nals
