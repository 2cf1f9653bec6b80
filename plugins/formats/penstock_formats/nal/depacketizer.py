"""RTP payloads of H.264 and H.265 to access units."""

from __future__ import annotations

from typing import Generic, TypeVar

from penstock.errors import ProtocolViolation
from penstock_formats.nal.codec import NalConfig
from penstock_formats.nal.rtp import Fragment, NalFormat
from penstock_formats.nal.syntax import MAX_NALS
from penstock_formats.rtp.binding import AccessUnit

MAX_ACCESS_UNIT = 8 << 20
"""Bytes of one access unit: an intra picture of 200 Mbit/s video at 3 pictures a second."""

MAX_FRAGMENTS = 1 << 15
"""Fragments of one NAL unit: half of what RTP can number, and 8 MiB of them have 256 bytes each."""

C = TypeVar("C", bound=NalConfig)


def _too_large() -> ProtocolViolation:
    return ProtocolViolation(f"an access unit of more than {MAX_ACCESS_UNIT} bytes", "RFC 6184 5.1")


class NalDepacketizer(Generic[C]):
    """RTP payloads to access units, which end at a marker or, as some cameras set none, at a new timestamp.

    A marker before the first slice does not end a unit, and once a slice of the same picture follows a
    marker, markers are no longer believed: some senders set one on every NAL unit. After a loss the rest of
    that unit is dropped too, unless it is seen to begin with the packet in hand.
    """

    def __init__(self, form: NalFormat[C], config: C | None) -> None:
        self._parse = form.parse
        self._is_slice = form.codec.is_slice
        self._begins = form.codec.begins
        self._normalize = form.codec.normalize
        self._config = config
        self._changed = False
        self._timestamp: int | None = None
        self._nals: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self._ended = False
        self._markers = True

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        """See `Depacketizer.push`."""
        done: list[AccessUnit] = []
        fresh = timestamp != self._timestamp
        try:
            if lost:
                self._drop()
                self._skipping = not fresh
            elif fresh:
                if self._nals or self._parts:
                    done = self.flush()
                self._skipping = False
            if fresh:
                self._ended = False
            if not self._skipping:
                content = self._parse(payload)
                if not lost and isinstance(content, Fragment) and not content.start:
                    # Most are amid a unit, and nothing begins or ends with them.
                    self._take_fragment(content)
                else:
                    self._take(content, lost)
        except ProtocolViolation:
            self._drop()
            self._skipping = not marker
            raise
        finally:
            self._timestamp = timestamp
        if marker and self._markers:
            if self._skipping:
                self._skipping = False
            else:
                done += self._complete()
        return done

    def flush(self) -> list[AccessUnit]:
        """See `Depacketizer.flush`."""
        done = [] if self._parts else self._complete()
        self._drop()
        return done

    def _drop(self) -> None:
        self._nals.clear()
        self._parts.clear()
        self._size = 0

    def _take(self, content: Fragment | list[bytes], lost: bool) -> None:
        """Add one payload's content; `lost` says that the start of its unit may be missing."""
        if isinstance(content, Fragment):
            first = content.header + content.body[:1] if content.start else b""
        else:
            first = content[0]
        if lost and not (first and self._begins(first)):
            self._skipping = True
            return
        if self._ended and first and self._is_slice(first):
            self._ended = False
            if not self._begins(first):
                self._markers = False
                self._skipping = True
                return
        if isinstance(content, Fragment):
            self._take_fragment(content)
            return
        if self._parts:
            raise ProtocolViolation("a fragmented NAL unit was not finished", "RFC 6184 5.8")
        self._size += sum(map(len, content))
        if self._size > MAX_ACCESS_UNIT:
            raise _too_large()
        self._nals += content
        if len(self._nals) > MAX_NALS:
            raise ProtocolViolation(f"more than {MAX_NALS} NAL units in one access unit", "H.265 A.4.1")

    def _take_fragment(self, part: Fragment) -> None:
        parts = self._parts
        if part.start:
            if parts:
                raise ProtocolViolation("a fragmented NAL unit starts twice", "RFC 6184 5.8")
            parts.append(part.header)
        elif not parts:
            raise ProtocolViolation("a fragment without a start", "RFC 6184 5.8")
        elif parts[0] != part.header:
            raise ProtocolViolation("a fragmented NAL unit changes its type", "RFC 6184 5.8")
        body = part.body
        self._size += len(body)
        if self._size > MAX_ACCESS_UNIT:
            raise _too_large()
        if len(parts) > MAX_FRAGMENTS:
            raise ProtocolViolation(f"more than {MAX_FRAGMENTS} fragments of one NAL unit", "RFC 6184 5.8")
        parts.append(body)
        if part.end:
            self._nals.append(b"".join(parts))
            parts.clear()
            if len(self._nals) > MAX_NALS:
                raise ProtocolViolation(f"more than {MAX_NALS} NAL units in one access unit", "H.265 A.4.1")

    def _complete(self) -> list[AccessUnit]:
        """The pending unit; without a picture nothing, and it stays pending."""
        if not self._nals or self._parts or self._timestamp is None:
            return []
        try:
            units, key, config = self._normalize(self._nals, self._config)
        except ProtocolViolation:
            self._drop()
            raise
        if config is not None:
            self._config = config
            self._changed = True
        if not units:
            return []
        unit = AccessUnit(self._timestamp, units, key, self._config if self._changed else None)
        self._changed = False
        self._ended = True
        self._drop()
        return [unit]
