"""Multivariant playlists by draft-pantos-hls-rfc8216bis-22 and what Apple's authoring specification asks of a server."""

from __future__ import annotations

import pytest

from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp8 import VP8, Vp8Config
from penstock_codecs.vp9 import VP9, Vp9Config
from penstock_codecs.vp9 import plugin as vp9
from penstock_hls.media_playlist import MediaPlaylist
from penstock_hls.playlist import parse_playlist
from tests.hls.stage import FRAME, Live, get, live, multivariant, serving, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


async def test_4_4_6_2_a_variant_says_all_that_a_player_chooses_by() -> None:
    """Authoring 9.2, 9.3, 9.14 and 9.15: BANDWIDTH, AVERAGE-BANDWIDTH, CODECS, RESOLUTION and FRAME-RATE."""
    async with live() as (server, stream):
        await watching(server, stream, 3)
        found = await multivariant(server)
        (variant,) = found.variants
        assert variant.codecs is not None
        first, second = variant.codecs.split(",")
        assert first.startswith("avc1.")
        assert second == "mp4a.40.2"
        assert variant.resolution is not None
        assert variant.frame_rate == 25_000
        assert variant.average_bandwidth
        assert variant.bandwidth >= variant.average_bandwidth
        # 4.4.2: the media playlists say that; 8: 4 for EXT-X-MEDIA.
        assert not found.independent_segments
        assert (found.version, variant.video_range) == (4, None)
        assert variant.uri.startswith("one/hls/ll-v1.m3u8?viewer=")


async def test_4_4_6_2_the_bandwidth_is_the_peak_of_what_is_served() -> None:
    async with live() as (server, stream):
        playlist = await watching(server, stream, 4)
        (variant,) = (await multivariant(server)).variants
        video = [await get(server, f"/live/one/hls/{s.uri}") for s in playlist.segments if s.uri]
        rates = [
            len(a.body) * 8e9 / s.duration for a, s in zip(video, playlist.segments, strict=False) if s.uri
        ]
        assert max(rates) <= variant.bandwidth < 2 * max(rates) + 100_000


async def test_4_4_6_1_sound_is_a_rendition_of_its_own_with_a_playlist() -> None:
    async with live(languages=("en", "de")) as (server, stream):
        await watching(server, stream, 2)
        found = await multivariant(server)
        assert [(r.language, r.default, r.autoselect) for r in found.renditions] == [
            ("en", True, True),
            ("de", False, True),
        ]
        assert len({r.name for r in found.renditions}) == 2
        assert {r.group for r in found.renditions} == {found.variants[0].audio}
        assert all(r.channels == "2" for r in found.renditions)
        for rendition in found.renditions:
            assert rendition.uri is not None
            answer = await get(server, "/live/" + rendition.uri)
            assert isinstance(parse_playlist(answer.body), MediaPlaylist)


async def test_4_4_6_1_the_first_sound_of_transport_streams_is_in_the_variant_itself() -> None:
    async with live(languages=("en", "de", None)) as (server, stream):
        await watching(server, stream, 2, "ts-main")
        found = await multivariant(server, "/live/one.m3u8?variant=ts")
        assert [(r.name, r.uri is None) for r in found.renditions] == [
            ("en 1", True),
            ("de 2", False),
            ("Audio 3", False),
        ]
        (variant,) = found.variants
        assert variant.audio == "audio"


async def test_with_one_sound_there_is_nothing_to_choose() -> None:
    async with live() as (server, stream):
        found = await multivariant(server, "/live/one.m3u8?variant=ts", stream)
        assert found.renditions == ()
        assert found.variants[0].audio is None


async def test_4_4_6_2_sound_of_different_codecs_is_in_groups_of_its_own() -> None:
    """4.4.6.1.1: what a variant names has the codecs that the variant tells."""
    async with live() as (server, stream):
        track = stream.publisher.add_track(OPUS, 48_000, OpusConfig(2))
        for n in range(60):
            stream.write(1)
            for part in range(2):
                stream.publisher.write(track.id, (b"\xfc" + bytes(20),), pts=(2 * n + part) * 20_000_000)
        found = await multivariant(server)
        assert {r.group for r in found.renditions} == {"audio", "audio1"}
        assert [v.codecs and v.codecs.split(",")[1] for v in found.variants] == ["mp4a.40.2", "opus"]
        assert len({v.uri for v in found.variants}) == 1
        assert [v.audio for v in found.variants] == ["audio", "audio1"]


async def test_4_4_6_1_1_languages_that_have_other_codecs_are_members_of_one_group() -> None:
    """Each group of a type has the same members; the variant has the codecs of all of them."""
    async with live(languages=("en",)) as (server, stream):
        track = stream.publisher.add_track(OPUS, 48_000, OpusConfig(2), language="de")
        for n in range(60):
            stream.write(1)
            for part in range(2):
                stream.publisher.write(track.id, (b"\xfc" + bytes(20),), pts=(2 * n + part) * 20_000_000)
        found = await multivariant(server)
        assert [(r.group, r.name, r.default) for r in found.renditions] == [
            ("audio", "en 1", True),
            ("audio", "de 2", False),
        ]
        (variant,) = found.variants
        assert variant.codecs is not None
        assert variant.codecs.split(",")[1:] == ["mp4a.40.2", "opus"]


async def test_4_4_6_1_1_groups_for_each_codec_have_the_same_members_in_whatever_order_they_come() -> None:
    async with live(languages=("en", "de")) as (server, stream):
        tracks = [
            stream.publisher.add_track(OPUS, 48_000, OpusConfig(2), language=language).id
            for language in ("de", "en")
        ]
        for n in range(60):
            stream.write(1)
            for part in range(2):
                for id in tracks:
                    stream.publisher.write(id, (b"\xfc" + bytes(20),), pts=(2 * n + part) * 20_000_000)
        found = await multivariant(server)
        groups = [
            [(r.name, r.language, r.default, r.autoselect) for r in found.renditions if r.group == name]
            for name in ("audio", "audio1")
        ]
        assert groups[0] == groups[1]
        assert [m[0] for m in groups[0]] == ["en 1", "de 2"]


