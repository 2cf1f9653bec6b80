"""Descriptions by the clauses of ISO/IEC 23009-1."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise
from xml.etree import ElementTree as ET

import anyio
import pytest

from penstock_codecs.aac import AAC, AacConfig
from penstock_dash.mpd import NAMESPACE, SegmentTemplate
from penstock_dash.number import format_date, format_duration, format_rate, format_seconds
from penstock_formats.isobmff.segments import CmafFormat
from tests.dash.stage import NS, description, live, watching
from tests.hls.stage import LARGE, get

pytestmark = pytest.mark.usefixtures("logs")

DURATION = re.compile(r"PT\d+(\.\d+)?S")

ORDER = {
    "MPD": ["Location", "ServiceDescription", "Period", "UTCTiming"],
    "ServiceDescription": ["Latency", "PlaybackRate"],
    "Period": ["AdaptationSet"],
    "AdaptationSet": ["ProducerReferenceTime", "Role", "SegmentTemplate", "Representation"],
    "ProducerReferenceTime": ["UTCTiming"],
    "SegmentTemplate": ["SegmentTimeline"],
    "SegmentTimeline": ["S"],
    "Representation": ["AudioChannelConfiguration"],
}
"""The schema's sequence of the children that we write (Annex B)."""


def in_order(element: ET.Element) -> bool:
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    children = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
    places = [ORDER[name].index(child) for child in children] if children else []
    return places == sorted(places) and all(map(in_order, element))


@pytest.mark.anyio
async def test_what_a_live_presentation_has() -> None:
    async with live(languages=("de", "en")) as (server, stream):
        mpd = await watching(server, stream, 3)
    assert mpd.root.tag == f"{{{NAMESPACE}}}MPD"
    assert in_order(mpd.root)
    # 5.3.1.2, Table 3; 8.4 for the profile.
    assert mpd["profiles"] == "urn:mpeg:dash:profile:isoff-live:2011"
    assert mpd["type"] == "dynamic"
    for name in (
        "minimumUpdatePeriod",
        "minBufferTime",
        "timeShiftBufferDepth",
        "suggestedPresentationDelay",
        "maxSegmentDuration",
    ):
        assert DURATION.fullmatch(mpd[name]), name
    zero, told = (
        datetime.fromisoformat(mpd["availabilityStartTime"]),
        datetime.fromisoformat(mpd["publishTime"]),
    )
    assert zero < told
    timing = mpd.one("UTCTiming")
    assert timing.attrib["schemeIdUri"] == "urn:mpeg:dash:utc:direct:2014"
    assert abs((datetime.fromisoformat(timing.attrib["value"]) - told).total_seconds()) < 5

    ids = [s.attrib["id"] for s in mpd.all("Period/AdaptationSet")]
    assert len(set(ids)) == len(ids) == 3
    picture = mpd.one("Period/AdaptationSet[@contentType='video']/Representation").attrib
    assert re.fullmatch(r"avc1\.[0-9a-f]{6}", picture["codecs"])
    assert int(picture["width"]) > 0
    assert int(picture["height"]) > 0
    assert re.fullmatch(r"[0-9]+(/[0-9]+)?", picture["frameRate"])
    assert int(picture["bandwidth"]) > 1000
    sounds = mpd.all("Period/AdaptationSet[@contentType='audio']")
    assert [s.attrib["lang"] for s in sounds] == ["de", "en"]
    roles = [s.find("Role", NS) for s in sounds]
    assert [role.attrib["value"] for role in roles if role is not None] == ["main", "alternate"]
    sound = sounds[0].find("Representation", NS)
    assert sound is not None
    assert (sound.attrib["codecs"], sound.attrib["audioSamplingRate"]) == ("mp4a.40.2", "48000")
    channels = sound.find("AudioChannelConfiguration", NS)
    assert channels is not None
    assert channels.attrib["value"] == "2"


@pytest.mark.anyio
async def test_segments_follow_each_other_and_are_told_where_they_are_available() -> None:
    async with live() as (server, stream):
        before = datetime.now().timestamp()
        mpd = await watching(server, stream, 3)
        later = await description(server)
    times = mpd.times("video")
    assert len(times) == 4
    assert all(a + d == b for (a, d), (b, _) in pairwise(times))
    assert [d for _, d in times] == [90_000] * 4
    sound = mpd.times("audio")
    assert all(a + d == b for (a, d), (b, _) in pairwise(sound))
    # 5.3.2, A.3: what is at @presentationTimeOffset is at the period's start.
    start = float(mpd.one("Period").attrib["start"][2:-1])
    assert int(mpd.template("video").attrib["presentationTimeOffset"]) / 90_000 == pytest.approx(
        start, abs=1e-4
    )
    assert int(mpd.template("audio").attrib["presentationTimeOffset"]) / 48_000 == pytest.approx(
        start, abs=1e-4
    )
    # A.3.2: the newest part is available when it is there, however fast the stream came.
    zero = datetime.fromisoformat(mpd["availabilityStartTime"]).timestamp()
    assert zero + times[-1][0] / 90_000 + 0.2 == pytest.approx(before, abs=1)
    # 5.4: what players keep between updates.
    assert later["availabilityStartTime"] == mpd["availabilityStartTime"]
    assert later.one("Period").attrib == mpd.one("Period").attrib


