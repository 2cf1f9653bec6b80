"""Numbers, durations and dates as playlists have them (RFC 8216bis 4.2 and 4.4.4.6)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from penstock.errors import ProtocolViolation

NS = 1_000_000_000
MAX_SECONDS = 1 << 40
"""More than any duration or date needs, little enough to compute with."""

_INTEGER = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]{0,20}))?")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,12}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_integer(text: str) -> int:
    """A decimal-integer. Raises `ProtocolViolation`."""
    if not _INTEGER.fullmatch(text) or int(text) >= 1 << 64:
        raise ProtocolViolation(f"{text[:40]!r} is no decimal integer", "RFC 8216bis 4.2")
    return int(text)


def parse_duration(text: str) -> int:
    """Seconds, whole or with a fraction, as ns. Raises `ProtocolViolation`, for what is negative or no number too."""
    match = _DECIMAL.fullmatch(text)
    if match is None or int(match[1]) > MAX_SECONDS:
        raise ProtocolViolation(f"{text[:40]!r} is no duration", "RFC 8216bis 4.2")
    return int(match[1]) * NS + int((match[2] or "").ljust(9, "0")[:9])


def format_duration(ns: int) -> str:
    """Seconds with at least three digits after the point, and no more than it takes to be exact."""
    whole, rest = divmod(ns, NS)
    digits = f"{rest:09d}"
    return f"{whole}.{digits[:3]}{digits[3:].rstrip('0')}"


def parse_date(text: str) -> int:
    """ISO 8601, as ns since 1970; where no zone is given, UTC is meant. Raises `ProtocolViolation`."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ProtocolViolation(f"{text[:40]!r} is no date", "RFC 8216bis 4.4.4.6")
    year, month, day, hour, minute, second = (int(n) for n in match.groups()[:6])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = _DAYS[month - 1] + (leap and month == 2) if 1 <= month <= 12 else 0
    if not (1971 <= year <= 9998 and 1 <= day <= last and hour < 24 and minute < 60 and second <= 60):
        raise ProtocolViolation(f"{text[:40]!r} is no date", "RFC 8216bis 4.4.4.6")
    away = 0
    if match[9]:
        away = int(match[10]) * 3600 + int(match[11]) * 60
        away = -away if match[9] == "-" else away
    # A leap second is the next minute's first.
    moment = datetime(year, month, day, hour, minute, tzinfo=UTC) - _EPOCH
    seconds = moment.days * 86400 + moment.seconds + second - away
    return seconds * NS + int((match[7] or "").ljust(9, "0")[:9])


def format_date(ns: int) -> str:
    """ISO 8601 in UTC, to the millisecond where that is exact."""
    seconds, rest = divmod(ns, NS)
    digits = f"{rest:09d}"
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{digits[:3]}{digits[3:].rstrip('0')}Z"
