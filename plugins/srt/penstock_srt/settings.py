"""What one side of an SRT connection wants and says of itself."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen

from penstock_srt.cipher import Mode

Address = tuple[Any, ...]
"""Where a peer is, as sockets say it; it is only compared."""
LIBRARY_VERSION = 0x010504
"""The version of libsrt whose behaviour this is: since 1.5.4 GCM is as it is here."""
HEADERS = 44
"""Bytes of IPv4, UDP and SRT header in each packet."""
MS = 1_000_000
"""Nanoseconds of a millisecond."""
DEFAULT_LATENCY = 120
MAX_LATENCY = 0xFFFF
"""Ms: what the handshake has room for."""


class Randomness(Protocol):
    """What a `random.SystemRandom` gives: socket ids, cookies and keys come of it."""

    def randrange(self, start: int, stop: int, /) -> int: ...

    def randbytes(self, n: int, /) -> bytes: ...


@frozen
class Settings:
    """Times are in ms, sizes in packets where nothing else is said. The larger latency of both sides counts.

    `latency` is of what this side receives, `peer_latency` the least of what the peer receives. `window` is how many
    packets the receiver's buffer has room for. `overhead` is how much of what is sent may be sent again, in percent of
    it. `key_length` is in bytes; a new key is used after each `refresh_packets` packets, and said `announce_packets` before.
    `groups` is whether callers may bond several connections into one.
    """

    latency: int = DEFAULT_LATENCY
    peer_latency: int = 0
    mtu: int = 1500
    window: int = 8192
    overhead: int = 100
    key_length: int = 16
    mode: Mode = Mode.CTR
    refresh_packets: int = 1 << 24
    announce_packets: int = 4000
    connect_timeout: int = 3000
    peer_idle_timeout: int = 5000
    groups: bool = True
