"""What the text protocol refuses, and that it takes codecs of which it knows nothing."""

import subprocess
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["HELLO world"], ""),
        (["PUBLISH ../x"], "ERROR"),
        (["PUBLISH live/x alice"], ""),
        (["PUBLISH live/x", "TRACK 1 90000 X-NOBODY 90000 1 "], "ERROR no plugin knows"),
        (["PUBLISH live/x", "TRACK 1 0 X-FLIPBOOK 90000 1 width=1;height=1"], "ERROR neither"),
        (
            ["PUBLISH live/x", "TRACK 1 90000 X-FLIPBOOK 90000 1 width=;height"],
            "ERROR X-FLIPBOOK needs width",
        ),
        (["PUBLISH live/x", "FRAME 1 0 key AAAA"], "ERROR neither"),
        (
            ["PUBLISH live/x", "TRACK 1 9 X-FLIPBOOK 9 1 width=1;height=1", "FRAME 1 0 key A"],
            "ERROR a unit is not",
        ),
        (
            ["PUBLISH live/x", "TRACK 1 9 X-FLIPBOOK 9 1 width=1;height=1", f"FRAME 1 {'9' * 99} key AAAA"],
            "ERROR nei",
        ),
    ],
)
def test_rubbish_ends_its_own_session(start: Any, dial: Any, lines: list[str], answer: str) -> None:
    server = start()
    peer = dial(server, lines[0])
    peer.send(*lines[1:])
    last = peer.line()
    if last == "OK":
        last = peer.line()
    assert last.startswith(answer)
    assert peer.line() == ""
    other = dial(server, "PUBLISH live/x")
    assert other.line() == "OK"
    assert dial(server, "PUBLISH live/x").line() == "ERROR live/x is being published already"


def test_a_player_that_waits_is_told(start: Any, dial: Any) -> None:
    server = start("server.wait_for_stream=0.2", "server.handshake_timeout=1")
    assert dial(server, "PLAY live/nothing").line() == "ERROR nobody publishes live/nothing"
    silent = dial(server, "PLAY live")
    silent = dial(server, "PUBLISH ok")
    assert silent.line() == "OK"


def test_a_peer_that_says_nothing_is_closed(start: Any, dial: Any) -> None:
    server = start("server.handshake_timeout=0.5")
    peer = dial(server, "")
    assert peer.line() == ""


def test_h264_and_aac_from_rtmp(start: Any, dial: Any, ffmpeg: str) -> None:
    server = start("server.wait_for_stream=20")
    player = dial(server, "PLAY live/y")
    argv = [ffmpeg, "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=s=160x120:r=25"]
    argv += ["-f", "lavfi", "-i", "sine", "-c:v", "libx264", "-g", "25", "-c:a", "aac", "-t", "30"]
    argv += ["-f", "flv", f"rtmp://127.0.0.1:{server.ports['rtmp']}/live/y"]
    publisher = subprocess.Popen(argv)
    try:
        assert player.line() == "OK"
        words = [player.line().split() for _ in range(40)]
    finally:
        publisher.kill()
        publisher.wait()
    encodings = {w[3] for w in words if w[0] == "TRACK"}
    assert encodings == {"H264", "MPEG4-GENERIC"}
    assert any("sprop-parameter-sets=" in w[-1] for w in words if w[0] == "TRACK")
    assert {w[3] for w in words if w[0] == "FRAME"} == {"key", "delta"}
