"""Users and passwords, in the clear and as Digest."""

import subprocess
from typing import Any

USERS = 'door.users={alice="secret",bob="b"}'


def test_without_users_nobody_is_asked(start: Any, dial: Any) -> None:
    assert dial(start(), "PUBLISH live/x").line() == "OK"


def test_text(start: Any, dial: Any) -> None:
    server = start(USERS)
    assert dial(server, "PUBLISH live/x").line() == "ERROR wrong user or password"
    assert dial(server, "PUBLISH live/x alice b").line() == "ERROR wrong user or password"
    assert dial(server, "PLAY live/x carol secret").line() == "ERROR wrong user or password"
    assert dial(server, "PUBLISH live/x alice secret").line() == "OK"


def test_digest_over_rtsp(start: Any, dial: Any, ffmpeg: str) -> None:
    server = start(USERS, "server.wait_for_stream=20")
    head = [
        ffmpeg,
        "-v",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x120:r=25",
        "-c:v",
        "libx264",
        "-g",
        "25",
    ]
    head += ["-t", "60", "-f", "rtsp", "-rtsp_transport", "tcp"]
    for login in ("", "alice:wrong@", "carol:secret@"):
        refused = subprocess.run([*head, server.rtsp("live/x", login)], capture_output=True, timeout=60)
        assert refused.returncode != 0
        # Who says nothing is asked who he is; who says something else is told so.
        assert (b"403 Forbidden: wrong user or password" if login else b"401") in refused.stderr
    publisher = subprocess.Popen([*head, server.rtsp("live/x", "alice:secret@")])
    try:
        player = dial(server, "PLAY live/x bob b")
        assert player.line() == "OK"
        assert player.line().startswith("TRACK")
        argv = [ffmpeg, "-v", "error", "-rtsp_transport", "tcp", "-i"]
        save = ["-frames:v", "5", "-f", "null", "-"]
        subprocess.run([*argv, server.rtsp("live/x", "bob:b@"), *save], check=True, timeout=60)
        refused = subprocess.run(
            [*argv, server.rtsp("live/x", "bob:secret@"), *save], capture_output=True, timeout=60
        )
        assert refused.returncode != 0
        assert b"403 Forbidden" in refused.stderr
    finally:
        publisher.kill()
        publisher.wait()
