"""A transport stream to a publisher's tracks and frames."""

from __future__ import annotations

import pytest
from attrs import evolve

from penstock.errors import ProtocolViolation
from penstock.media import NS, Frame, Kind, Track, TrackAdded
from penstock.queue import FrameQueue
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_codecs.mp3 import MP3, Mp3Config
from penstock_formats.mpegts import PRIVATE, Ingest, Muxer
from penstock_formats.mpegts.ingest import MAX_FAULTS
from tests.codecs.captures import DATA as CODECS
from tests.codecs.transport import DATA
from tests.formats.transport_stream import VIDEO, Made
from tests.kernel import stage
from tests.progressive.reading import server, stream

SOUND = Track(7, AAC, 48_000, AacConfig.lc(48_000, 2))


def _publishing() -> tuple[Ingest, FrameQueue]:
    made = stream()
    queue = stage.with_queue(made)
    return Ingest(stage.publish(made), server()), queue


def _sound(muxer: Muxer, number: int, track: Track = SOUND) -> bytes:
    time = 5 * NS + number * 1024 * NS // 48_000
    return muxer.mux(Frame(track, time, time, (b"\x21" * 40,)))


def test_tracks_have_their_sample_rate_and_language_and_the_stream_is_ready_with_all_of_them() -> None:
    made = stream()
    publisher = stage.publish(made)
    ingest = Ingest(publisher, server())
    data = (DATA / "ffmpeg5-h264.ts").read_bytes()
    for at in range(0, len(data), 1000):
        ingest.receive(data[at : at + 1000])
        assert made.is_ready == (len(made.tracks) == 2)
    ingest.end()
    assert [(t.codec.name, t.clock_rate, t.language) for t in made.tracks] == [
        ("h264", 90_000, None),
        ("aac", 44_100, "de"),
    ]
    assert not publisher.dropped


def test_tracks_are_listed_as_the_program_lists_them_whichever_config_came_first() -> None:
    made = stream()
    ingest = Ingest(stage.publish(made), server())
    muxer = Muxer(server().registry)
    tracks = [evolve(SOUND, id=7 + i, language=language) for i, language in enumerate(("en", "de", "fr"))]
    for track in tracks:
        muxer.add(track)
    for number in range(3):
        for track in (tracks[2], tracks[1], tracks[0]):
            ingest.receive(_sound(muxer, number, track))
    ingest.end()
    assert made.is_ready
    assert [t.language for t in made.tracks] == ["en", "de", "fr"]
    assert [t.id for t in made.tracks] != sorted(t.id for t in made.tracks)


def test_the_last_frame_comes_at_the_end() -> None:
    ingest, queue = _publishing()
    muxer = Muxer(server().registry)
    for number in range(3):
        ingest.receive(_sound(muxer, number))
    ingest.end()
    assert len(stage.frames(stage.events(queue))) == 3


def test_data_that_nobody_knows_goes_on_as_data() -> None:
    ingest, queue = _publishing()
    ingest.receive(Made().pes(0x103, b"key, length, value", stream_id=0xBD).pes(0x100, VIDEO).data)
    ingest.end()
    found = stage.events(queue)
    (data,) = [e.track for e in found if isinstance(e, TrackAdded) and e.track.kind is Kind.DATA]
    assert data.codec is PRIVATE
    assert [f.units for f in stage.frames(found, data)] == [(b"key, length, value",)]


def test_a_program_that_changes_goes_on_with_the_tracks_that_it_kept() -> None:
    ingest, queue = _publishing()
    muxer = Muxer(server().registry)
    for number in range(3):
        ingest.receive(_sound(muxer, number))
    head = next(body for body in _mp3())
    other = Track(9, MP3, 48_000, Mp3Config(48_000, 2))
    for number in range(3, 8):
        ingest.receive(_sound(muxer, number))
        time = 5 * NS + number * NS // 40
        ingest.receive(muxer.mux(Frame(other, time, time, (head,))))
    ingest.end()
    found = stage.events(queue)
    added = [e.track.codec for e in found if isinstance(e, TrackAdded)]
    assert added == [AAC, MP3]
    frames = stage.frames(found)
    assert sum(f.track.codec is AAC for f in frames) == 8
    assert sum(f.track.codec is MP3 for f in frames) >= 4


def _mp3() -> list[bytes]:
    """MP3 frames out of an FLV file, whose tags have one each behind a byte."""
    data = (CODECS / "mp3.flv").read_bytes()
    found: list[bytes] = []
    at = 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] == 8:
            found.append(data[at + 12 : at + 11 + size])
        at += 15 + size
    return found


def test_what_is_damaged_is_left_out_and_counted_until_there_is_nothing_else() -> None:
    made = stream()
    publisher = stage.publish(made)
    ingest = Ingest(publisher, server())
    muxer = Muxer(server().registry)
    ingest.receive(_sound(muxer, 0) + _sound(muxer, 1))
    assert not publisher.dropped
    # A PES packet whose header says that it is longer than it is.
    bad = b"\x47\x41\x00\x10\x00\x00\x01\xc0\x00\x08\x80\x80\xff" + b"\xff" * 175
    packets = [bad[:3] + bytes((0x10 | number & 15,)) + bad[4:] for number in range(2 * MAX_FAULTS)]
    ingest.receive(b"".join(packets[: MAX_FAULTS // 2]))
    with pytest.raises(ProtocolViolation):
        ingest.receive(b"".join(packets))
    assert publisher.dropped > MAX_FAULTS
