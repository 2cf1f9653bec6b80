"""Multicast groups: one for each stream that somebody asked to have so, sent to once for all."""

from __future__ import annotations

import socket
from random import Random

from penstock.datagram import DatagramSink
from penstock.errors import StreamError
from penstock.feed import Reader
from penstock.path import StreamPath
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock.udp import send_run
from penstock_rtsp.config import RtspConfig, multicast_range
from penstock_rtsp.muxer import RtpMuxer
from penstock_rtsp.udp import Ports, sockaddr


class Group:
    """One stream's multicast address, sent to as long as it has members."""

    def __init__(
        self, address: str, stream: Stream, reader: Reader, sink: DatagramSink, session: Session
    ) -> None:
        self.address = address
        self.stream = stream
        self.reader = reader
        self.sink = sink
        self.session = session
        self.members: set[Session] = set()
        self.told = False
        """Whether it was told that no more comes."""


class Multicast:
    """The groups of a server."""

    def __init__(self, server: Server, ports: Ports, config: RtspConfig, random: Random) -> None:
        self._server = server
        self._ports = ports
        self._random = random
        self._groups: dict[StreamPath, Group] = {}
        self._claims: dict[StreamPath, tuple[str, set[Session]]] = {}
        self.port = config.multicast_port
        self.ttl = config.multicast_ttl
        self._backlog = config.max_backlog_seconds
        network = multicast_range(config.multicast)
        self._addresses = [str(network[i]) for i in range(1, min(network.num_addresses, 4096))] or [
            str(network[0])
        ]
        for port in (ports.rtp, ports.rtcp):
            self._prepare(port.sock)

    def _prepare(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self.ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        address = str(sock.getsockname()[0])
        if sock.family == socket.AF_INET and address != "0.0.0.0":
            # The default route may lead elsewhere: who binds to an address means its interface.
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))

    def claim(self, path: StreamPath, session: Session) -> str:
        """The group of a stream, kept for it until every session that was told of it is gone.

        Raises `StreamError` where all are in use.
        """
        claimed = self._claims.get(path)
        if claimed is None:
            claimed = self._claims[path] = self._free(path), set()
        claimed[1].add(session)
        return claimed[0]

    def release(self, path: StreamPath, session: Session) -> None:
        """`session` has no use for the stream's group any more."""
        claimed = self._claims.get(path)
        if claimed is not None:
            claimed[1].discard(session)
            if not claimed[1]:
                del self._claims[path]

    def _free(self, path: StreamPath) -> str:
        used = {address for address, _ in self._claims.values()}
        # A stream keeps its group when it comes back, as long as no other took it.
        start = Random(str(path)).randrange(len(self._addresses))
        for i in range(len(self._addresses)):
            address = self._addresses[(start + i) % len(self._addresses)]
            if address not in used:
                return address
        raise StreamError("every multicast group is in use; widen rtsp.multicast")

    def track_port(self, index: int) -> int:
        """The RTP port of a track; its RTCP is on the next."""
        return self.port + 2 * index

    def join(self, stream: Stream, session: Session) -> Group:
        """Count `session` as a member of the stream's group; the first one starts it."""
        group = self._groups.get(stream.path)
        if group is None:
            address = self.claim(stream.path, session)
            muxer = RtpMuxer(self._server.registry, stream.tracks, stream.clock, self._random)
            sink = DatagramSink(
                {
                    (track.id, channel): (
                        port.sock,
                        sockaddr(port.sock, address, self.track_port(i) + channel),
                    )
                    for i, track in enumerate(stream.tracks)
                    for channel, port in enumerate((self._ports.rtp, self._ports.rtcp))
                },
                self._server.spawn,
            )
            own = self._server.sessions.add("rtsp-multicast", address)
            own.path, own.direction, own.joined = stream.path, "read", True
            reader = stream.feed(muxer, self._backlog).attach(
                sink, own, start="live", on_end=lambda reason: self._over(stream, reason)
            )
            group = self._groups[stream.path] = Group(address, stream, reader, sink, own)
        group.members.add(session)
        self._server.log_joined(session, stream.path)
        if isinstance(told := group.reader.feed.muxer, RtpMuxer):
            # Without one, clients show sound and picture as they happen to arrive.
            told.report_soon()
        return group

    def leave(self, group: Group, session: Session) -> None:
        """`session` is no member any more; without any nothing is sent to the group."""
        group.members.discard(session)
        if not group.members:
            group.reader.detach()
            self._forget(group)

    def say_goodbye(self, group: Group) -> None:
        """Tell the group, once, that no more comes; not while somebody is there, or has come anew."""
        muxer = group.reader.feed.muxer
        if (
            group.members
            or group.told
            or group.stream.path in self._groups
            or not isinstance(muxer, RtpMuxer)
        ):
            return
        group.told = True
        for track_id, data in muxer.goodbyes().items():
            sock, address = group.sink.destinations[track_id, 1]
            send_run(sock, (data, len(data)), address)

    def _over(self, stream: Stream, reason: str) -> None:
        group = self._groups.get(stream.path)
        if group is None or group.stream is not stream:
            return
        self._forget(group)
        for member in group.members:
            member.kick(reason)

    def _forget(self, group: Group) -> None:
        if self._groups.get(group.stream.path) is group:
            del self._groups[group.stream.path]
            self._server.sessions.remove(group.session)
