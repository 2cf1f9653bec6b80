"""What a user gets wrong, told in one sentence by the command line as it is installed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.certificate import self_signed

PORTS = (
    "rtmp.listen",
    "rtmp.listen_tls",
    "rtsp.listen",
    "rtsp.listen_tls",
    "rtsp.rtp",
    "rtsp.rtcp",
    "srt.listen",
    "http.listen",
    "webrtc.listen",
    "webrtc.listen_tcp",
    "webrtc.listen_tls",
)
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
# Root is who may do everything: without these rights it is like any other user.
POWERLESS = ("setpriv", "--bounding-set", "-net_bind_service,-dac_override,-dac_read_search")


def command(settings: Sequence[str]) -> list[str]:
    words = [sys.executable, "-m", "penstock", "serve"]
    for setting in (*(f"{key}=127.0.0.1:0" for key in PORTS), *settings):
        words += ["--set", setting]
    return words


def refused(folder: Path, *settings: str, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Status and last words of a server that does not start; it says nothing else, and shows no traceback."""
    done = subprocess.run(
        [*prefix, *command(settings)], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in done.stdout + done.stderr
    assert len(said) == 1, done.stderr
    return done.returncode, said[0]


def served_without(folder: Path, *settings: str, prefix: Sequence[str] = ()) -> list[str]:
    """The rows under "not running" of a server that starts all the same."""
    process = subprocess.Popen(
        [*prefix, *command(settings)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        shown: list[str] = []
        while (line := process.stdout.readline()) and ("not running:" not in shown or line != "\n"):
            shown.append(line.rstrip("\n"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    assert process.returncode == 0
    at = shown.index("not running:")
    assert any(row.startswith("rtsp ") for row in shown[:at])
    assert shown[at + 1].split() == ["plugin", "service", "reason"]
    return shown[at + 2 :]


def powerless() -> Sequence[str]:
    return POWERLESS if os.geteuid() == 0 else ()


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = (
            f"RTMP cannot listen on {where}/tcp: the port is in use; "
            "stop the other program or set rtmp.listen to another port."
        )
        assert served_without(tmp_path, f"rtmp.listen={where}") == [f"rtmp    rtmp     {sentence}"]
        status, said = refused(tmp_path, f"rtmp.listen={where}", "rtmp.required=true")
        assert (status, said) == (1, f"penstock: plugin rtmp is required and did not start: {sentence}")


def test_a_port_in_use_that_is_one_of_two(tmp_path: Path) -> None:
    """RTMP listens: it is not shown as not running as well."""
    certificate, key = self_signed(tmp_path)
    tls = (f"server.certificate={certificate}", f"server.key={key}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert served_without(tmp_path, *tls, f"rtmp.listen_tls={where}") == [
            f"rtmp    rtmps    RTMPS cannot listen on {where}/tcp: the port is in use; "
            "stop the other program or set rtmp.listen_tls to another port."
        ]


def test_an_unknown_key(tmp_path: Path) -> None:
    assert refused(tmp_path, "rtmp.lisen=:1") == (
        2,
        "penstock: --set rtmp.lisen: rtmp.lisen is unknown; did you mean rtmp.listen?",
    )
    (tmp_path / "penstock.toml").write_text("[rtsp]\nlisten_tsl = ':322'\n")
    status, said = refused(tmp_path)
    assert status == 2
    assert said.startswith(
        "penstock: penstock.toml:2: rtsp.listen_tsl is unknown; did you mean rtsp.listen_tls?"
    )


def test_a_bad_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    (tmp_path / "garbage.pem").write_text("garbage")
    (tmp_path / "more").mkdir()
    _, other = self_signed(tmp_path / "more")
    for names, says in (
        (("garbage.pem", "garbage.pem"), "server.certificate garbage.pem has no certificate in PEM form"),
        ((str(certificate), str(other)), f"server.key {other} is not the key of server.certificate"),
        (("none.pem", str(key)), "server.certificate: cannot read none.pem: No such file or directory."),
        ((str(certificate), "none.pem"), "server.key: cannot read none.pem: No such file or directory."),
    ):
        status, said = refused(tmp_path, f"server.certificate={names[0]}", f"server.key={names[1]}")
        assert status == 1
        assert says in said


def test_no_permission(tmp_path: Path) -> None:
    if int(UNPRIVILEGED.read_text()) <= 80:
        pytest.skip("everybody may bind port 80 here")
    assert served_without(tmp_path, "rtmp.listen=127.0.0.1:80", prefix=powerless()) == [
        "rtmp    rtmp     RTMP cannot listen on 127.0.0.1:80/tcp: no permission; "
        "use a port above 1023 in rtmp.listen, or run with the right to bind it."
    ]
    certificate, key = self_signed(tmp_path)
    key.chmod(0)
    status, said = refused(
        tmp_path, f"server.certificate={certificate}", f"server.key={key}", prefix=powerless()
    )
    assert (status, said) == (1, f"penstock: server.key: cannot read {key}: Permission denied.")
