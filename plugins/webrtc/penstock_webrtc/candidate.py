"""ICE candidates as lines of SDP (RFC 8839 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal

_CLAUSE = "RFC 8839 5.1"
_HOST_PREFERENCE = 126
_MAPPED_PREFERENCE = 100
"""RFC 8445 5.1.2.2."""
_TCP_PREFERENCE = 90
"""RFC 6544 4.2: less than all candidates for UDP, since what is lost holds up all that follows."""
_PASSIVE = 4
"""RFC 6544 4.2: the direction preference of who is connected to."""


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
    tcp_type: str = ""
    """RFC 6544 4.5: of ``tcp`` who connects, such as ``passive``."""

    @classmethod
    def parse(cls, value: str) -> Candidate:
        """The value of ``a=candidate:``; of what extends it all but ``tcptype`` is ignored. Raises `ProtocolViolation`."""
        words = value.split()
        extensions = dict(zip(words[8::2], words[9::2], strict=False))
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
            extensions.get("tcptype", "").lower(),
        )

    def build(self) -> str:
        return (
            f"{self.foundation} {self.component} {self.transport} {self.priority} {self.address} {self.port} "
            f"typ {self.kind}{_extensions(self)}"
        )


def _extensions(candidate: Candidate) -> str:
    # RFC 8839 5.1: what is not of a host has the address that it is related to, which is nobody's business.
    related = "" if candidate.kind == "host" else " raddr 0.0.0.0 rport 9"
    return related + (f" tcptype {candidate.tcp_type}" if candidate.tcp_type else "")


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


def mapped_candidates(places: Iterable[tuple[str, int]]) -> Sequence[Candidate]:
    """A UDP candidate for each address and port that ours is behind (RFC 8445 5.1.1.1)."""
    return [
        Candidate(
            f"m{number + 1}",
            1,
            "udp",
            _MAPPED_PREFERENCE << 24 | 65535 - number << 8 | 255,
            address,
            port,
            "srflx",
        )
        for number, (address, port) in enumerate(places)
    ]


def passive_candidates(addresses: Iterable[str], port: int) -> Sequence[Candidate]:
    """A candidate for each address to which peers connect over TCP."""
    return [
        Candidate(
            f"t{number + 1}",
            1,
            "tcp",
            _TCP_PREFERENCE << 24 | (_PASSIVE << 13 | 8191 - number) << 8 | 255,
            address,
            port,
            "host",
            "passive",
        )
        for number, address in enumerate(addresses)
    ]
