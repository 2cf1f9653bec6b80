"""Which route a path belongs to, and what of it is a stream's path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import ProtocolViolation, StreamPath, UserError
from penstock_http.api import Request, Route
from penstock_http.routes import Pattern, Table


async def nothing(request: Request) -> None:
    raise NotImplementedError


TABLE = Table(
    Route(pattern, nothing)
    for pattern in (
        "/{path}",
        "/",
        "/{path}.m3u8",
        "/{path}/index.m3u8",
        "/{path}/hls/{name}",
        "/api/v1/{name}",
        "/{path}/{first}-{second}.ts",
        "/player.js",
    )
)


@pytest.mark.parametrize(
    ("path", "pattern", "values"),
    [
        ("/", "/", {}),
        ("/player.js", "/player.js", {}),
        ("/live/stream", "/{path}", {"path": "live/stream"}),
        ("/live/stream/", "/{path}", {"path": "live/stream"}),
        ("/live/stream.m3u8", "/{path}.m3u8", {"path": "live/stream"}),
        ("/live/stream/index.m3u8", "/{path}/index.m3u8", {"path": "live/stream"}),
        ("/a/hls/b/hls/seg 1.m4s", "/{path}/hls/{name}", {"path": "a/hls/b", "name": "seg 1.m4s"}),
        ("/api/v1/streams", "/api/v1/{name}", {"name": "streams"}),
        ("/a/7-video.ts", "/{path}/{first}-{second}.ts", {"path": "a", "first": "7", "second": "video"}),
        # Decoded once already: what looks encoded is the name itself.
        ("/a%2fb?c.m3u8", "/{path}.m3u8", {"path": "a%2fb?c"}),
        ("/höhle/é.m3u8", "/{path}.m3u8", {"path": "höhle/é"}),
    ],
)
def test_a_path_has_the_route_with_most_fixed_characters(
    path: str, pattern: str, values: dict[str, str]
) -> None:
    found = TABLE.find(path)
    assert found is not None
    routes, got = found
    assert [route.pattern for route in routes] == [pattern]
    assert got == values
    if "path" in values:
        assert type(got["path"]) is StreamPath


@pytest.mark.parametrize(
    "path", ["/../a.m3u8", "/a//b", "/a/./b.m3u8", "//evil/..", "/a\0b", "/\x1b[2J.m3u8", "/é" * 200]
)
def test_what_is_no_stream_path_is_refused(path: str) -> None:
    with pytest.raises(ProtocolViolation):
        TABLE.find(path)


def test_two_slashes_name_no_other_host() -> None:
    found = TABLE.find("//evil.example")
    assert found is not None
    assert found[1] == {"path": "evil.example"}


@given(st.text(max_size=80))
def test_any_path_has_a_route_or_none_or_is_refused(text: str) -> None:
    try:
        found = TABLE.find("/" + text)
    except ProtocolViolation:
        return
    if found is not None and "path" in found[1]:
        # What was found is canonical: it is made into itself.
        path = found[1]["path"]
        assert StreamPath.parse(path.replace("%", "%25").replace("?", "%3F")) == path


@pytest.mark.parametrize("pattern", ["live", "{path}.ts", "/{Path}", "/{path", "/{a}/{a}", "/}"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(UserError):
        Pattern(pattern)
