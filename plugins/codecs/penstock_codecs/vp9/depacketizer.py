"""RTP payloads to VP9 frames (RFC 9628), in flexible and non-flexible mode."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_codecs.vp9.header import Vp9Config, parse_frame
from penstock_codecs.vp9.packetizer import BEGINS, ENDS, FLEXIBLE, INTER, LAYERS, PICTURE_ID, SCALABILITY
from penstock_formats.rtp import AccessUnit

CLAUSE = "RFC 9628 4.2"
MAX_PICTURE = 8 << 20
"""Bytes of all layers of a picture."""

MAX_LAYERS = 8
"""RFC 9628 4.2: the spatial layer has three bits; so has the count of a superframe."""


class Vp9Depacketizer:
    """Collects the layer frames of a picture up to the marker."""

    def __init__(self) -> None:
        self._layers: list[bytes] = []
        self._part: bytearray | None = None
        self._size = 0
        self._timestamp = 0
        self._torn = True
        self._config: Vp9Config | None = None

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        done: list[AccessUnit] = []
        try:
            if lost:
                self._drop(torn=True)
            elif self._size and timestamp != self._timestamp:
                done = self._finish()
            at, flags, layer = _descriptor(payload)
            if (not self._size and not flags & BEGINS) or (self._torn and layer):
                if self._torn:
                    return done
                raise ProtocolViolation("a VP9 frame without its beginning", CLAUSE)
            self._torn = False
            self._timestamp = timestamp
            self._take(payload[at:], flags)
            if marker:
                done += self._finish()
        except ProtocolViolation:
            self._drop(torn=True)
            raise
        return done

    def flush(self) -> list[AccessUnit]:
        try:
            return self._finish() if self._layers and self._part is None else []
        except ProtocolViolation:
            # The stream ended inside a unit: as good as lost.
            return []
        finally:
            self._drop(torn=True)

    def _drop(self, *, torn: bool) -> None:
        self._layers = []
        self._part = None
        self._size = 0
        self._torn = torn

    def _take(self, data: bytes, flags: int) -> None:
        if (self._part is None) != (flags & BEGINS > 0):
            raise ProtocolViolation("a VP9 frame begins inside another, or goes on after its end (B)", CLAUSE)
        self._size += len(data)
        if self._size > MAX_PICTURE:
            raise ProtocolViolation("a VP9 picture is too long", CLAUSE)
        if self._part is None:
            self._part = bytearray()
        self._part += data
        if flags & ENDS:
            self._layers.append(bytes(self._part))
            self._part = None
            if len(self._layers) > MAX_LAYERS:
                raise ProtocolViolation("a VP9 picture of too many layers", CLAUSE)

    def _finish(self) -> list[AccessUnit]:
        if self._part is not None:
            raise ProtocolViolation("a VP9 picture ends inside a frame (E)", CLAUSE)
        layers = self._layers
        self._drop(torn=False)
        found = parse_frame(layers[0])
        news = found if found != self._config else None
        self._config = found or self._config
        data = layers[0] if len(layers) == 1 else _superframe(layers)
        return [AccessUnit(self._timestamp, (data,), found is not None, news)]


def _superframe(frames: list[bytes]) -> bytes:
    """The frames with their index (VP9 annex B)."""
    width = max(1, (max(map(len, frames)).bit_length() + 7) // 8)
    marker = bytes((0xC0 | (width - 1) << 3 | len(frames) - 1,))
    sizes = b"".join(len(frame).to_bytes(width, "little") for frame in frames)
    return b"".join((*frames, marker, sizes, marker))


def _descriptor(payload: bytes) -> tuple[int, int, int]:
    """Where the payload descriptor ends, its flags, and the spatial layer."""
    size = len(payload)
    flags = payload[0] if payload else 0
    at, layer = 1, 0
    if flags & PICTURE_ID:
        at += 2 if at < size and payload[at] & 0x80 else 1
    if flags & LAYERS:
        layer = payload[at] >> 1 & 7 if at < size else 0
        # TL0PICIDX is there in non-flexible mode only.
        at += 1 if flags & FLEXIBLE else 2
    if flags & FLEXIBLE and flags & INTER:
        at = _references(payload, at)
    if flags & SCALABILITY:
        at = _structure(payload, at)
    if at >= size:
        raise ProtocolViolation("a VP9 packet without payload", CLAUSE)
    return at, flags, layer


def _references(payload: bytes, at: int) -> int:
    for end in range(at, at + 3):
        if end < len(payload) and not payload[end] & 1:
            return end + 1
    raise ProtocolViolation("a VP9 packet with more than three references (N)", CLAUSE)


def _structure(payload: bytes, at: int) -> int:
    """Where the scalability structure ends (RFC 9628 4.2.1)."""
    if at >= len(payload):
        return at
    first = payload[at]
    at += 1
    if first & 0x10:
        at += 4 * ((first >> 5) + 1)
    if first & 0x08 and at < len(payload):
        count = payload[at]
        at += 1
        for _ in range(count):
            if at >= len(payload):
                break
            at += 1 + (payload[at] >> 2 & 3)
    return at
