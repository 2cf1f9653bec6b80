"""The playing side of a peer: units of the feed become its own packets, and what it lost is sent again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from random import Random

import anyio

from penstock.alternatives import Alternatives
from penstock.feed import Reader
from penstock.media import NS, Frame, Kind, Track
from penstock.publisher import Publisher
from penstock.registry import INFO
from penstock.ring import Unit
from penstock.server import Server
from penstock.session import Session
from penstock.stream import Stream
from penstock_formats.rtcp import (
    Feedback,
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    RtcpPacket,
    SenderReport,
    encode_rtcp,
)
from penstock_formats.sdp import Direction
from penstock_formats.transport_cc import EXTENSION as TRANSPORT_CC
from penstock_formats.transport_cc import FORMAT, PACKET_TYPE
from penstock_webrtc.answer import Attributes, Section, sources
from penstock_webrtc.choosing import Choosing
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.layered import Layered
from penstock_webrtc.muxer import PayloadMuxer
from penstock_webrtc.negotiation import Played, layers_of
from penstock_webrtc.numbering import Numbering
from penstock_webrtc.pacer import Pacer
from penstock_webrtc.playout import EXTENSION, Playout
from penstock_webrtc.route import Route, RouteSink
from penstock_webrtc.sender import Sender
from penstock_webrtc.srtp import Srtp
from penstock_webrtc.units import Batches, PayloadUnit

PACED_NS = 30 * NS
"""So long after it was sent something again large pictures are spread out for a viewer."""
FEEDBACK = ("nack", "nack pli", "ccm fir")
OBSERVED = 16
"""Frames that show whether pictures are reordered: encoders begin with that in their first group."""
OBSERVE_SECONDS = 1.0
BEGIN_SECONDS = 3.0
"""Until the first of these: x264 looks 40 pictures ahead before it gives one out."""


async def is_reordered(stream: Stream, track: Track) -> bool:
    """Whether the pictures of a track are in another order than that in which they are shown.

    A config may say that they could be, where none is: cameras leave out to say that (H.264 E.2.1).
    """
    info = stream.registry.get(track.codec, INFO)
    if info is None or track.config is None or not info.reorder(track.config):
        return False
    seen, last = 0, -1
    frames = stream.read()
    try:
        with anyio.move_on_after(BEGIN_SECONDS) as limit:
            async for event in frames:
                if not isinstance(event, Frame) or event.track.id != track.id:
                    continue
                if event.pts < last:
                    return True
                if not seen:
                    limit.deadline = anyio.current_time() + OBSERVE_SECONDS
                seen, last = seen + 1, event.pts
                if seen >= OBSERVED:
                    break
    finally:
        frames.close()
    return False


async def layers_for(stream: Stream, played: Iterable[Played], tracks: Sequence[Track]) -> list[Track]:
    """The tracks of which the peer gets one, by what its link carries: those of one of `played` at most."""
    for one in played:
        found = layers_of(one, tracks)
        found = [t for t in found if t.id == one.track.id or not await is_reordered(stream, t)]
        if len(found) > 1:
            return found
    return []


def _playout(played: Played) -> Playout | None:
    number = played.media.extension(EXTENSION) if played.track.kind is Kind.VIDEO else None
    return Playout(number) if number is not None else None


def _extensions(sender: Sender) -> Attributes:
    """The header extensions that our packets may have."""
    used = [(sender.playout.number, EXTENSION)] if sender.playout is not None else []
    if sender.choosing is not None:
        used.append((sender.choosing.numbering.identifier, TRANSPORT_CC))
    return [("extmap", f"{number} {uri}") for number, uri in used]


class Player:
    """What one peer plays of a stream."""

    __slots__ = (
        "_batches",
        "_by_ssrc",
        "_config",
        "_layered",
        "_pacer",
        "_reader",
        "_repeated",
        "_repeated_at",
        "_senders",
        "_server",
        "_session",
        "_sink",
        "_srtp",
        "_stream",
        "_tracks",
    )

    def __init__(
        self,
        server: Server,
        config: WebrtcConfig,
        session: Session,
        stream: Stream,
        tracks: Sequence[Track],
        played: Sequence[Played],
        layers: Sequence[Track],
        random: Random,
    ) -> None:
        """Of `layers`, which are among `tracks`, it gets one by what its link carries: at first that of one of `played`."""
        self._server = server
        self._config = config
        self._session = session
        self._stream = stream
        self._tracks = tracks
        self._reader: Reader | None = None
        self._sink: RouteSink | None = None
        self._srtp: Srtp | None = None
        self._pacer: Pacer | None = None
        self._batches = Batches()
        self._repeated = 0
        self._repeated_at = -PACED_NS
        bits = random.getrandbits
        # RFC 3711 3.3.1: numbers begin in the lower half, so that a lost first packet does not hide that they wrapped.
        self._senders = {
            p.track.id: Sender(p, bits(32), bits(32), bits(15), bits(15), bits(32), _playout(p))
            for p in played
        }
        self._by_ssrc = {sender.ssrc: sender for sender in self._senders.values()}
        self._layered: Layered | None = None
        for sender in self._senders.values():
            p = sender.played
            if p.track.id in {track.id for track in layers}:
                numbering = Numbering(p.media.extension(TRANSPORT_CC) or 0, time.monotonic_ns)
                sender.choosing = Choosing(numbering, p.retransmission is not None)
                self._layered = Layered(stream, session, layers, sender, sender.choosing)

    @property
    def busy(self) -> bool:
        return self._layered is not None and self._layered.choosing.prober.sending

    def sections(self) -> dict[str, Section]:
        """What the answer says of each section."""
        found: dict[str, Section] = {}
        for sender in self._senders.values():
            p = sender.played
            repair = sender.repair_ssrc if p.retransmission is not None else None
            sprop = {key: value for key, value in p.described.fmtp.items() if key.startswith("sprop-")}
            found[p.media.mid] = Section(
                p.format,
                p.retransmission,
                Direction.SENDONLY,
                FEEDBACK if sender.choosing is None else (*FEEDBACK, "transport-cc"),
                (*_extensions(sender), *sources(sender.ssrc, repair, str(p.track.kind))),
                sprop,
            )
        return found

    def connected(self, srtp: Srtp, route: Route) -> None:
        """The peer can be sent to: it begins with what the stream has for it at once."""
        stream = self._stream
        self._srtp = srtp
        # One layer of simulcast: at the key frames of another it could not begin.
        layers = Alternatives(self._server.registry, self._tracks, self._senders)
        tracks = [track for track in self._tracks if not layers.reason(track)]
        layered = self._layered
        muxer = PayloadMuxer(self._server.registry, tracks, layered.tracks if layered is not None else ())
        feed = stream.feed(muxer, self._config.max_backlog_seconds, tracks)
        if layered is not None:
            layered.layers = feed.muxer.layers if isinstance(feed.muxer, PayloadMuxer) else None
            layered.ring = feed.ring
            self._senders.update({track.id: layered.sender for track in layered.tracks})
        for sender in self._by_ssrc.values():
            sender.connect(srtp, stream.clock, stream.last_time)
        if isinstance(feed.muxer, PayloadMuxer):
            self._batches = feed.muxer.batches
            for track_id, sender in self._senders.items():
                sender.share(feed.muxer.kept(track_id))
        stamp = self._stamp if layered is None else self._stamp_each
        self._sink = sink = RouteSink(route, stamp, self._stamp_each, self._server.spawn)
        if self._config.pacing and isinstance(feed.muxer, PayloadMuxer):
            # Nothing is known of its link yet, and what it begins with is much.
            rate = feed.muxer.rate
            self._pacer = sink.pacer = Pacer(
                self._let_out,
                lambda: self._carried or rate.value,
                lambda: self._bound,
                self._server.spawn,
                time.monotonic,
            )
        self._reader = feed.attach(sink, self._session, start=self._config.start)
        if layered is not None:
            layered.pacer = self._pacer
            # The reader counts all layers.
            self._session.count_out = lambda: sum(sender.octets for sender in self._by_ssrc.values())

    def moved(self, route: Route) -> None:
        """The peer is to be sent to by another route."""
        if self._sink is not None:
            self._sink.route = route

    def rtp(self, data: bytes, now: int) -> Publisher | None:
        """Nothing is expected of who plays."""
        return None

    def rtcp(self, packets: Sequence[RtcpPacket], now: int) -> bool:
        """Take what the peer says of what it got, and tell whether it lacks something or is watched closely."""
        asked = False
        for packet in packets:
            match packet:
                case Nack(_, media):
                    asked = True
                    if (sender := self._by_ssrc.get(media)) is not None:
                        self._repeat(sender, packet, now)
                case PictureLoss(_, media):
                    asked = True
                    self._want_key_frame(media)
                case FullIntraRequest(_, _, entries):
                    asked = True
                    for media, _ in entries:
                        self._want_key_frame(media)
                case Feedback(kind, form, _, _, data) if (kind, form) == (PACKET_TYPE, FORMAT):
                    if self._layered is not None:
                        asked = True
                        self._layered.arrived(data, now)
                        if self._sink is not None:
                            self._spread(self._sink, now)
                case _:
                    pass
        return asked

    def tick(self, now: int) -> Publisher | None:
        """Report, and see which layer is to be sent, and whether more would get through."""
        layered, sink = self._layered, self._sink
        if sink is None:
            return None
        if reports := [report for sender in self._by_ssrc.values() for report in sender.report(now)]:
            sink.send(reports)
        if layered is not None and (octets := layered.tick(now)):
            sink.send(layered.sender.padding(octets))
        if layered is not None or sink.pacer is not None:
            self._spread(sink, now)
        return None

    def close(self, reason: str) -> None:
        """No more packets; the peer is told that."""
        if self._reader is None or self._sink is None or self._srtp is None:
            return
        self._reader.detach(reason)
        if self._layered is not None:
            total = self._session.bytes_out
            self._session.count_out = lambda: total
        self._session.count("retransmitted_packets", self._repeated)
        goodbye = Goodbye(tuple(self._by_ssrc))
        self._sink.send([self._srtp.protect_rtcp(encode_rtcp([self._empty_report(), goodbye]))])
        self._sink.close(reason)

    @property
    def _carried(self) -> float | None:
        """Bits a second that its link is known to carry."""
        return self._layered.choosing.estimator.rate if self._layered is not None else None

    @property
    def _bound(self) -> float | None:
        """Bits a second that may be sent to it at the moment."""
        return self._layered.choosing.bound if self._layered is not None else None

    def _let_out(self, packets: Sequence[bytes]) -> None:
        """They have waited, or were to."""
        if self._layered is not None and self._pacer is not None:
            self._layered.choosing.numbering.left(packets, self._pacer.following)
        if self._sink is not None:
            self._sink.send(packets)

    def _spread(self, sink: RouteSink, now: int) -> None:
        """Spread large pictures out while it begins, and where its link has shown that it does not take everything at once."""
        if self._carried is not None or now - self._repeated_at < PACED_NS:
            sink.pacer = self._pacer
        elif (
            sink.pacer is not None
            and not sink.pacer.waits
            and self._reader is not None
            and self._reader.state == "ready"
        ):
            sink.pacer = None

    def _empty_report(self) -> SenderReport:
        """RFC 3550 6.1: a compound begins with a report."""
        sender = next(iter(self._by_ssrc.values()))
        return SenderReport(sender.ssrc, 0, 0, sender.packets, sender.octets)

    def _want_key_frame(self, ssrc: int) -> None:
        sender = self._by_ssrc.get(ssrc)
        if sender is not None and sender.played.track.kind is Kind.VIDEO:
            layered = self._layered
            chosen = layered is not None and layered.sender is sender
            self._stream.request_key_frame(
                layered.track if layered is not None and chosen else sender.played.track
            )

    def _stamp(self, units: Sequence[Unit]) -> Sequence[bytes]:
        """The packets of this peer."""
        senders, found = self._senders, list[bytes]()
        for frames in self._batches.of(units):
            sender = senders.get(frames.track)
            if sender is not None:
                found += sender.stamp(frames)
        return found

    def _stamp_each(self, units: Sequence[Unit]) -> Sequence[bytes]:
        """The same, one by one: what others do not get as well, or not in the same pieces."""
        found: list[bytes] = []
        for unit in units if self._layered is None else self._layered.passed(units):
            sender = self._senders.get(unit.of)  # type: ignore[arg-type] # of None there is none
            if sender is not None and isinstance(unit, PayloadUnit):
                found += sender.stamp_one(unit)
        return found

    def _repeat(self, sender: Sender, nack: Nack, now: int) -> None:
        """Send again what the peer has lost, as far as it is there."""
        if self._sink is None:
            return
        found = sender.repeat(nack, now)
        self._repeated += len(found)
        if found:
            self._repeated_at, self._sink.pacer = now, self._pacer
        self._sink.send(found)
