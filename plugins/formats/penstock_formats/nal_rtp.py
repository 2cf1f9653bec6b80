"""What the RTP payload formats of H.264 (RFC 6184) and H.265 (RFC 7798) have in common."""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from attrs import frozen
from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame

from penstock_formats.nal import MAX_NALS, trim_parameter_set
from penstock_formats.rtp.binding import AccessUnit

MAX_ACCESS_UNIT = 8 << 20
"""Bytes of one access unit: an intra picture of 200 Mbit/s video at 3 pictures a second."""

MAX_FRAGMENTS = 1 << 15
"""Fragments of one NAL unit: half of what RTP can number, and 8 MiB of them have 256 bytes each."""

MIN_PAYLOAD = 64
"""Below this a payload would be mostly headers."""

MAX_SPROP = 64 << 10
"""Characters of one sprop parameter; those of real cameras have a few hundred."""

C = TypeVar("C", bound=CodecConfig)

Normalize = Callable[[Sequence[bytes], C | None], tuple[tuple[bytes, ...], bool, C | None]]
"""NAL units and the config in force to units in normal form, key, and the config where it changed."""

_LENGTH = struct.Struct(">H")


class Fragment(NamedTuple):
    """A part of a NAL unit; `header` is that of the whole unit."""

    start: bool
    end: bool
    header: bytes
    body: bytes


def split_aggregate(payload: bytes, start: int, clause: str) -> list[bytes]:
    """The NAL units behind 16-bit lengths from `start` on."""
    nals: list[bytes] = []
    end = len(payload)
    while start < end:
        body = start + 2
        if body > end:
            raise ProtocolViolation("an aggregation packet ends in a size", clause)
        start = body + _LENGTH.unpack_from(payload, body - 2)[0]
        if start == body:
            raise ProtocolViolation("an aggregated NAL unit is empty", clause)
        if start > end:
            raise ProtocolViolation("an aggregated NAL unit goes past the end of its packet", clause)
        nals.append(payload[body:start])
    if not nals:
        raise ProtocolViolation("an aggregation packet is empty", clause)
    return nals


@frozen(eq=False)
class NalFormat(Generic[C]):
    """How one codec fills the common payload format.

    `is_slice` and `begins` are asked of a NAL unit or its first fragment: is it of a picture, does an access
    unit begin with it? `fragment_headers` are those of a unit's first, middle and last fragment.
    """

    header_size: int
    parse: Callable[[bytes], Fragment | list[bytes]]
    is_slice: Callable[[bytes], bool]
    begins: Callable[[bytes], bool]
    normalize: Normalize[C]
    parameter_sets: Callable[[CodecConfig], tuple[bytes, ...]]
    aggregate_header: Callable[[Sequence[bytes]], bytes]
    fragment_headers: Callable[[bytes], tuple[bytes, bytes, bytes]]


class NalPacketizer(Generic[C]):
    """Frames to payloads; parameter sets and the SEI in front of a picture are aggregated where they fit."""

    def __init__(self, form: NalFormat[C], max_payload: int) -> None:
        if max_payload < MIN_PAYLOAD:
            raise ValueError(f"RTP payloads of {max_payload} bytes are too small")
        self._form = form
        self._limit = max_payload
        self._is_slice = form.is_slice
        self._config: CodecConfig | None = None
        self._sets: tuple[bytes, ...] = ()

    def packetize(self, frame: Frame) -> list[bytes]:
        """See `Packetizer.packetize`."""
        limit = self._limit
        out: list[bytes] = []
        leading: list[bytes] = []
        if frame.key and (config := frame.track.config) is not None:
            if config is not self._config:
                self._config, self._sets = config, self._form.parameter_sets(config)
            leading += self._sets
        for nal in frame.units:
            if not self._is_slice(nal):
                leading.append(nal)
                continue
            if leading:
                self._aggregate(leading, out)
                leading.clear()
            if len(nal) <= limit:
                out.append(nal)
            else:
                self._fragment(nal, out)
        if leading:
            self._aggregate(leading, out)
        return out

    def _aggregate(self, nals: Sequence[bytes], out: list[bytes]) -> None:
        group: list[bytes] = []
        size = self._form.header_size
        for nal in nals:
            if group and size + 2 + len(nal) > self._limit:
                self._close(group, out)
                group.clear()
                size = self._form.header_size
            group.append(nal)
            size += 2 + len(nal)
        self._close(group, out)

    def _close(self, group: list[bytes], out: list[bytes]) -> None:
        if len(group) > 1:
            pieces = [self._form.aggregate_header(group)]
            for nal in group:
                pieces += (_LENGTH.pack(len(nal)), nal)
            out.append(b"".join(pieces))
        elif len(group[0]) <= self._limit:
            out.append(group[0])
        else:
            self._fragment(group[0], out)

    def _fragment(self, nal: bytes, out: list[bytes]) -> None:
        first, middle, last = self._form.fragment_headers(nal)
        step = self._limit - len(first)
        start = self._form.header_size
        end = start + step
        out.append(first + nal[start:end])
        final = len(nal) - step
        while end < final:
            out.append(middle + nal[end : end + step])
            end += step
        out.append(last + nal[end:])


class NalDepacketizer(Generic[C]):
    """RTP payloads to access units, which end at a marker or, as some cameras set none, at a new timestamp.

    A marker before the first slice does not end a unit, and once a slice of the same picture follows a
    marker, markers are no longer believed: some senders set one on every NAL unit. After a loss the rest of
    that unit is dropped too, unless it is seen to begin with the packet in hand.
    """

    def __init__(self, form: NalFormat[C], config: C | None) -> None:
        self._parse = form.parse
        self._is_slice = form.is_slice
        self._begins = form.begins
        self._normalize: Normalize[C] = form.normalize
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
                done = self.flush()
                self._skipping = False
            if fresh:
                self._ended = False
            if not self._skipping:
                self._take(self._parse(payload), lost)
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
        self._count(sum(map(len, content)))
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
        self._count(len(part.body))
        if len(parts) > MAX_FRAGMENTS:
            raise ProtocolViolation(f"more than {MAX_FRAGMENTS} fragments of one NAL unit", "RFC 6184 5.8")
        parts.append(part.body)
        if part.end:
            self._nals.append(b"".join(parts))
            parts.clear()
            if len(self._nals) > MAX_NALS:
                raise ProtocolViolation(f"more than {MAX_NALS} NAL units in one access unit", "H.265 A.4.1")

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ACCESS_UNIT:
            raise ProtocolViolation(f"an access unit of more than {MAX_ACCESS_UNIT} bytes", "RFC 6184 5.1")

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


def decode_sprop(value: str, clause: str) -> list[bytes]:
    """The parameter sets of a comma-separated base64 list. Raises `ProtocolViolation`."""
    if len(value) > MAX_SPROP:
        raise ProtocolViolation(f"parameter sets of {len(value)} characters", clause)
    if not value.isascii():
        raise ProtocolViolation("a parameter set is not base64", clause)
    nals: list[bytes] = []
    for item in value.split(","):
        text = item.strip()
        try:
            # Some cameras leave the padding out.
            nal = b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            raise ProtocolViolation("a parameter set is not base64", clause) from None
        if nal := trim_parameter_set(nal):
            nals.append(nal)
    return nals
