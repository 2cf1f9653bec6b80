"""Durations and dates as XML Schema has them (``PT2.5S``, ``2026-11-26T21:00:00.5Z``), from ns; rates as DASH has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from penstock.media import NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_seconds(ns: int) -> str:
    """Seconds without more digits than it takes."""
    seconds, rest = divmod(ns, NS)
    return f"{seconds}.{rest:09d}".rstrip("0").rstrip(".")


def format_duration(ns: int) -> str:
    return f"PT{format_seconds(ns)}S"


def format_date(ns: int) -> str:
    """In UTC, to the millisecond: what is finer some players do not read."""
    seconds, rest = divmod(ns, NS)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def format_rate(hertz: float) -> str:
    """A frame rate (5.3.7.2) as ``25`` or ``30000/1001``; what was measured is told to the tenth where it is neither."""
    for base in (1, 1001):
        scaled = hertz * base
        whole = round(scaled / 1000) * 1000 if base == 1001 else round(scaled)
        if whole and abs(scaled - whole) <= 1e-4 * whole:
            return str(whole) if base == 1 else f"{whole}/{base}"
    rate = Fraction(round(hertz * 10), 10)
    return f"{rate.numerator}/{rate.denominator}" if rate.denominator > 1 else str(rate.numerator)
