"""The pages in a real Chromium: they play, change their way, wait for a publisher, and run nobody's name as a script."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from penstock_page import text
from tests.interop.server import Penstock, penstock
from tests.page.test_pages import HOSTILE

from .chromium import chromium
from .play import GOPS, TRANSCODED, origin
from .publisher import SEED, SOUND, publishing
from .wall import watch_script

OPUS = ("-c:a", "libopus", "-b:a", "64k", "-ac", "2")
"""What WebRTC, HLS and FLV all carry, so that nothing is transcoded."""
LIMIT = 20_000
"""Milliseconds."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("--allow-loopback-in-peer-connection") as running:
        yield running


@pytest.fixture(scope="module")
def live(server: Penstock, work: Path) -> Iterator[str]:
    """The address of a stream's page."""
    with publishing(server.endpoints.url("rtmp", "live/page"), work, *GOPS["1 s"]):
        yield f"{origin(server)}/live/page"


@pytest.fixture
def page(browser: Browser, server: Penstock) -> Iterator[Page]:
    """A new window; what it complains of, and anything it asks of another site, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []
    ours = origin(server)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    opened.on(
        "console",
        lambda message: (
            complaints.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith((ours, "blob:", "data:")) else complaints.append(request.url)
        ),
    )
    with server.explained():
        yield opened
        context.close()
        assert not complaints


def until(page: Page, expression: str) -> None:
    """Wait for it; Playwright's own way of waiting is an `eval`, which the pages' policy forbids."""
    deadline = time.monotonic() + LIMIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def plays(page: Page, mode: str) -> None:
    """It shows pictures, by that way."""
    expect(page.locator("#stage")).to_have_attribute("data-phase", "playing", timeout=LIMIT)
    expect(page.locator("#s-mode")).to_have_text(mode, timeout=LIMIT)
    start = page.evaluate("penstock.video.currentTime")
    until(page, f"penstock.video.currentTime > {start + 1}")


def test_it_plays_by_itself_and_says_how(page: Page, live: str) -> None:
    """By WebRTC, with a delay that a talk can do with; its sound was AAC."""
    page.goto(live)
    plays(page, "WebRTC")
    told = page.evaluate("penstock.run.engine.pc.getStats().then((all) => [...all.values()])")
    assert {t["kind"] for t in told if t["type"] == "inbound-rtp" and t["bytesReceived"] > 1000} == {
        "audio",
        "video",
    }
    expect(page.locator("#s-size")).to_have_text("320×180", timeout=LIMIT)
    expect(page.locator("#s-video")).to_have_text("H.264")
    expect(page.locator("#s-audio")).to_have_text("AAC 48 kHz stereo")
    expect(page.locator("#s-latency")).not_to_have_text("–", timeout=LIMIT)
    expect(page.locator("#badge")).to_have_text("Live")
    assert page.evaluate("penstock.monitor.stalls") == 0
    page.locator("#unmute").click()
    assert page.evaluate("penstock.video.muted") is False
    expect(page.locator("#unmute")).to_be_hidden()


SAID = "(({ now, stream }) => penstock.run.engine.delay(now, stream.origin, stream.ahead))(penstock.info)"


def test_what_it_says_of_the_delay_by_webrtc_is_by_the_streams_clock(page: Page, live: str) -> None:
    """And not by that of sender reports, which FFmpeg 9 puts half a second ahead, and a stall by all of it."""
    page.goto(live)
    plays(page, "WebRTC")
    until(page, f"{SAID} !== null && {SAID} < 10000")
    until(page, "penstock.run.engine.delay(penstock.info.now, null, 60000) > 50000")


def test_what_it_says_of_the_delay_is_what_the_picture_says(page: Page, live: str) -> None:
    for mode in ("rtc", "ll", "flv", "hls"):
        page.goto(f"{live}?mode={mode}")
        until(page, "window.penstock?.monitor.started")
        page.evaluate(watch_script() + "; window.watcher = new Watcher(document.querySelector('video'))")
        page.wait_for_timeout(2500)
        page.evaluate("watcher.begin()")
        until(page, "watcher.frames.length > 20")
        seen = page.evaluate("watcher.report().delay")
        said = page.evaluate(SAID)
        # What it says begins where the server gets a frame, and leaves out the encoder.
        assert -150 < seen - said < 600, (mode, seen, said)


def test_each_way_can_be_chosen_and_is_remembered(page: Page, live: str) -> None:
    page.goto(live)
    for label in ("FLV", "FLV over WebSocket", "Low-latency HLS", "WebRTC"):
        page.locator("#modes label").get_by_text(label, exact=True).click()
        plays(page, label)
        page.reload()
        plays(page, label)
    for label in ("HLS", "Browser’s own HLS"):
        page.locator("#modes label").get_by_text(label, exact=True).click()
        plays(page, label)


@pytest.mark.parametrize("gop", [("-g", "25"), pytest.param((), marks=pytest.mark.full)])
def test_pictures_that_webrtc_shows_in_the_wrong_order_are_played_by_hls(
    gop: tuple[str, ...], page: Page, server: Penstock, work: Path
) -> None:
    """The seed's own command, in which x264 chooses B-frames; with key frames each second it is the sooner seen."""
    with publishing(server.endpoints.url("rtmp", "live/seed"), work, *SEED, *gop):
        page.goto(f"{origin(server)}/live/seed")
        plays(page, "Low-latency HLS")
        expect(page.locator("#note")).to_contain_text(
            "WebRTC did not work: live/seed: its pictures are reordered"
        )


HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=3:log-level=error", "-g", "25")


def test_what_the_server_makes_anew_is_played_by_webrtc(page: Page, server: Penstock, work: Path) -> None:
    """H.265, which this browser has neither in WebRTC nor elsewhere; where nothing is made of it, that is said at once."""
    for path in (f"{TRANSCODED}/hevc", "live/hevc"):
        with publishing(server.endpoints.url("rtmp", path), work, *HEVC):
            page.goto(f"{origin(server)}/{path}")
            if path.startswith(TRANSCODED):
                plays(page, "WebRTC")
            else:
                expect(page.locator("#veil-text")).to_contain_text(
                    "Browser’s own HLS: it cannot play H.265", timeout=LIMIT / 2
                )


def test_webrtc_goes_on_where_the_server_has_ended_it(page: Page, live: str) -> None:
    """As it does where another codec is published: the page asks again at once, and takes that way for no broken one."""
    with page.expect_response("**/whep") as answered:
        page.goto(live)
    plays(page, "WebRTC")
    with page.expect_response("**/whep", timeout=4000):
        assert page.request.delete(urljoin(live, answered.value.headers["location"])).ok
    plays(page, "WebRTC")
    expect(page.locator("#note")).to_be_empty()


def test_what_the_server_ends_again_and_again_is_left_for_the_next_way(page: Page, live: str) -> None:
    """As it does where pictures turn out to be reordered only then; it would begin and end for ever."""
    with page.expect_response("**/whep") as answered:
        page.goto(live)
    plays(page, "WebRTC")
    with page.expect_response("**/whep", timeout=4000) as again:
        assert page.request.delete(urljoin(live, answered.value.headers["location"])).ok
    plays(page, "WebRTC")
    assert page.request.delete(urljoin(live, again.value.headers["location"])).ok
    plays(page, "Low-latency HLS")
    expect(page.locator("#note")).to_contain_text("WebRTC did not work: the server ends it again and again")


def test_a_proxys_page_is_no_reason(page: Page, live: str) -> None:
    html = "<html><h1>503 Service Temporarily Unavailable</h1></html>"
    page.route("**/whep", lambda route: route.fulfill(status=503, content_type="text/html", body=html))
    page.goto(live)
    expect(page.locator("#note")).to_contain_text(
        "WebRTC did not work: the server answers 503", timeout=LIMIT
    )


