"""Another server's HLS as a source, from a server that is there: what is pulled, and what is not pulled again."""

from __future__ import annotations

from collections.abc import MutableMapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import pytest

import penstock
from penstock.plugins import PluginSet
from penstock_codecs.aac import plugin as aac
from penstock_codecs.h264 import plugin as h264
from penstock_hls.plugin import plugin as hls
from penstock_http.plugin import plugin as http
from tests.faults.log import ENDS
from tests.faults.origin import origin

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

SEGMENT = (Path(__file__).parents[1] / "data/mpegts/ffmpeg5-h264.ts").read_bytes()
HEAD = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n"
FIRST = b"#EXTINF:1,\none.ts\n"
LAST = b"#EXT-X-DISCONTINUITY\n#EXTINF:1,\ntwo.ts\n#EXT-X-ENDLIST\n"
PULLS = 3
"""How often the relay is to ask, so that it had the time to play it a second time."""


async def test_a_live_playlist_that_ended_is_not_played_a_second_time(
    logs: list[MutableMapping[str, Any]],
) -> None:
    """An origin leaves it where it is, and the relay asks for its source again and again."""
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rpartition("/")[2]
        asked.append(name)
        # Live at first: what is a recording from the beginning on is played as often as it is pulled.
        live = HEAD + FIRST + (LAST if asked.count("live.m3u8") > 1 else b"")
        body = live if name == "live.m3u8" else SEGMENT
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with origin({f"/{name}": answer for name in ("live.m3u8", "one.ts", "two.ts")}) as port:
        tables = {
            "http": {"listen": "127.0.0.1:0"},
            "server": {"reconnect_grace": 0},
            "streams": {"pull/one": {"source": f"http://127.0.0.1:{port}/live.m3u8"}},
        }
        found = PluginSet.discover([http, hls, h264, aac], installed=False)
        async with penstock.Server(tables, plugins=found):
            with anyio.fail_after(15):
                while len([line for line in logs if line["event"] in ENDS]) < PULLS:
                    await anyio.sleep(0.05)
    reasons = [line["reason"] for line in logs if line["event"] in ENDS]
    assert reasons[0] == "the playlist ended"
    assert all("what it has was played" in reason for reason in reasons[1:])
    assert [asked.count(name) for name in ("one.ts", "two.ts")] == [1, 1]
    assert [line["event"] for line in logs].count("stream published") == 1
