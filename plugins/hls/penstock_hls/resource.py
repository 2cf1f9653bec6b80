"""What lies below ``/{path}/hls/``: playlists, init segments, segments and parts, by their names."""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

from penstock.errors import ProtocolViolation

Variant = Literal["ts", "fmp4", "ll"]
VARIANTS: tuple[Variant, ...] = ("ts", "fmp4", "ll")
SUFFIXES = (".m3u8", ".mp4", ".ts", ".m4s")
Kind = Literal["playlist", "init", "segment", "part"]

_NAME = re.compile(
    r"(?:(?P<variant>ts|fmp4|ll)-(?P<list>[a-z]{1,8}[0-9]{0,9})\.m3u8"
    r"|(?P<rendition>[a-z]{1,8}[0-9]{0,9})-(?P<number>0|[1-9][0-9]{0,18})"
    r"(?:\.(?P<part>0|[1-9][0-9]{0,5}))?\.(?P<type>ts|m4s|mp4))"
)
_TYPES = {"ts": "ts", "fmp4": "m4s", "ll": "m4s"}


@frozen
class Resource:
    """One file: of a playlist `variant`, of others `number`; a part's `part` counts those of its segment.

    `variant` of a segment is ``ts`` or ``fmp4``, whichever playlist names it.
    """

    kind: Kind
    variant: Variant
    rendition: str
    number: int = 0
    part: int = 0

    @classmethod
    def parse(cls, name: str) -> Resource:
        """What a name means. Raises `ProtocolViolation` where it is none of ours."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ProtocolViolation("there is no such file")
        if match["list"]:
            return cls("playlist", _variant(match["variant"]), match["list"])
        number, part, type = int(match["number"]), match["part"], match["type"]
        if part is not None:
            if type != "m4s":
                raise ProtocolViolation("parts are fragments")
            return cls("part", "fmp4", match["rendition"], number, int(part))
        kind: Kind = "init" if type == "mp4" else "segment"
        return cls(kind, "ts" if type == "ts" else "fmp4", match["rendition"], number)

    def __str__(self) -> str:
        match self.kind:
            case "playlist":
                return f"{self.variant}-{self.rendition}.m3u8"
            case "init":
                return f"{self.rendition}-{self.number}.mp4"
            case "segment":
                return f"{self.rendition}-{self.number}.{_TYPES[self.variant]}"
            case "part":
                return f"{self.rendition}-{self.number}.{self.part}.m4s"


def _variant(text: str) -> Variant:
    return next(variant for variant in VARIANTS if variant == text)
