"""The payload of retransmissions (RFC 4588 4): the original's sequence number, and the original's payload."""

from __future__ import annotations


def build_repair(sequence: int, payload: bytes) -> bytes:
    """The payload that repeats a packet; its sequence number may be unwrapped."""
    return (sequence & 0xFFFF).to_bytes(2, "big") + payload


def parse_repair(payload: bytes) -> tuple[int, bytes] | None:
    """Sequence number and payload of the packet that is repeated; None for what only probes for bandwidth."""
    if len(payload) < 3:
        return None
    return int.from_bytes(payload[:2], "big"), payload[2:]
