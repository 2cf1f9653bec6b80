"""Events to RTMP messages."""

from __future__ import annotations

from base64 import b64decode

import pytest

from penstock.errors import Closed
from penstock.media import NS, Frame, Track, TrackAdded, TrackChanged, TrackRemoved
from penstock.registry import Registry
from penstock_codecs import aac, h264, opus
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.opus.config import OPUS, OpusConfig
from penstock_formats.flv.binding import FLV
from penstock_formats.flv.script import SCRIPT, ScriptConfig
from penstock_rtmp.message import MessageType
from penstock_rtmp.muxer import RtmpMuxer


def _header(message: bytes) -> tuple[int, int, int]:
    """Time, type and size of a message that begins with a whole chunk header (RTMP 5.3.1.2.1)."""
    assert message[0] >> 6 == 0
    return int.from_bytes(message[1:4], "big"), message[7], int.from_bytes(message[4:7], "big")


def test_metadata_that_changes_in_mid_stream_has_no_time_of_its_own() -> None:
    # GStreamer sends it anew each second. At another time than 0, FFmpeg's demuxer makes a subtitle track of it.
    registry = Registry()
    aac.plugin.register(registry=registry)
    sound = Track(1, AAC, 48_000, AacConfig.lc(48_000, 2))
    script = Track(2, SCRIPT, 1000, ScriptConfig({"framerate": 25.0}))
    muxer = RtmpMuxer(registry, [sound, script], stream_id=1, chunk_size=4096)
    (unit,) = muxer.mux(Frame(sound, 5 * NS, 5 * NS, (b"\x21\x10",), True, None, 0))
    assert _header(unit.payloads[0])[:2] == (5000, MessageType.AUDIO)
    (unit,) = muxer.mux(TrackChanged(script.with_config(ScriptConfig({"framerate": 30.0}))))
    time, kind, _ = _header(unit.payloads[0])
    assert (time, kind) == (0, MessageType.DATA)
    assert b"onMetaData" in unit.payloads[0]
    assert unit.time == 5 * NS, "the ring is measured in the stream's time"


def test_other_data_keeps_its_time() -> None:
    script = Track(2, SCRIPT, 1000, ScriptConfig({}))
    muxer = RtmpMuxer(Registry(), [script], stream_id=1, chunk_size=4096)
    (unit,) = muxer.mux(Frame(script, 5 * NS, 5 * NS, (b"\x02\x00\x0aonCuePoint\x05",), True, None, 0))
    assert _header(unit.payloads[0]) == (5000, MessageType.DATA, 14)


def test_late_tracks_that_the_reader_does_not_take_have_a_reason() -> None:
    registry = Registry()
    aac.plugin.register(registry=registry)
    one, two = (Track(n, AAC, 48_000, AacConfig.lc(48_000, 2)) for n in (1, 2))
    muxer = RtmpMuxer(registry, [], stream_id=1, chunk_size=4096)
    for track in (one, two):
        muxer.mux(TrackAdded(track))
    assert muxer.left_out == {2: "the reader takes one track of a kind"}


@pytest.mark.parametrize("multitrack", [False, True])
def test_players_are_let_go_where_the_codec_changes(multitrack: bool) -> None:
    registry = Registry()
    for codec in (aac, opus):
        codec.plugin.register(registry=registry)
    before = Track(1, AAC, 48_000, AacConfig.lc(48_000, 2))
    after = Track(2, OPUS, 48_000, OpusConfig(2))
    muxer = RtmpMuxer(registry, [before], stream_id=1, chunk_size=4096, multitrack=multitrack)
    assert not muxer.mux(TrackAdded(after))
    with pytest.raises(Closed, match="codec changed to opus"):
        muxer.mux(TrackRemoved(before))


def test_parameter_sets_that_change_come_in_band_from_then_on() -> None:
    # VLC reads the first sequence header alone, and decodes with its sets what is of another size.
    registry = Registry()
    h264.plugin.register(registry=registry)
    pps, idr, other = b"\x68\xef\x83\x9c\xb0", b"\x65\x88\x84\x21", b"\x41\x9a\x24\x21"
    configs = [
        H264Config((b64decode(sps),), (pps,))
        for sps in ("Z0LADNoFBn58BEAAAAMAQAAADIPFCqg=", "Z0LAKNoB4AiflwEQAAADABAAAAMDwPGDKg==")
    ]
    first = Track(1, H264, 90_000, configs[0])
    second = first.with_config(configs[1])
    muxer = RtmpMuxer(registry, [first], stream_id=1, chunk_size=65_536)
    binding = registry.get(H264, FLV)
    assert binding is not None
    seen: list[tuple[bool, int]] = []
    for time, (track, unit) in enumerate(
        [(first, idr), (first, other), (first, idr), (second, idr), (second, other), (second, idr)]
    ):
        *told, message = muxer.mux(Frame(track, time * NS, time * NS, (unit,), unit is idr, None, 0))
        data = message.payloads[0][12 + 5 :]
        # Whatever the reader had before, its parser finds the same picture, and the sets that it is of.
        read = binding.decode(data, unit is idr, configs[0])
        assert read.units == (unit,)
        if unit is idr:
            assert (read.config or configs[0]) == track.config
        seen.append((bool(told), len(data) - len(unit) - 4))
    size = len(configs[1].sets[0]) + len(pps) + 2 * 4
    assert seen == [(False, 0), (False, 0), (False, 0), (True, size), (False, 0), (False, size)]


@pytest.mark.parametrize("known", [False, True])
def test_a_late_track_begins_with_its_sequence_header(known: bool) -> None:
    # Those who have joined by then had no preamble that could have told of it.
    registry = Registry()
    aac.plugin.register(registry=registry)
    bare = Track(1, AAC, 48_000, None)
    sound = bare.with_config(AacConfig.lc(48_000, 2))
    muxer = RtmpMuxer(registry, [bare] if known else [], stream_id=1, chunk_size=4096)
    muxer.mux(TrackChanged(sound) if known else TrackAdded(sound))
    frames = [Frame(sound, time * NS, time * NS, (b"\x21\x10",), True, None, 0) for time in (5, 6)]
    units = [unit for frame in frames for unit in muxer.mux(frame)]
    assert [unit.config for unit in units] == [True, False, False]
    header, first, _ = units
    assert header.payloads[0][12:] == b"\xaf\x00\x11\x90", "AudioSpecificConfig"
    assert _header(header.payloads[0])[0] == _header(first.payloads[0])[0] == 5000


def test_a_config_that_changed_before_the_first_frame_is_told() -> None:
    # Who joins a stream without frames yet has the first one in its preamble.
    registry = Registry()
    aac.plugin.register(registry=registry)
    first = Track(1, AAC, 48_000, AacConfig.lc(48_000, 2))
    second = first.with_config(AacConfig.lc(48_000, 1))
    muxer = RtmpMuxer(registry, [first], stream_id=1, chunk_size=4096)
    muxer.mux(TrackChanged(second))
    units = muxer.mux(Frame(second, NS, NS, (b"\x21\x10",), True, None, 0))
    assert [unit.config for unit in units] == [True, False]
    assert units[0].payloads[0][12:] == b"\xaf\x00\x11\x88", "AudioSpecificConfig"
