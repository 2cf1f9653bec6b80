"""Codecs in MPEG-TS: what FFmpeg and GStreamer wrote, frame for frame, and back; configs that MPEG-TS has, or has not."""

from __future__ import annotations

import itertools

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, CodecConfig, Frame, Kind, Track
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.aac.mpegts import AacTs
from penstock_codecs.av1 import AV1
from penstock_codecs.av1.flv import Av1Flv
from penstock_codecs.av1.mpegts import DELIMITER, START_CODE, Av1Reader, Av1Ts
from penstock_codecs.av1.obu import shows, with_size
from penstock_codecs.g711 import PCMA, G711Config
from penstock_codecs.mp3 import MP3, Mp3Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.opus.mpegts import OpusReader, OpusTs, encode_layout, parse_layout
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_formats.mpegts import MPEGTS, Fault, Muxer, TsFormat
from penstock_formats.mpegts.descriptor import Descriptor
from tests.codecs import captures, transport
from tests.codecs.transport import capture, demux, registry, streams

WRAP = (1 << 33) * NS // 90_000

CAPTURES = [
    ("ffmpeg5-h264", "h264", (Kind.VIDEO, Kind.AUDIO)),
    ("ffmpeg5-wrap", "h264", (Kind.VIDEO, Kind.AUDIO)),
    ("ffmpeg5-latm", "h264", (Kind.AUDIO,)),
    ("ffmpeg9-m2ts", "h264", (Kind.VIDEO,)),
    ("ffmpeg9-hevc", "hevc", (Kind.VIDEO, Kind.AUDIO)),
    ("gst-h264", "h264", (Kind.VIDEO, Kind.AUDIO)),
    ("gst-hevc", "hevc", (Kind.VIDEO, Kind.AUDIO)),
    ("ffmpeg5-mp3", "../codecs/mp3", (Kind.AUDIO,)),
]
NAMES = [name for name, _, _ in CAPTURES]

WITHOUT_DTS = {"gst-hevc"}
"""GStreamer does not make up the decoding times that Matroska does not have, and moves its times by some ms."""


@pytest.mark.parametrize(("name", "made_of", "kinds"), CAPTURES, ids=NAMES)
def test_frames_are_those_that_were_muxed(name: str, made_of: str, kinds: tuple[Kind, ...]) -> None:
    events = demux(capture(name))
    assert not [event for event in events if isinstance(event, Fault)]
    published = transport.source(f"{made_of}.flv")
    found = streams(events)
    assert [one.stream.codec.kind for one in found] == list(kinds)
    most = 10_000_000 if name in WITHOUT_DTS else 1_000_000
    offsets: list[int] = []
    for one, kind in zip(found, kinds, strict=True):
        # GStreamer's aacparse leaves the first frame out.
        expected = published[kind][1 if kind is Kind.AUDIO and name == "gst-h264" else 0 :]
        assert [(ours.units, ours.key) for ours in one.frames] == [(t.units, t.key) for t in expected]
        assert len(one.configs) == 1
        offset = one.frames[0].pts - expected[0].pts
        offsets.append(offset)
        for theirs, ours in zip(expected, one.frames, strict=True):
            assert abs(ours.pts - theirs.pts - offset) <= most
            if name not in WITHOUT_DTS:
                assert theirs.dts is not None
                assert ours.dts is not None
                assert abs(ours.dts - theirs.dts - offset) <= most
    if name not in WITHOUT_DTS:
        assert max(offsets) - min(offsets) <= 1_000_000


@pytest.mark.parametrize("step", [1, 61, 188, 1 << 20])
@pytest.mark.parametrize("name", ["gst-h264", "ffmpeg9-m2ts"])
def test_how_it_is_split_changes_nothing(name: str, step: int) -> None:
    data = capture(name)
    assert demux(data, step) == demux(data)


def test_times_go_on_over_the_wrap() -> None:
    for one in streams(demux(capture("ffmpeg5-wrap"))):
        times = [frame.dts for frame in one.frames if frame.dts is not None]
        assert times[0] < WRAP < times[-1]
        assert all(0 < later - earlier <= 41_000_000 for earlier, later in itertools.pairwise(times))


