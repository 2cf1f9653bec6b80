"""When players are told by RTCP BYE that no more comes, which RTSP 1.0 has no request for (ADR 0033)."""

from __future__ import annotations

from penstock.stream import Stream

REST_SECONDS = 1.0
"""What comes in datagrams has to be old for so long: FFmpeg reads RTCP first, and at the BYE drops what it has not read."""
FAREWELL_SECONDS = 1.0
"""How long a player that was told the end has to leave by itself, as most do at once."""
LAST_SECONDS = 0.2
"""The same where the server stops."""


def rest(stream: Stream, now: float) -> float:
    """Seconds from `now` (monotonic) until a BYE overtakes no datagram of a stream of which no more is sent."""
    return REST_SECONDS - (now - stream.left_at if stream.publisher is None else 0.0)
