"""WebRTC in a real browser: it plays what FFmpeg publishes, and what it publishes plays everywhere; each picture is read."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from operator import ne
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.interop.binaries import path_of
from tests.interop.process import Child, stop_all, wait_all
from tests.interop.server import Penstock
from tests.interop.tone import pitch
from tests.machine import alone

from . import picture
from .chromium import chromium
from .play import GOPS, TRANSCODED, origin
from .proxy import proxy
from .publisher import SOUND, TONE, publishing
from .time_code import CLOCK, time_codes
from .wall import watch_script

HERE = Path(__file__).parent
OPUS = ("-c:a", "libopus", "-b:a", "64k", "-ac", "2")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k", "-g", "50")
VP9 = (
    "-c:v",
    "libvpx-vp9",
    "-deadline",
    "realtime",
    "-cpu-used",
    "8",
    "-row-mt",
    "1",
    "-b:v",
    "400k",
    "-g",
    "50",
)
AV1 = (
    "-c:v",
    "libaom-av1",
    "-usage",
    "realtime",
    "-cpu-used",
    "8",
    "-b:v",
    "400k",
    "-g",
    "50",
    "-lag-in-frames",
    "0",
)
PUBLISHED = {
    "h264": ("rtmp", GOPS["2 s"], SOUND),
    "vp8": ("rtsp", VP8, OPUS),
    "vp9": ("rtmp", VP9, OPUS),
    "av1": ("rtmp", AV1, OPUS),
}
"""What FFmpeg publishes, and how: of AAC, which browsers do not have in WebRTC, Opus is made."""
ODD = {
    "seed": (("-c:v", "libx264"), ("-c:a", "aac")),
    "hevc": (("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=3:log-level=error"), SOUND),
}
"""What a browser does not show in WebRTC as it is: the seed's own options, so three B-frames, and H.265."""
MIME = {"h264": "video/H264", "vp8": "video/VP8", "vp9": "video/VP9", "av1": "video/AV1"}
WAYS = {
    "udp": ("host udp", "prflx udp"),
    "tcp": ("host tcp", "prflx tcp"),
    "relay udp": ("relay udp",),
    "relay tcp": ("relay tcp",),
}
"""How packets come to the browser, and what it calls that."""
SECONDS = 3.0
OUTAGE = 5.0
SETTLE = 0.5
GAP = 1.0
"""Seconds without a picture while the link is made narrow: what was under way by then is lost, or late."""
BEGIN_MS = 1000
"""From the offer to the first picture that is shown."""
LIMIT = 15.0

Told = dict[str, Any]


def begin(page: Page, kind: str, name: str, url: str, *more: object) -> Told:
    """Let a peer of `webrtc.js` speak to the server; what it was told."""
    verb = {"Playing": "play", "Publishing": "publish"}[kind]
    script = f"([name, url, more]) => new {kind}(name, ...more).{verb}(url)"
    told: Told = page.evaluate(script, [name, url, list(more)])
    return told


def live(server: Penstock, path: str) -> None:
    """Wait until somebody publishes there."""
    deadline = time.monotonic() + LIMIT
    while not any((e.get("event"), e.get("path")) == ("stream published", path) for e in server.log()):
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def until(page: Page, expression: str, name: str) -> None:
    page.wait_for_function(
        f"name => {{ const peer = Playing.all[name]; return {expression}; }}", arg=name, timeout=LIMIT * 1000
    )


def watched(page: Page, names: list[str]) -> dict[str, Told]:
    """What each of them shows for `SECONDS`, and how it got it."""
    for name in names:
        page.evaluate(
            "name => { const peer = Playing.all[name]; peer.watcher = new Watcher(peer.video); }", name
        )
        until(page, "peer.first !== null && peer.watcher.frames.length > 5", name)
    # The page encodes and decodes by the processor: beside other tests that says more of these than of the server.
    with alone():
        page.wait_for_timeout(SETTLE * 1000)
        page.evaluate("names => names.forEach((name) => Playing.all[name].watcher.begin())", names)
        page.wait_for_timeout(SECONDS * 1000)
    found: dict[str, Told] = page.evaluate(
        "async (names) => { const found = {}; for (const name of names) { const peer = Playing.all[name];"
        " found[name] = { ...peer.watcher.report(), heard: peer.heard(), first: peer.first, stats: await peer.stats() }; }"
        " return found; }",
        names,
    )
    return found


