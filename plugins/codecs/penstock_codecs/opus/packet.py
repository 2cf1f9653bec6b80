"""The Opus packet: how long it plays (RFC 6716 3)."""

from __future__ import annotations

from penstock.errors import ProtocolViolation

MAX_DURATION = 5760
"""120 ms at 48 kHz: RFC 6716 3.2.5 (R5)."""

_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)
_FRAME = tuple(
    _SILK[toc & 3] if toc < 12 else _HYBRID[toc & 1] if toc < 16 else _CELT[toc & 3] for toc in range(32)
)


def duration(packet: bytes) -> int:
    """Samples at 48 kHz. Raises `ProtocolViolation` for a packet without frames or of more than 120 ms."""
    if not packet:
        raise ProtocolViolation("an Opus packet is empty", "RFC 6716 3.1")
    toc = packet[0]
    code = toc & 3
    if code == 0:
        return _FRAME[toc >> 3]
    if code < 3:
        return 2 * _FRAME[toc >> 3]
    if len(packet) < 2 or not packet[1] & 0x3F:
        raise ProtocolViolation("an Opus packet of code 3 has no frames", "RFC 6716 3.2.5")
    samples = (packet[1] & 0x3F) * _FRAME[toc >> 3]
    if samples > MAX_DURATION:
        raise ProtocolViolation("an Opus packet is longer than 120 ms", "RFC 6716 3.2.5")
    return samples