def test_where_no_dts_is_sent_none_is_made_up() -> None:
    video, audio = streams(demux(capture("gst-hevc")))
    # The first picture is taken to be decoded when it is shown; the second that is shown earlier tells.
    lacking = [frame.dts is None for frame in video.frames]
    assert lacking == [False] * 2 + [True] * (len(video.frames) - 2)
    assert all(frame.dts == frame.pts for frame in audio.frames)


def test_the_language_is_known() -> None:
    _, audio = streams(demux(capture("ffmpeg5-h264")))
    assert audio.stream.language == "deu"


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    """What is written reads back: units, keys, configs, languages the same, times to the tick."""
    before = streams(demux(capture(name)))
    after = streams(demux(transport.mux(transport.frames(demux(capture(name))))))
    assert [one.stream.codec for one in after] == [one.stream.codec for one in before]
    assert [one.stream.language for one in after] == [one.stream.language for one in before]
    for ours, theirs in zip(after, before, strict=True):
        assert ours.configs == theirs.configs
        for a, b in zip(ours.frames, theirs.frames, strict=True):
            assert (a.units, a.key) == (b.units, b.key)
            assert abs((a.pts - b.pts + WRAP // 2) % WRAP - WRAP // 2) <= NS // 180_000 + 1


def coded(codec: Codec, config: CodecConfig, units: list[bytes], step: int) -> list[Frame]:
    """Frames of one unit each, every `step` ns."""
    track = Track(1, codec, 90000, config)
    return [Frame(track, NS + n * step, NS + n * step, (unit,)) for n, unit in enumerate(units)]


def test_frames_of_sound_may_share_a_packet() -> None:
    frames = coded(AAC, AacConfig.lc(44100, 2), [bytes((n,)) * 90 for n in range(1, 9)], NS * 1024 // 44100)
    one, alone = Muxer(registry()), Muxer(registry())
    together = one.mux(frames[0], *frames[1:])
    apart = b"".join([alone.mux(frame) for frame in frames])
    assert len(together) < len(apart)
    (ours,), (theirs,) = streams(demux(together)), streams(demux(apart))
    assert [frame.units for frame in ours.frames] == [frame.units for frame in theirs.frames]
    for a, b in zip(ours.frames, theirs.frames, strict=True):
        assert abs(a.pts - b.pts) <= NS // 90_000


@pytest.mark.parametrize("asc", ["1210", "1190", "0a10", "1388", "2b920800", "1238"])
def test_adts_tells_the_config(asc: str) -> None:
    config = AacConfig.parse(bytes.fromhex(asc))
    (found,) = streams(demux(transport.mux(coded(AAC, config, [b"\x21\x1b\x80"] * 4, NS // 43))))
    (told,) = found.configs
    assert isinstance(told, AacConfig)
    # SBR that was told is left to the decoder to find: ADTS has the core alone.
    assert (told.object_type, told.core_rate) == (config.object_type, config.core_rate)
    assert told.channels == config.channels or config.ps
    assert [frame.units for frame in found.frames] == [(b"\x21\x1b\x80",)] * 4


def program(head: str) -> bytes:
    """An AudioSpecificConfig that begins with the bits `head`, and has 5.1 channels in a program config element."""
    elements = "0000 01 0100 0010 0000 0001 01 000 0000 000 00000 10000 10001 0000"
    text = (head + elements).replace(" ", "")
    text = text.ljust(-(-len(text) // 8) * 8, "0") + f"{4:08b}"
    return int(text, 2).to_bytes(len(text) // 8, "big") + b"note"


@pytest.mark.parametrize(
    "asc", [program("00010 0100 0000 000"), program("00101 0111 0000 0100 00010 000")], ids=["lc", "sbr"]
)
def test_a_program_config_travels_in_the_raw_data(asc: bytes) -> None:
    config = AacConfig.parse(asc)
    assert config.channels == 6
    (found,) = streams(demux(transport.mux(coded(AAC, config, [b"\x21\x1b\x80"] * 2, NS // 43))))
    (told,) = found.configs
    assert isinstance(told, AacConfig)
    assert told.channels == config.channels
    units = [frame.units[0] for frame in found.frames]
    assert units[0].endswith(b"\x21\x1b\x80")
    assert units[0][0] >> 5 == 5
    # What has one already is not given another.
    (again,) = streams(demux(transport.mux(coded(AAC, told, units, NS // 43))))
    assert (again.configs, [frame.units[0] for frame in again.frames]) == ([told], units)


@pytest.mark.parametrize(
    ("codec", "config", "reason"),
    [
        (AAC, AacConfig.parse(bytes.fromhex("f8e85000")), "object type 39"),
        (AAC, AacConfig.parse(bytes.fromhex("1214")), "960"),
        (AAC, AacConfig.lc(44000, 2), "44000 Hz"),
        (AAC, AacConfig.lc(48000, 7), "channels 11"),
        (PCMA, G711Config(), "cannot carry pcma"),
        (VP8, Vp8Config(), "cannot carry vp8"),
    ],
)
def test_what_cannot_be_carried_is_left_out_with_a_reason(
    codec: Codec, config: CodecConfig, reason: str
) -> None:
    muxer = Muxer(registry())
    (frame,) = coded(codec, config, [b"\x01"], 0)
    assert muxer.mux(frame) == b""
    assert reason in muxer.left_out[1]
    assert muxer.dropped == 0


@pytest.mark.parametrize("version", [1.0, 2.0, 2.5])
def test_mp3_has_a_stream_type_for_each_version(version: float) -> None:
    binding = registry().get(MP3, MPEGTS)
    assert binding is not None
    track = Track(1, MP3, 90000, Mp3Config(44100, 2, version))
    assert binding.describe(track).stream_type == (0x03 if version == 1.0 else 0x04)


def test_sound_begins_in_the_middle_of_packets() -> None:
    """As broadcasters have it: a PES packet's time is that of the first frame that begins in it."""
    units = [bytes((n,)) * 100 for n in range(1, 13)]
    binding = AacTs()
    frames = coded(AAC, AacConfig.lc(48000, 2), units, NS * 1024 // 48000)
    data = b"".join([binding.encode(frame, False) for frame in frames])
    reader = binding.reader(TsFormat(0x0F))
    found = reader.push(data[50:300], NS, NS, False)
    found += reader.push(data[300:777], 2 * NS, 2 * NS, False)
    found += reader.push(data[777:], None, None, False)
    assert [unit.units[0] for unit in found] == units[1:]
    step = NS * 1024 // 48000
    # Frame 1 begins in the first packet, frames 3 to 7 in the second; 2 is completed there, at the first's pace.
    assert [unit.pts for unit in found[:3]] == [NS, NS + step, 2 * NS]
    assert [round((unit.pts - 2 * NS) / step) for unit in found[2:]] == list(range(9))
    assert reader.push(data[:150], None, None, True) == []


@pytest.mark.parametrize("channels", range(1, 9))
def test_opus_channels_have_codes(channels: int) -> None:
    config = OpusConfig.simple(channels)
    assert encode_layout(config) == bytes((channels,))
    (found,) = streams(demux(transport.mux(coded(OPUS, config, [b"\xfc\x01"] * 3, NS // 50))))
    assert found.configs == [config]


@pytest.mark.parametrize(
    ("code", "config"),
    [
        ("00", OpusConfig.mapped(2, 1, 1, b"\0\1", 255)),
        ("80", OpusConfig.mapped(2, 2, 0, b"\0\1", 255)),
        ("84", OpusConfig.mapped(4, 4, 0, b"\0\1\2\3")),
        ("810100", OpusConfig.simple(1)),
        ("810200", OpusConfig.simple(2)),
        # As bluenviron/mediacommon has them: 5.1 and three channels of their own.
        ("81060168429d", OpusConfig.simple(6)),
        ("8103ff8180", OpusConfig.mapped(3, 3, 0, b"\0\1\2", 255)),
    ],
)
def test_opus_layouts(code: str, config: OpusConfig) -> None:
    assert parse_layout(bytes.fromhex(code)) == config
    assert parse_layout(encode_layout(config)) == config


def test_opus_without_its_extension_is_stereo() -> None:
    reader = OpusTs().reader(TsFormat(0x06, (Descriptor(5, b"Opus"),)))
    (unit,) = reader.push(b"\x7f\xe0\x02\xfc\x01", NS, NS, False)
    assert unit.config == OpusConfig.simple(2)


def test_opus_packets_without_a_time_go_on() -> None:
    reader = OpusReader(OpusConfig.simple(2))
    # With start trim, end trim and an extension of two bytes in the control header.
    packet = b"\x7f\xfc\x02\x00\x10\x00\x20\x02ab\xfc\x01"
    first = reader.push(packet * 2, NS, NS, False)
    assert [unit.pts for unit in first] == [NS, NS + NS // 50]
    assert [unit.pts for unit in reader.push(packet, None, None, False)] == [NS + NS // 25]
    assert reader.push(packet, None, None, True) == []


def av1_frames(name: str) -> tuple[CodecConfig, list[Frame]]:
    config, found = captures.flv_frames(Av1Flv(), name, 5)
    track = Track(1, AV1, 90000, config)
    return config, [
        Frame(track, NS + n * NS // 25, NS + n * NS // 25, units, key) for n, (units, key) in enumerate(found)
    ]


@pytest.mark.parametrize("name", ["av1", "av1aom"])
def test_av1_there_and_back(name: str) -> None:
    config, frames = av1_frames(name)
    (found,) = streams(demux(transport.mux(frames)))
    assert found.configs == [config]
    assert [(frame.units, frame.key) for frame in found.frames] == [(f.units, f.key) for f in frames]


def test_av1_hides_start_codes() -> None:
    config, (frame, *_) = av1_frames("av1")
    # The end of a tile group may be zeros, and anything may be inside.
    inside = b"\x30\x10" + b"\0\0\1\0\0\0\0\0\2\0\0\3\0\0\4" + bytes(4)
    odd = frame._replace(units=(*frame.units, inside))
    data = Av1Ts().encode(odd, True)
    assert b"\0\0\0" not in data.replace(START_CODE, b"").rstrip(b"\0")
    (unit,) = Av1Reader().push(data, 0, 0, False)
    assert unit.units == odd.units
    assert unit.config == config


def test_av1_frames_that_are_not_shown_wait_for_the_one_that_is() -> None:
    """The draft has a PES packet for each frame; a temporal unit ends with one that is shown."""
    _, frames = av1_frames("av1")
    unit = next(frame for frame in frames if len(frame.units) > 1)
    hidden, shown = unit.units[:-1], unit.units[-1:]
    assert not shows(hidden, False)
    reader = Av1Reader()
    binding = Av1Ts()
    assert reader.push(binding.encode(unit._replace(units=hidden), False), 7, 5, False) == []
    (found,) = reader.push(binding.encode(unit._replace(units=shown), False), 9, 6, False)
    assert (found.pts, found.dts, found.units) == (9, 5, unit.units)
    # After a loss the first part is of no use.
    assert reader.push(binding.encode(unit._replace(units=hidden), False), 7, 5, False) == []
    (found,) = reader.push(binding.encode(unit._replace(units=shown), False), 9, 6, True)
    assert found.units == shown


def test_av1_without_start_codes_is_read_as_it_is() -> None:
    _, (frame, *_) = av1_frames("av1")
    (unit,) = Av1Reader().push(b"\x12\x00" + b"".join(map(with_size, frame.units)), 0, 0, False)
    assert unit.units == frame.units
    assert Av1Ts().encode(frame, True).startswith(DELIMITER)


def test_a_picture_needs_a_time() -> None:
    _, (frame, *_) = av1_frames("av1")
    with pytest.raises(ProtocolViolation):
        Av1Reader().push(Av1Ts().encode(frame, True), None, None, False)
