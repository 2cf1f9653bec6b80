"""Fragments of SDP that tell of candidates and of new ICE credentials (RFC 8840 9), as PATCH has them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.sdp.line import parse_lines
from penstock_webrtc.candidate import Candidate
from penstock_webrtc.ice import Credentials
from penstock_webrtc.transport import read_credentials

CONTENT_TYPE = "application/trickle-ice-sdpfrag"
MAX_CANDIDATES = 128
"""Candidates of one fragment; a machine with many interfaces has 30."""


@frozen
class Fragment:
    """New credentials are an ICE restart where they are not those that are in use; candidates only add to them."""

    credentials: Credentials
    candidates: tuple[Candidate, ...] = ()
    ended: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Fragment:
        """The fragment that `data` holds. Raises `ProtocolViolation`."""
        ufrag = password = None
        candidates: list[Candidate] = []
        ended = False
        for letter, value in parse_lines(data):
            if letter != "a":
                continue
            name, _, text = value.partition(":")
            if name == "ice-ufrag":
                ufrag = text
            elif name == "ice-pwd":
                password = text
            elif name == "end-of-candidates":
                ended = True
            elif name == "candidate":
                if len(candidates) == MAX_CANDIDATES:
                    raise ProtocolViolation(f"more than {MAX_CANDIDATES} candidates", "RFC 8840 9")
                candidates.append(Candidate.parse(text))
        return cls(read_credentials(ufrag, password), tuple(candidates), ended)

    def build(self) -> bytes:
        """The fragment as text of CRLF lines."""
        lines = [f"a=ice-ufrag:{self.credentials.ufrag}", f"a=ice-pwd:{self.credentials.password}"]
        lines += candidate_lines(self.candidates)
        if self.ended:
            lines.append("a=end-of-candidates")
        return "".join(f"{line}\r\n" for line in lines).encode()


def candidate_lines(candidates: Iterable[Candidate]) -> list[str]:
    return [f"a=candidate:{candidate.build()}" for candidate in candidates]