@pytest.mark.anyio
async def test_low_latency() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 1)
    # 5.3.9.2: a segment can be asked for when its first part is there; it is not complete then.
    template = mpd.template()
    assert template.attrib["availabilityTimeComplete"] == "false"
    assert 0.7 <= float(template.attrib["availabilityTimeOffset"]) <= 0.8
    # K.3.2
    latency = mpd.one("ServiceDescription/Latency").attrib
    assert latency["target"] == "2000"
    assert int(latency["min"]) < 2000 < int(latency["max"])
    # 5.12: the same reference, in the segments too (prft).
    reference = mpd.all("Period/AdaptationSet/ProducerReferenceTime")[0].attrib
    assert (reference["id"], reference["inband"], reference["type"]) == (
        latency["referenceId"],
        "true",
        "encoder",
    )
    zero = datetime.fromisoformat(mpd["availabilityStartTime"]).timestamp()
    at = zero + int(reference["presentationTime"]) / 90_000
    assert datetime.fromisoformat(reference["wallClockTime"]).timestamp() == pytest.approx(at, abs=2)


@pytest.mark.anyio
async def test_without_low_latency_only_what_is_complete_is_told() -> None:
    async with live(config={"low_latency": False}) as (server, stream):
        mpd = await watching(server, stream, 3)
    assert len(mpd.times()) == 3
    assert "availabilityTimeOffset" not in mpd.template().attrib
    assert not mpd.all("ServiceDescription")
    assert not mpd.all("Period/AdaptationSet/ProducerReferenceTime")


@pytest.mark.anyio
async def test_a_discontinuity_is_a_period() -> None:
    async with live() as (server, stream):
        first = await watching(server, stream, 2)
        stream.publisher.configure(stream.video, LARGE)
        stream.number = 75
        stream.write(55)
        mpd = await description(server)
        old, new = mpd.all("Period")
        assert old.attrib == first.one("Period").attrib
        assert new.attrib["id"] != old.attrib["id"]
        sizes = [
            r.attrib["width"] for r in mpd.all("Period/AdaptationSet[@contentType='video']/Representation")
        ]
        assert sizes[0] != sizes[1]
        assert mpd.init(period=0) != mpd.init(period=1)
        start = float(new.attrib["start"][2:-1])
        assert mpd.times(period=1)[0][0] / 90_000 == pytest.approx(start, abs=1e-3)
        assert mpd.times(period=0)[-1][0] / 90_000 < start
        # Once all of the first has left the window, so has the period; the second stays what it was.
        stream.write(25 * 25)
        later = await description(server)
        assert later.one("Period").attrib == new.attrib


@pytest.mark.anyio
async def test_gstreamer_is_told_of_whole_segments_the_first_of_which_starts_at_zero() -> None:
    """It adds where the first one starts to how far into a segment it is, and asks for one that is as far ahead."""
    agent = "User-Agent: GStreamer souphttpsrc 1.22.0 libsoup/3.2.2"
    async with live() as (server, stream):
        await watching(server, stream, 30)
        stream.publisher.configure(stream.video, LARGE)
        stream.number = 775
        stream.write(55)
        others, mpd = await description(server), await description(server, "/live/one.mpd", agent)
        assert in_order(mpd.root)
        assert "availabilityTimeOffset" not in mpd.template().attrib
        for period in (0, 1):
            for kind in ("video", "audio"):
                told, (first, *rest) = mpd.times(kind, period), others.times(kind, period)
                assert told == [(0, sum(first)), *rest[: len(told) - 1]]
                assert len(others.times(kind, period)) - len(told) == period, (
                    "but for the one that is being made"
                )
                whole = await get(server, others.media(first[0], kind, period))
                for again in range(2):
                    answer = await get(server, mpd.media(0, kind, period), agent)
                    assert (answer.status, answer.body) == (200, whole.body)
                    assert answer.headers["cache-control"] == "no-store", again
                plain = await get(server, mpd.media(rest[0][0], kind, period), agent)
                assert plain.headers["cache-control"].startswith("max-age")
        for wrong in ("period=x", "period=-1", f"period={10**30}", "period=99999999999"):
            url = re.sub("period=[0-9]+", wrong, mpd.media(0))
            assert (await get(server, url, agent)).status == 404, wrong


@pytest.mark.anyio
async def test_a_track_that_comes_later_is_in_a_period_of_its_own() -> None:
    async with live(languages=()) as (server, stream):
        first = await watching(server, stream, 3)
        assert len(first.all("Period/AdaptationSet")) == 1
        stream.audio.append(stream.publisher.add_track(AAC, 48_000, AacConfig.lc(48_000, 2)).id)
        stream.samples = stream.number * 1920
        stream.write(55)
        mpd = await description(server)
        assert [len(p.findall("AdaptationSet", NS)) for p in mpd.all("Period")] == [1, 2]


