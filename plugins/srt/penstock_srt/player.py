"""The playing side of a connection: its place in the feed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from penstock.datagram import StampSink
from penstock.feed import Reader
from penstock.media import Kind
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


def muxer(server: Server, stream: Stream, packets: int = MOST_PACKETS) -> LiveMuxer:
    """Makes the stream's payloads, for all readers of so many packets a datagram.

    Raises `Refused` where MPEG-TS can carry nothing of it.
    """
    # RTMP's data messages are FLV's own: nobody misses them.
    tracks = [track for track in stream.tracks if not track.codec.incidental]
    made = LiveMuxer(server.registry, tracks, datagrams=packets)
    if not made.kinds & {Kind.AUDIO, Kind.VIDEO}:
        reasons = "; ".join(made.left_out.values()) or "it has no sound and no picture"
        raise Refused(Rejection.UNACCEPTABLE, f"SRT can carry no track of {stream.path}: {reasons}")
    return made


def attach(
    server: Server, config: SrtConfig, stream: Stream, link: Link, ended: Callable[[str], None]
) -> Reader:
    """Let the peer have the stream from here on; `ended` is called once, with the reason."""
    session, connection = link.session, link.connection
    made = muxer(server, stream, min(MOST_PACKETS, connection.max_payload // PACKET))
    if made.left_out:
        session.info["left_out"] = dict(made.left_out)
        server.log_peer(session, "tracks left out", tracks=dict(made.left_out))

    def stamp(units: Sequence[Unit]) -> list[bytes]:
        payloads = units[0].payloads if len(units) == 1 else [p for unit in units for p in unit.payloads]
        if link.bond is None:
            return connection.send(payloads, time.monotonic_ns())
        for each, datagrams in link.bond.send(payloads, time.monotonic_ns()):
            send_all(link.port.sock, datagrams, each.address)
        return []

    sink = StampSink(link.port.sock, connection.address, stamp, server.spawn)
    # Where there are no pictures there is no key frame to wait for.
    start = config.start if Kind.VIDEO in made.kinds else "live"
    return stream.feed(made, config.max_backlog_seconds).attach(sink, session, start=start, on_end=ended)
