"""Apple's HLS authoring specification (26 June 2025), as far as it binds a server that does not encode: README.md has which rules
those are, and docs/hls.md which are not kept.
"""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from ssl import TLSVersion

import pytest
from attrs import frozen

import penstock
from penstock.media import NS, Codec, CodecConfig
from penstock.net import load_tls
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.av1 import AV1
from penstock_codecs.av1 import plugin as av1
from penstock_codecs.av1.flv import Av1Flv
from penstock_codecs.h264 import H264
from penstock_codecs.h265 import H265, H265Config
from penstock_codecs.h265 import plugin as h265
from penstock_formats.isobmff.demuxer import Demuxer as Mp4Demuxer
from penstock_formats.isobmff.movie import Movie
from penstock_formats.isobmff.sample import Sample
from penstock_hls.media_playlist import MediaPlaylist
from tests.certificate import self_signed
from tests.codecs import captures
from tests.codecs.transport import demux, streams
from tests.contracts.cases_h26x import H265_PPS, H265_SPS, H265_VPS
from tests.hls.stage import (
    FRAME,
    LARGE,
    SMALL,
    SOUND,
    Live,
    get,
    live,
    media,
    multivariant,
    serving,
    watching,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

LISTS = ("ts-main", "ts-a3", "fmp4-v1", "fmp4-a2", "fmp4-a3", "ll-v1", "ll-a2", "ll-a3")
"""Of a stream with one picture and two languages."""
SEGMENTED = LISTS[:5]
"""Those whose segments are not the ones of others: with parts they are the same as without."""
PICTURES = ("ts-main", "fmp4-v1")
LANGUAGES = ("en", "de")
SOUND_FRAME = SOUND * NS // 48_000
TICK = NS // 90_000 + 1
AV1_CONFIG, _ = captures.flv_frames(Av1Flv(), "av1", 5)
KEYS = {H264: b"\x65\x88", H265: b"\x26\x01", AV1: b"\x30\x10"}
OTHERS = {H264: b"\x41\x9a", H265: b"\x02\x01", AV1: b"\x30\x30"}


@frozen
class Read:
    """A frame as a player finds it in a segment; times in ns."""

    pts: int
    dts: int
    key: bool
    data: bytes


@frozen
class Track:
    """One track of one segment, and how long its frames are said to last (0 in MPEG-TS)."""

    codec: str
    frames: list[Read]
    decode_time: int = 0
    following: int = 0


async def segments_of(server: penstock.Server, name: str) -> tuple[MediaPlaylist, list[list[Track]]]:
    """The list `name`, and what is in each segment that it has, taken for itself."""
    playlist = await media(server, name)
    found = [s for s in playlist.segments if s.uri]
    assert len(found) >= 3
    inits = {s.map.uri: (await get(server, f"/live/one/hls/{s.map.uri}")).body for s in found if s.map}
    bodies = [(await get(server, f"/live/one/hls/{s.uri}")).body for s in found]
    if name.startswith("ts"):
        return playlist, [_transport(body) for body in bodies]
    return playlist, [
        _fragments(inits[s.map.uri] if s.map else b"", b) for s, b in zip(found, bodies, strict=True)
    ]


def _transport(data: bytes) -> list[Track]:
    return [
        Track(
            s.stream.codec.name,
            [Read(f.pts, f.pts if f.dts is None else f.dts, f.key, b"".join(f.units)) for f in s.frames],
        )
        for s in streams(demux(data))
    ]


def _fragments(init: bytes, data: bytes) -> list[Track]:
    demuxer = Mp4Demuxer()
    demuxer.receive_data(init + data)
    found: list[Track] = []
    samples: list[Sample] = []
    while (event := demuxer.next_event()) is not None:
        if isinstance(event, Movie):
            found = [Track(str(t.id), []) for t in event.tracks]
        elif isinstance(event, Sample):
            samples.append(event)
    assert len(found) == 1
    rate = samples[0].track.timescale
    last = samples[-1]
    frames = [Read(s.pts * NS // rate, s.dts * NS // rate, s.key, bytes(s.data)) for s in samples]
    return [Track(found[0].codec, frames, samples[0].dts, last.dts + last.duration)]


def named(playlist: str) -> set[str]:
    """The URIs of a playlist, but for what is only hinted at."""
    lines = [line for line in playlist.splitlines() if "PRELOAD-HINT" not in line]
    return {line for line in lines if line and line[0] != "#"} | set(
        re.findall('URI="([^"]+)"', "".join(lines))
    )


def handshake(server: ssl.SSLContext, ciphers: str, most: TLSVersion) -> str | None:
    """The version of TLS that a client with these ciphers comes to; None where there is none."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers(ciphers)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        client.maximum_version = most
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    return ends[1].version()


@asynccontextmanager
async def watched(
    server: dict[str, float] | None = None, seconds: int = 4, gop: int = 25
) -> AsyncGenerator[tuple[penstock.Server, Live]]:
    """A stream with one picture and two languages, of which every list of `LISTS` has been there for `seconds`."""
    async with live(server, languages=LANGUAGES, gop=gop) as (running, stream):
        for name in ("ts-main", "ll-v1"):
            await watching(running, stream, seconds, name)
        yield running, stream


async def every(server: penstock.Server) -> dict[str, MediaPlaylist]:
    return {name: await media(server, name) for name in LISTS}


# -- 2 and 7: what is in segments --------------------------------------------------


async def test_authoring_2_17_a_segment_has_one_sound() -> None:
    """A file of fragmented MP4 one track at all, as `segments_of` has it."""
    async with watched() as (server, _):
        for name, codecs in (("ts-main", ["h264", "aac"]), ("ts-a3", ["aac"])):
            _, segments = await segments_of(server, name)
            assert [[t.codec for t in tracks] for tracks in segments] == [codecs] * len(segments)
        for name in SEGMENTED[2:]:
            assert {len(tracks) for tracks in (await segments_of(server, name))[1]} == {1}


async def test_authoring_2_24_sbr_is_signalled_as_it_was_published() -> None:
    """HE-AAC in 48 kHz, whose core has half of that: in the description of samples, and in CODECS."""
    config = AacConfig.parse(bytes.fromhex("2b118800"))
    assert config.sbr
    async with serving() as server:
        stream = Live(server, has_video=False, languages=())
        await stream.publish()
        track = stream.publisher.add_track(AAC, 48_000, config).id
        for n in range(100):
            stream.publisher.write(track, (b"\x21" * 40,), pts=n * 2 * SOUND * NS // 48_000)
        (variant,) = (await multivariant(server)).variants
        assert variant.codecs == "mp4a.40.5"
        found = (await media(server, f"ll-a{track}")).segments[0].map
        assert found is not None
        assert config.asc in (await get(server, f"/live/one/hls/{found.uri}")).body


async def test_authoring_7_1_no_frame_is_missing_from_one_segment_to_the_next_nor_there_twice() -> None:
    async with watched() as (server, _):
        for name in SEGMENTED:
            _, segments = await segments_of(server, name)
            for n in range(len(segments[0])):
                step = FRAME if name in PICTURES and n == 0 else SOUND_FRAME
                times = [f.pts for tracks in segments for f in tracks[n].frames]
                assert len(times) > 3 * NS // step
                assert all(abs(b - a - step) <= TICK for a, b in pairwise(times)), (name, n)


async def test_authoring_7_2_continuity_counters_go_on_from_segment_to_segment() -> None:
    """Of the tables as well, with which each begins (RFC 8216bis 3.1.1)."""
    async with watched() as (server, _):
        for name, streams in (("ts-main", 2), ("ts-a3", 1)):
            last: dict[int, int] = {}
            for segment in (await media(server, name)).segments:
                data = (await get(server, f"/live/one/hls/{segment.uri}")).body
                packets = [data[at : at + 188] for at in range(0, len(data), 188)]
                pids = [int.from_bytes(p[1:3]) & 0x1FFF for p in packets]
                assert pids[:2] == [0, 0x1000]
                for pid, packet in zip(pids, packets, strict=True):
                    if pid != 0x1FFF:
                        assert packet[3] & 0x10, "each has a payload"
                        assert packet[3] & 15 == (last.get(pid, packet[3] - 1) + 1) & 15, (segment.uri, pid)
                        last[pid] = packet[3]
            assert len(last) == 2 + streams


async def test_authoring_7_3_decode_times_go_on_where_the_segment_before_ended() -> None:
    async with watched() as (server, _):
        for name in SEGMENTED[2:]:
            _, segments = await segments_of(server, name)
            tracks = [track for (track,) in segments]
            assert all(a.following == b.decode_time for a, b in pairwise(tracks)), name
            assert tracks[0].decode_time < tracks[-1].decode_time


async def test_authoring_7_4_pictures_of_a_segment_begin_with_idr() -> None:
    async with watched(gop=30) as (server, _):
        for name in PICTURES:
            for tracks in (await segments_of(server, name))[1]:
                frames = tracks[0].frames
                assert [f.key for f in frames] == [True] + [False] * 29
                assert KEYS[H264] in frames[0].data[:6]


async def test_authoring_7_4_and_9_12_segments_of_open_groups_are_not_said_to_be_independent() -> None:
    """Pictures between a key frame and those that are shown before it need the segment before (RFC 8216bis 4.4.2.1)."""
    async with live(has_video=False) as (server, stream):
        track = stream.publisher.add_track(H264, 90_000, SMALL).id

        def write(leading: int) -> None:
            """A second, in which so many pictures follow the key frame that are shown before it."""
            first = stream.number + 2
            for n, shown in enumerate([leading, *range(leading), *range(leading + 1, 25)]):
                stream.write(1)
                unit = (OTHERS if n else KEYS)[H264] + n.to_bytes(4)
                times = (first + shown) * FRAME, (first + n - 2) * FRAME
                stream.publisher.write(track, (unit,), pts=times[0], dts=times[1], key=n == 0)

        write(0)
        for leading, independent in ((0, True), (0, True), (2, False), (0, False)):
            write(leading)
            assert (await media(server, f"ll-v{track}")).independent_segments is independent


# -- 8: media playlists ---------------------------------------------------------------


async def test_authoring_8_1_durations_of_any_segments_in_a_row_are_theirs_to_a_picture() -> None:
    async with watched(seconds=6, gop=13) as (server, _):
        for name in SEGMENTED:
            playlist, segments = await segments_of(server, name)
            told = [s.duration for s in playlist.segments if s.uri]
            starts = [tracks[0].frames[0].dts for tracks in segments]
            assert len(starts) >= 5
            for first in range(len(starts)):
                for end in range(first + 1, len(starts)):
                    # Most are exact, but for ticks of 90 kHz.
                    apart = sum(told[first:end]) - (starts[end] - starts[first])
                    assert abs(apart) < FRAME // 8, (name, first, end)


async def test_authoring_8_2_8_3_and_8_22_every_list_has_the_same_segments_at_the_same_times() -> None:
    async with watched({"segment_window": 8}, gop=38) as (server, stream):
        stream.write(25 * 20)
        lists = await every(server)
        for kind in ("ts", "fmp4", "ll"):
            first, *others = (p for name, p in lists.items() if name.startswith(kind))
            whole = [s for s in first.segments if s.uri]
            assert len(whole) >= 5
            for other in others:
                assert other.target_duration == first.target_duration
                assert other.media_sequence == first.media_sequence
                beside = [s for s in other.segments if s.uri]
                assert abs(sum(s.duration for s in beside) - sum(s.duration for s in whole)) <= FRAME
                for a, b in zip(whole, beside, strict=True):
                    assert abs((a.date or 0) - (b.date or 0)) <= FRAME


async def test_authoring_8_4_8_8_8_17_8_20_and_9_12_what_each_list_of_a_live_stream_has() -> None:
    """A date, the discontinuities before it, a map where it is of fragmented MP4, and that segments are independent."""
    async with watched({"segment_window": 3}) as (server, stream):
        for name in LISTS:
            stream.write(25)
            lines = (await get(server, f"/live/one/hls/{name}.m3u8")).body.decode().splitlines()
            first = next(n for n, line in enumerate(lines) if line.startswith(("#EXTINF", "#EXT-X-PART:")))
            head = [line.partition(":")[0] for line in lines[:first]]
            assert head.count("#EXT-X-PROGRAM-DATE-TIME") == 1
            assert head.count("#EXT-X-DISCONTINUITY-SEQUENCE") == 1
            assert head.count("#EXT-X-INDEPENDENT-SEGMENTS") == 1
            assert head.count("#EXT-X-MAP") == (0 if name.startswith("ts") else 1)
            # 8.8: it is no event, since segments leave it.
            assert not any(line.startswith(("#EXT-X-PLAYLIST-TYPE", "#EXT-X-ENDLIST")) for line in lines)


@pytest.mark.parametrize("change", ["channels", "picture", "publisher"])
async def test_authoring_2_11_8_13_and_8_15_a_break_is_a_discontinuity_in_every_rendition(
    change: str,
) -> None:
    """The layout of the sound's channels, the picture's config, or another publisher.

    At one time, but where sound alone changes: it is another segment from then on, and pictures go on to their next key frame.
    """
    async with watched() as (server, stream):
        if change == "channels":
            stream.publisher.configure(stream.audio[1], AacConfig.lc(48_000, 1))
        elif change == "picture":
            stream.publisher.configure(stream.video, LARGE)
        else:
            stream.close()
            stream = Live(server, languages=LANGUAGES, prepared=False)
            await stream.publish()
        stream.write(25 * 3 + 1)
        marked = {
            name: [(p.media_sequence + n, s.date or 0) for n, s in enumerate(p.segments) if s.discontinuity]
            for name, p in (await every(server)).items()
        }
        for kind in ("ts", "fmp4", "ll"):
            lists = [found for name, found in marked.items() if name.startswith(kind)]
            assert [len(found) for found in lists] == [1] * len(lists), marked
            assert len({number for ((number, _),) in lists}) == 1
            dates = [date for ((_, date),) in lists]
            assert max(dates) - min(dates) < (NS if change == "channels" else FRAME)


@pytest.mark.parametrize("variant", ["ts", "fmp4", "ll"])
async def test_authoring_8_18_and_10_4_everything_is_there_at_once_and_has_its_type(variant: str) -> None:
    """8.18: no redirect; 8.24: no Last-Modified, which could be too old."""
    async with live(languages=LANGUAGES) as (server, stream):
        await watching(server, stream, 4, "ts-main" if variant == "ts" else f"{variant}-v1")
        seen: dict[str, set[str]] = {}

        async def fetch(url: str) -> str:
            answer = await get(server, url)
            assert answer.status == 200, url
            assert not {"location", "last-modified"} & set(answer.headers)
            name, _, suffix = url.partition("?")[0].rpartition("/")[2].rpartition(".")
            kind = suffix if suffix == "m3u8" else f"{name[0]}.{suffix}"
            seen.setdefault(kind, set()).add(answer.headers["content-type"])
            return answer.body.decode("latin-1")

        lists = named(await fetch(f"/live/one.m3u8?variant={variant}"))
        assert len(lists) == (2 if variant == "ts" else 3)
        for uri in lists:
            for name in named(await fetch(f"/live/{uri}")):
                if not name.endswith(".m3u8"):
                    await fetch(f"/live/one/hls/{name}")
        assert seen.pop("m3u8") == {"application/vnd.apple.mpegurl"}
        transport = {"m.ts": {"video/mp2t"}, "a.ts": {"video/mp2t"}}
        mp4 = {f"{kind[0]}.{s}": {f"{kind}/mp4"} for kind in ("video", "audio") for s in ("mp4", "m4s")}
        assert seen == (transport if variant == "ts" else mp4)


# -- 9 and 1: the multivariant playlist ------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "config", "string", "rate"),
    [
        (H264, SMALL, "avc1.42c00c", 25_000),
        (H265, H265Config((H265_VPS,), (H265_SPS[1],), (H265_PPS,)), "hvc1.1.6.L60.90", 25_000),
        (AV1, AV1_CONFIG, "av01.0.00M.08", 25_000),
    ],
)
async def test_authoring_1_2_1_5_1_39_and_9_1_by_default_every_codec_has_the_container_that_it_is_to_have(
    codec: Codec, config: CodecConfig, string: str, rate: int
) -> None:
    """9.2, 9.14, 9.15: with all attributes. 1.10: avc1 and hvc1, with parameter sets in the sample description alone."""
    async with serving(plugins=[h265, av1]) as server:
        stream = Live(server, has_video=False, languages=LANGUAGES)
        await stream.publish()
        track = stream.publisher.add_track(codec, 90_000, config).id
        for n in range(80):
            stream.write(1)
            unit = KEYS[codec] if n % 25 == 0 else OTHERS[codec]
            stream.publisher.write(
                track, (unit + n.to_bytes(4),), pts=n * FRAME, dts=n * FRAME, key=n % 25 == 0
            )
        (variant,) = (await multivariant(server)).variants
        assert variant.codecs == f"{string},mp4a.40.2"
        assert variant.resolution is not None
        assert variant.frame_rate == rate
        assert 0 < (variant.average_bandwidth or 0) <= variant.bandwidth
        name = f"ll-v{track}"
        assert variant.uri.startswith(f"one/hls/{name}.m3u8")
        playlist, segments = await segments_of(server, name)
        assert playlist.segments[0].map is not None
        init = (await get(server, f"/live/one/hls/{playlist.segments[0].map.uri}")).body
        assert init.count(string[:4].encode()) == 1
        if codec is not AV1:
            assert {len(f.data) for tracks in segments for f in tracks[0].frames} == {4 + 2 + 4}


async def test_authoring_1_28_1_29_and_9_13_bandwidth_is_the_largest_sum_of_peaks_that_can_be_played() -> (
    None
):
    """And the average less than a tenth above what is told, as long as the publisher goes on as it began."""
    async with live(languages=("en",)) as (server, stream):
        loud = stream.publisher.add_track(AAC, 48_000, AacConfig.lc(48_000, 2), language="de").id
        samples = 0
        for n in range(25 * 5 + 1):
            stream.write(1)
            size = 900 if 50 <= n < 75 else 300
            while samples * NS // 48_000 < stream.number * FRAME:
                stream.publisher.write(loud, (b"\x21" * size,), pts=samples * NS // 48_000)
                samples += SOUND
        (variant,) = (await multivariant(server)).variants
        peaks: list[float] = []
        averages: list[float] = []
        for name in ("ll-v1", "ll-a2", f"ll-a{loud}"):
            playlist = await media(server, name)
            whole = [s for s in playlist.segments if s.uri]
            sizes = [len((await get(server, f"/live/one/hls/{s.uri}")).body) for s in whole]
            peaks.append(max(size * 8 * NS / s.duration for size, s in zip(sizes, whole, strict=True)))
            averages.append(sum(sizes) * 8 * NS / sum(s.duration for s in whole))
        video, quiet, most = peaks
        assert most > 2 * quiet
        assert abs(variant.bandwidth - video - most) < 0.01 * variant.bandwidth
        video, quiet, most = averages
        assert abs((variant.average_bandwidth or 0) - video - most) < 0.01 * variant.bandwidth


@pytest.mark.parametrize("variant", ["fmp4", "ll"])
async def test_authoring_8_9_9_5_to_9_7_sound_is_apart_and_declared(variant: str) -> None:
    """And no variant is of sound alone where there are pictures (9.20 for tvOS)."""
    async with live(languages=LANGUAGES) as (server, stream):
        await watching(server, stream, 3, f"{variant}-v1")
        found = await multivariant(server, f"/live/one.m3u8?variant={variant}")
        assert [v.resolution is not None for v in found.variants] == [True]
        assert [(r.group, r.language, r.channels, bool(r.uri)) for r in found.renditions] == [
            ("audio", language, "2", True) for language in LANGUAGES
        ]
        assert found.variants[0].audio == "audio"


# -- 12, 14 and 15: delivery ---------------------------------------------------------------


def test_authoring_12_1_tls_is_of_version_1_2_at_least_and_has_forward_secrecy(tmp_path: Path) -> None:
    """With RSA keys as well, with which TLS 1.2 could do without."""
    certificate, key = self_signed(tmp_path, 2048)
    context = load_tls(str(certificate), str(key))
    assert handshake(context, "ECDHE-RSA-AES128-GCM-SHA256", TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(context, "ECDHE-RSA-AES128-GCM-SHA256", TLSVersion.TLSv1_3) == "TLSv1.3"
    assert handshake(context, "AES128-GCM-SHA256:AES256-SHA256", TLSVersion.TLSv1_2) is None
    assert handshake(context, "ECDHE-RSA-AES128-SHA:@SECLEVEL=0", TLSVersion.TLSv1_1) is None


async def test_authoring_15_1_all_lists_have_one_timeline() -> None:
    """A time of the media is the same date in each, whatever the container."""
    async with watched() as (server, _):
        zeros: dict[int, list[int]] = {}
        for name in LISTS:
            playlist, segments = await segments_of(server, name)
            whole = [s for s in playlist.segments if s.uri]
            for segment, tracks in zip(whole, segments, strict=True):
                start = tracks[0].frames[0].pts
                zeros.setdefault(round(start / NS), []).append((segment.date or 0) - start)
        assert max(map(len, zeros.values())) == len(LISTS)
        # To a millisecond, which is as exact as a date is.
        assert all(max(found) - min(found) <= NS // 1000 for found in zeros.values())
