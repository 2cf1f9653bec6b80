"""Sound that was transcoded: in step with its source to the millisecond, with gaps where that has them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.codec import Codec as Coding
from av.packet import Packet

import penstock
from penstock.derived import Derivation
from penstock.media import NS, Frame, Kind, Track
from penstock.path import StreamPath
from penstock.plugins import PluginSet
from penstock.registry import Registry
from penstock_formats.flv import FLV
from penstock_transcode.config import TranscodeConfig
from penstock_transcode.decoders import SOUND
from penstock_transcode.plugin import plugin
from penstock_transcode.sound import Encoding, Sound
from penstock_transcode.timeline import Timeline

PATH = StreamPath.parse("live/one")
STEP_MS = 0.2
"""How far a click may be from where it was: a few samples."""
SECONDS = 3
EVERY = 0.5
ENCODINGS = {
    "opus": Encoding("libopus", "flt", 96_000, {"frame_duration": "20"}),
    "aac": Encoding("aac", "fltp", 128_000, {}),
}
SOURCES = {
    "aac": ("aac", "fltp", 44_100),
    "mp3": ("libmp3lame", "s16p", 44_100),
    "pcma": ("pcm_alaw", "s16", 8_000),
    "opus": ("libopus", "s16", 48_000),
}
"""FFmpeg's encoder, its sample format and a rate, by the names of our codecs."""

