"""The RTP-Info header (RFC 2326 12.33): where each track's packets begin."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal

MAX_ENTRIES = 64

_CLAUSE = "RFC 2326 12.33"
# URLs may have commas of their own.
_BETWEEN = re.compile(r",\s*(?=url=)", re.IGNORECASE)


@frozen
class RtpInfo:
    """One track: the sequence number and RTP time of its first packet after the reply."""

    url: str
    sequence: int | None = None
    rtp_time: int | None = None


def parse_rtp_info(value: str) -> tuple[RtpInfo, ...]:
    """The entries of the header; raises `ProtocolViolation`."""
    parts = _BETWEEN.split(value)
    if len(parts) > MAX_ENTRIES:
        raise ProtocolViolation(f"more than {MAX_ENTRIES} RTP-Info entries", _CLAUSE)
    return tuple(map(_parse_one, parts))


def _parse_one(text: str) -> RtpInfo:
    sequence = rtp_time = None
    key, _, url = text.strip().partition("=")
    if key.lower() != "url":
        raise ProtocolViolation("RTP-Info without url", _CLAUSE)
    # URLs may have semicolons of their own: what is known is taken from the end.
    while True:
        head, _, last = url.rpartition(";")
        key, equals, number = last.strip().partition("=")
        if not head or not equals or key.lower() not in ("seq", "rtptime"):
            break
        if key.lower() == "seq":
            sequence = parse_decimal(number.strip(), 0xFFFF, "RTP-Info seq", _CLAUSE)
        else:
            rtp_time = parse_decimal(number.strip(), 0xFFFFFFFF, "RTP-Info rtptime", _CLAUSE)
        url = head
    if not url:
        raise ProtocolViolation("RTP-Info without url", _CLAUSE)
    return RtpInfo(url, sequence, rtp_time)


def build_rtp_info(entries: Iterable[RtpInfo]) -> str:
    """The header's value."""
    return ",".join(map(_build_one, entries))


def _build_one(entry: RtpInfo) -> str:
    sequence = "" if entry.sequence is None else f";seq={entry.sequence}"
    rtp_time = "" if entry.rtp_time is None else f";rtptime={entry.rtp_time}"
    return f"url={entry.url}{sequence}{rtp_time}"
