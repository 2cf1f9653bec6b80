"""The Session header (RFC 2326 12.37)."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal

MAX_ID = 128
"""Characters of a session id; servers use 8 to 36."""
MAX_TIMEOUT = 24 * 3600

_CLAUSE = "RFC 2326 12.37"


@frozen
class SessionHeader:
    """`timeout` is in seconds; None stands for 60."""

    id: str
    timeout: int | None = None

    @classmethod
    def parse(cls, value: str) -> SessionHeader:
        """The header that `value` spells; raises `ProtocolViolation`."""
        session, _, rest = value.partition(";")
        session = session.strip()
        if not session or len(session) > MAX_ID or not all("!" <= c <= "~" for c in session):
            raise ProtocolViolation(f"session id is empty, above {MAX_ID} characters, or no word", _CLAUSE)
        for parameter in rest.split(";"):
            key, _, text = parameter.partition("=")
            if key.strip().lower() == "timeout":
                return cls(session, parse_decimal(text.strip(), MAX_TIMEOUT, "session timeout", _CLAUSE))
        return cls(session)

    def build(self) -> str:
        """The header's value."""
        return self.id if self.timeout is None else f"{self.id};timeout={self.timeout}"
