"""One canonical form of every spelling of a stream (row T14)."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_rtsp.url import Target, presentation_url, resolve_control, track_control, track_url


@pytest.mark.parametrize(
    ("url", "path", "track", "query"),
    [
        ("rtsp://host:8554/live/stream", "live/stream", None, ""),
        ("RTSPS://user:p%40w@[::1]:8322/live/stream/", "live/stream", None, ""),
        ("rtsp://other/live/stream/trackID=1", "live/stream", 1, ""),
        ("rtsp://h/live/stream/streamid=0/", "live/stream", 0, ""),
        ("rtsp://h/live/stream/stream=2", "live/stream", 2, ""),
        ("rtsp://h/live/track1", "live", 1, ""),
        ("rtsp://h/live/stream?a=b", "live/stream", None, "a=b"),
        ("rtsp://h/live/stream?", "live/stream", None, ""),
        ("rtsp://h/live/stream?a=rtsp://x/trackID=1", "live/stream", 1, "a=rtsp://x"),
        ("rtsp://h/live/stream/trackID=1?a=b", "live/stream", 1, "a=b"),
        ("rtsp://h/live/stream/?a=b/", "live/stream", None, "a=b"),
        ("/live/str%65am", "live/stream", None, ""),
        ("live%2Fstream", "live/stream", None, ""),
        ("live/Stream", "live/Stream", None, ""),
        ("*", None, None, ""),
        ("rtsp://h", None, None, ""),
        ("rtsp://h/?x", None, None, "x"),
    ],
)
def test_targets(url: str, path: str | None, track: int | None, query: str) -> None:
    assert Target.parse(url) == Target(path, track, query)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "//cam",
        "/./cam",
        "/%2e%2e/cam",
        "/%2Fcam",
        "/cam//",
        "http://h/cam",
        "/cam/trackID=256",
        "/%ff",
        "/api/cam",
    ],
)
def test_what_names_no_stream_is_refused(url: str) -> None:
    with pytest.raises(ProtocolViolation):
        Target.parse(url)


def test_controls() -> None:
    base = "rtsp://h/live/stream/"
    assert resolve_control(base, None) == resolve_control(base, "*") == resolve_control(base, "") == base
    assert resolve_control(base, track_control(1)) == track_url(base, 1) == "rtsp://h/live/stream/trackID=1"
    assert resolve_control("rtsp://h/a", "/b") == "rtsp://h/a/b"
    assert resolve_control(base, "rtsp://other/x") == "rtsp://other/x"


@pytest.mark.parametrize("query", ["", "?user=a"])
@pytest.mark.parametrize("url", ["rtsp://h/live/one", "rtsp://h/live/one/", "rtsp://h/live/one/trackID=3"])
def test_a_tracks_url_names_the_presentation_too(url: str, query: str) -> None:
    """Also where the query comes after the track, as who adds it to a track's URL has it."""
    found = track_url(presentation_url(url + query), 3)
    assert Target.parse(found) == Target.parse(f"rtsp://h/live/one{query}/trackID=3")
    if not query or "track" in url:
        assert found == f"rtsp://h/live/one{query}/trackID=3"
