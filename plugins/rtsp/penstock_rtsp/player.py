"""The playing side of a session: what was set up, and its place in the feed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
from attrs import define, field

from penstock.datagram import DatagramSink
from penstock.errors import ProtocolViolation
from penstock.feed import Cursor, Reader
from penstock.media import Kind
from penstock.net import Connection
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock.udp import send_run
from penstock_formats.rtcp import FullIntraRequest, PictureLoss, parse_rtcp
from penstock_rtsp.config import RtspConfig
from penstock_rtsp.multicast import Group, Multicast
from penstock_rtsp.muxer import RtpMuxer
from penstock_rtsp.rtp_info import build_rtp_info
from penstock_rtsp.udp import Ports

Reply = Callable[[str], bytes]
"""Makes the reply to PLAY with the value of its RTP-Info header."""


BEGIN_SECONDS = 3.0
"""x264's defaults send their first picture 2 s after the start."""


@define(eq=False)
class Player:
    """Tracks by their transport: interleaved channels, or addresses of datagrams, or a multicast group."""

    server: Server
    config: RtspConfig
    stream: Stream
    session: Session
    random: Random
    channels: dict[int, int] = field(factory=dict[int, int])
    addresses: dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]] = field(
        factory=dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]]
    )
    multicast: Multicast | None = None
    _reader: Reader | None = None
    _group: Group | None = None

    @property
    def playing(self) -> bool:
        return self._reader is not None

    @property
    def track_ids(self) -> set[int]:
        return {*self.channels, *self.addresses}

    async def begun(self) -> None:
        """Wait for the first frame of each track of a publisher that has only just come (ADR 0015).

        Where nothing has come yet, no time that the reply gives is sure to be that of the first packet or before it.
        """
        ids = {t.id for t in self.stream.tracks if t.id in self.track_ids and t.kind is not Kind.DATA}
        while (
            (publisher := self.stream.publisher) is not None
            and not publisher.has_begun(ids)
            and (left := publisher.since + BEGIN_SECONDS - time.monotonic()) > 0
        ):
            with anyio.move_on_after(left):
                await publisher.begun(ids)

    def play(
        self,
        connection: Connection,
        ports: Ports | None,
        base: str,
        reply: Reply,
        ended: Callable[[str], None],
    ) -> None:
        """Attach to the feed: the reply goes out in the same step, and is true at the cursor."""
        control = connection.sink.control
        if self.multicast is not None:
            group = self._group = self.multicast.join(self.stream, self.session)
            muxer = group.reader.feed.muxer
            cursor = Cursor(group.reader.feed, group.reader.feed.ring.end)
            info = (
                muxer.rtp_info(cursor, base, [t.id for t in self.stream.tracks])
                if isinstance(muxer, RtpMuxer)
                else []
            )
            control(reply(build_rtp_info(info)))
            return
        muxer = RtpMuxer(
            self.server.registry,
            self.stream.tracks,
            self.stream.clock,
            self.random,
            self.channels or None,
            chosen=self.track_ids,
        )
        feed = self.stream.feed(muxer, self.config.max_backlog_seconds)
        told = feed.muxer
        sink: DatagramSink | Any = connection.sink
        to: dict[tuple[int, int], tuple[socket.socket, tuple[Any, ...]]] = {}
        if self.addresses and ports is not None:
            both: tuple[socket.socket, socket.socket] = (ports.rtp.sock, ports.rtcp.sock)
            to = {
                (track_id, channel): (both[channel], pair[channel])
                for track_id, pair in self.addresses.items()
                for channel in (0, 1)
            }
            sink = DatagramSink(to, self.server.spawn)

        def preamble(cursor: Cursor) -> bytes:
            if not isinstance(told, RtpMuxer):
                return reply("")
            ids = sorted(self.track_ids)
            data = reply(build_rtp_info(told.rtp_info(cursor, base, ids)))
            reports = told.reports(cursor, ids)
            if not reports:
                # Nothing is there yet that they could be about.
                told.report_soon()
            if sink is connection.sink:
                return data + b"".join(reports.values())
            # Before the reply, after which live555 (VLC) reads media first: without a report it gives them times of its own.
            for track_id, report in reports.items():
                sock, address = to[track_id, 1]
                send_run(sock, (report, len(report)), address)
            control(data)
            return b""

        self._reader = feed.attach(
            sink, self.session, preamble=preamble, start=self.config.start, on_end=ended
        )

    def feedback(self, track_id: int, data: bytes) -> None:
        """RTCP of the peer about a track: a picture that it asks for is asked of the publisher, all else is passed over.

        Offered in no SDP (that would want the profile AVPF, RFC 4585 4), and taken from who sends it nonetheless.
        """
        try:
            wanted = any(isinstance(p, PictureLoss | FullIntraRequest) for p in parse_rtcp(data))
        except ProtocolViolation:
            return
        if wanted:
            for track in self.stream.tracks:
                if track.id == track_id:
                    self.stream.request_key_frame(track)

    def leave(self, report: Callable[[int, bytes], None]) -> Callable[[], None] | None:
        """Leave the feed for good; what then tells the peer by `report`, or its group, that no more comes, if it played."""
        group, multicast = self._group, self.multicast
        muxer = self._reader.feed.muxer if self._reader is not None else None
        self.pause()
        if group is not None and multicast is not None:
            return lambda: multicast.say_goodbye(group)
        if not isinstance(muxer, RtpMuxer):
            return None
        goodbyes = muxer.goodbyes()

        def tell() -> None:
            for track_id, data in goodbyes.items():
                report(track_id, data)

        return tell

    def pause(self) -> None:
        """Leave the feed; what was set up stays."""
        if self._group is not None and self.multicast is not None:
            self.multicast.leave(self._group, self.session)
            self._group = None
        if self._reader is not None:
            self._reader.detach("paused")
            self._reader = None
