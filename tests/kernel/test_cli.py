"""The command line, as a user meets it: sentences and exit statuses, never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from penstock.cli import main, table
from penstock.hooks import Endpoint
from penstock.plugins import LoadedPlugin, PluginSet
from penstock.run import raise_file_limit, start_table, url_host
from tests.certificate import self_signed

ECHO = """
import socket
import anyio
from attrs import frozen
from penstock.errors import UserError
from penstock.config import parse_listen, is_listen
from penstock.hooks import Endpoint, Plugin, hookimpl, option

@frozen
class EchoConfig:
    listen: str = option("127.0.0.1:0", "Where to listen.", validator=is_listen)
    stubborn: bool = option(False, "Whether it refuses to stop.")

class Service:
    name = "echo"
    def __init__(self, config):
        self.config = config
    async def run(self, started):
        host, port = parse_listen(self.config.listen)
        with socket.socket() as sock:
            try:
                sock.bind((host, port))
            except OSError as error:
                raise UserError(f"cannot listen on {self.config.listen}: {error.strerror}") from None
            sock.listen()
            port = sock.getsockname()[1]
            started([Endpoint("ECHO", host, port, "tcp", (f"echo://{{host}}:{port}/live/stream",))])
            try:
                await anyio.sleep_forever()
            finally:
                if self.config.stubborn:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(60)

class Echo(Plugin):
    name = "echo"
    version = "7"
    config = EchoConfig
    @hookimpl
    def services(self, config):
        return [Service(config)]

