"""What viewers get is what was published, from whatever place they start."""

from __future__ import annotations

from itertools import pairwise

import pytest

from penstock.feed import Cursor
from penstock.media import NS, Epoch, Frame, Kind, Track, TrackAdded, TrackChanged, to_ticks
from penstock.path import StreamPath
from penstock.registry import INFO
from penstock.stream import Stream, StreamOptions
from penstock_codecs.aac.config import AAC, AacConfig
from penstock_formats.flv.file import Demuxer, FileHeader, ScriptTag
from penstock_formats.flv.script import SCRIPT, ScriptConfig
from penstock_progressive.container import CONTAINERS, Container
from penstock_progressive.websocket import Carrier, WebSocketMuxer, frame_header
from tests.formats.isobmff import captures
from tests.kernel import stage
from tests.progressive.reading import received, republished, server, stream, watched

FLV, TS, MP4 = CONTAINERS
CLIPS = {
    "ffmpeg5-h264-aac": (FLV, TS, MP4),
    "ffmpeg9-hevc-opus": (FLV, TS, MP4),
    "ffmpeg9-av1-opus": (FLV, TS, MP4),
    "ffmpeg9-vp9": (FLV, MP4),
    "ffmpeg5-mp3": (FLV, TS, MP4),
}
CARRIED = [(clip, container) for clip, containers in CLIPS.items() for container in containers]


def _clip(name: str) -> tuple[Stream, list[Frame]]:
    return republished(captures.received(captures.read(name))[1])


def _muxer(container: Container, stream: Stream) -> Carrier:
    return container.muxer(server().registry, stream.tracks)


def _rate(container: Container, frame: Frame) -> int:
    return {"flv": 1000, "ts": 90_000, "mp4": frame.track.clock_rate}[container.name]


def _described(frame: Frame) -> tuple[object, str]:
    """What a config says; MPEG-TS loses some of the bytes in which AAC says it."""
    track, info = frame.track, server().registry.get(frame.track.codec, INFO)
    assert info is not None
    assert track.config is not None
    return info.describe(track.config), info.codecs_string(track.config)


def _by_track(frames: list[Frame]) -> dict[str, list[Frame]]:
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        found.setdefault(frame.track.codec.name, []).append(frame)
    return found


