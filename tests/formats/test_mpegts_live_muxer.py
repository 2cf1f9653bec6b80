"""A feed's transport stream in datagrams: the same packets as in one piece, none half empty without need."""

from __future__ import annotations

import pytest

from penstock_formats.mpegts import LiveMuxer
from penstock_progressive.container import CONTAINERS
from tests.formats.isobmff import captures
from tests.kernel import stage
from tests.progressive.reading import received, republished, server

TS = next(container for container in CONTAINERS if container.name == "ts")
PAT = b"\x47\x40\x00"


@pytest.mark.parametrize("clip", ["ffmpeg5-h264-aac", "ffmpeg9-hevc-opus", "ffmpeg5-mp3"])
def test_datagrams_are_of_whole_packets_and_hold_every_frame(clip: str) -> None:
    stream, frames = republished(captures.received(captures.read(clip))[1])
    muxer = LiveMuxer(server().registry, stream.tracks, datagrams=7)
    units = [unit for frame in frames for unit in muxer.mux(frame)]
    payloads = [payload for unit in units for payload in unit.payloads]
    assert all(0 < len(payload) <= 1316 and len(payload) % 188 == 0 for payload in payloads)
    assert all(unit.payloads[0].startswith(PAT) for unit in units if unit.key)
    got = stage.frames(received(TS, payloads))
    for track in stream.tracks:
        sent = [frame.units for frame in frames if frame.track.id == track.id]
        heard = [frame.units for frame in got if frame.track.codec is track.codec]
        # The last sound waits for the picture that it goes with.
        assert len(sent) - len(heard) < 3
        assert heard == sent[: len(heard)]


def test_sound_rides_in_the_datagram_of_the_picture_but_not_where_one_may_start() -> None:
    stream, frames = republished(captures.received(captures.read("ffmpeg5-h264-aac"))[1])
    muxer = LiveMuxer(server().registry, stream.tracks, datagrams=7)
    alone = LiveMuxer(server().registry, stream.tracks)
    assert muxer.key != alone.key
    units = [unit for frame in frames for unit in muxer.mux(frame)]
    apart = [unit for frame in frames for unit in alone.mux(frame)]
    pictures = sum(unit.video for unit in units)
    assert pictures == sum(unit.video for unit in apart)
    assert sum(unit.key for unit in units) == sum(unit.key for unit in apart)
    assert len(units) < len(apart)
    assert b"".join(p for u in units for p in u.payloads) == b"".join(p for u in apart for p in u.payloads)
