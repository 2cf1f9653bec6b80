"""What a publisher declares, and when its stream is ready."""

from __future__ import annotations

from typing import Any

import pytest

import penstock
from penstock import PluginSet
from penstock.path import StreamPath
from penstock.stream import Stream, StreamOptions
from penstock_codecs import g711, h264, mp3
from penstock_formats.flv.clock import TagClock
from penstock_formats.flv.ingest import Ingest
from penstock_formats.flv.packet import TagType
from tests.faults.canary_program import AVCC
from tests.kernel.stage import Host, publish


def published(values: dict[str, Any]) -> tuple[Stream, Ingest]:
    """A stream whose publisher has said onMetaData, and H.264's sequence header."""
    server = penstock.Server({}, plugins=PluginSet.discover(installed=False))
    for codec in (g711, h264, mp3):
        codec.plugin.register(registry=server.registry)
    stream = Stream(StreamPath.parse("live/one"), server.registry, StreamOptions(), Host())
    ingest = Ingest(publish(stream), server)
    ingest.metadata(values)
    ingest.media(TagType.VIDEO, 0, b"\x17\x00\x00\x00\x00" + AVCC)
    return stream, ingest


@pytest.mark.parametrize(("number", "codec"), [(2, "mp3"), (7, "pcma"), (8, "pcmu")])
def test_sound_without_sequence_header_is_declared_before_its_first_frame(number: float, codec: str) -> None:
    """With x264's defaults the first frame of either comes after 2 s, and who asked before got no sound."""
    values = {"videocodecid": 7.0, "audiocodecid": number, "audiosamplerate": 44100.0, "stereo": True}
    stream, _ = published(values)
    assert [t.codec.name for t in stream.tracks if t.kind == "audio"] == [codec]
    assert stream.is_ready


@pytest.mark.parametrize(
    "wrong",
    [{"audiosamplerate": 44000.0}, {"audiosamplerate": "44100"}, {"stereo": 1.0}, {"audiocodecid": 99.0}],
)
def test_what_metadata_says_wrongly_is_not_declared(wrong: dict[str, Any]) -> None:
    values = {"videocodecid": 7.0, "audiocodecid": 2.0, "audiosamplerate": 44100.0, "stereo": True}
    stream, _ = published(values | wrong)
    assert [t.codec.name for t in stream.tracks if t.kind == "audio"] == []
    assert not stream.is_ready


def test_the_first_frame_has_the_last_word() -> None:
    values = {"videocodecid": 7.0, "audiocodecid": 2.0, "audiosamplerate": 44100.0, "stereo": True}
    stream, ingest = published(values)
    mono = bytes.fromhex("fffb90c4") + bytes(413)
    ingest.media(TagType.AUDIO, 40, b"\x2e" + mono)
    (sound,) = [t for t in stream.tracks if t.kind == "audio"]
    assert getattr(sound.config, "channels", 0) == 1


@pytest.mark.parametrize("wrap", [1 << 31, 1 << 32])
def test_times_go_on_where_they_wrap(wrap: int) -> None:
    """FFmpeg leaves out the highest bit, as FLV has its timestamps signed; others use all 32."""
    clock = TagClock()
    times = [wrap - 80, wrap - 40, wrap, wrap + 40, wrap + 20, wrap + 80]
    found = [clock.unwrap(time % wrap) for time in times]
    assert [time - found[0] for time in found] == [0, 40, 80, 120, 100, 160]
    assert [clock.unwrap(time % wrap) - found[0] for time in (wrap + 9_000, wrap + 18_000)] == [9_080, 18_080]


def test_a_source_that_begins_anew_is_no_wrap() -> None:
    clock = TagClock()
    assert [clock.unwrap(time) for time in (90_000_000, 0, 40)] == [90_000_000, 0, 40]
