"""A whole session description: parsed as forgivingly as real cameras need, and built."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.sdp.line import parse_bandwidth, parse_lines
from penstock_formats.sdp.media import DIRECTIONS, Direction, MediaDescription, parse_media

MAX_MEDIA = 64
"""Media sections of one description; a browser's largest offers have about 50."""

_MEDIA_LINES = "micbka"


def make_origin(session_id: int, version: int, address: str = "127.0.0.1") -> str:
    """The value of an ``o=`` line."""
    return f"- {session_id} {version} IN {'IP6' if ':' in address else 'IP4'} {address}"


@frozen
class SessionDescription:
    """A session and its media. `origin`, `connection` and `time` are the values of their lines, unread."""

    media: tuple[MediaDescription, ...] = ()
    origin: str = "- 0 0 IN IP4 127.0.0.1"
    name: str = "-"
    connection: str | None = None
    time: str = "0 0"
    bandwidth: tuple[tuple[str, int], ...] = ()
    control: str | None = None
    direction: Direction | None = None
    attributes: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """The description that `data` holds; raises `ProtocolViolation`.

        Missing v=, o=, s= and t= lines and lines in the wrong order are taken, as some cameras send them.
        """
        lines = parse_lines(data)
        if not any(letter in "vm" for letter, _ in lines):
            raise ProtocolViolation("no session description: it has neither v= nor m=", "RFC 8866 5")
        head: list[tuple[str, str]] = []
        sections: list[list[tuple[str, str]]] = []
        for letter, value in lines:
            if letter == "m":
                if len(sections) == MAX_MEDIA:
                    raise ProtocolViolation(f"more than {MAX_MEDIA} media sections", "RFC 8866 5.14")
                sections.append([])
            # Session lines after the first m= are out of order, not part of that media.
            (sections[-1] if sections and letter in _MEDIA_LINES else head).append((letter, value))
        return cls._of(head, tuple(map(parse_media, sections)))

    @classmethod
    def _of(cls, head: list[tuple[str, str]], media: tuple[MediaDescription, ...]) -> SessionDescription:
        values = dict(head)
        if values.get("v", "0") != "0":
            raise ProtocolViolation("session description of another version", "RFC 8866 5.1")
        control = direction = None
        bandwidth: list[tuple[str, int]] = []
        attributes: list[tuple[str, str | None]] = []
        for letter, value in head:
            if letter == "b" and (hint := parse_bandwidth(value)):
                bandwidth.append(hint)
            elif letter == "a":
                name, colon, text = value.partition(":")
                if name == "control":
                    control = text.strip()
                elif not colon and name in DIRECTIONS:
                    direction = Direction(name)
                else:
                    attributes.append((name, text if colon else None))
        return cls(
            media,
            values.get("o", "- 0 0 IN IP4 127.0.0.1"),
            values.get("s") or "-",
            values.get("c"),
            values.get("t", "0 0"),
            tuple(bandwidth),
            control,
            direction,
            tuple(attributes),
        )

    def build(self) -> bytes:
        """The description as text of CRLF lines."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"b={kind}:{value}" for kind, value in self.bandwidth]
        lines.append(f"t={self.time}")
        if self.direction is not None:
            lines.append(f"a={self.direction}")
        lines += [f"a={key}" if value is None else f"a={key}:{value}" for key, value in self.attributes]
        if self.control is not None:
            lines.append(f"a=control:{self.control}")
        for media in self.media:
            lines += media.lines()
        return "".join(f"{line}\r\n" for line in lines).encode()