@pytest.mark.anyio
async def test_the_end_is_a_presentation_with_a_duration() -> None:
    async with live({"reconnect_grace": 0}) as (server, stream):
        before = await watching(server, stream, 3)
        stream.close()
        await anyio.sleep(0.05)
        mpd = await description(server)
        assert mpd["type"] == "static"
        assert "minimumUpdatePeriod" not in mpd.root.attrib
        assert "timeShiftBufferDepth" not in mpd.root.attrib
        last, duration = mpd.times()[-1]
        # 5.3.2: what a period lasts is told by where the presentation ends, which is within the last segment.
        assert float(mpd["mediaPresentationDuration"][2:-1]) == pytest.approx(
            (last + 18_000) / 90_000, abs=0.03
        )
        assert mpd.times()[:-1] == before.times()[:-1]
        # FFmpeg finds nothing after it.
        assert (last, (last + duration) // 90_000) == (before.times()[-1][0], last // 90_000 + 1)


@pytest.mark.anyio
async def test_while_the_publisher_is_away_the_last_segment_ends_no_earlier_than_the_next_second() -> None:
    """FFmpeg, which looks for the next one by whole seconds, took a short last one hundreds of times meanwhile."""
    async with live() as (server, stream):
        before = await watching(server, stream, 3)
        stream.close()
        mpd = await description(server)
        assert mpd["type"] == "dynamic"
        for kind in ("video", "audio"):
            rate = int(mpd.template(kind).attrib["timescale"])
            (*told, (last, duration)), was = mpd.times(kind), before.times(kind)
            assert [*told, (last, 0)] == [*was[:-1], (was[-1][0], 0)]
            assert (last + duration) // rate == last // rate + 1, kind


@pytest.mark.anyio
async def test_who_comes_before_the_next_publisher_has_sent_a_frame_is_told_the_same_zero() -> None:
    async with live() as (server, stream):
        stream.begun -= 4_000_000_000
        stream.write(80)
        stream.publisher.stream.segments(CmafFormat())
        zero = stream.publisher.stream.clock.wall(0)
        stream.close()
        await stream.publish()
        mpd = await description(server)
        assert mpd["availabilityStartTime"] == format_date(zero // 1_000_000 * 1_000_000)


@pytest.mark.anyio
async def test_a_segment_ends_where_the_next_one_starts_although_that_is_not_told_of_yet() -> None:
    """VLC takes what starts within the last entry for a part of that, and leaves it out."""
    agent = "User-Agent: VLC/3.0.24 LibVLC/3.0.24"
    async with live(languages=()) as (server, stream):
        for n in range(60):
            # The newest key frame is shown a picture earlier than the others are.
            at = n * 40_000_000
            late = 80_000_000 if n < 50 else 40_000_000
            stream.publisher.write(stream.video, (bytes(60),), pts=at + late, dts=at, key=n % 25 == 0)
        low = (await description(server)).times()
        told = (await description(server, "/live/one.mpd", agent)).times()
        assert [sum(entry) for entry in told] == [start for start, _ in low[1:]]
        assert len(told) == 2


@pytest.mark.anyio
async def test_vlc_is_told_of_a_segment_behind_the_end_that_never_comes() -> None:
    """It reads the last one only where another follows, and ends where that is missing."""
    agent = "User-Agent: VLC/3.0.24 LibVLC/3.0.24"
    async with live({"reconnect_grace": 0}) as (server, stream):
        await watching(server, stream, 3)
        before = await description(server, "/live/one.mpd", agent)
        stream.close()
        await anyio.sleep(0.05)
        others, mpd = await description(server), await description(server, "/live/one.mpd", agent)
        for kind in ("video", "audio"):
            *told, (last, duration) = mpd.times(kind)
            assert told == others.times(kind)
            assert told[: len(before.times(kind))] == before.times(kind)
            assert (last, duration > 0) == (sum(told[-1]), True)
            answers = [
                (await get(server, mpd.media(time, kind), agent)).status for time, _ in mpd.times(kind)
            ]
            assert answers == [*(200 for _ in told), 404]


def test_runs_of_segments_of_one_length_are_one_entry() -> None:
    timeline = ((0, 10), (10, 10), (20, 10), (30, 11), (41, 10), (60, 10), (70, 10))
    template = SegmentTemplate(1, 0, "i", "m", timeline).element()
    found = [tuple(int(s.get(name, "0")) for name in ("t", "d", "r")) for s in template[0]]
    assert found == [(0, 10, 2), (30, 11, 0), (41, 10, 0), (60, 10, 1)]


@pytest.mark.parametrize(
    ("hertz", "text"),
    [
        (25, "25"),
        (30000 / 1001, "30000/1001"),
        (59.94, "60000/1001"),
        (12.5, "25/2"),
        (24.07, "241/10"),
        (15.0001, "15"),
    ],
)
def test_frame_rates(hertz: float, text: str) -> None:
    assert format_rate(hertz) == text


def test_times_are_written_without_floats() -> None:
    assert format_seconds(0) == "0"
    assert format_seconds(1_790_000_000) == "1.79"
    assert format_duration(10**18 + 1) == "PT1000000000.000000001S"
    assert format_date(1_700_000_000_999_999_999) == "2023-11-14T22:13:20.999Z"