plugin = Echo()
"""


class Box:
    """A working directory with a plugin that is installed there, and commands run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        info = path / "site" / "echo-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: penstock-echo\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[penstock.plugins]\necho = echo_plugin:plugin\nlost = lost_plugin:plugin\n"
        )
        (path / "site" / "echo_plugin.py").write_text(ECHO)
        # Only what this test installs: plugins of the environment would listen on their usual ports.
        (path / "site" / "sitecustomize.py").write_text(
            "import importlib.metadata as m\n"
            "real = m.entry_points\n"
            "def mine(**k):\n"
            "    return m.EntryPoints(e for e in real(**k) if k.get('group') != 'penstock.plugins' or "
            "e.dist.name == 'penstock-echo')\n"
            "m.entry_points = mine\n"
        )
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        self.env["PYTHONPATH"] = str(path / "site")

    def add(self, name: str, code: str) -> None:
        """One more plugin of the same distribution."""
        (self.path / "site" / f"{name}_plugin.py").write_text(code)
        entries = self.path / "site" / "echo-1.0.dist-info" / "entry_points.txt"
        entries.write_text(entries.read_text() + f"{name} = {name}_plugin:plugin\n")

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *arguments],
            cwd=self.path,
            env={**self.env, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in err, err
        return process.returncode, out, err


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What `main` sets for the whole process would hide lines from the tests that come later."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_plugins(box: Box) -> None:
    status, out, _ = box.run("plugins")
    rows = out.splitlines()
    assert status == 0
    assert rows[0].split() == ["name", "version", "API", "status", "distribution", "reason"]
    assert rows[1].split() == ["echo", "7", "1", "loaded", "penstock-echo"]
    assert re.split(r"\s{2,}", rows[2])[3:] == [
        "failed",
        "penstock-echo",
        "cannot be imported: ModuleNotFoundError: No module named 'lost_plugin'",
    ] or rows[2].endswith("cannot be imported: No module named 'lost_plugin'")


def test_config_and_check(box: Box) -> None:
    status, out, err = box.run("config")
    assert (status, err) == (0, "")
    assert tomllib.loads(out)["echo"] == {}
    (box.path / "penstock.toml").write_text(out)
    assert box.run("check", "penstock.toml") == (0, "penstock.toml is in order\n", "")
    (box.path / "bad.toml").write_text("[ehco]\n[echo]\nlisten = 1\n")
    status, out, err = box.run("check", "bad.toml")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "penstock: bad.toml:1: ehco is no table of Penstock or its plugins; did you mean echo?",
        "penstock: bad.toml:3: echo.listen must be text in quotes, not the value 1",
    ]
    for arguments, env in (
        (("check", "penstock.toml"), {"PENSTOCK_ECHO_LISTNE": ":1"}),
        (("check", "penstock.toml", "--set", "echo.listne=:1"), {}),
    ):
        status, out, err = box.run(*arguments, **env)
        assert (status, out) == (2, ""), "what is checked is what would be served"
        assert "did you mean echo.listen?" in err or "did you mean PENSTOCK_ECHO_LISTEN?" in err, err
    status, _, err = box.run("check", "none.toml")
    assert (status, err) == (2, "penstock: cannot read none.toml: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sreve"], "there is no command 'sreve'; did you mean serve?"),
        (["check", "x.toml", "--config", "y.toml"], "check takes its FILE, and no --config"),
        (["config", "--set", "server.drain_timeout=1"], "config prints the defaults, and takes neither"),
        (["check"], "check needs a FILE"),
        (["plugins", "x"], "unexpected argument 'x'"),
        (["--confg", "x"], "unrecognized arguments: --confg"),
        (["--set"], "argument --set: expected one argument"),
        (["--config", "/nowhere.toml"], "cannot read /nowhere.toml: No such file or directory"),
        (["--set", "server.drain_timeot=1"], "did you mean server.drain_timeout?"),
        (["serve", "--set", "server.log_level=loud"], "server.log_level must be"),
    ],
)
def test_mistakes_of_the_user(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = int(str(stopped.code))
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("penstock: ")
    assert says in err
    assert err.count("\n") == 1


def test_nothing_commands_the_terminal(box: Box) -> None:
    (box.path / "e.toml").write_text('["a\\u001b[31m\\u0085b"]\n')
    box.add("imp", "raise ImportError('boom \x1b[31m at import')")
    for arguments, says in (
        (("check", "e.toml"), r"a\x1b[31m\x85b"),
        (("--set", "imp.required=true"), r"boom \x1b[31m at import"),
        (("a\x1b[31m",), r"\x1b[31m"),
        (("check", "e.toml", "x\x1b[31m"), r"\x1b[31m"),
    ):
        status, out, err = box.run(*arguments)
        assert status != 0
        assert says in err
        assert (out + err).replace("\n", "").isprintable()


def test_check_finds_what_the_start_refuses(box: Box) -> None:
    certificate, key = self_signed(box.path)
    other, _ = self_signed(box.path / "site")
    junk = box.path / "junk.pem"
    junk.write_text("junk")
    file = box.path / "c.toml"
    for text, says in (
        (f'[server]\ncertificate = "{junk}"\n', "server.certificate"),
        (f'[server]\ncertificate = "{certificate}"\n', "has no private key in PEM form; set server.key."),
        (f'[server]\ncertificate = "{other}"\nkey = "{key}"\n', "server.key"),
        ('[server]\ncertificate = "/nowhere"\n', "server.certificate: cannot read /nowhere: No such file"),
        (f'[server]\nkey = "{key}"\n', "TLS needs server.certificate"),
        (
            '[streams.a]\nsource = "http://x/"\n',
            "c.toml:2: streams.a.source is refused: no plugin knows http:// URLs (known: none)",
        ),
    ):
        file.write_text(text)
        status, out, err = box.run("check", "c.toml")
        assert (status, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
    file.write_text(f'[server]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    assert box.run("check", "c.toml") == (0, "c.toml is in order\n", "")
    status, out, err = box.run("check", "c.toml", "--set", "lost.required=true")
    assert (status, out) == (2, "")
    assert "penstock: plugin lost is required and cannot be used: " in err
    status, out, err = box.run("--set", f"server.certificate={junk}")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"penstock: server.certificate {junk} has no")


def test_environment_names_the_file(box: Box) -> None:
    (box.path / "other.toml").write_text("[echo]\nlisten = 2\n")
    assert box.run("plugins", PENSTOCK_CONFIG="other.toml")[0] == 2
    assert "PENSTOCK_ECHO_LISTN is no setting" in box.run("plugins", PENSTOCK_ECHO_LISTN=":1")[2]


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    out = ""
    while text not in out:
        line = process.stdout.readline()
        assert line, (out, process.communicate()[1])
        out += line
    return out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(box: Box, number: signal.Signals) -> None:
    process = box.start("--set", "server.log_format=json")
    out = wait_for(process, "lost")
    assert re.search(
        r"ECHO +127\.0\.0\.1:(\d+) +tcp +publish, play +echo://127\.0\.0\.1:\1/live/stream\n", out
    )
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_a_second_signal_ends_it_at_once(box: Box) -> None:
    process = box.start("--set", "echo.stubborn=true")
    wait_for(process, "lost")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 128 + signal.SIGINT


def test_a_service_that_does_not_stop_is_not_waited_for(box: Box) -> None:
    process = box.start("--set", "echo.stubborn=true", "--set", "server.drain_timeout=0.5")
    wait_for(process, "lost")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 1


def test_interrupted_before_it_serves(box: Box) -> None:
    """While plugins are imported the signal is still Python's own."""
    (box.path / "site" / "lost_plugin.py").write_text("raise KeyboardInterrupt\n")
    assert box.run("serve") == (128 + signal.SIGINT, "", "")


def test_port_in_use_and_nothing_listens(box: Box) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, out, err = box.run("--set", f"echo.listen={address}")
        assert status == 1
        assert f"echo    echo     cannot listen on {address}: Address already in use" in out
        assert err.endswith("penstock: nothing listens\n")
        status, _, err = box.run("--set", f"echo.listen={address}", "--set", "echo.required=true")
        assert status == 1
        assert f"cannot listen on {address}: Address already in use" in err.splitlines()[-1]
    status, _, err = box.run("--set", "lost.required=true")
    assert status == 1
    assert "lost" in err.splitlines()[-1]


BAD = """
import anyio
from penstock import Plugin, hookimpl

class Service:
    name = "it"
    async def run(self, started):
        started([])
        raise SystemExit("a service's whim")

class Bad(Plugin):
    name = "{name}"
    @hookimpl
    def {hook}(self):
        {body}

plugin = Bad()
"""


def test_bad_plugins_are_named_and_the_server_runs_on(box: Box) -> None:
    """At import, in a hook, in a service: the table or the log says whose fault it is, and the good one serves."""
    box.add("exits", "raise SystemExit('at import')")
    box.add("raises", BAD.format(name="raises", hook="services", body="raise KeyError('in a hook')"))
    box.add("dies", BAD.format(name="dies", hook="services", body="return [Service()]"))
    status, out, _ = box.run("plugins")
    assert status == 0
    assert re.search(r"^exits .* failed .* cannot be imported: SystemExit: at import$", out, re.MULTILINE)
    assert re.search(
        r"^raises .* failed .* its hook services failed: KeyError: 'in a hook'$", out, re.MULTILINE
    )
    assert re.search(r"^echo .* loaded ", out, re.MULTILINE)
    assert re.search(r"^dies .* loaded ", out, re.MULTILINE), "nothing is started"
    process = box.start("--set", "server.log_format=json")
    out = wait_for(process, "raises")
    port = re.search(r"ECHO +127\.0\.0\.1:(\d+) ", out)
    assert port is not None
    assert re.search(r"^raises +- +its hook services failed: KeyError: 'in a hook'$", out, re.MULTILINE)
    time.sleep(1.5)  # the service that dies is started again meanwhile
    with socket.create_connection(("127.0.0.1", int(port[1])), 5):
        pass
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in err.splitlines()]
    failed = [(e["plugin"], e["reason"]) for e in lines if e["event"] == "plugin failed"]
    assert failed.count(("dies", "its service it failed: SystemExit: a service's whim")) >= 2
    assert {name for name, _ in failed} == {"dies", "exits", "lost", "raises"}


def test_output_that_nobody_reads(box: Box) -> None:
    process = box.start("config")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(10) == 0
    process.stderr.close()


def test_tables_and_urls() -> None:
    assert table([("a", "b"), ("long\x1b", "")]) == "a         b\nlong\\x1b"
    assert url_host("::1") == "[::1]"
    assert url_host("0.0.0.0", "media.example") == "media.example"
    assert url_host("", "2001:db8::1") == "[2001:db8::1]"
    assert url_host("127.0.0.1", "media.example") == "127.0.0.1"
    endpoints = [
        Endpoint("RTMP", "::", 1935, "tcp", ("rtmp://{host}/a", "rtmp://{host}:{port}/b")),
        Endpoint("rtp", "::", 8002, "udp"),
        Endpoint("srt", "::", 9000, "udp", publish=("srt://{host}?x&y",), play=("srt://{host}/c",)),
    ]
    plugins = PluginSet([LoadedPlugin("x", status="failed", reason="no"), LoadedPlugin("y", status="failed")])
    text = start_table(endpoints, plugins, "h", {"y": [("ys", "nor this")]})
    assert text.splitlines()[2:] == [
        "protocol  address    transport  to             URL",
        "RTMP      [::]:1935  tcp        publish, play  rtmp://h/a",
        "                                publish, play  rtmp://h:1935/b",
        "rtp       [::]:8002  udp",
        "srt       [::]:9000  udp        publish        'srt://h?x&y'",
        "                                play           srt://h/c",
        "",
        "not running:",
        "plugin  service  reason",
        "x       -        no",
        "y       ys       nor this",
    ]


def test_file_limit_is_raised() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
