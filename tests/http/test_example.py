"""The plugin that docs/http.md shows does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from penstock import Codec, CodecConfig, Kind

from .port import ask, serving

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


async def test_the_plugin_of_the_page(logs: list[Any]) -> None:
    text = next(
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "Tracks" in block
    )
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), names)
    async with serving(plugins=[names["plugin"]]) as server:
        assert (await ask(server, "GET /live/one/tracks.txt")).status == 404
        publisher = await server.streams.publish(server.sessions.add("test", "::1"), "live/one")
        publisher.add_track(Codec("h264", Kind.VIDEO), 90_000, CodecConfig())
        answer = await ask(server, "GET /live/one/tracks.txt")
        assert (answer.status, answer.body) == (200, b"h264")
        publisher.close()
    assert [line["reason"] for line in logs if line.get("protocol") == "tracks"] == [
        "nobody publishes live/one",
        "the response ended",
    ]
