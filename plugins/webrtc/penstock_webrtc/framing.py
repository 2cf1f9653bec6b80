"""What a TCP connection carries: packets of ICE with their lengths in front (RFC 4571), or TURN (RFC 8656 12.5).

Both come to the same port, and are told apart by where the magic cookie of the first STUN message stands.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from penstock.errors import ProtocolViolation
from penstock_webrtc.stun import COOKIE, HEADER_SIZE

MAX_HELD = HEADER_SIZE + 65_535
"""The longest message, by what its length has room for: the rest of it is waited for."""

_CLAUSE = "RFC 4571 2, RFC 8656 12.5"


class Framing(enum.Enum):
    """How messages are told apart."""

    FRAMED = "RFC 4571"
    TURN = "TURN"


class Unframer:
    """The packets of one connection, in order: `receive_data`, then `next_event` until there is none."""

    def __init__(self) -> None:
        self.framing: Framing | None = None
        """Once the first message has shown it."""
        self._held = bytearray()

    def receive_data(self, data: bytes) -> None:
        """More bytes; to be followed by all events before the next, so that what is held stays bounded."""
        self._held += data

    def next_event(self) -> bytes | None:
        """The next packet or message, None where more bytes are needed. Raises `ProtocolViolation`."""
        held = self._held
        if self.framing is None:
            self.framing = _framing(held)
            if self.framing is None:
                return None
        if len(held) < 4:
            return None
        if self.framing is Framing.FRAMED:
            start, size = 2, int.from_bytes(held[:2], "big")
            end = after = start + size
        else:
            start, size = 0, int.from_bytes(held[2:4], "big")
            if held[0] < 0x40:
                end = after = HEADER_SIZE + size
            elif held[0] < 0x50:
                # RFC 8656 12.5: over TCP padded to whole words, which the length does not tell.
                end = 4 + size
                after = end + -size % 4
            else:
                raise ProtocolViolation("neither a STUN message nor ChannelData", "RFC 8656 12")
        if len(held) < after:
            return None
        packet = bytes(held[start:end])
        del held[:after]
        return packet


def _framing(held: bytearray) -> Framing | None:
    if held.startswith(COOKIE, 4):
        return Framing.TURN
    if len(held) < 10:
        return None
    if held.startswith(COOKIE, 6):
        return Framing.FRAMED
    raise ProtocolViolation("the connection does not begin with a STUN message", _CLAUSE)


def frame(packets: Iterable[bytes]) -> list[bytes]:
    """`packets` with their lengths in front (RFC 4571 2)."""
    return [len(packet).to_bytes(2, "big") + packet for packet in packets]