def test_what_fails_is_said_and_the_next_way_plays(page: Page, live: str) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=503, body="no")

    page.route("**/*.m3u8*", refuse)
    page.goto(f"{live}?mode=ll")
    plays(page, "WebRTC")
    expect(page.locator("#note")).to_contain_text("Low-latency HLS did not work: the server answers 503")


def test_what_a_browser_cannot_decode_is_said_in_words(page: Page, live: str) -> None:
    junk = "#EXTM3U\n#EXT-X-TARGETDURATION:what\n"
    page.route("**/*.m3u8*", lambda route: route.fulfill(body=junk), times=1)
    page.goto(f"{live}?mode=native")
    plays(page, "WebRTC")
    expect(page.locator("#note")).to_contain_text(
        "Browser’s own HLS did not work: this browser cannot decode it"
    )
    expect(page.locator("#note")).not_to_contain_text("::")


@pytest.mark.parametrize("width", [360, 1000])
def test_nothing_of_the_figures_is_cut_off(page: Page, live: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(live)
    expect(page.locator("#s-audio")).to_have_text("AAC 48 kHz stereo", timeout=LIMIT)
    page.evaluate(
        "document.getElementById('s-audio').textContent += ', AAC 44.1 kHz stereo (not played here)'"
    )
    assert (
        page.evaluate(
            "[...document.querySelectorAll('dd')].filter(d => d.scrollWidth > d.clientWidth).length"
        )
        == 0
    )
    cut = page.evaluate("[...document.querySelectorAll('dd')].map(d => getComputedStyle(d).overflow)")
    assert set(cut) == {"visible"}


def test_it_waits_for_a_publisher_and_for_the_next(page: Page, server: Penstock, work: Path) -> None:
    page.goto(f"{origin(server)}/live/later")
    expect(page.locator("#veil-title")).to_have_text("Not live at the moment")
    expect(page.locator("#badge")).to_have_text("Offline")
    url = server.endpoints.url("rtmp", "live/later")
    with publishing(url, work, *GOPS["1 s"]):
        expect(page.locator("#stage")).to_have_attribute("data-phase", "playing", timeout=LIMIT)
    expect(page.locator("#veil-title")).to_have_text("Not live at the moment", timeout=LIMIT)
    with publishing(url, work, *GOPS["1 s"]):
        expect(page.locator("#stage")).to_have_attribute("data-phase", "playing", timeout=LIMIT)


@pytest.mark.full
def test_it_plays_below_a_prefix_of_another_project(browser: Browser, work: Path) -> None:
    """Mounted in a project of FastAPI, each way; nothing is asked of what is not below the prefix."""
    program = ("-m", "tests.interop.mounted", "serve")
    settings = ("http.listen=", "http.listen_tls=")
    with penstock(work / "mounted", *settings, program=program) as server, server.explained():
        asked: list[str] = []
        home = f"{server.endpoints.http}/media"
        with publishing(server.endpoints.url("rtmp", "live/below"), work, *GOPS["1 s"], audio=OPUS):
            opened = browser.new_page()
            opened.on("request", lambda request: asked.append(request.url))
            opened.goto(home)
            opened.locator("#cards .card-name").get_by_text("live/below", exact=True).click()
            for label in ("WebRTC", "Low-latency HLS", "HLS", "FLV over WebSocket"):
                opened.locator("#modes label").get_by_text(label, exact=True).click()
                plays(opened, label)
            opened.close()
        assert [url for url in asked if not url.startswith((home, "blob:"))] == []


def test_flv_goes_on_with_a_publisher_of_other_sound(page: Page, server: Penstock, work: Path) -> None:
    """Its response ends there, since FLV has no other header in it; the picture has played to its end then, and is paused."""
    url = server.endpoints.url("rtmp", "live/changing")
    page.goto(f"{origin(server)}/live/changing?mode=flv")
    with publishing(url, work, *GOPS["1 s"]):
        plays(page, "FLV")
    with publishing(url, work, *GOPS["1 s"], audio=(*SOUND, "-ar", "44100")):
        until(page, "document.getElementById('s-audio').textContent.includes('44.1')")
        plays(page, "FLV")


def test_names_are_shown_and_run_nothing(page: Page, server: Penstock, work: Path) -> None:
    home = origin(server)
    for path in HOSTILE:
        page.goto(f"{home}/{quote(path)}?token=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
        expect(page.locator("h1")).to_have_text(path)
        assert page.title() == path
        expect(page.locator("#copies code").first).to_contain_text("token=")
    name = "live/<img src=x onerror=alert(1)>{{1}}'\""
    with publishing(server.endpoints.url("rtmp", quote(name)), work, *GOPS["1 s"]):
        page.goto(home)
        card = page.locator("#cards .card-name").get_by_text(name, exact=True)
        expect(card).to_be_visible(timeout=LIMIT)
        card.click()
        expect(page.locator("#stage")).to_have_attribute("data-phase", "playing", timeout=LIMIT)
        expect(page.locator("h1")).to_have_text(name)


def test_the_front_page_follows_what_is_live(page: Page, server: Penstock, work: Path, live: str) -> None:
    page.goto(origin(server))
    expect(page.locator("#cards .card-name").get_by_text("live/page", exact=True)).to_be_visible()
    other = page.locator("#cards .card-name").get_by_text("live/other", exact=True)
    with publishing(server.endpoints.url("rtmp", "live/other"), work, *GOPS["1 s"]):
        expect(other).to_be_visible(timeout=LIMIT)
        expect(page.locator(".card", has_text="live/other").locator("[data-field=tracks]")).to_contain_text(
            "H.264 320×180"
        )
    expect(other).to_be_hidden(timeout=LIMIT)


def test_a_frame_holds_the_picture_and_nothing_else(page: Page, live: str) -> None:
    frame = f'<!doctype html><iframe src="{live}" width="640" height="360" allow="autoplay"></iframe>'
    page.goto(f"{live.rpartition('/live')[0]}/index/streams")
    page.set_content(frame)
    inside = page.frame_locator("iframe")
    expect(inside.locator("#stage")).to_have_attribute("data-phase", "playing", timeout=LIMIT)
    expect(inside.locator("h1")).to_be_hidden()
    box = inside.locator("#stage").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (640, 360)


def test_nothing_moves_while_it_loads(browser: Browser, live: str) -> None:
    for width, height in ((1280, 900), (390, 844)):
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.add_init_script(
            "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => (shift += e.value)))"
            ".observe({type: 'layout-shift', buffered: true})"
        )
        page.goto(live)
        until(page, "window.penstock?.monitor.started")
        page.wait_for_timeout(800)
        assert page.evaluate("shift") < 0.01
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()


def test_figures_are_written_alike_here_and_there(page: Page, live: str) -> None:
    page.goto(live)
    script = page.locator("script[type=module]").get_attribute("src") or ""
    module = script.replace("player.js", "text.js")
    summary = page.evaluate("penstock.info.stream.tracks")
    assert page.evaluate("async ([m, t]) => (await import(m)).tracks(t)", [module, summary]) == text.tracks(
        summary
    )
    seconds = [0, 7.9, 59, 60, 3599, 3600, 86_400, 172_800]
    told = page.evaluate("async ([m, v]) => v.map((await import(m)).duration)", [module, seconds])
    assert told == [text.duration(value) for value in seconds]
    rates = [0, 64_400, 999_999, 2_140_000]
    told = page.evaluate("async ([m, v]) => v.map((await import(m)).bitRate)", [module, rates])
    assert told == [text.bit_rate(value) for value in rates]
