"""Units as whole WebSocket messages (RFC 6455), so that viewers over WebSocket share bytes as well."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from penstock.feed import Cursor
from penstock.media import Event, Track
from penstock.muxer import Gathering, Muxer
from penstock.ring import Unit

_BINARY = 0x82
"""The last fragment of a binary message, which is the first, too."""


class Carrier(Muxer, Protocol):
    """A muxer whose readers are told first what is true at their cursor."""

    def preamble(self, cursor: Cursor) -> bytes: ...


def frame_header(size: int) -> bytes:
    """What is before `size` bytes of a binary message that a server sends: unmasked (5.1, 5.2)."""
    if size < 126:
        return bytes((_BINARY, size))
    if size < 1 << 16:
        return bytes((_BINARY, 126)) + size.to_bytes(2, "big")
    return bytes((_BINARY, 127)) + size.to_bytes(8, "big")


class WebSocketMuxer:
    """Another muxer's units, each a message."""

    def __init__(self, carried: Carrier) -> None:
        self._carried = carried

    @property
    def key(self) -> Hashable:
        return ("websocket", self._carried.key)

    def mux(self, event: Event) -> Sequence[Unit]:
        return [_framed(unit) for unit in self._carried.mux(event)]

    def gathered(self) -> Sequence[Unit]:
        carried = self._carried
        return [_framed(unit) for unit in carried.gathered()] if isinstance(carried, Gathering) else []

    def config(self, track: Track, time: int) -> Unit | None:
        unit = self._carried.config(track, time)
        return _framed(unit) if unit is not None else None

    def preamble(self, cursor: Cursor) -> bytes:
        data = self._carried.preamble(cursor)
        return frame_header(len(data)) + data if data else b""


def _framed(unit: Unit) -> Unit:
    payloads = (frame_header(unit.size), *unit.payloads)
    return Unit(unit.track, payloads, unit.time, unit.key, unit.video, unit.channel, unit.config)
