"""The pages over real HTTP: what they say, what they keep to themselves, and that nobody's name is taken for markup."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin

import httpx2
import pytest

from penstock import NS, Credentials, Derivation, DerivedTrack, Plugin, StreamPath, Track, hookimpl
from penstock.config import Config
from penstock.errors import UserError
from penstock.plugins import PluginSet
from penstock_page.assets import Assets
from tests.hls.stage import Live
from tests.http.projects import fastapi, uvicorn_serves
from tests.page.conftest import CONFIG, serves, site

pytestmark = pytest.mark.anyio

HOSTILE = (
    "live/<script>alert(1)</script>",
    "live/\"onload='alert(1)",
    "live/</title><img src=x onerror=alert(1)>",
    "live/{{7*7}}",
    "live/$path ${path}",
    "live/-->&amp;",
    "live/100%",
)
"""Names that some place or other would take for more than a name; what has control characters is no path at all."""


class Document(HTMLParser):
    """What a browser makes of a page: the attributes of each element, and the text inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(next(a["data-state"] for tag, a in self.elements if tag == "body"))
        return state

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


class Door(Plugin):
    """Paths that begin with ``secret`` are for who knows the word."""

    name = "door"

    @hookimpl
    async def authorize(self, action: str, path: str, credentials: Credentials) -> bool | str | None:
        if action == "publish" or not path.startswith("secret"):
            return None
        return credentials.query.get("token") == "word" or "the word is missing"


class Lock(Plugin):
    """Every path is for who knows the word, and nobody is told why not."""

    name = "lock"

    @hookimpl
    async def authorize(self, action: str, path: str, credentials: Credentials) -> bool | None:
        return None if action == "publish" else credentials.verify(password="word")


async def test_the_front_page_lists_what_is_live() -> None:
    async with site() as here:
        assert "Nothing is live" in (await here.get("/")).text
        await here.publish("live/one")
        page = await here.get("/")
        document = Document(page.text)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert {"href": "/live/one"} in document.of("a")
        assert "live/one" in document.texts
        assert "H.264 320×180 25 fps · AAC 48 kHz stereo" in document.texts


async def test_json_tells_what_the_list_shows() -> None:
    async with site() as here:
        publisher = await here.publish("live/one")
        told = (await here.get("/index/streams")).json()
        (stream,) = told["streams"]
        assert stream["path"] == "live/one"
        assert stream["readers"] == 0
        assert [t["codecs"].partition(".")[0] for t in stream["tracks"]] == ["avc1", "mp4a"]
        one = (await here.get("/index/streams/live/one")).json()
        assert one["live"]
        assert one["stream"]["path"] == "live/one"
        assert abs(one["now"] - told["now"]) < 60_000
        publisher.close("over")
        assert (await here.get("/index/streams/live/two")).json()["stream"] is None


