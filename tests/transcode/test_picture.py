"""Pictures that were transcoded: each is what it was and when it was, in the order in which it is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest
from attrs import define
from av.codec.codec import Codec as Coding
from av.packet import Packet
from av.video.frame import VideoFrame

import penstock
from penstock.media import NS, Codec, CodecConfig, Epoch, Event, Frame, Track
from penstock.path import StreamPath
from penstock.plugins import PluginSet
from penstock.registry import INFO, Registry, VideoInfo
from penstock_formats.flv import FLV
from penstock_formats.mpegts import MPEGTS
from penstock_formats.mpegts.binding import TsFormat
from penstock_transcode.config import TranscodeConfig
from penstock_transcode.picture import KEY_NS, LATE_NS, CodedPicture, PictureEncoding, Pictures, Shape
from penstock_transcode.plugin import plugin

WIDTH, HEIGHT, RATE, STEP = 320, 180, 25, NS // 25
PATH = StreamPath.parse("live/one")
ENCODING = PictureEncoding(2_000_000, Fraction(RATE), 1)
BLOCK = 16
LIVELY = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "veryfast", "bf": "3", "sc_threshold": "0"}),
    "h265": ("libx265", {"preset": "ultrafast", "x265-params": "bframes=3:log-level=none:pools=1"}),
    "vp8": ("libvpx", LIVELY),
    "vp9": ("libvpx-vp9", LIVELY),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}),
}
"""FFmpeg's encoders by the names of our codecs."""
TYPES = {"h264": 0x1B, "h265": 0x24}
"""What is read from a byte stream."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    plugins = PluginSet.discover()
    plugins.activate(penstock.Config.from_mapping({}, plugins.configs))
    return plugins.registry


def drawn(number: int, width: int = WIDTH, height: int = HEIGHT) -> VideoFrame:
    """Grey, with a white column that says which picture it is."""
    frame = VideoFrame(width, height, "yuv420p")
    for index, plane in enumerate(frame.planes):
        row = bytearray([128 if index else 60] * plane.line_size)
        if not index:
            at = 4 * (number % 64)
            row[at : at + BLOCK] = bytes([235] * BLOCK)
        plane.update(bytes(row) * plane.height)
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def read(frame: VideoFrame) -> int:
    """The number in a picture, from its middle row."""
    plane = frame.planes[0]
    row = bytes(plane)[plane.line_size * (plane.height // 2) :][: frame.width]
    white = [x for x, value in enumerate(row) if value > 150]
    assert white, "there is no column"
    return round((sum(white) / len(white) - (BLOCK - 1) / 2) / 4)


def known(registry: Registry, name: str) -> Codec:
    codec = registry.codec(name)
    assert codec is not None
    return codec


@contextmanager
def as_before() -> Generator[None]:
    """SVT-AV1 gives the thread of root that opens it real-time priority, which all that later tests start would have too."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def published(
    registry: Registry, name: str, count: int, size: tuple[int, int] = (WIDTH, HEIGHT), gop: int = 250
) -> list[Frame]:
    """The pictures in a codec, in decoding order, a second into the stream, each come when it was to be decoded."""
    encoder, options = SOURCES[name]
    context: Any = Coding(encoder, "w").create("video")
    context.width, context.height, context.pix_fmt = *size, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, RATE), Fraction(RATE), gop
    context.thread_count, context.options = 1, dict(options)
    with as_before():
        context.open()
    packets = [p for n in range(count) for p in context.encode(drawn(n, *size))] + context.encode(None)
    codec, config, frames = known(registry, name), None, list[Frame]()
    binding, ts = registry.get(codec, FLV), registry.get(codec, MPEGTS)
    assert binding is not None
    reader = ts.reader(TsFormat(TYPES[name])) if ts is not None and name in TYPES else None
    for n, packet in enumerate(packets):
        data = bytes(packet)
        at = NS + packet.pts * STEP
        arrival = NS + n * STEP
        if reader is not None:
            (unit,) = reader.push(data, at, None, False)
            units, key, config = unit.units, unit.key, unit.config or config
        else:
            config = config or binding.implied_config(data, 0, 0)
            assert config is not None
            units, key, _ = binding.decode(data, bool(packet.is_keyframe), config)
        dts = min(at, NS + (n - 2) * STEP)
        frames.append(Frame(Track(1, codec, 90_000, config), at, dts, units, key, None, arrival))
    return frames


