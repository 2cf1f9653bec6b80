"""RTCP BYE to players: that no more comes, which RTSP 1.0 has no request for (ADR 0033)."""

from __future__ import annotations

from penstock.feed import Reader
from penstock.stream import Stream
from penstock_rtsp.muxer import RtpMuxer

REST_SECONDS = 1.0
"""What comes in datagrams has to be old for so long: FFmpeg reads RTCP first, and at the BYE drops what it has not read."""


def goodbyes(stream: Stream, reader: Reader, now: float, *, datagrams: bool) -> dict[int, bytes]:
    """A BYE for each track of a reader that is let go `now` (monotonic seconds); none where it might overtake media."""
    muxer = reader.feed.muxer
    rests = stream.publisher is None and now - stream.left_at >= REST_SECONDS
    return muxer.goodbyes() if isinstance(muxer, RtpMuxer) and (rests or not datagrams) else {}