Coded = list[tuple[bytes, int]]
"""Frames with their times in ns."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    plugins = PluginSet.discover()
    plugins.activate(penstock.Config.from_mapping({}, plugins.configs))
    return plugins.registry


def clicks(rate: int) -> array[int]:
    """2 ms of 1500 Hz each half second."""
    out = array("h", [0] * (rate * SECONDS))
    width = rate // 500
    for n in range(1, int(SECONDS / EVERY)):
        for i in range(-width, width):
            window = 0.5 + 0.5 * math.cos(math.pi * i / width)
            out[int(n * EVERY * rate) + i] = int(20_000 * window * math.cos(math.tau * 1500 * i / rate))
    return out


def encoded(codec: str, registry: Registry) -> tuple[Track, Coded]:
    """The clicks in a codec, a second into the stream."""
    encoder, samples, rate = SOURCES[codec]
    context: Any = Coding(encoder, "w").create("audio")
    context.sample_rate, context.layout, context.format, context.bit_rate = rate, "mono", samples, 96_000
    context.time_base = Fraction(1, rate)
    context.open()
    resampler = AudioResampler(samples, "mono", rate, context.frame_size or 160)
    sound = clicks(rate)
    frame = AudioFrame("s16", "mono", len(sound))
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    frame.planes[0].update(sound.tobytes())
    packets = [p for f in resampler.resample(frame) + resampler.resample(None) for p in context.encode(f)]
    found = [(bytes(p), NS + round(p.pts * NS / rate)) for p in packets + context.encode(None)]
    known = registry.codec(codec)
    assert known is not None
    binding = registry.get(known, FLV)
    assert binding is not None
    extra = bytes(context.extradata or b"")
    config = binding.parse_config(extra) if extra else binding.implied_config(found[0][0], rate, 1)
    return Track(1, known, rate, config), found


def heard(registry: Registry, track: Track, coded: Coded) -> list[float]:
    """When the clicks are heard, in s: the middle of each by its energy."""
    binding = registry.get(track.codec, FLV)
    assert binding is not None
    assert track.config is not None
    context: Any = Coding(SOUND[track.codec.name], "r").create("audio")
    context.sample_rate, context.layout = track.clock_rate, "mono"
    context.extradata = binding.config_record(track.config) or None
    groups: list[list[tuple[float, float]]] = []
    for data, time in coded:
        at = time / NS
        for decoded in context.decode(Packet(data)):
            decoded.pts = None
            for frame in AudioResampler("s16", "mono", decoded.sample_rate).resample(decoded):
                samples = memoryview(bytes(frame.planes[0])).cast("h")[: frame.samples]
                for i, value in enumerate(samples):
                    if abs(value) > 600:
                        when = at + i / frame.sample_rate
                        if not groups or when - groups[-1][-1][0] > 0.1:
                            groups.append([])
                        groups[-1].append((when, float(value * value)))
                at += frame.samples / frame.sample_rate
    return [sum(t * e for t, e in group) / sum(e for _, e in group) for group in groups]


def transcoded(registry: Registry, track: Track, coded: Coded, target: str) -> tuple[Track, Coded]:
    encoding = ENCODINGS[target]
    sound = Sound(registry, encoding, 1)
    codec = registry.codec(target)
    assert codec is not None
    binding = registry.get(codec, FLV)
    assert binding is not None
    made: Coded = []
    for data, time in coded:
        made += [(c.data, c.pts) for c in sound.transcode([Frame(track, time, time, (data,))])]
    return Track(2, codec, encoding.rate, encoding.config(binding, 1)), made


def apart(before: Sequence[float], after: Sequence[float]) -> float:
    """How far the clicks are from where they were, at most, in ms."""
    return max(abs(a - b) * 1000 for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("source", "target"),
    [("aac", "opus"), ("mp3", "opus"), ("pcma", "opus"), ("opus", "aac"), ("mp3", "aac"), ("pcma", "aac")],
)
def test_it_stays_in_step(source: str, target: str, registry: Registry) -> None:
    track, coded = encoded(source, registry)
    before = heard(registry, track, coded)
    assert len(before) == int(SECONDS / EVERY) - 1
    made, result = transcoded(registry, track, coded, target)
    assert apart(before, heard(registry, made, result)) < STEP_MS
    times = [time for _, time in result]
    assert times == sorted(set(times))


def test_it_stays_in_step_over_gaps_and_what_cannot_be_read(registry: Registry) -> None:
    """Frames are missing, broken, and the clock of the source goes on 3 s later: clicks that come through are in step."""
    track, coded = encoded("aac", registry)
    coded = [
        (b"\xff" * 40 if 70 < n < 75 else data, time + (3 * NS if n > 90 else 0))
        for n, (data, time) in enumerate(coded)
        if not 30 < n < 40
    ]
    before = heard(registry, track, [(d, t) for d, t in coded if d != b"\xff" * 40])
    made, result = transcoded(registry, track, coded, "opus")
    after = heard(registry, made, result)
    near = [min(abs(click - at) for at in after) * 1000 for click in before]
    assert len(before) >= 4
    assert max(near) < STEP_MS, near


def test_rounded_times_are_no_gaps() -> None:
    timeline = Timeline(48_000)
    for n in range(50):
        # RTMP's whole milliseconds, of frames of 1024 samples.
        timeline.take(round(n * 1024 / 48) * 1_000_000, n * 1024)
    assert [timeline.at(n * 960) for n in range(3)] == [0, 20_000_000, 40_000_000]
    assert timeline.at(48_000) == NS


def test_a_jump_moves_what_comes_after_it() -> None:
    timeline = Timeline(48_000)
    timeline.take(NS, 0)
    timeline.take(5 * NS, 480)
    assert [timeline.at(n) for n in (-48, 0, 479, 480, 528)] == [
        NS - 1_000_000,
        NS,
        NS + 9_979_167,
        5 * NS,
        5 * NS + 1_000_000,
    ]


async def offers(server: penstock.Server, track: Track) -> list[Derivation]:
    return list(plugin.derive(track, PATH, server, TranscodeConfig()))


@pytest.mark.anyio
async def test_what_is_offered(registry: Registry) -> None:
    """Stereo at most, told before anything runs; nothing of a picture, and no codec of itself."""
    async with penstock.Server({"http": {"enabled": False}, "rtmp": {"listen": "127.0.0.1:0"}}) as server:
        aac, opus, h264 = (server.registry.codec(name) for name in ("aac", "opus", "h264"))
        assert aac is not None
        assert opus is not None
        assert h264 is not None
        binding = server.registry.get(aac, FLV)
        assert binding is not None
        track = Track(1, aac, 48_000, binding.parse_config(bytes([0x11, 0xB0])))  # 48 kHz, 5.1
        (made,) = await offers(server, track)
        assert (made.codec, made.clock_rate, getattr(made.config, "channels", 0)) == (opus, 48_000, 2)
        (back,) = await offers(server, Track(1, opus, 48_000, made.config))
        assert (back.codec, getattr(back.config, "channels", 0)) == (aac, 2)
        assert not await offers(server, Track(1, aac, 48_000))
        assert not await offers(server, Track(1, h264, 90_000))
        assert h264.kind is Kind.VIDEO