def check(seen: Told) -> None:
    """Pictures as they were made, all the time, at once, and the tone."""
    assert seen["frames"] >= 20, seen
    assert seen["unreadable"] <= 1, seen
    assert not seen["backwards"], seen
    assert seen["decoded"] >= 0.9 * 25 * SECONDS, seen
    assert seen["stats"]["video"]["packetsLost"] == 0, seen
    assert abs(seen["heard"] - TONE) < 15, seen
    assert seen["first"] < BEGIN_MS, seen
    assert seen["stats"]["transport"]["srtpCipher"].endswith("GCM"), seen


@pytest.fixture(scope="module")
def page(server: Penstock) -> Iterator[Page]:
    with chromium("--allow-loopback-in-peer-connection") as browser:
        opened = browser.new_page()
        opened.goto(f"{origin(server)}/index/streams")
        opened.set_content("<!doctype html><title>WebRTC</title>")
        opened.add_script_tag(content=watch_script())
        opened.add_script_tag(path=HERE / "webrtc.js")
        yield opened


@pytest.fixture(scope="module")
def played(server: Penstock, page: Page, work: Path) -> Iterator[dict[str, Told]]:
    """What the browser shows of FFmpeg's streams, all at once."""
    with ExitStack() as stack:
        for codec, (carrier, options, audio) in PUBLISHED.items():
            stack.enter_context(
                publishing(server.endpoints.url(carrier, f"live/{codec}"), work, *options, audio=audio)
            )
        for codec in PUBLISHED:
            live(server, f"live/{codec}")
            told = begin(page, "Playing", codec, f"{origin(server)}/live/{codec}/whep")
            assert told["status"] == 201, told
        found = watched(page, list(PUBLISHED))
    with server.explained():
        yield found


@pytest.mark.parametrize("codec", PUBLISHED)
def test_it_plays_what_ffmpeg_publishes(codec: str, played: dict[str, Told]) -> None:
    check(played[codec])


@pytest.fixture(scope="module")
def published(server: Penstock, page: Page) -> Iterator[str]:
    """A stream of H.264 and Opus that the browser publishes; its path."""
    told = begin(page, "Publishing", "publisher", f"{origin(server)}/live/browser/whip", MIME["h264"], TONE)
    assert told["status"] == 201, told
    until(page, "peer.pc.connectionState === 'connected'", "publisher")
    yield "live/browser"
    assert (
        page.evaluate("async (url) => (await fetch(url, { method: 'DELETE' })).status", told["resource"])
        == 200
    )


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
def test_it_publishes_to_itself(codec: str, server: Penstock, page: Page) -> None:
    path = f"{origin(server)}/live/from-{codec}"
    assert begin(page, "Publishing", f"from-{codec}", f"{path}/whip", MIME[codec], TONE)["status"] == 201
    until(page, "peer.pc.connectionState === 'connected'", f"from-{codec}")
    assert begin(page, "Playing", f"to-{codec}", f"{path}/whep", MIME[codec])["status"] == 201
    with server.explained():
        check(watched(page, [f"to-{codec}"])[f"to-{codec}"])
    page.evaluate(
        "names => names.forEach((name) => Playing.all[name].pc.close())", [f"from-{codec}", f"to-{codec}"]
    )


