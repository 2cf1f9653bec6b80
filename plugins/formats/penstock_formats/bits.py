"""Bits of a byte string, most significant first, with the Exp-Golomb codes of H.264 and H.265."""

from __future__ import annotations

from penstock.errors import ProtocolViolation

MAX_LEADING_ZEROS = 32
"""H.264 9.1: syntax elements coded as ue(v) go up to 2^32 - 2, which has 31 zeros; 32 leaves one to spare."""


class BitReader:
    """Reads `data` bit by bit; reading past the end is a `ProtocolViolation` that names `clause`."""

    __slots__ = ("_data", "_end", "clause", "position")

    def __init__(self, data: bytes, clause: str = "", position: int = 0) -> None:
        self._data = data
        self._end = len(data) * 8
        self.clause = clause
        self.position = position
        """Bits read so far."""

    @property
    def left(self) -> int:
        """Bits not yet read."""
        return self._end - self.position

    def u(self, count: int) -> int:
        """The next `count` bits as an unsigned number."""
        start = self.position
        end = start + count
        if end > self._end:
            raise ProtocolViolation("the data ends too early", self.clause)
        self.position = end
        last = (end + 7) >> 3
        value = int.from_bytes(self._data[start >> 3 : last], "big") >> ((last << 3) - end)
        return value & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.u(1) == 1

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        if self.position + count > self._end:
            raise ProtocolViolation("the data ends too early", self.clause)
        self.position += count

    def ue(self, maximum: int | None = None) -> int:
        """An unsigned Exp-Golomb code (H.264 9.1); above `maximum` is a violation."""
        window = min(MAX_LEADING_ZEROS + 1, self.left)
        ahead = self.u(window)
        if not ahead:
            long = window > MAX_LEADING_ZEROS
            raise ProtocolViolation(
                "an Exp-Golomb code is too long" if long else "the data ends too early", self.clause
            )
        zeros = window - ahead.bit_length()
        self.position += zeros - window
        value = self.u(zeros + 1) - 1
        if maximum is not None and value > maximum:
            raise ProtocolViolation(f"a value of {value} where {maximum} is the most", self.clause)
        return value

    def se(self) -> int:
        """A signed Exp-Golomb code (H.264 9.1.1)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)
