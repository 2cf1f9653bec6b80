"""Every codec that the registry has, as an ISO media file: what tools see of it, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.media import Codec, CodecConfig, Frame, Track, to_ns
from penstock.registry import INFO, AudioInfo
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.g711 import PCMA, PCMU, G711Config
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.h265 import H265
from penstock_codecs.h265.record import build_record, parse_record
from penstock_codecs.mp3 import MP3, Mp3Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_formats.flv import FLV
from penstock_formats.isobmff import ISOBMFF, FragmentMuxer, VisualEntry
from tests.codecs import captures
from tests.codecs.h26x import H264_FULL_SPS
from tests.contracts.cases_h26x import H264_PPS, H265_RECORDS
from tests.formats.isobmff.captures import REGISTRY, received
from tests.formats.isobmff.tools import counted, warnings

# x264's, of 64x64 pixels of 4:3 in the colours of BT.709.
COLOURED_SPS = bytes.fromhex("6764100aacb884d87350101014000003000400000300c810")

Coded = list[tuple[tuple[bytes, ...], bool]]


def from_flv(name: str, codec_name: str, header: int) -> tuple[Codec, CodecConfig, Coded]:
    codec = REGISTRY.codec(codec_name)
    assert codec is not None
    binding = REGISTRY.get(codec, FLV)
    assert binding is not None
    config, coded = captures.flv_frames(
        binding, name, header, None if header > 1 else lambda data: binding.implied_config(data, 44100, 1)
    )
    return codec, config, coded


def _vp8() -> tuple[Codec, CodecConfig, Coded]:
    frames = captures.ivf("vp8")
    return VP8, Vp8Config(160, 120), [((frame,), not frame[0] & 1) for frame in frames]


def _pcmu() -> tuple[Codec, CodecConfig, Coded]:
    return PCMU, G711Config(2), [((bytes(range(256)) + bytes(64),), True)] * 20


CLIPS = {
    "aac": from_flv("aac", "aac", 2),
    "av1": from_flv("av1", "av1", 5),
    "av1aom": from_flv("av1aom", "av1", 5),
    "mp3": from_flv("mp3", "mp3", 1),
    "opus": from_flv("opus", "opus", 5),
    "pcma": from_flv("pcma", "pcma", 1),
    "pcmu": _pcmu(),
    "vp8": _vp8(),
    "vp9": from_flv("vp9", "vp9", 5),
}


def frames_of(name: str) -> list[Frame]:
    """A clip's frames one after the other from one second on, as long as their codec says, or 40 ms."""
    codec, config, coded = CLIPS[name]
    info = REGISTRY.get(codec, INFO)
    assert info is not None
    described = info.describe(config)
    rate = described.sample_rate if isinstance(described, AudioInfo) else 90_000
    track = Track(1, codec, rate, config)
    frames: list[Frame] = []
    ticks = rate
    for units, key in coded:
        duration = info.samples(units, config) or rate // 25
        frames.append(Frame(track, to_ns(ticks, rate), to_ns(ticks, rate), units, key, to_ns(duration, rate)))
        ticks += duration
    return frames


@pytest.mark.parametrize("name", CLIPS)
def test_tools_see_every_frame_and_nothing_against_it(name: str, tmp_path: Path) -> None:
    frames = frames_of(name)
    muxer = FragmentMuxer(REGISTRY, [frames[0].track])
    assert not muxer.left_out
    half = len(frames) // 2
    file = tmp_path / "one.mp4"
    file.write_bytes(b"".join([muxer.init, *muxer.fragment(frames[:half]), *muxer.fragment(frames[half:])]))
    assert warnings(file) == ""
    # MediaInfo counts samples of G.711.
    if frames[0].track.codec not in (PCMA, PCMU):
        assert counted(file) == [len(frames)]
    tracks, back = received(file.read_bytes())
    assert [(t.codec, t.clock_rate) for t in tracks] == [(frames[0].track.codec, frames[0].track.clock_rate)]
    assert back[-1].track.config == frames[0].track.config
    assert [(f.units, f.key, f.pts, f.dts) for f in back] == [(f.units, f.key, f.pts, f.dts) for f in frames]


@pytest.mark.parametrize(
    ("codec", "config", "string"),
    [
        (H264, H264Config((H264_FULL_SPS,), (H264_PPS,)), "avc1.640028"),
        (H265, parse_record(H265_RECORDS[0]), "hvc1.1.6.L120.90"),
        (AAC, AacConfig.lc(44100, 2), "mp4a.40.2"),
        (AAC, AacConfig.parse(bytes.fromhex("2b920800")), "mp4a.40.5"),
        (MP3, Mp3Config(44100, 2), "mp4a.6B"),
        (MP3, Mp3Config(22050, 1, 2.0), "mp4a.69"),
        (OPUS, OpusConfig.simple(6), "opus"),
        (VP8, Vp8Config(64, 48), "vp08.00.00.08"),
        (PCMA, G711Config(), "alaw"),
    ],
)
def test_manifests_name_a_codec_as_its_sample_entry(codec: Codec, config: CodecConfig, string: str) -> None:
    """RFC 6381 3.3: the first element is the sample entry; Opus alone is written small, as players want it."""
    muxer = FragmentMuxer(REGISTRY, [Track(1, codec, 48000, config)])
    assert muxer.codecs == (string,)
    entry = muxer.entries[0].format
    assert string.partition(".")[0] == (entry.lower() if codec is OPUS else entry)


def test_parameter_sets_in_band_are_named_in_the_sample_entry() -> None:
    h264 = Track(1, H264, 90000, H264Config((H264_FULL_SPS,), (H264_PPS,)))
    h265 = Track(2, H265, 90000, parse_record(H265_RECORDS[0]))
    muxer = FragmentMuxer(REGISTRY, [h264, h265], in_band=True)
    assert muxer.codecs == ("avc3.640028", "hev1.1.6.L120.90")
    # ISO 14496-15 8.3.3.1.3: the arrays are not complete where there are more sets in the samples.
    record = muxer.entries[1].needed("hvcC")
    assert not record[23] & 0x80
    assert build_record(parse_record(H265_RECORDS[0]))[23] & 0x80


def test_what_is_known_of_the_picture_is_told() -> None:
    track = Track(1, H264, 90000, H264Config((COLOURED_SPS,), (H264_PPS,)))
    binding = REGISTRY.get(H264, ISOBMFF)
    assert binding is not None
    entry = binding.describe(track)
    assert isinstance(entry, VisualEntry)
    assert entry.box("colr") == b"nclx" + bytes((0, 1, 0, 1, 0, 1, 0))
    assert entry.box("pasp") == bytes((0, 0, 0, 4, 0, 0, 0, 3))
    assert (entry.width, entry.display) == (64, (85, 64))