@pytest.mark.parametrize("way", ["tcp", "relay tcp"])
def test_it_publishes_and_plays_where_udp_does_not_get_through(
    way: str, server: Penstock, page: Page
) -> None:
    """Over TCP, and by the server's own TURN server; the other ways to play are tried beside each other."""
    path, name = f"{origin(server)}/live/by-{way.replace(' ', '-')}", f"from {way}"
    assert begin(page, "Publishing", name, f"{path}/whip", MIME["vp8"], TONE, way)["status"] == 201
    until(page, "peer.pc.connectionState === 'connected'", name)
    found = page.evaluate("name => wayOf(Playing.all[name].pc)", name)
    assert found in WAYS[way]
    players = {f"{other} from {way}": other for other in (WAYS if way == "tcp" else ["udp"])}
    for player, other in players.items():
        assert begin(page, "Playing", player, f"{path}/whep", MIME["vp8"], other)["status"] == 201
    with server.explained():
        seen = watched(page, list(players))
    for player, other in players.items():
        check(seen[player])
        assert seen[player]["stats"]["way"] in WAYS[other]
    page.evaluate("names => names.forEach((name) => Playing.all[name].pc.close())", [name, *seen])


@pytest.mark.full
def test_five_seconds_without_a_network(server: Penstock, page: Page) -> None:
    """Who publishes and who plays go on in the sessions that they had (RFC 7675: consent lasts for 30 s)."""
    path = f"{origin(server)}/live/outage"

    def sessions() -> list[object]:
        return [e.get("session") for e in server.log() if e.get("event") == "session closed"]

    listening = [e for e in server.log() if (e.get("event"), e.get("what")) == ("listening", "webrtc")]
    with proxy(int(str(listening[0]["port"]))) as network, server.explained():
        way = f"via {network.port}"
        assert begin(page, "Publishing", "cut off", f"{path}/whip", MIME["vp8"], TONE, way)["status"] == 201
        until(page, "peer.pc.connectionState === 'connected'", "cut off")
        for name, other in (("viewer", way), ("canary", "udp")):
            assert begin(page, "Playing", name, f"{path}/whep", MIME["vp8"], other)["status"] == 201
        check(watched(page, ["viewer"])["viewer"])
        before = sessions()
        network.up = False
        page.wait_for_timeout(OUTAGE * 1000)
        assert network.dropped > 100
        shown = page.evaluate("() => Playing.all.viewer.watcher.frames.length")
        network.up = True
        began = time.monotonic()
        page.wait_for_function(
            "shown => Playing.all.viewer.watcher.frames.length > shown + 10", arg=shown, timeout=LIMIT * 1000
        )
        print(f"pictures again {time.monotonic() - began:.2f} s after the network")
        seen = watched(page, ["viewer", "canary"])
        for told in seen.values():
            told["stats"]["video"]["packetsLost"] = 0  # of the time without a network
            check(told)
        assert sessions() == before


def player(carrier: str, server: Penstock, path: str, sound: Path, gray: Path) -> list[str]:
    """FFmpeg that writes two seconds of what it plays: each picture's brightness, and the sound."""
    extra: tuple[str, ...] = ()
    url = f"{origin(server)}/{path}.m3u8" if carrier == "hls" else ""
    if carrier == "rtsp":
        extra = ("-rtsp_transport", "tcp")
    elif carrier == "srt":
        url = f"{server.endpoints.url('srt', '').rstrip('/')}?streamid=read:{path}"
    elif carrier == "rtmpdump":
        url = "pipe:0"
    url = url or server.endpoints.url(carrier, path)
    # FFmpeg 5 and rtmpdump know legacy FLV only: they get AAC.
    tool = path_of("ffmpeg" if carrier in ("rtmp", "rtmpdump") else "ffmpeg-new")
    argv = [tool, "-nostdin", "-v", "error", "-y", *extra, "-i", url]
    # The pictures that come, and not each again for every tick of RTP's clock.
    # Of which two may come nearer than the stream's usual rate has them.
    argv += ["-map", "0:v", "-t", "2", "-fps_mode", "passthrough", "-enc_time_base", "1:90000"]
    argv += ["-f", "rawvideo", "-pix_fmt", "gray", str(gray)]
    argv += ["-map", "0:a", "-t", "2", "-ac", "1", "-ar", "48000", "-f", "wav", str(sound)]
    if carrier == "rtmpdump":
        dump = [path_of("rtmpdump"), "-q", "--live", "-r", server.endpoints.url("rtmp", path), "-o", "-"]
        return ["sh", "-c", f"{shlex.join(dump)} 2>/dev/null | {shlex.join(argv)}"]
    return argv


