"""The lines of a session description, before anything is made of them."""

from __future__ import annotations

from penstock.errors import ProtocolViolation

MAX_SIZE = 128 * 1024
"""Bytes of one description: the bodies that gortsplib takes; the largest WebRTC offers have 30 KiB."""

_CLAUSE = "RFC 8866 5"


def parse_lines(data: bytes) -> list[tuple[str, str]]:
    """(type, value) of each line; ends of CR, LF and CRLF alike, as cameras send all three."""
    if len(data) > MAX_SIZE:
        raise ProtocolViolation(f"session description above {MAX_SIZE} bytes", _CLAUSE)
    if b"\0" in data:
        raise ProtocolViolation("NUL in session description", "RFC 8866 9")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Some cameras put names in their own charset; what matters is ASCII in all of them.
        text = data.decode("latin-1")
    lines: list[tuple[str, str]] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped[1:2] != "=" or not "a" <= stripped[0] <= "z":
            raise ProtocolViolation("session description line without a type", _CLAUSE)
        lines.append((stripped[0], stripped[2:].strip()))
    return lines


def parse_bandwidth(value: str) -> tuple[str, int] | None:
    """(type, kbit/s or bit/s) of a ``b=`` value; None for one that is no number, as it is only a hint."""
    kind, _, number = value.partition(":")
    if not (kind and number.isascii() and number.isdigit() and len(number) <= 12):
        return None
    return kind, int(number)
