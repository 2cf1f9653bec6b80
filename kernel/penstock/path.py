"""Stream paths: the one canonical form of a stream's name, used for both permission and look-up."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote_to_bytes

from penstock.errors import ProtocolViolation

MAX_BYTES = 255
MAX_DECOMPOSED = 4 * MAX_BYTES
"""Characters before NFC, which takes quadratic time to sort combining marks: no letter has more parts."""
RESERVED_FIRST = frozenset({"api", "metrics", "rtc", "index", "whip"})
RESERVED_LAST = frozenset({"whip", "whep", "publish"})


class StreamPath(str):
    """A canonical path such as ``live/stream``. Only `parse` makes one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> StreamPath:
        """The path that `text` names: percent-decoded once, NFC, without query, leading or trailing slash.

        Raises `ProtocolViolation` for what is no path.
        """
        try:
            decoded = unquote_to_bytes(text.split("?", 1)[0].encode("utf-8", "surrogateescape")).decode(
                "utf-8"
            )
        except UnicodeError:
            # Encoding fails too: at the surrogates that JSON's \ud800 makes, which stand for no byte.
            raise ProtocolViolation("the stream path is not UTF-8") from None
        if len(decoded) > MAX_DECOMPOSED:
            raise ProtocolViolation(f"the stream path is longer than {MAX_BYTES} bytes")
        path = unicodedata.normalize("NFC", decoded).removeprefix("/").removesuffix("/")
        if not path:
            raise ProtocolViolation("the stream path is empty")
        if len(path.encode()) > MAX_BYTES:
            raise ProtocolViolation(f"the stream path is longer than {MAX_BYTES} bytes")
        if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in path):
            raise ProtocolViolation("the stream path has control characters")
        segments = path.split("/")
        if any(s in ("", ".", "..") for s in segments):
            raise ProtocolViolation("the stream path has an empty, '.' or '..' segment")
        if segments[0] in RESERVED_FIRST:
            raise ProtocolViolation(f"stream paths may not start with {segments[0]!r}")
        if segments[-1] in RESERVED_LAST:
            raise ProtocolViolation(f"stream paths may not end with {segments[-1]!r}")
        return cls(path)