CARRIERS = ("rtsp", "rtmp", "rtmpdump", "srt", "hls")


@pytest.fixture(scope="module")
def taken(server: Penstock, published: str, work: Path) -> dict[str, Child]:
    """The players of what the browser publishes, once all have ended; the page goes on by itself meanwhile."""
    players: dict[str, Child] = {}
    for carrier in CARRIERS:
        argv = player(carrier, server, published, work / f"{carrier}.wav", work / f"{carrier}.gray")
        players[carrier] = Child.start(carrier, argv, work / f"{carrier}.log")
    wait_all(list(players.values()), 40)
    stop_all(list(players.values()))
    return players


@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_it_publishes_is_played(
    carrier: str, taken: dict[str, Child], server: Penstock, work: Path
) -> None:
    with server.explained():
        assert taken[carrier].words() == ""
        shown, size = (work / f"{carrier}.gray").read_bytes(), picture.WIDTH * picture.HEIGHT
        frames = [picture.read(shown[at : at + size]) for at in range(0, len(shown), size)]
        numbers = [frame[0] for frame in frames if frame is not None]
        assert len(frames) >= 40, len(frames)
        assert len(frames) - len(numbers) <= 1
        assert numbers == sorted(numbers)
        assert abs(pitch((work / f"{carrier}.wav").read_bytes()[-96_000:]) - TONE) < 15


def test_what_it_publishes_it_plays(published: str, server: Penstock, page: Page) -> None:
    """With a data channel in its offer as well, which is refused and costs nothing else (RFC 8829 5.3.1)."""
    assert (
        begin(page, "Playing", "back", f"{origin(server)}/{published}/whep", None, "udp", True)["status"]
        == 201
    )
    check(watched(page, ["back"])["back"])
    sdp = page.evaluate("Playing.all.back.told.sdp")
    assert re.findall(r"m=(\w+) (\d+) ", sdp) == [("video", "9"), ("audio", "9"), ("application", "0")]
    assert page.evaluate("Playing.all.back.channel.readyState") in ("connecting", "closed")


