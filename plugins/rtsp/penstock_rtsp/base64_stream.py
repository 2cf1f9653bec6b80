"""The body of a tunnel's POST: base64 that comes in any pieces, each message encoded by itself."""

from __future__ import annotations

import binascii
import re

from penstock.errors import ProtocolViolation

_BLANKS = b"\r\n\t "
# Padding ends what one write of the client encoded; the next goes on with a new group of four.
_GROUPS = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class Base64Stream:
    """Base64 in by `receive_data`, bytes out by `next_event`; at most what one call brought is pending."""

    def __init__(self) -> None:
        self._pending = b""
        self._decoded = bytearray()
        self._violation: ProtocolViolation | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the body."""
        if self._violation is not None:
            return
        text = self._pending + data.translate(None, _BLANKS)
        end = len(text) & ~3
        at = 0
        while at < end:
            match = _GROUPS.match(text, at, end)
            if match is None or match.end() == at:
                self._violation = ProtocolViolation("tunnel body is not base64", "RFC 4648 4")
                return
            self._decoded += binascii.a2b_base64(match.group())
            at = match.end()
        self._pending = text[end:]

    def next_event(self) -> bytes | None:
        """What is decoded, None where more is needed; raises `ProtocolViolation`."""
        if self._decoded:
            decoded = bytes(self._decoded)
            self._decoded.clear()
            return decoded
        if self._violation is not None:
            raise self._violation
        return None