def shown(registry: Registry, made: Sequence[CodedPicture]) -> list[tuple[int, int]]:
    """What a decoder makes of it: times, and the numbers in the pictures."""
    codec = known(registry, "h264")
    binding = registry.get(codec, FLV)
    assert binding is not None
    context: Any = Coding("h264", "r").create("video")
    config: CodecConfig | None = None
    found: list[VideoFrame] = []
    for coded in made:
        if coded.config is not None:
            if config is not None:
                found += context.decode(None)
            context = Coding("h264", "r").create("video")
            config = coded.config
            context.extradata = binding.config_record(config)
        frame = Frame(Track(2, codec, 90_000, config), coded.pts, coded.pts, coded.units, coded.key)
        packet = Packet(binding.encode(frame))
        packet.pts, packet.time_base = coded.pts, Fraction(1, NS)
        found += context.decode(packet)
    return [(frame.pts or 0, read(frame)) for frame in found + context.decode(None)]


@define
class Clock:
    """That of arrivals; it stands still, or stands at what comes."""

    now: int = NS

    def __call__(self) -> int:
        return self.now


def transcoded(pictures: Pictures, events: Sequence[Event]) -> list[CodedPicture]:
    return [coded for event in events for coded in pictures.transcode([event], False)]


def expected(count: int) -> list[tuple[int, int]]:
    return [(NS + n * STEP, n) for n in range(count)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_picture_comes_through_in_its_place(source: str, registry: Registry) -> None:
    """Also of codecs with B-frames, whose last pictures come with the end of what they are part of."""
    frames = published(registry, source, 50)
    pictures = Pictures(registry, known(registry, "h264"), ENCODING, Clock())
    made = transcoded(pictures, [*frames, Epoch(2)])
    times = [coded.pts for coded in made]
    assert times == sorted(times)
    assert shown(registry, made) == expected(50)
    assert pictures.left_out == 0


def test_it_is_constrained_baseline_as_it_was_told(registry: Registry) -> None:
    frames = published(registry, "h264", 10)
    codec = known(registry, "h264")
    made = transcoded(Pictures(registry, codec, ENCODING, Clock()), frames)
    config, info = made[0].config, registry.get(codec, INFO)
    assert config is not None
    assert info is not None
    assert info.codecs_string(config).startswith("avc1.42c0")
    assert info.reorder(config) == 0
    assert info.describe(config) == VideoInfo(WIDTH, HEIGHT, RATE)
    assert ENCODING.config(registry, codec, Shape.sized(WIDTH, HEIGHT)) == config
    assert [coded.config for coded in made[1:]] == [None] * (len(made) - 1)


def test_key_frames_come_by_time_and_when_asked_for(registry: Registry) -> None:
    frames = published(registry, "h264", 120)
    pictures = Pictures(registry, known(registry, "h264"), ENCODING, Clock())
    made = transcoded(pictures, frames[:70])
    pictures.request_key_frame()
    made += transcoded(pictures, frames[70:])
    keys = [coded.pts for coded in made if coded.key]
    assert [key - NS for key in keys[:2]] == [0, KEY_NS]
    asked = keys[2]
    assert abs(asked - frames[70].pts) <= 5 * STEP
    assert keys[3:] == [asked + KEY_NS] * (asked + KEY_NS <= made[-1].pts)


def test_what_comes_too_late_is_not_encoded_and_what_follows_is_whole(registry: Registry) -> None:
    frames = published(registry, "h264", 60)
    clock = Clock(0)
    pictures = Pictures(registry, known(registry, "h264"), ENCODING, clock)
    made: list[CodedPicture] = []
    for n in range(0, 60, 4):
        behind = 20 <= n < 40
        clock.now = frames[n].arrival + (2 * LATE_NS if behind else 0)
        made += pictures.transcode(frames[n : n + 4], True)
    seen = shown(registry, [*made, *pictures.transcode([Epoch(2)], False)])
    assert pictures.left_out == 20
    numbers = [number for _, number in seen]
    assert seen == [(NS + number * STEP, number) for number in numbers]
    assert numbers[:15] == list(range(15))
    assert numbers[-15:] == list(range(45, 60))
    assert len(numbers) < 45
    clock.now = frames[-1].arrival + 10 * NS
    (first, *_), late = frames, Pictures(registry, known(registry, "h264"), ENCODING, clock)
    assert late.transcode([first], True) == []
    assert late.left_out == 0, "it was there before"


def test_of_what_is_late_only_the_last_group_is_taken(registry: Registry) -> None:
    frames = published(registry, "h264", 60, gop=20)
    clock = Clock(0)
    pictures = Pictures(registry, known(registry, "h264"), ENCODING, clock)
    clock.now = frames[0].arrival
    assert pictures.current(frames) is frames
    made = transcoded(pictures, frames[:5])
    clock.now = frames[59].arrival
    waiting = pictures.current(frames[5:])
    assert [frame.key for frame in waiting if isinstance(frame, Frame)].index(True) == 0
    assert len(waiting) == 20
    assert pictures.left_out == 35
    clock.now = 0
    seen = shown(registry, made + transcoded(pictures, [*waiting, Epoch(2)]))
    assert [number for _, number in seen][-20:] == list(range(40, 60))


def test_another_size_is_another_config_and_what_is_odd_becomes_even(registry: Registry) -> None:
    codec, info = known(registry, "h264"), registry.get(known(registry, "h264"), INFO)
    small = published(registry, "vp8", 10, (161, 91))
    large = published(registry, "h264", 10)
    moved = [f._replace(pts=f.pts + NS, dts=f.dts + NS) for f in large]
    pictures = Pictures(registry, codec, ENCODING, Clock())
    made = transcoded(pictures, [*small, *moved, Epoch(2)])
    configs = [coded.config for coded in made if coded.config is not None]
    assert info is not None
    assert [info.describe(c) for c in configs] == [VideoInfo(160, 90, RATE), VideoInfo(WIDTH, HEIGHT, RATE)]
    assert [coded.pts for coded in made] == [NS + n * STEP for n in (*range(10), *range(25, 35))]
    assert shown(registry, made)[10:] == [(2 * NS + n * STEP, n) for n in range(10)]


def test_what_cannot_be_decoded_or_has_no_beginning_is_left_out(registry: Registry) -> None:
    frames = published(registry, "h264", 30)
    pictures = Pictures(registry, known(registry, "h264"), ENCODING, Clock())
    assert transcoded(pictures, frames[1:5]) == []
    broken = frames[10]._replace(units=(b"\x41" + bytes(3),))
    made = transcoded(pictures, [*frames[:10], broken, *frames[11:], Epoch(2)])
    assert len(shown(registry, made)) >= 25


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_pictures_are_made_where_the_config_asks_for_it(registry: Registry) -> None:
    (frame, *_) = published(registry, "h265", 2)
    async with penstock.Server({"http": {"enabled": False}, "rtmp": {"listen": "127.0.0.1:0"}}) as server:
        (made,) = plugin.derive(frame.track, PATH, server, TranscodeConfig(video=["live/*"]))
        assert (made.codec.name, made.clock_rate) == ("h264", 90_000)
        again = Track(1, made.codec, made.clock_rate, made.config)
        assert [d.codec.name for d in plugin.derive(again, PATH, server, TranscodeConfig(video=["**"]))] == [
            "h264"
        ]
        assert not list(plugin.derive(frame.track, PATH, server, TranscodeConfig(video=["other/*"])))
        assert not list(plugin.derive(frame.track, PATH, server, TranscodeConfig()))


@pytest.mark.parametrize("video", [[], ["live/*"]])
def test_ffmpegs_libraries_are_loaded_at_the_start_where_pictures_are_asked_for(video: list[str]) -> None:
    script = (
        "import sys; from penstock_transcode.config import TranscodeConfig; from penstock_transcode.plugin import plugin;"
        "plugin.services(None, TranscodeConfig(video=sys.argv[1:])); sys.exit('av' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, *video], check=False, timeout=30)
    assert done.returncode == bool(video)