def test_of_simulcast_each_reader_gets_one_layer(server: Penstock, page: Page, work: Path) -> None:
    """Chromium sends 320x180 and 640x360: who does not choose gets the larger, and nobody gets both."""
    path = f"{origin(server)}/live/layers"
    more = (MIME["h264"], TONE, "udp", 2, {"q": 2, "f": 1})
    told = begin(page, "Publishing", "layers", f"{path}/whip", *more)
    assert told["status"] == 201, told
    assert "a=simulcast:recv q;f" in told["sdp"]
    live(server, "live/layers")
    with server.explained():
        assert begin(page, "Playing", "layered", f"{path}/whep")["status"] == 201
        check(watched(page, ["layered"])["layered"])
        assert page.evaluate("Playing.all.layered.video.videoWidth") == 640
        for carrier in ("rtsp", "rtmp"):
            argv = [path_of("ffmpeg-new"), "-i", server.endpoints.url(carrier, "live/layers")]
            argv += ["-t", "0.2", "-f", "null", "-"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
            found = done.stderr.partition("Stream mapping")[0]
            assert len(re.findall(r"Stream #0:\d+.*: Video", found)) == 1, (carrier, done.stderr)
            assert re.search(r"Video: h264.* 640x360", found), (carrier, done.stderr)
    page.evaluate("names => names.forEach((name) => Playing.all[name].pc.close())", ["layers", "layered"])


@pytest.mark.full
@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_a_viewer_gets_the_layer_that_its_link_carries(codec: str, server: Penstock, page: Page) -> None:
    """And the larger one again when the link is wide: the page sees one picture that changes its size, without a break."""
    path = f"{origin(server)}/live/narrow-{codec}"
    publisher, viewer, canary = f"sends {codec}", f"sees {codec}", f"sees all {codec}"
    more = (MIME[codec], TONE, "udp", 2, {"q": 2, "f": 1}, True)
    listening = [e for e in server.log() if (e.get("event"), e.get("what")) == ("listening", "webrtc")]
    with proxy(int(str(listening[0]["port"]))) as network, server.explained():
        assert begin(page, "Publishing", publisher, f"{path}/whip", *more)["status"] == 201
        live(server, f"live/narrow-{codec}")
        # It begins with the smaller layer, and takes its time for the larger where the machine is busy.
        deadline = time.monotonic() + 2 * LIMIT
        while (rates := layer_rates(page, publisher)).get("f", 0) < 2 * rates["q"]:
            assert time.monotonic() < deadline, rates
        for name, way in ((viewer, f"via {network.port}"), (canary, "udp")):
            told = begin(page, "Playing", name, f"{path}/whep", MIME[codec], way)
            assert told["status"] == 201, told
        seen = [watched(page, [viewer])[viewer]]
        page.evaluate(
            "names => names.forEach((name) => { const peer = Playing.all[name]; peer.whole = new Watcher(peer.video); })",
            [viewer, canary],
        )
        widths = [width(page, viewer)]
        network.width = (rates["q"] * rates["f"]) ** 0.5
        began = time.monotonic()
        showing(page, viewer, 320)
        fell = time.monotonic() - began
        # Pictures as they were made, all the time, over the narrow link as well.
        page.wait_for_timeout(2000)
        seen.append(watched(page, [viewer])[viewer])
        widths.append(width(page, viewer))
        network.width = 0.0
        began = time.monotonic()
        showing(page, viewer, 640)
        rose = time.monotonic() - began
        seen.append(watched(page, [viewer])[viewer])
        widths.append(width(page, viewer))
        gap = longest_alone(shown(page, viewer), shown(page, canary))
    print(
        f"layers of {rates}: down after {fell:.1f} s, up after {rose:.1f} s, alone without a picture for {gap:.2f} s"
    )
    assert widths == [640, 320, 640]
    assert gap < GAP, gap
    for told in seen:
        # How many there are says more of who encodes noise, on a busy machine: they come, one after the other.
        assert told["frames"] >= SECONDS, told
        assert not told["backwards"], told
        assert abs(told["heard"] - TONE) < 15, told
    assert fell < 6
    page.evaluate(
        "names => names.forEach((name) => Playing.all[name].pc.close())", [publisher, viewer, canary]
    )


def shown(page: Page, name: str) -> list[float]:
    """When it showed its pictures, in seconds of the page."""
    found: list[float] = page.evaluate(
        "name => Playing.all[name].whole.frames.map((frame) => frame.at / 1000)", name
    )
    return found


def longest_alone(times: list[float], others: list[float]) -> float:
    """For how long another player showed pictures, all sent to both, while this one showed none."""
    gaps = [[t for t in others if begin < t < end] for begin, end in pairwise(times)]
    return max((inside[-1] - inside[0] for inside in gaps if inside), default=0.0)


def layer_rates(page: Page, name: str) -> dict[str, float]:
    """Bits a second of each layer that is published, over a second."""
    script = """async (name) => {
      const read = async () => Object.fromEntries([...(await Playing.all[name].pc.getStats()).values()]
        .filter((report) => report.type === "outbound-rtp" && report.rid)
        .map((report) => [report.rid, report.bytesSent]));
      const before = await read();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const after = await read();
      return Object.fromEntries(Object.keys(after).map((rid) => [rid, 8 * (after[rid] - before[rid])]));
    }"""
    found: dict[str, float] = page.evaluate(script, name)
    return found


def width(page: Page, name: str) -> int:
    found: int = page.evaluate("name => Playing.all[name].video.videoWidth", name)
    return found


def showing(page: Page, name: str, wide: int) -> None:
    """Wait until the picture is so wide."""
    page.wait_for_function(
        "([name, wide]) => Playing.all[name].video.videoWidth === wide", arg=[name, wide], timeout=30_000
    )


def test_a_time_code_moves_on_screenshots(server: Penstock, page: Page, work: Path) -> None:
    """The number of the picture that is shown is told by comparing its time code with all that there are."""
    url = server.endpoints.url("rtmp", "live/clock")
    argv = [path_of("ffmpeg-new"), "-v", "error", "-re", "-f", "lavfi", "-i", CLOCK, *GOPS["1 s"]]
    publisher = Child.start("clock", [*argv, "-pix_fmt", "yuv420p", "-f", "flv", url], work / "clock.log")
    try:
        live(server, "live/clock")
        assert begin(page, "Playing", "clock", f"{origin(server)}/live/clock/whep")["status"] == 201
        until(page, "peer.first !== null", "clock")
        video = page.evaluate_handle("Playing.all.clock.video").as_element()
        assert video is not None
        shots: list[tuple[float, bytes]] = []
        for number in range(2):
            page.wait_for_timeout(1000)
            video.screenshot(path=work / f"clock{number}.png")
            shots.append((time.monotonic(), time_codes("-i", str(work / f"clock{number}.png"))[0]))
    finally:
        publisher.stop()
    page.evaluate("Playing.all.clock.pc.close()")
    codes = time_codes("-f", "lavfi", "-i", f"{CLOCK}:duration=10")
    shown: list[int] = []
    for _, code in shots:
        away = [sum(map(ne, code, other)) for other in codes]
        best, second = sorted(away)[:2]
        assert 2 * best < second, (best, second)
        shown.append(away.index(best))
    assert abs((shown[1] - shown[0]) / 25 - (shots[1][0] - shots[0][0])) < 0.2, (shown, shots)


def test_ffmpeg_publishes_by_whip(server: Penstock, page: Page, work: Path) -> None:
    url = f"{origin(server)}/live/ffmpeg/whip"
    with publishing(url, work, *GOPS["1 s"], audio=OPUS), server.explained():
        live(server, "live/ffmpeg")
        told = begin(page, "Playing", "ffmpeg", f"{origin(server)}/live/ffmpeg/whep")
        assert told["status"] == 201, told
        check(watched(page, ["ffmpeg"])["ffmpeg"])


def test_reordered_pictures_are_refused_with_the_reason(server: Penstock, page: Page, work: Path) -> None:
    with (
        publishing(server.endpoints.url("rtmp", "live/reordered"), work, *GOPS["10 s, B-frames"]),
        server.explained(),
    ):
        told = begin(page, "Playing", "reordered", f"{origin(server)}/live/reordered/whep")
    assert told["status"] == 422
    assert "B-frames" in told["sdp"]


def test_what_it_cannot_show_is_transcoded_where_the_config_asks_for_it(
    server: Penstock, page: Page, work: Path
) -> None:
    """The seed's command as it is, and H.265: every picture in its order, with the sound; at once for who comes later, though
    the source has its only key frame at the beginning.
    """
    urls = {name: f"{TRANSCODED}/{name}" for name in ODD}
    with ExitStack() as stack:
        for name, (video, sound) in ODD.items():
            url = server.endpoints.url("rtmp", urls[name])
            stack.enter_context(publishing(url, work, *video, audio=sound))
        for path in urls.values():
            live(server, path)
        for name, path in urls.items():
            told = begin(page, "Playing", name, f"{origin(server)}/{path}/whep")
            assert told["status"] == 201, told
        with server.explained():
            until(page, "peer.first !== null", "seed")
            told = begin(page, "Playing", "later", f"{origin(server)}/{urls['seed']}/whep")
            seen = watched(page, [*ODD, "later"])
            for name in ODD:
                seen[name]["first"] = 0  # x264 looks 40 pictures ahead: it was waited for
            for told in seen.values():
                check(told)
    # Of these streams: other tests have players at the same server that do not get everything.
    told_of = [str(line.get("event")) for line in server.log() if line.get("path") in urls.values()]
    assert told_of.count("stream published") == len(ODD), told_of
    assert not [event for event in told_of if "left out" in event]
