"""Delivery directives (RFC 8216bis 6.2.5): what a client asks of a playlist besides the playlist."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import NS

_NUMBER = re.compile(r"[0-9]{1,20}")
NAMES = ("_HLS_msn", "_HLS_part", "_HLS_skip")


@frozen
class Directives:
    """Wait until segment `msn`, or `part` of it, is there; with `skip`, leave out what the client knows."""

    msn: int | None = None
    part: int | None = None
    skip: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Directives:
        """Those in a URL's query. Raises `ProtocolViolation` for numbers that are none, and a part of no segment."""
        msn, part = _number(query, "_HLS_msn"), _number(query, "_HLS_part")
        if part is not None and msn is None:
            raise ProtocolViolation("_HLS_part without _HLS_msn", "RFC 8216bis 6.2.5.2")
        return cls(msn, part, query.get("_HLS_skip") in ("YES", "v2"))

    def check(self, last_msn: int, last_part: int, part_target: int) -> None:
        """Raises `ProtocolViolation` for what lies too far ahead of the playlist's last segment and part."""
        if self.msn is None:
            return
        # 6.2.5.2: the Advance Part Limit is three seconds in parts, or three parts of a second and more.
        limit = 3 * NS // part_target if 0 < part_target < NS else 3
        part = self.part or 0
        if self.msn > last_msn + 2 or (
            self.msn >= last_msn and part > (last_part if self.msn == last_msn else -1) + limit
        ):
            raise ProtocolViolation("too far ahead of the playlist", "RFC 8216bis 6.2.5.2")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ProtocolViolation(f"{name} is no decimal integer", "RFC 8216bis 6.2.5.2")
    return int(text)
