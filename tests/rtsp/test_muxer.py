"""What RTSP players are told of the time when one publisher follows another."""

from __future__ import annotations

from random import Random

from penstock.clock import StreamClock
from penstock.media import NS, Epoch, Frame, Track
from penstock.registry import Registry
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_codecs.vp8 import plugin as vp8
from penstock_formats.rtcp import SenderReport, parse_rtcp
from penstock_rtsp.muxer import RtpMuxer

MS = NS // 1000
WALL = 1_700_000_000 * NS
PICTURE = bytes((0x10, 0, 0, 0x9D, 1, 0x2A, 64, 0, 64, 0, 1, 2, 3))
RATE = 90_000


class Sent:
    """A muxer, and what its reports say."""

    def __init__(self) -> None:
        registry = Registry()
        vp8.register(registry)
        self.track = Track(1, VP8, RATE, Vp8Config())
        self.clock = StreamClock()
        self.muxer = RtpMuxer(registry, [self.track], self.clock, Random(1))

    def frame(self, time: int, wall: int) -> list[float]:
        """Seconds that each report beside a frame puts between the wall clock and the RTP clock."""
        self.clock.arrival(time, WALL + wall)
        units = self.muxer.mux(Frame(self.track, time, time, (PICTURE,)))
        found = [p for unit in units if unit.channel for p in parse_rtcp(unit.payloads[0])]
        return [
            report.ntp / 2**32 - report.rtp_time / RATE
            for report in found
            if isinstance(report, SenderReport)
        ]


def test_the_times_of_players_do_not_go_back_where_a_publisher_follows_another() -> None:
    sent = Sent()
    (before,) = sent.frame(NS, 0)
    sent.clock.reset()
    sent.muxer.mux(Epoch(1))
    # Whole seconds are added to the second one's times: they go on by more than has passed.
    (after,) = sent.frame(3 * NS, 1_600 * MS)
    assert abs(after - before) < 0.001
    (later,) = sent.frame(9 * NS, 7_600 * MS)
    assert abs(later - before) < 0.001


def test_reports_between_two_publishers_go_on_as_before() -> None:
    sent = Sent()
    (before,) = sent.frame(NS, 0)
    sent.clock.reset()
    sent.muxer.mux(Epoch(1))
    units = sent.muxer.mux(Frame(sent.track, 2 * NS, 2 * NS, (PICTURE,)))
    (report, *_) = parse_rtcp(units[1].payloads[0])
    assert isinstance(report, SenderReport)
    assert abs(report.ntp / 2**32 - report.rtp_time / RATE - before) < 0.001
