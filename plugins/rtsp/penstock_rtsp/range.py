"""The Range header (RFC 2326 12.29, 3.6, 3.7)."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_formats.decimal import parse_decimal

MAX_LENGTH = 128
MAX_SECONDS = 1 << 31

_CLAUSE = "RFC 2326 12.29"
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{0,9})[0-9]*)?", re.ASCII)
_CLOCK = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]{1,9}))?Z", re.ASCII
)


@frozen
class Range:
    """From `start` to `end` in nanoseconds: of the presentation, or since 1970 where `clock` is true.

    `start` None is "now", or "so much before the end" where only `end` is given; `end` None is the end.
    """

    start: int | None = 0
    end: int | None = None
    clock: bool = False

    @classmethod
    def parse(cls, value: str) -> Range:
        """The range that `value` spells; raises `ProtocolViolation`."""
        if len(value) > MAX_LENGTH:
            raise ProtocolViolation(f"Range above {MAX_LENGTH} characters", _CLAUSE)
        unit, equals, rest = value.partition(";")[0].partition("=")
        start_text, dash, end_text = (part.strip() for part in rest.partition("-"))
        if not equals or not dash:
            raise ProtocolViolation("Range without '=' and '-'", _CLAUSE)
        match unit.strip().lower():
            case "npt":
                read = _parse_npt
            case "clock":
                read = _parse_clock
            case _:
                raise ProtocolViolation("Range in other units than npt and clock", _CLAUSE)
        start = None if start_text in ("", "now") else read(start_text)
        end = read(end_text) if end_text else None
        if start_text == "" and end is None:
            raise ProtocolViolation("Range without start and end", _CLAUSE)
        if start is not None and end is not None and start > end:
            raise ProtocolViolation("Range ends before it starts", _CLAUSE)
        if start_text == "now" and end is not None:
            raise ProtocolViolation("Range from now to a time", _CLAUSE)
        return cls(start, end, unit.strip().lower() == "clock")

    def build(self) -> str:
        """The header's value."""
        write = _build_clock if self.clock else _build_npt
        end = "" if self.end is None else write(self.end)
        if self.start is None:
            start = "" if end else "now"
        else:
            start = write(self.start)
        return f"{'clock' if self.clock else 'npt'}={start}-{end}"


def _parse_npt(text: str) -> int:
    hours, minutes = 0, 0
    if ":" in text:
        parts = text.split(":")
        if len(parts) != 3:
            raise ProtocolViolation("npt time is not h:mm:ss", "RFC 2326 3.6")
        hours = parse_decimal(parts[0], MAX_SECONDS // 3600, "npt hours", "RFC 2326 3.6")
        minutes = parse_decimal(parts[1], 59, "npt minutes", "RFC 2326 3.6")
        text = parts[2]
    match = _SECONDS.fullmatch(text)
    if match is None or int(match[1]) > (59 if hours or minutes else MAX_SECONDS):
        raise ProtocolViolation("npt time is no number of seconds", "RFC 2326 3.6")
    return (hours * 3600 + minutes * 60 + int(match[1])) * NS + _fraction(match[2])


def _parse_clock(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ProtocolViolation("clock time is not yyyymmddThhmmssZ", "RFC 2326 3.7")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if not (year >= 1970 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        raise ProtocolViolation("clock time is out of range", "RFC 2326 3.7")
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise ProtocolViolation("clock time is out of range", "RFC 2326 3.7")
    return calendar.timegm((year, month, day, hour, minute, second)) * NS + _fraction(match[7])


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(9, "0"))


def _build_npt(time: int) -> str:
    seconds, rest = divmod(time, NS)
    return f"{seconds}.{rest:09}".rstrip("0").ljust(len(str(seconds)) + 4, "0")


def _build_clock(time: int) -> str:
    seconds, rest = divmod(time, NS)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}{fraction}Z"
