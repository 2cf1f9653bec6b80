"""The playing side of a connection: its place in the feed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from penstock.datagram import StampSink
from penstock.feed import Reader
from penstock.media import Kind, Track
from penstock.ring import Unit
from penstock.server import Server
from penstock.stream import Stream
from penstock.udp import send_all
from penstock_formats.mpegts import LiveMuxer
from penstock_srt.config import SrtConfig
from penstock_srt.rejection import Refused, Rejection
from penstock_srt.udp import Link

PACKET = 188
MOST_PACKETS = 7
"""What SRT carries in a datagram by convention: 1316 bytes."""


async def tracks_of(server: Server, stream: Stream) -> tuple[Track, ...]:
    """What a peer gets of the stream. Raises `Refused` where MPEG-TS can carry nothing of it."""
    registry = server.registry
    found = await stream.tracks_for(lambda track: not LiveMuxer(registry, [track]).left_out)
    # RTMP's data messages are FLV's own: nobody misses them.
    tracks = tuple(track for track in found if not track.codec.incidental)
    made = LiveMuxer(registry, tracks)
    if not made.kinds & {Kind.AUDIO, Kind.VIDEO}:
        reasons = "; ".join(made.left_out.values()) or "it has no sound and no picture"
        raise Refused(Rejection.UNACCEPTABLE, f"SRT can carry no track of {stream.path}: {reasons}")
    return tracks


def attach(
    server: Server,
    config: SrtConfig,
    stream: Stream,
    tracks: Sequence[Track],
    link: Link,
    ended: Callable[[str], None],
) -> Reader:
    """Let the peer have these tracks from here on; `ended` is called once, with the reason."""
    session, connection = link.session, link.connection
    packets = min(MOST_PACKETS, connection.max_payload // PACKET)
    made = LiveMuxer(server.registry, tracks, datagrams=packets)
    if made.left_out:
        session.info["left_out"] = dict(made.left_out)
        server.log_peer(session, "tracks left out", tracks=dict(made.left_out))

    port, sock = link.port, link.port.sock

    def stamp(units: Sequence[Unit]) -> list[bytes]:
        """What is sent is sent here, as what a pass has for all readers need not be put together for each."""
        burst = port.burst(units)
        if link.bond is None:
            burst.send(sock, connection)
            return []
        for each, datagrams in link.bond.send(burst.payloads, time.monotonic_ns()):
            send_all(sock, datagrams, each.address)
        return []

    sink = StampSink(sock, connection.address, stamp, server.spawn)
    # Where there are no pictures there is no key frame to wait for.
    start = config.start if Kind.VIDEO in made.kinds else "live"
    feed = stream.feed(made, config.max_backlog_seconds, tracks)
    return feed.attach(sink, session, start=start, on_end=ended)
