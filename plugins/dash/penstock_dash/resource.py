"""What lies below ``/{path}/dash/``: init segments and media segments, by their names."""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

from penstock.errors import ProtocolViolation

SUFFIXES = (".mp4", ".m4s")

_NAME = re.compile(
    r"(?P<rendition>[a-z]{1,8}[0-9]{0,9})-(?P<presentation>[0-9a-f]{1,16})-"
    r"(?:(?P<time>0|[1-9][0-9]{0,18})\.m4s|(?P<digest>[0-9a-f]{8})\.mp4)"
)


@frozen
class Resource:
    """One file of a rendition: a segment by the `time` at which it starts, in ticks, or an init segment by its `digest`.

    `presentation` tells those of one life of a stream from those of another, whose times are the same.
    """

    kind: Literal["init", "segment"]
    rendition: str
    presentation: int
    time: int = 0
    digest: int = 0

    @classmethod
    def parse(cls, name: str) -> Resource:
        """What a name means. Raises `ProtocolViolation` where it is none of ours."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ProtocolViolation("there is no such file")
        rendition, presentation = match["rendition"], int(match["presentation"], 16)
        if match["digest"]:
            return cls("init", rendition, presentation, digest=int(match["digest"], 16))
        return cls("segment", rendition, presentation, time=int(match["time"]))

    def __str__(self) -> str:
        head = f"{self.rendition}-{self.presentation:x}"
        return f"{head}-{self.digest:08x}.mp4" if self.kind == "init" else f"{head}-{self.time}.m4s"
