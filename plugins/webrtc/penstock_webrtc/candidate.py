"""ICE candidates as lines of SDP (RFC 8839 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal

_CLAUSE = "RFC 8839 5.1"
_HOST_PREFERENCE = 126
"""RFC 8445 5.1.2.2."""


@frozen
class Candidate:
    """One transport address. `address` may be a name, as browsers hide their own behind."""

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    kind: str

    @classmethod
    def parse(cls, value: str) -> Candidate:
        """The value of ``a=candidate:``; what extends it is ignored. Raises `ProtocolViolation`."""
        words = value.split()
        if len(words) < 8 or words[6].lower() != "typ":
            raise ProtocolViolation("a candidate has less than its eight words", _CLAUSE)
        return cls(
            words[0],
            parse_decimal(words[1], 256, "component", _CLAUSE),
            words[2].lower(),
            parse_decimal(words[3], 0xFFFFFFFF, "candidate priority", _CLAUSE),
            words[4],
            parse_decimal(words[5], 65535, "candidate port", _CLAUSE),
            words[7].lower(),
        )

    def build(self) -> str:
        return (
            f"{self.foundation} {self.component} {self.transport} {self.priority} {self.address} {self.port} "
            f"typ {self.kind}"
        )


def host_candidates(addresses: Iterable[str], port: int) -> Sequence[Candidate]:
    """A UDP candidate for each address, the first preferred."""
    return [
        Candidate(
            str(number + 1),
            1,
            "udp",
            _HOST_PREFERENCE << 24 | 65535 - number << 8 | 255,
            address,
            port,
            "host",
        )
        for number, address in enumerate(addresses)
    ]