@pytest.mark.parametrize(("clip", "container"), CARRIED, ids=[f"{c}-{k.name}" for c, k in CARRIED])
def test_a_viewer_gets_what_was_published(clip: str, container: Container) -> None:
    stream, frames = _clip(clip)
    muxer = _muxer(container, stream)
    feed = stream.feed(muxer)
    if not stream.has_video:
        # Sound alone is not cached: viewers get what comes.
        for frame in frames:
            feed.push(frame)
    # At the end nothing waits for a picture any more.
    feed.release()
    data = watched(feed, muxer)
    start = max(i for i, f in enumerate(frames) if (f.key and f.track.kind is not Kind.AUDIO) or i == 0)
    expected = _by_track(frames[start:])
    for pieces in ([data], [data[at : at + 61] for at in range(0, len(data), 61)]):
        got = _by_track(stage.frames(received(container, pieces)))
        assert got.keys() == expected.keys()
        shift = next(iter(expected.values()))[0].dts - next(iter(got.values()))[0].dts
        for codec, wanted in expected.items():
            assert [f.units for f in got[codec]] == [f.units for f in wanted]
            assert [f.key for f in got[codec]] == [f.key for f in wanted]
            assert {_described(f) for f in got[codec]} == {_described(wanted[0])}
            rate = _rate(container, wanted[0])
            # What is derived of them again (snapped sound, a dts at the first picture) may be a tick off.
            ticks = [
                (to_ticks(f.pts, rate), to_ticks(g.pts + shift, rate))
                for f, g in zip(wanted, got[codec], strict=True)
            ]
            assert all(abs(a - b) <= 1 + rate // 1000 for a, b in ticks), ticks


@pytest.mark.parametrize("late", [0, 1, 5])
def test_a_number_is_left_out_where_a_track_comes_after_a_viewers_first_fragment(late: int) -> None:
    """VLC believes that fragment's times only then."""
    stream, frames = _clip("ffmpeg5-h264-aac")
    pictures = [f for f in frames if f.track.kind is Kind.VIDEO]
    sounds = [f for f in frames if f.track.kind is Kind.AUDIO]
    muxer = _muxer(MP4, stream)
    first = next(n for n, f in enumerate(pictures) if f.key)
    told: list[tuple[int, int]] = []
    for n, picture in enumerate(pictures[first : first + 9]):
        if n == late:
            muxer.mux(sounds[0])
        for unit in muxer.mux(picture):
            head = b"".join(unit.payloads)
            at = head.index(b"mfhd") + 8
            told.append(
                (int.from_bytes(head[at : at + 4], "big"), head[: head.index(b"mdat")].count(b"traf"))
            )
    numbers = [number for number, _ in told]
    assert [count for _, count in told] == [2 if n == late else 1 for n in range(9)]
    steps = [b - a for a, b in pairwise(numbers)]
    assert steps == [2 if n == late else 1 for n in range(1, 9)]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
def test_all_viewers_of_a_container_share_one_feed(container: Container) -> None:
    stream, _ = _clip("ffmpeg5-h264-aac")
    feed = stream.feed(_muxer(container, stream))
    assert stream.feed(_muxer(container, stream)) is feed
    framed = stream.feed(WebSocketMuxer(_muxer(container, stream)))
    assert framed is not feed
    assert stream.feed(WebSocketMuxer(_muxer(container, stream))) is framed


def _messages(data: bytes) -> list[bytes]:
    """The payloads of whole unmasked binary messages (RFC 6455 5.2)."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        assert data[at] == 0x82, "final, binary"
        size, at = data[at + 1], at + 2
        assert size < 128, "a server does not mask"
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
            assert size > (125 if width == 2 else 65535), "the shortest form is required"
        assert at + size <= len(data), "cut off"
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
def test_messages_hold_what_http_has(container: Container) -> None:
    stream, _ = _clip("ffmpeg5-h264-aac")
    plain, framed = _muxer(container, stream), WebSocketMuxer(_muxer(container, stream))
    expected = watched(stream.feed(plain), plain)
    feed = stream.feed(framed)
    messages = _messages(watched(feed, framed))
    assert b"".join(messages) == expected
    for index in range(feed.ring.start, feed.ring.end):
        assert len(_messages(b"".join(feed.ring[index].payloads))) == 1, "a message is never torn"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
def test_frame_headers(size: int) -> None:
    assert list(map(len, _messages(frame_header(size) + bytes(size)))) == [size]


@pytest.mark.parametrize("container", [FLV, TS], ids=lambda c: c.name)
def test_what_is_told_first_is_true_at_the_cursor(container: Container) -> None:
    first = captures.received(captures.read("ffmpeg5-h264-aac"))[1]
    second = captures.received(captures.read("gst-h264-aac"))[1]
    before = [f for f in first if f.track.kind is Kind.VIDEO]
    gap = before[-1].dts + 40_000_000 - second[0].dts
    after = [
        f._replace(track=before[0].track.with_config(f.track.config), pts=f.pts + gap, dts=f.dts + gap)
        for f in second
        if f.track.kind is Kind.VIDEO and f.track.config is not None
    ]
    assert before[0].track.config != after[0].track.config
    stream, frames = republished(before + after)
    muxer = _muxer(container, stream)
    # Born by replaying what is cached, and then the first group again, as a reader that lags would find it.
    for frame in frames[: len(before)]:
        stream.feed(muxer).push(frame)
    feed = stream.feed(muxer)
    start = next(i for i in range(feed.ring.start, feed.ring.end) if feed.ring[i].time == frames[0].dts)
    events = received(container, [watched(feed, muxer, start)])
    got = stage.frames(events)
    assert got[0].track.config == before[0].track.config
    assert [f.units for f in got] == [f.units for f in frames[: len(before)]]
    newest = stage.frames(received(container, [watched(feed, muxer, feed.ring.start)]))
    assert newest[0].track.config == after[0].track.config


def test_a_change_that_mp4_cannot_tell_of_ends_the_feed_with_a_reason() -> None:
    stream, frames = _clip("ffmpeg5-h264-aac")
    feed = stream.feed(_muxer(MP4, stream))
    others = stream.feed(_muxer(FLV, stream))
    sound = next(t for t in stream.tracks if t.kind is Kind.AUDIO)
    publisher = stream.publisher
    assert publisher is not None
    publisher.configure(sound.id, AacConfig.lc(22_050, 1))
    for number in range(5):
        publisher.write(sound.id, (b"\x21\x10",), pts=frames[-1].pts + number * 46_439_909)
    assert stream.feed(_muxer(FLV, stream)) is others
    muxer = _muxer(MP4, stream)
    again = stream.feed(muxer)
    assert again is not feed
    # What the cache has of the config before is not for those who are told the new one.
    told = stage.frames(received(MP4, [watched(again, muxer)]))
    assert {f.track.config for f in told if f.track.kind is Kind.AUDIO} == {AacConfig.lc(22_050, 1)}


def test_what_a_container_cannot_carry_is_left_out_with_a_reason() -> None:
    stream, _ = _clip("ffmpeg9-vp9")
    made = {c.name: c.muxer(server().registry, stream.tracks) for c in CONTAINERS}
    assert {name: list(m.left_out.values()) for name, m in made.items()} == {
        "flv": [],
        "ts": ["MPEG-TS cannot carry vp9"],
        "mp4": [],
    }
    assert Kind.VIDEO not in made["ts"].kinds
    feed = stream.feed(made["ts"])
    assert all(not unit.key for unit in (feed.ring[i] for i in range(feed.ring.start, feed.ring.end)))


def test_flv_begins_with_what_there_is_and_its_metadata() -> None:
    stream, _ = _clip("ffmpeg5-h264-aac")
    publisher = stream.publisher
    assert publisher is not None
    publisher.add_track(SCRIPT, 1000, ScriptConfig({"title": "t", "duration": 7.0}))
    muxer = FLV.muxer(server().registry, stream.tracks)
    feed = stream.feed(muxer)
    demuxer = Demuxer()
    demuxer.receive_data(muxer.preamble(Cursor(feed, feed.ring.last_key or 0)))
    assert demuxer.next_event() == FileHeader(audio=True, video=True)
    script = demuxer.next_event()
    assert isinstance(script, ScriptTag)
    assert script.timestamp == 0
    metadata = script.metadata or {}
    assert {
        "title": "t",
        "videocodecid": 7,
        "audiocodecid": 10,
        "width": 64,
        "height": 64,
    }.items() <= metadata.items()
    assert "duration" not in metadata, "a live stream has none"


def _sound(number: int, gap: int = 0, config: int = 48_000) -> Frame:
    time = 5 * NS + number * 1024 * NS // 48_000 + gap
    track = Track(1, AAC, 48_000, AacConfig.lc(config, 2))
    return Frame(track, time, time, (bytes((number,)) * 90,), True, 1024 * NS // 48_000, 0)


def test_sound_of_40_ms_is_in_one_packet_and_never_across_a_gap_or_a_change() -> None:
    muxer = TS.muxer(server().registry, [_sound(0).track])
    frames = [_sound(n) for n in range(7)] + [_sound(n, NS) for n in range(7, 9)]
    # The same track value in all that have the same config, as the kernel has it.
    frames = [f._replace(track=frames[0].track) for f in frames]
    units = [list(muxer.mux(f)) for f in frames]
    assert [len(u) for u in units] == [0, 0, 1, 0, 0, 1, 0, 1, 0]
    data = b"".join(p for some in units for u in some for p in u.payloads)
    data += b"".join(p for u in muxer.mux(Epoch(1)) for p in u.payloads)
    got = stage.frames(received(TS, [data]))
    assert [f.units for f in got] == [f.units for f in frames]
    steps = [b.dts - a.dts for a, b in pairwise(got)]
    assert [round(step / 1e6) for step in steps] == [21] * 6 + [1021] + [21]
    changed = _sound(9, NS, 44_100)
    assert not muxer.mux(_sound(8, NS))
    assert len(muxer.mux(changed)) == 1, "what was before goes first, and by itself"


def test_tracks_come_and_go_in_a_transport_stream() -> None:
    stream, frames = _clip("ffmpeg5-h264-aac")
    muxer = TS.muxer(server().registry, ())
    assert not muxer.mux(Epoch(1))
    for track in stream.tracks:
        assert not muxer.mux(TrackAdded(track))
        assert not muxer.mux(TrackChanged(track))
    assert muxer.kinds == {Kind.VIDEO, Kind.AUDIO}
    picture = next(f for f in frames if f.track.kind is Kind.VIDEO)
    (unit,) = muxer.mux(picture)
    assert unit.key
    assert unit.video
    assert muxer.config(picture.track, 0) is None


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
def test_another_codec_of_the_next_publisher(container: Container) -> None:
    """FLV and MP4 viewers are let go, to ask anew; a transport stream tells it, and goes on."""
    made = stream()
    queue = stage.with_queue(made)
    first, second = (
        next(f for f in _clip(name)[1] if f.track.kind is Kind.VIDEO and f.key)
        for name in ("ffmpeg5-h264-aac", "ffmpeg9-hevc-opus")
    )
    feed = None
    for frame in (first, second):
        publisher = stage.publish(made)
        id = publisher.add_track(frame.track.codec, frame.track.clock_rate, frame.track.config).id
        publisher.tracks_complete()
        publisher.write(id, frame.units, pts=frame.pts, dts=frame.dts, key=True)
        feed = feed or made.feed(_muxer(container, made))
        publisher.close()
    assert feed is not None
    seen = [type(e).__name__ for e in stage.events(queue)]
    assert seen.index("TrackRemoved") > seen.index("TrackAdded")
    if container is TS:
        assert feed in made.feeds
        assert feed.ring[feed.ring.end - 1].key
    else:
        assert feed not in made.feeds
        assert feed.end_reason == "the stream's codec changed to h265"


def test_a_late_track_of_script_makes_no_line_where_other_data_does() -> None:
    host = stage.Host()
    made = Stream(StreamPath.parse("live/one"), server().registry, StreamOptions(window=0), host)
    publisher = stage.publish(made)
    sound = publisher.add_track(AAC, 48_000, AacConfig.lc(48_000, 2))
    publisher.tracks_complete()
    made.feed(_muxer(TS, made))
    publisher.add_track(SCRIPT, 1000, ScriptConfig({}))
    other = publisher.add_track(stage.DATA, 1000, stage.Number())
    told = [values["track"] for hook, values in host.told if hook == "left_out"]
    assert told == [other]
    assert other.id != sound.id
