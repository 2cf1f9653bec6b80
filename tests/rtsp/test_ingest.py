"""Packets of a publisher to frames on one clock: what waits for a moment, and what goes straight through."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import define

from penstock.media import NS, Frame, Kind, to_ticks
from penstock.path import StreamPath
from penstock.queue import FrameQueue
from penstock.registry import Registry
from penstock.stream import Stream, StreamOptions
from penstock_codecs import aac, h264
from penstock_formats.rtcp import SenderReport, encode_rtcp, ns_to_ntp
from penstock_formats.rtp.alignment import WAIT_NS
from penstock_formats.rtp.ingest import HELD_BYTES, Ingest, TrackIngest
from penstock_formats.rtp.packet import RtpPacket
from penstock_formats.rtp.reorder import MAX_DELAY
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.description import offered
from tests.faults.rtsp import AAC, H264, IDR, sdp
from tests.kernel.stage import Host, events, frames, publish, with_queue

MS = 1_000_000
START = 500 * NS
WALL = 1_800_000_000 * NS
SOUND = b"\x00\x10\x00\x20abcd"
"""One AAC frame of four bytes, behind its AU header (RFC 3640 3.2.1)."""


def _registry() -> Registry:
    made = Registry()
    for codec in (h264, aac):
        codec.plugin.register(registry=made)
    return made


@define
class Peer:
    """A publisher of one picture track and one sound track; `sequence` goes on by itself."""

    ingest: Ingest
    queue: FrameQueue
    sequence: int = 65_530

    @classmethod
    def of(cls, *media: str, reorder: bool = False) -> Peer:
        registry = _registry()
        stream = Stream(StreamPath.parse("live/one"), registry, StreamOptions(), Host())
        queue = with_queue(stream)
        found, _ = offered(registry, SessionDescription.parse(sdp(*media)))
        ingest = Ingest(publish(stream), registry, found, 1, delay=MAX_DELAY if reorder else None)
        return cls(ingest, queue)

    def track(self, kind: Kind) -> TrackIngest:
        return next(t for t in self.ingest.tracks if t.track.kind is kind)

    def send(self, kind: Kind, time: int, *, ssrc: int = 0, base: int = 77, size: int = 40) -> None:
        """One frame that the sender takes and sends at `time`."""
        track = self.track(kind)
        payload = IDR + b"x" * size if kind is Kind.VIDEO else SOUND
        stamp = (base + to_ticks(time, track.clock.rate)) & 0xFFFFFFFF
        number = 96 if kind is Kind.VIDEO else 97
        self.sequence = (self.sequence + 1) & 0xFFFF
        packet = RtpPacket(number, True, self.sequence, stamp, ssrc or number, payload)
        track.packet(packet.encode(), START + time)

    def report(self, kind: Kind, time: int, *, ssrc: int = 0, base: int = 77, wall: int = WALL) -> None:
        """A sender report, sent at `time`."""
        track = self.track(kind)
        stamp = (base + to_ticks(time, track.clock.rate)) & 0xFFFFFFFF
        number = 96 if kind is Kind.VIDEO else 97
        report = SenderReport(ssrc or number, ns_to_ntp(wall + time) if wall else 0, stamp, 1, 1)
        self.ingest.rtcp(track, encode_rtcp([report]), START + time)

    def frames(self, kind: Kind | None = None) -> list[Frame]:
        """What has come out since the last call."""
        return [f for f in frames(events(self.queue)) if kind is None or f.track.kind is kind]


V, A = Kind.VIDEO, Kind.AUDIO


def test_frames_go_straight_through_where_the_report_comes_first() -> None:
    peer = Peer.of(H264, AAC)
    peer.report(V, 0)
    peer.send(V, 0)
    assert len(peer.frames()) == 1
    peer.send(V, 40 * MS)
    assert len(peer.frames()) == 1
    # FFmpeg sends sound when a packet is full, and its report right before.
    peer.report(A, 200 * MS, base=999)
    peer.send(A, 20 * MS, base=999)
    (sound,) = peer.frames()
    assert abs(sound.pts - NS - 20 * MS) < MS


def test_a_silent_announced_track_holds_the_others_no_longer_than_a_moment() -> None:
    peer = Peer.of(H264, AAC)
    for n in range(6):
        peer.send(V, n * 40 * MS)
    assert not peer.frames()
    assert not peer.ingest.aligned
    peer.ingest.handle_timeout(START + WAIT_NS - 1)
    assert not peer.frames()
    peer.ingest.handle_timeout(START + WAIT_NS)
    out = peer.frames()
    assert [f.pts for f in out] == [NS + n * 40 * MS for n in range(6)]
    assert [f.arrival for f in out] == [START + n * 40 * MS for n in range(6)]
    peer.send(V, 240 * MS)
    assert len(peer.frames()) == 1


def test_a_report_that_comes_meanwhile_ends_the_waiting() -> None:
    peer = Peer.of(H264, AAC)
    peer.send(V, 0)
    peer.send(A, 0, base=5)
    peer.report(V, 10 * MS)
    assert not peer.frames()
    # The sender's sound was taken 70 ms before the picture that came at the same time.
    peer.report(A, 10 * MS, base=5, wall=WALL - 70 * MS)
    video, sound = peer.frames()
    assert video.track.kind is V
    assert abs(video.pts - sound.pts - 70 * MS) < MS


def test_one_track_alone_waits_for_nothing() -> None:
    peer = Peer.of(H264)
    peer.send(V, 0)
    assert len(peer.frames()) == 1
    assert peer.ingest.aligned


def test_what_waits_is_bounded_in_bytes() -> None:
    peer = Peer.of(H264, AAC)
    size = 60_000
    for n in range(HELD_BYTES // size + 2):
        peer.send(V, n, size=size)
    assert len(peer.frames()) > HELD_BYTES // size


def test_a_publisher_that_leaves_early_loses_nothing() -> None:
    peer = Peer.of(H264, AAC)
    peer.send(V, 0)
    peer.send(A, 0)
    peer.ingest.finish(START + MS)
    assert len(peer.frames()) == 2


def test_what_waits_behind_a_lost_packet_goes_out_when_the_publisher_leaves() -> None:
    peer = Peer.of(H264, reorder=True)
    peer.send(V, 0)
    peer.sequence += 1
    peer.send(V, 80 * MS)
    peer.send(V, 120 * MS)
    assert len(peer.frames()) == 1
    peer.ingest.finish(START + 121 * MS)
    assert len(peer.frames()) == 2


def test_a_correction_moves_one_track_forwards_and_no_time_goes_back() -> None:
    peer = Peer.of(H264, AAC)
    # What arrives together was not taken together: the sound is 90 ms older.
    for n in range(100):
        peer.send(V, n * 40 * MS)
        peer.send(A, n * 40 * MS)
        if n in (50, 75):  # the second report of each agrees with the first
            peer.report(V, n * 40 * MS)
            peer.report(A, n * 40 * MS, wall=WALL - 90 * MS)
    out = peer.frames()
    for kind in (V, A):
        times = [f.dts for f in out if f.track.kind is kind]
        assert len(times) == 100
        assert all(b > a for a, b in pairwise(times))
    video, sound = ([f.pts for f in out if f.track.kind is kind] for kind in (V, A))
    assert abs(video[0] - sound[0]) < MS
    assert abs(video[-1] - sound[-1] - 90 * MS) < 2 * MS
    assert sound[-1] - sound[0] == 99 * 40 * MS, "the picture waits for the sound, which nobody hears"


def test_reports_without_a_wall_clock_say_nothing() -> None:
    # RFC 3550 6.4.1: a sender that has no notion of wall time sets it to zero.
    peer = Peer.of(H264, AAC)
    peer.report(V, 0, wall=0)
    peer.send(V, 0)
    assert not peer.frames()
    assert peer.track(V).bad == 0


@pytest.mark.parametrize("base", [5, 0x40000000, 0xD0000000])
def test_a_new_ssrc_goes_on_where_the_stream_is(base: int) -> None:
    peer = Peer.of(H264, AAC)
    for n in range(25):
        peer.send(V, n * 40 * MS, base=0x80000000)
        peer.send(A, n * 40 * MS)
    assert len(peer.frames()) == 50
    # The camera's encoder starts anew, with numbers of its own.
    for n in range(25, 35):
        peer.send(V, n * 40 * MS, ssrc=4711, base=base)
        peer.send(A, n * 40 * MS)
    out = peer.frames()
    assert [f.pts for f in out if f.track.kind is V] == [NS + n * 40 * MS for n in range(25, 35)]


def test_packets_of_a_new_ssrc_each_time_end_in_no_heap() -> None:
    peer = Peer.of(H264, AAC)
    for n in range(3000):
        peer.send(V, n * MS, ssrc=n + 1, base=n * 0x01234567)
    assert len(peer.frames()) > 2000