async def test_4_4_6_1_languages_are_tags_of_rfc_5646_and_always_told() -> None:
    """Authoring 8.10 has LANGUAGE in each EXT-X-MEDIA; of two that are alike one is selected by it (4.4.6.1.1)."""
    async with live(languages=(None, "eng", "en", "de-CH", "_")) as (server, stream):
        await watching(server, stream, 2)
        found = await multivariant(server)
        assert [(r.language, r.default, r.autoselect) for r in found.renditions] == [
            ("und", True, True),
            ("und", False, False),
            ("en", False, True),
            ("en", False, False),
            ("de-CH", False, True),
        ]
        assert len({r.name for r in found.renditions}) == 5


@pytest.mark.parametrize(("transfer", "shown"), [(16, "PQ"), (18, "HLG"), (1, None)])
async def test_4_4_6_2_the_video_range_is_that_of_the_transfer_characteristics(
    transfer: int, shown: str | None
) -> None:
    """Also authoring 9.16."""
    async with serving(plugins=[vp9]) as server:
        stream = Live(server, has_video=False)
        await stream.publish()
        track = stream.publisher.add_track(VP9, 90_000, Vp9Config(width=64, height=48, transfer=transfer))
        for n in range(60):
            stream.write(1)
            stream.publisher.write(track.id, (bytes(20),), pts=n * FRAME, dts=n * FRAME, key=n % 25 == 0)
        (variant,) = (await multivariant(server)).variants
        assert variant.video_range == shown


async def test_sound_alone_is_a_variant() -> None:
    async with live(has_video=False, languages=("en", "de")) as (server, stream):
        found = await multivariant(server, stream=stream)
        assert [v.codecs for v in found.variants] == ["mp4a.40.2"]
        assert found.variants[0].resolution is None
        assert [(r.language, r.uri is None) for r in found.renditions] == [("en", True), ("de", False)]


@pytest.mark.parametrize(
    ("url", "first"),
    [
        ("/live/one.m3u8", "one/hls/ll-v1.m3u8"),
        ("/live/one/index.m3u8", "hls/ll-v1.m3u8"),
        ("/live/one/hls.m3u8", "hls/ts-main.m3u8"),
        ("/live/one/hls.fmp4.m3u8", "hls/fmp4-v1.m3u8"),
        ("/live/one.m3u8?variant=ts", "one/hls/ts-main.m3u8"),
        ("/live/one.m3u8?variant=fmp4", "one/hls/fmp4-v1.m3u8"),
        ("/live/one/index.m3u8?variant=ll", "hls/ll-v1.m3u8"),
    ],
)
async def test_every_url_leads_to_its_variant_relative_to_where_it_is(url: str, first: str) -> None:
    async with live() as (server, stream):
        stream.write(60)
        # Stores are born with the newest group; what follows completes a segment.
        await watching(server, stream, 2, first.rpartition("/")[2].removesuffix(".m3u8"))
        (variant,) = (await multivariant(server, url)).variants
        assert variant.uri.partition("?")[0] == first
        answer = await get(server, url.partition("?")[0].rpartition("/")[0] + "/" + variant.uri)
        assert answer.status == 200


async def test_names_that_need_it_are_quoted_in_links() -> None:
    name = 'a b"c<ü>:#?'
    async with live(path="live/x%20y") as (server, stream):
        stream.close()
        one = Live(server, "live/a%20b%22c%3C%C3%BC%3E%3A%23%3F")
        await one.publish()
        assert one.publisher.stream.path == f"live/{name}"
        one.write(30)
        found = await multivariant(server, "/live/a%20b%22c%3C%C3%BC%3E%3A%23%3F.m3u8")
        (variant,) = found.variants
        assert variant.uri.startswith("a%20b%22c%3C%C3%BC%3E%3A%23%3F/hls/")
        assert (await get(server, "/live/" + variant.uri)).status == 200


async def test_a_variant_that_nobody_knows_is_refused() -> None:
    async with live() as (server, _):
        assert (await get(server, "/live/one.m3u8?variant=dash")).status == 400


async def test_what_nobody_publishes_is_waited_for_and_then_404() -> None:
    async with serving() as server:
        assert (await get(server, "/live/none.m3u8")).status == 404
        assert (await get(server, "/live/none/hls/ll-v1.m3u8")).status == 404
        assert len(server.streams) == 0


async def test_what_no_container_takes_is_404_with_the_reason() -> None:
    async with live(has_video=False, languages=()) as (server, stream):
        track = stream.publisher.add_track(VP8, 90_000, Vp8Config(64, 48))
        stream.publisher.write(track.id, (b"\x10\x02\x00\x9d\x01\x2a",), pts=0, dts=0)
        answer = await get(server, "/live/one.m3u8?variant=ts")
        assert answer.status == 404
        assert b"MPEG-TS cannot carry vp8" in answer.body


@pytest.mark.parametrize(
    "name",
    [
        "ll-v9.m3u8",
        "v1-1.m4s",
        "v1-init.mp4",
        "x.ts",
        "..m4s",
        "v1-99999999999999999999.m4s",
        "v1-5.5.m4s",
        "v1-1.mp4",
    ],
)
async def test_files_that_are_not_there_are_404(name: str) -> None:
    async with live() as (server, stream):
        await watching(server, stream, 2)
        assert (await get(server, f"/live/one/hls/{name}")).status == 404
