"""What is published as a file: pieces of any size, init segments that change, tracks that nobody knows."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from penstock.errors import ProtocolViolation
from penstock.media import NS, Frame, Kind, Track
from penstock.path import StreamPath
from penstock.stream import Stream, StreamOptions
from penstock_codecs.aac import AAC
from penstock_codecs.g711 import PCMA, G711Config
from penstock_codecs.h264 import H264
from penstock_codecs.mp3 import MP3, Mp3Config
from penstock_formats.isobmff import FragmentMuxer, SampleEntry
from penstock_formats.isobmff.box import box, split
from penstock_formats.isobmff.ingest import MAX_BAD_FRAMES, Ingest
from penstock_formats.isobmff.sample_entry import stsd
from tests.contracts.cases_isobmff import trun
from tests.formats.isobmff.captures import REGISTRY, STREAMABLE, by_key_frame, read, received
from tests.formats.isobmff.test_muxer import LARGE, SMALL, SOUND, VIDEO, picture, sound
from tests.kernel import stage


@pytest.mark.parametrize("name", STREAMABLE)
@pytest.mark.parametrize("size", [1, 700])
def test_pieces_of_any_size(name: str, size: int) -> None:
    data = read(name)
    _, whole = received(data)
    _, pieces = received(*(data[at : at + size] for at in range(0, len(data), size)))
    assert [frame._replace(arrival=0) for frame in pieces] == [frame._replace(arrival=0) for frame in whole]


@pytest.mark.parametrize("name", STREAMABLE)
def test_frames_come_in_the_order_of_their_decode_times(name: str) -> None:
    """Also where a fragment has its tracks one after the other: those who read live need them together."""
    _, frames = received(read(name))
    # GStreamer's fragments are of one track each, of 400 ms; tables are read in the order of the file.
    slack = 0.4 if name.startswith("gst") else 0.12 if name in ("ffmpeg5-tables", "ffmpeg5-faststart") else 0
    assert min(later.dts - earlier.dts for earlier, later in pairwise(frames)) >= -slack * NS


def test_segments_one_after_the_other() -> None:
    """As an HLS client has them: the init segment, then files each of which counts its offsets from its own start."""
    tracks, frames = received(read("ffmpeg5-h264-aac"))
    muxer = FragmentMuxer(REGISTRY, tracks)
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(), stage.Host())
    publisher = stage.publish(stream)
    queue = stage.with_queue(stream)
    ingest = Ingest(publisher, REGISTRY, whole=False)
    ingest.receive(muxer.init)
    assert not publisher.complete
    for group in by_key_frame(frames):
        ingest.start_segment()
        ingest.receive(b"".join(muxer.fragment(group)) + b"\0\0\1\0mdat")
    got = stage.frames(stage.events(queue))
    assert [frame.units for frame in got if frame.track.codec is H264] == [
        frame.units for frame in frames if frame.track.codec is H264
    ]
    assert len(got) == len(frames)


def test_two_files_that_are_two_renditions_of_one_stream() -> None:
    """Sound and picture apart, as HLS has them: neither says that the stream is complete."""
    tracks, frames = received(read("ffmpeg5-h264-aac"))
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(), stage.Host())
    publisher = stage.publish(stream)
    for track in tracks:
        muxer = FragmentMuxer(REGISTRY, [track])
        ingest = Ingest(publisher, REGISTRY, whole=False)
        ingest.receive(muxer.init + b"".join(muxer.fragment(frames)))
    assert [track.codec for track in stream.tracks] == [H264, AAC]
    assert stream.frames_in == len(frames)


def test_a_track_that_nobody_knows_is_left_out_with_a_reason() -> None:
    data = read("ffmpeg5-h264-aac").replace(b"mp4a", b"zzzz")
    with capture_logs() as told:
        tracks, frames = received(data)
    assert [track.codec for track in tracks] == [H264]
    assert {frame.track.codec for frame in frames} == {H264}
    assert [line["reason"] for line in told if line["event"] == "track left out"] == [
        "no plugin knows the sample entry 'zzzz'"
    ]
    with pytest.raises(ProtocolViolation, match="no track"):
        received(data.replace(b"avc1", b"encv"))


def with_entries(init: bytes, *entries: SampleEntry) -> bytes:
    """An init segment of one track, whose sample entries are these."""
    movie = next(box for box in split(init) if box.type == "moov")
    found = movie.only("trak").only("mdia").only("minf").only("stbl").only("stsd")
    new = stsd(entries)
    out = bytearray(init[: found.start - 8] + new + init[found.end :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = out.index(name) - 4
        size = int.from_bytes(out[at : at + 4], "big") + len(new) - len(found.body) - 8
        out[at : at + 4] = size.to_bytes(4, "big")
    return bytes(out)


def fragment(description: int, *samples: bytes) -> bytes:
    """A fragment of track 1 with samples of one sample entry, each of one tick."""
    sizes = b"".join(len(sample).to_bytes(4, "big") for sample in samples)

    def made(offset: int) -> bytes:
        fields = struct.pack(">II", description, 1)
        return trun(0x201, len(samples), struct.pack(">i", offset) + sizes, 0x2000A, fields)

    return made(len(made(0)) + 8) + box("mdat", *samples)


PICTURE = b"\0\0\0\3\x65\x88\x84"


def test_a_sample_entry_that_changes_in_mid_stream() -> None:
    """Several sample entries in one movie (8.5.2): a fragment says which of them it is of."""
    small = FragmentMuxer(REGISTRY, [VIDEO])
    large = FragmentMuxer(REGISTRY, [VIDEO.with_config(LARGE)])
    init = with_entries(small.init, *small.entries, *large.entries)
    _, frames = received(init, fragment(1, PICTURE), fragment(2, PICTURE), fragment(1, PICTURE))
    assert [frame.track.config for frame in frames] == [SMALL, LARGE, SMALL]
    # One that is not there is a frame that can't be read.
    assert len(received(init, fragment(3, PICTURE), fragment(1, PICTURE))[1]) == 1


def test_a_new_movie_may_change_a_tracks_codec() -> None:
    muxer = FragmentMuxer(REGISTRY, [SOUND])
    other = Track(SOUND.id, PCMA, 8000, G711Config())
    telephone = FragmentMuxer(REGISTRY, [other])
    second = Frame(other, 2 * NS, 2 * NS, (bytes(160),))
    tracks, frames = received(
        muxer.init, *muxer.fragment([sound(44_100)]), telephone.init, *telephone.fragment([second])
    )
    assert [track.codec for track in tracks] == [AAC, PCMA]
    assert [(frame.track.codec, frame.track.clock_rate) for frame in frames] == [(AAC, 44_100), (PCMA, 8000)]


def test_a_config_that_only_samples_have() -> None:
    """MP3, and H.264 whose record has no parameter sets (avc3): the track is declared, and described by its first frame."""
    track = Track(1, MP3, 44_100, Mp3Config(44_100, 1))
    mp3 = bytes.fromhex("fffb10c4") + bytes(100)
    muxer = FragmentMuxer(REGISTRY, [track])
    tracks, frames = received(muxer.init, *muxer.fragment([Frame(track, NS, NS, (mp3,))]))
    assert [one.config for one in tracks] == [Mp3Config(44_100, 1)]
    assert [frame.units for frame in frames] == [(mp3,)]
    video = FragmentMuxer(REGISTRY, [VIDEO], in_band=True)
    entry = evolve(video.entries[0], boxes=(("avcC", b"\1\x42\0\x0a\xff\xe0\0"),))
    init = with_entries(video.init, entry)
    pieces = video.fragment([picture(1000), picture(1040, key=True)])
    tracks, frames = received(init, *pieces)
    assert [one.config for one in tracks] == [SMALL]
    # What comes before the parameter sets cannot be decoded.
    assert [frame.key for frame in frames] == [True]


def test_frames_that_cannot_be_read_are_dropped_until_they_are_too_many() -> None:
    init = FragmentMuxer(REGISTRY, [VIDEO]).init
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(), stage.Host())
    publisher = stage.publish(stream)
    ingest = Ingest(publisher, REGISTRY)
    bad = b"\xff" * 7
    ingest.receive(init + fragment(1, *[bad] * MAX_BAD_FRAMES, PICTURE, *[bad] * MAX_BAD_FRAMES))
    assert (stream.frames_in, publisher.dropped) == (1, 2 * MAX_BAD_FRAMES)
    with pytest.raises(ProtocolViolation, match="NAL unit"):
        ingest.receive(fragment(1, bad))


def test_languages_go_through() -> None:
    german = evolve(SOUND, language="deu")
    muxer = FragmentMuxer(REGISTRY, [german])
    tracks, _ = received(muxer.init)
    assert [track.language for track in tracks] == ["de"]


def test_the_stream_is_ready_with_the_movie() -> None:
    stream = Stream(StreamPath.parse("live/one"), REGISTRY, StreamOptions(), stage.Host())
    publisher = stage.publish(stream)
    Ingest(publisher, REGISTRY).receive(FragmentMuxer(REGISTRY, [VIDEO, SOUND]).init)
    assert publisher.complete
    assert [(track.kind, track.clock_rate) for track in stream.tracks] == [
        (Kind.VIDEO, 90_000), (Kind.AUDIO, 44_100),
    ]  # fmt: skip