async def test_it_tells_how_far_sender_reports_are_ahead_of_the_wall() -> None:
    """FFmpeg 9 sends half a second at once; the delay that WebRTC has would be half a second too small."""
    async with site() as here:
        publisher = await here.publish("live/one")
        (picture, _) = publisher.stream.tracks
        for n in range(13):
            publisher.write(picture.id, (b"\x65",), pts=n * NS // 25, arrival=60 * NS + n)
        await here.publish("live/two")
        told = {s["path"]: s["ahead"] for s in (await here.get("/index/streams")).json()["streams"]}
        assert told == {"live/one": pytest.approx(480, abs=1), "live/two": 0}


class Maker(Plugin):
    """Makes what browsers have of pictures, where the path says so."""

    name = "maker"

    @hookimpl
    def derive(self, track: Track, path: StreamPath) -> Iterable[Derivation]:
        async def never(made: DerivedTrack) -> None:
            raise NotImplementedError

        if track.config is None or not path.startswith("made/"):
            return ()
        return [Derivation(track.codec, track.clock_rate, track.config, never)]


async def test_pages_are_told_which_pictures_are_made_anew() -> None:
    """Where they are, the page asks for them by WebRTC, whatever codec was published. Of sound it asks anyway."""
    async with site(None, Maker()) as here:
        told: dict[str, Any] = {}
        for path in ("made/one", "live/one"):
            await here.publish(path)
        for stream in (await here.get("/index/streams")).json()["streams"]:
            told[stream["path"]] = [track.get("made") for track in stream["tracks"]]
        assert told == {"made/one": [["h264"], None], "live/one": [None, None]}


async def test_readers_over_every_protocol_are_counted() -> None:
    async with site() as here:
        await here.publish("live/one")
        for _ in range(3):
            reader = here.server.sessions.add("rtmp", "192.0.2.2:1000")
            await here.server.streams.open(reader, "live/one")
        assert (await here.get("/index/streams/live/one")).json()["stream"]["readers"] == 3


@pytest.mark.parametrize("path", HOSTILE)
async def test_no_name_is_taken_for_markup(path: str) -> None:
    plain = Document
    async with site() as here:
        await here.publish(quote(path))
        for url in ("/", f"/{quote(path)}", f"/{quote(path)}?token=%22%3E%3Cscript%3E"):
            page = await here.get(url)
            assert page.status_code == 200
            document = plain(page.text)
            scripts = document.of("script")
            assert len(scripts) == 1
            assert scripts[0]["src"].startswith("/index/assets/")
            assert not [a for _, a in document.elements if any(name.startswith("on") for name in a)]
            assert not [a for a in document.of("img") if not a["src"].startswith("/index/assets/")]
            assert path in (document.texts if url == "/" else [document.state["path"]])
            if url == "/":
                assert {"href": f"/{quote(path)}"} in document.of("a")


async def test_a_visitor_sees_what_he_may_read() -> None:
    async with site(None, Door()) as here:
        await here.publish("live/open")
        await here.publish("secret/one")

        async def listed(url: str) -> list[str]:
            return [stream["path"] for stream in (await here.get(url)).json()["streams"]]

        assert await listed("/index/streams") == ["live/open"]
        assert await listed("/index/streams?token=word") == ["live/open", "secret/one"]
        assert "secret/one" not in (await here.get("/")).text
        assert "secret/one" in (await here.get("/?token=word")).text
        for url in ("/secret/one", "/secret/none", "/index/streams/secret/one"):
            assert (await here.get(url)).status_code == 401
            assert (await here.get(f"{url}?token=wrong")).status_code == 403
            assert (await here.get(f"{url}?token=word")).status_code == 200
        refused = await here.get("/secret/one?token=wrong")
        assert "You may not watch this stream" in refused.text
        assert "the word is missing" in refused.text


async def test_a_wrong_password_is_asked_for_again() -> None:
    """A browser goes on saying what was not answered by 401."""
    async with site(None, Lock()) as here:
        await here.publish("live/one")
        for password, status in (("wrong", 401), ("word", 200)):
            given = "Basic " + b64encode(f"me:{password}".encode()).decode()
            assert (await here.get("/live/one", authorization=given)).status_code == status


async def test_the_list_can_be_switched_off() -> None:
    async with site({"page": {"list_streams": False}}) as here:
        await here.publish("live/one")
        assert "live/one" not in (await here.get("/")).text
        assert (await here.get("/index/streams")).json()["streams"] == []
        assert (await here.get("/live/one")).status_code == 200


async def test_a_token_goes_with_every_url_of_the_media() -> None:
    async with site({"rtmp": {"listen": "127.0.0.1:0", "listen_tls": ""}}) as here:
        state = Document((await here.get("/live/one?token=a%26b&embed&mode=flv")).text).state
        assert state["mode"] == "flv"
        urls = [*state["media"].values(), state["info"], *(a["url"] for a in state["addresses"])]
        assert any(url.startswith("rtmp://{host}:") for url in urls)
        for url in urls:
            assert url.endswith("token=a%26b")
            assert "embed" not in url


async def test_what_is_copied_is_of_the_streams_own_path_and_complete() -> None:
    """On the page, and in the table at the start, which has an example."""
    local = {"listen": "127.0.0.1:0", "listen_tcp": ""}
    plugins = {"srt": {"listen": "127.0.0.1:0"}, "webrtc": {**local, "enabled": True}}
    async with site({**plugins, "http": {**CONFIG["http"], "enabled": True}}) as here:
        state = Document((await here.get("/cam/%C3%A9")).text).state
        urls = {a["name"]: a["url"].partition("?")[2] for a in state["addresses"]}
        assert urls["SRT (publish)"] == "streamid=publish:/cam/%C3%A9"
        assert urls["SRT (play)"] == "streamid=read:/cam/%C3%A9"
        (http,) = [e for e in here.server.endpoints if e.what == "http"]
        example = f"http://{{host}}:{http.port}/live/stream"
        assert http.publish == (f"{example}/whip",)
        assert http.play == (example, *(example + end for end in (".flv", ".m3u8", ".mpd", "/whep")))


async def test_a_page_may_be_in_a_frame_of_those_that_are_named() -> None:
    async with site() as here:
        policy = (await here.get("/live/one")).headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert policy.endswith("; frame-ancestors *")
        assert "unsafe" not in policy
    async with site({"page": {"frame_ancestors": "'self' https://example.org"}}) as here:
        page = await here.get("/live/one", sec_fetch_dest="iframe")
        assert page.headers["content-security-policy"].endswith(
            "; frame-ancestors 'self' https://example.org"
        )
        assert "embed" in Document(page.text).of("body")[0]["class"].split()


@pytest.mark.parametrize("value", ["", "*; script-src *", "a\r\nb", "'self', *"])
def test_a_list_of_sites_adds_nothing_to_the_policy(value: str) -> None:
    with pytest.raises(UserError, match="frame_ancestors"):
        Config.from_mapping({**CONFIG, "page": {"frame_ancestors": value}}, PluginSet.discover().configs)


async def test_only_browsers_get_a_page() -> None:
    async with site() as here:
        for accept, status in (
            ("text/html,application/xhtml+xml", 200),
            ("*/*", 404),
            ("image/avif,image/webp,*/*;q=0.8", 404),
            ("application/json", 404),
        ):
            assert (await here.get("/live/one", accept=accept)).status_code == status
        assert (await here.get("/favicon.ico", accept="image/*,*/*;q=0.8")).status_code == 404


@pytest.mark.parametrize(
    "path", ["favicon.ico", "robots.txt", "live/one.FLV", "live/one.webm", "live/a.m3u9"]
)
async def test_what_looks_like_a_file_is_none_unless_a_stream_is_called_so(path: str) -> None:
    async with site() as here:
        page = await here.get(f"/{path}")
        assert page.status_code == 404
        assert f"There is no file {path}, and no stream of that name is live." in Document(page.text).texts
        await here.publish(path)
        assert Document((await here.get(f"/{path}")).text).state["path"] == path
        assert (await here.get("/live/v1.x")).status_code == 200, "nobody's ending"


async def test_files_are_kept_for_ever_under_their_version() -> None:
    assets = Assets.load()
    assert {"page.css", "player.js", "front.js", "hls.min.js", "mpegts.js"} <= assets.named.keys()
    async with site() as here:
        for name, asset in assets.named.items():
            url = f"/index/assets/{assets.version}/{name}"
            plain = await here.get(url, accept_encoding="identity")
            assert plain.status_code == 200
            assert plain.content == asset.body
            assert plain.headers["content-type"] == asset.content_type
            assert "immutable" in plain.headers["cache-control"]
            assert plain.headers["vary"] == "accept-encoding"
            packed = await here.get(url, accept_encoding="br, gzip")
            assert packed.headers.get("content-encoding") == ("gzip" if asset.packed else None)
            assert packed.content == asset.body
            assert (packed.headers["etag"] != plain.headers["etag"]) == (asset.packed is not None)
            known = await here.get(url, if_none_match=packed.headers["etag"], accept_encoding="gzip")
            assert known.status_code == 304
        old = await here.get("/index/assets/old/page.css")
        assert old.headers["cache-control"] == "no-cache"
        assert (await here.get(f"/index/assets/{assets.version}/nothing.js")).status_code == 404
        refused = await here.get(f"/index/assets/{assets.version}/icon.svg", accept_encoding="gzip;q=0")
        assert "content-encoding" not in refused.headers


def test_what_is_packed_is_what_is_not() -> None:
    for asset in Assets.load().named.values():
        assert asset.packed is None or gzip.decompress(asset.packed) == asset.body


async def test_the_page_goes_with_its_plugin() -> None:
    async with site() as here:
        await here.server.disable("page")
        assert (await here.get("/live/one")).status_code == 404
        await here.server.enable("page")
        assert (await here.get("/live/one")).status_code == 200


async def test_below_a_prefix_all_that_a_page_asks_for_is_there() -> None:
    """Mounted in a project of FastAPI: scripts, what they import, what is played and what is copied."""
    server = serves({"http": {"listen": "", "listen_tls": ""}})
    async with (
        uvicorn_serves(fastapi(server)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        stream = Live(server, "live/one")
        await stream.publish()
        stream.write(25 * 5)
        front = Document((await client.get("/media/")).text)
        assert {"href": "/media/live/one"} in front.of("a")
        page = Document((await client.get("/media/live/one", headers={"accept": "text/html"})).text)
        scripts = [a["src"] for a in (*front.of("script"), *page.of("script"))]
        urls = {*scripts, *(a["href"] for a in (*front.of("link"), *page.of("link"), *page.of("a")))}
        for script in scripts:
            imported = re.findall(r'from "(\./[^"]*)"', (await client.get(script)).text)
            assert imported
            urls |= {urljoin(script, name) for name in imported}
        urls |= {a["url"].removeprefix("{origin}") for a in page.state["addresses"] if "origin" in a["url"]}
        urls |= {page.state["info"], front.state["streams"], *page.state["media"].values()}
        assert {"/media/live/one.flv", "/media/live/one.mpd", "/media/live/one.m3u8?variant=ll"} <= urls
        for url in urls:
            assert url.startswith("/media/"), url
            # Of long responses the head is all that is waited for.
            async with client.stream("GET", url, headers={"accept": "text/html,*/*"}) as answer:
                assert answer.status_code == 200, url
        stream.close()
