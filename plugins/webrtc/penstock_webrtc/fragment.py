"""Fragments of SDP that tell of candidates and of new ICE credentials (RFC 8840 9), as PATCH has them."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.sdp import SessionDescription
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
    lite: bool = False
    options: str = ""
    group: str = ""
    media: str = ""
    """The value of the ``m=`` line of the section that has the transport of all (RFC 8840 4.4), and its identification."""
    mid: str = ""

    @classmethod
    def of(cls, answer: SessionDescription, credentials: Credentials) -> Fragment:
        """What is said again of ICE when it is restarted, as it was in the answer (RFC 9725 4.3.3)."""
        said = dict(answer.attributes)
        tagged = next(media for media in answer.media if media.port)
        return cls(
            credentials,
            lite="ice-lite" in said,
            options=said.get("ice-options") or "",
            group=said.get("group") or "",
            media=tagged.lines()[0].removeprefix("m="),
            mid=tagged.attribute("mid") or "",
        )

    @classmethod
    def parse(cls, data: bytes) -> Fragment:
        """The fragment that `data` holds. Raises `ProtocolViolation`."""
        said: dict[str, str] = {}
        candidates: list[Candidate] = []
        for letter, value in parse_lines(data):
            if letter == "m":
                if "m" in said:
                    break  # with BUNDLE the first has the transport of all (RFC 9725 4.3.2)
                said["m"] = value
            elif letter == "a":
                name, _, text = value.partition(":")
                if name == "candidate":
                    if len(candidates) == MAX_CANDIDATES:
                        raise ProtocolViolation(f"more than {MAX_CANDIDATES} candidates", "RFC 8840 9")
                    candidates.append(Candidate.parse(text))
                else:
                    said[f"a={name}"] = text
        return cls(
            read_credentials(said.get("a=ice-ufrag"), said.get("a=ice-pwd")),
            tuple(candidates),
            "a=end-of-candidates" in said,
            "a=ice-lite" in said,
            said.get("a=ice-options", ""),
            said.get("a=group", ""),
            said.get("m", ""),
            said.get("a=mid", ""),
        )

    def build(self) -> bytes:
        """The fragment as text of CRLF lines."""
        lines = ["a=ice-lite"] * self.lite
        lines += [f"a=ice-options:{self.options}"] * bool(self.options)
        lines += [f"a=group:{self.group}"] * bool(self.group)
        lines += [f"m={self.media}"] * bool(self.media)
        lines += [f"a=mid:{self.mid}"] * bool(self.mid)
        lines += [f"a=ice-ufrag:{self.credentials.ufrag}", f"a=ice-pwd:{self.credentials.password}"]
        lines += [f"a=candidate:{candidate.build()}" for candidate in self.candidates]
        lines += ["a=end-of-candidates"] * self.ended
        return "".join(f"{line}\r\n" for line in lines).encode()
