"""The publishing side of a session: what was announced, which of it is set up, and what it brings."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from attrs import define, field

from penstock.media import Track
from penstock.path import StreamPath
from penstock.publisher import Publisher
from penstock.server import Server
from penstock.session import Session
from penstock_formats.rtp.ingest import Ingest, TrackIngest
from penstock_formats.rtp.reorder import MAX_DELAY
from penstock_formats.sdp import MediaDescription
from penstock_rtsp.connection import Asked
from penstock_rtsp.description import Offered
from penstock_rtsp.url import Target


@define(eq=False)
class Recorder:
    """The announced tracks by number; `ingest` is there from RECORD on. `fail` ends the session.

    What is announced and not `offered`, because no codec here reads it, is set up like the others, and its packets are
    dropped: FFmpeg and GStreamer would take a refusal for the end of all.
    """

    server: Server
    session: Session
    path: StreamPath
    media: tuple[MediaDescription, ...]
    offered: dict[int, Offered]
    random: Random
    fail: Callable[[Exception], None]
    set_up: dict[int, TrackIngest | None] = field(factory=dict[int, TrackIngest | None])
    ingest: Ingest | None = None

    def index(self, asked: Asked) -> int | None:
        """Which track a SETUP means: by the control that the peer gave, by number, or by order; None for none."""
        url = asked.request.url
        for number, media in enumerate(self.media):
            control = media.control
            if control and url == control and asked.target.path == self.path:
                return number
            if control and url.endswith("/" + control):
                target = Target.parse(url.removesuffix(control).rstrip("/"))
                if target.path == self.path:
                    return number
        if asked.target.path != self.path:
            return None
        if asked.target.track is not None:
            return asked.target.track if asked.target.track < len(self.media) else None
        rest = [i for i in self.offered if i not in self.set_up]
        return rest[0] if len(rest) == 1 else None

    @property
    def ready(self) -> bool:
        """Whether a track is set up that can be published."""
        return not self.set_up.keys().isdisjoint(self.offered)

    def record(self, *, reorder: bool, send: Callable[[int, bytes], None]) -> None:
        """Publish what is set up; `send` takes RTCP about a track to the peer.

        Raises `AlreadyPublished`, or `ProtocolViolation` for a config that will not do.
        """
        publisher = self.server.streams.publish_authorized(self.session, self.path)
        order = sorted(self.set_up.keys() & self.offered.keys())
        try:
            ingest = Ingest(
                publisher,
                self.server.registry,
                [self.offered[i] for i in order],
                self.random.getrandbits(32),
                delay=MAX_DELAY if reorder else None,
            )
        except BaseException:
            publisher.close("what was announced cannot be published")
            raise
        for index, track in zip(order, ingest.tracks, strict=True):
            self.set_up[index] = track
        self.ingest = ingest

        def want_key_frame(track: Track) -> None:
            for index, found in self.set_up.items():
                if found is not None and found.track.id == track.id:
                    data = ingest.picture_loss(found, time.monotonic_ns())
                    if data is not None:
                        send(index, data)

        publisher.on_key_frame_request = want_key_frame

    def packet(self, index: int, data: bytes, now: int) -> None:
        """A packet of media inside the connection."""
        track = self.set_up.get(index)
        if track is not None:
            track.packet(data, now)

    def rtcp(self, index: int, data: bytes, now: int) -> None:
        """A packet of reports."""
        track = self.set_up.get(index)
        if track is not None and self.ingest is not None:
            self.ingest.rtcp(track, data, now)

    def datagram(self, index: int, data: bytes, now: int) -> Publisher | None:
        """A packet of media at the shared port, where an error must end this session and no other."""
        ingest = self.ingest
        # Between the end of a publisher and that of its session there is time for a datagram.
        if ingest is None or ingest.publisher.closed:
            return None
        self.session.bytes_in += len(data)
        try:
            self.packet(index, data, now)
        except Exception as error:  # noqa: BLE001 - raised again in the session's own task
            self.fail(error)
            return None
        return ingest.publisher

    def datagram_rtcp(self, index: int, data: bytes, now: int) -> None:
        """A packet of reports at the shared port."""
        try:
            self.rtcp(index, data, now)
        except Exception as error:  # noqa: BLE001 - raised again in the session's own task
            self.fail(error)

    def close(self, reason: str) -> None:
        if self.ingest is not None:
            self.ingest.finish(time.monotonic_ns())
            self.ingest.publisher.close(reason)
            self.ingest.publisher.on_key_frame_request = None  # it has this recorder
