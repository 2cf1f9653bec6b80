"""Bounded decimal numbers of text protocols, where `int()` would take signs, blanks and more."""

from __future__ import annotations

from penstock.errors import ProtocolViolation


def parse_decimal(text: str, maximum: int, what: str, clause: str = "") -> int:
    """The number that `text` spells, 0 to `maximum`; raises `ProtocolViolation` naming `what`."""
    # 20 digits hold 2^64; more are refused unread, as int() takes quadratic time and stops at 4300 digits.
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ProtocolViolation(f"{what} is not a number", clause)
    value = int(text)
    if value > maximum:
        raise ProtocolViolation(f"{what} is above {maximum}", clause)
    return value
