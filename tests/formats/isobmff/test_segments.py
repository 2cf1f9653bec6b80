"""CMAF in segments: what players get of a rendition is one file whose parts and segments are bytes of it."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, Frame, Kind, Track
from penstock.segment import Init, Segment
from penstock_formats.isobmff import Demuxer, ProducerTime, Sample
from penstock_formats.isobmff.segments import CmafFormat
from tests.formats.isobmff.captures import REGISTRY
from tests.formats.isobmff.test_muxer import LARGE, SOUND, VIDEO, picture, sound


def segment(number: int = 7, *, discontinuity: bool = False) -> Segment:
    init = Init(7, b"", ())
    wall = 1_700_000_000 * NS
    return Segment(number, init, time=NS, dts=NS, wall=wall, discontinuity=discontinuity, independent=True)


def test_each_track_is_a_rendition_and_pictures_come_first() -> None:
    data = Track(3, Codec("klv", Kind.DATA), 1000)
    groups, left_out = CmafFormat().group(REGISTRY, [SOUND, data, VIDEO])
    assert groups == {"v1": [VIDEO], "a2": [SOUND]}
    assert list(groups) == ["v1", "a2"]
    assert left_out == {3: "MP4 cannot carry klv"}


def test_a_segment_begins_with_its_type_and_wall_time_and_holds_its_frames() -> None:
    writer = CmafFormat().writer(REGISTRY, [VIDEO])
    data = writer.init + writer.start(segment())
    data += writer.write([picture(1000, key=True), picture(1040)], {})
    data += writer.write([picture(1080)], {1: 1_120_000_000})
    demuxer = Demuxer()
    demuxer.receive_data(data)
    events = list(iter(demuxer.next_event, None))
    (wall,) = [e for e in events if isinstance(e, ProducerTime)]
    assert (wall.track_id, wall.media_time, wall.wall) == (1, 90_000, 1_700_000_000 * NS)
    assert [(s.dts // 90, s.duration // 90) for s in events if isinstance(s, Sample)] == [
        (1000, 40), (1040, 40), (1080, 40),
    ]  # fmt: skip
    assert data[len(writer.init) + 4 :][:4] == b"styp"
    assert writer.codecs == ("avc1.42c01f",) or writer.codecs[0].startswith("avc1.")


def test_the_first_frame_after_a_change_has_its_parameter_sets() -> None:
    """FFmpeg and GStreamer read no second ``moov`` of an HLS rendition."""

    def sample(number: int, *, discontinuity: bool) -> bytes:
        demuxer = Demuxer()
        head = writer.start(segment(number, discontinuity=discontinuity))
        demuxer.receive_data(writer.init + head + writer.write([picture(1000, key=True)], {}))
        (found,) = [e for e in iter(demuxer.next_event, None) if isinstance(e, Sample)]
        return bytes(found.data)

    writer = CmafFormat().writer(REGISTRY, [VIDEO])
    plain = sample(7, discontinuity=False)
    changed = sample(7, discontinuity=True)
    sets = changed.removesuffix(plain)
    assert {sets[4] & 31, sets[int.from_bytes(sets[:4], "big") + 8] & 31} == {7, 8}
    assert sample(8, discontinuity=False) == sample(8, discontinuity=True) == plain


def test_another_config_does_not_fit() -> None:
    writer = CmafFormat().writer(REGISTRY, [VIDEO])
    assert writer.fits(VIDEO)
    assert not writer.fits(VIDEO.with_config(LARGE))
    with pytest.raises(ProtocolViolation):
        CmafFormat().writer(REGISTRY, [Track(1, VIDEO.codec, 90_000)])


def test_sound_is_written_like_pictures() -> None:
    writer = CmafFormat().writer(REGISTRY, [SOUND])
    frames: list[Frame] = [sound(44_100), sound(45_124)]
    demuxer = Demuxer()
    demuxer.receive_data(writer.init + writer.start(segment()) + writer.write(frames, {}))
    events = iter(demuxer.next_event, None)
    assert [(s.dts, s.duration) for s in events if isinstance(s, Sample)] == [(44_100, 1024), (45_124, 1024)]
