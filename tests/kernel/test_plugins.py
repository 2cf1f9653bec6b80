"""Plugins: whatever one of them does, the others and the server go on, and the reason can be read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pluggy
import pytest
import structlog
from attrs import frozen

from penstock.config import Config
from penstock.errors import Denied, UserError
from penstock.hooks import Plugin, hookimpl, hookspec, option
from penstock.media import Codec, Kind
from penstock.path import StreamPath
from penstock.plugins import LoadedPlugin, PluginSet
from penstock.registry import Capability, Registry
from penstock.server import Server
from penstock.session import Credentials, Session

FOO = Codec("foo", Kind.VIDEO)
BAR = Codec("bar", Kind.AUDIO)
CARRIER: Capability[str] = Capability("carrier")


@frozen
class GoodConfig:
    size: int = option(1, "How big.")


class Good(Plugin):
    name = "good"
    version = "1.2"
    config = GoodConfig

    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(FOO)
        registry.bind(FOO, CARRIER, "good")

    @hookimpl
    def stream_wanted(self, path: StreamPath) -> None:
        self.seen.append(path)


def active(*plugins: Plugin, **tables: Any) -> PluginSet:
    found = PluginSet.discover(plugins, installed=False)
    found.activate(Config.from_mapping(tables, found.configs))
    return found


def record(plugins: PluginSet, name: str) -> LoadedPlugin:
    found = plugins.get(name)
    assert found is not None
    return found


def make(name_: str, **attributes: Any) -> Plugin:
    made: Plugin = type("Made", (Plugin,), {"name": name_, **attributes})()
    return made


def test_a_good_plugin() -> None:
    good = Good()
    plugins = active(good, good={"size": 3})
    found = record(plugins, "good")
    assert (found.status, found.reason, found.version, found.api) == ("loaded", "", "1.2", "1")
    assert plugins.registry.get(FOO, CARRIER) == "good"
    plugins.notify("stream_wanted", path=StreamPath.parse("a"))
    assert good.seen == ["a"]
    assert plugins.usable(Config()) == ["good"]


class RaisesInRegister(Plugin):
    name = "raises"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(BAR)
        registry.bind(BAR, CARRIER, "raises")
        registry.bind(FOO, Capability[str]("other"), "raises")
        raise SystemExit("no way")


class SameCodec(Plugin):
    name = "same"

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.add(Codec("foo", Kind.AUDIO))


class BadSignature(Plugin):
    name = "signature"

    @hookimpl
    def stream_wanted(self, path: StreamPath, colour: str) -> None: ...


class AsyncNotice(Plugin):
    name = "asynchronous"

    @hookimpl
    async def stream_wanted(self, path: StreamPath) -> None: ...


class Wrapper(Plugin):
    name = "wrapper"

    @hookimpl(wrapper=True)
    def stream_wanted(self) -> Generator[None, Any, Any]:
        return (yield)


@frozen
class NoDefault:
    size: int


@frozen
class TakesKernelKey:
    enabled: bool = True


@frozen
class BadAnnotation:
    size: Missing = 1  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (RaisesInRegister(), "SystemExit: no way"),
        (SameCodec(), "codec 'foo' is registered already"),
        (BadSignature(), "colour"),
        (AsyncNotice(), "its hook stream_wanted must not be async"),
        (Wrapper(), "its hook stream_wanted is a wrapper"),
        (Good(), "the name 'good' is taken by another plugin"),
        (object(), "is no penstock.Plugin but object"),
        (BadSignature, "is a class: the entry point must name an instance of it"),
        (make("Server"), "its name must be lower-case letters"),
        (make("server"), "may not be called 'server'"),
        (make("new", api=(2, 3)), "works with plugin API 2 to 3; this is API 1"),
        (make("odd", api=1), "its api must be the oldest and the newest version"),
        (make("noclass", config=dict), "its config is no attrs class"),
        (make("nodefault", config=NoDefault), "its config field 'size' has no default"),
        (
            make("kernelkey", config=TakesKernelKey),
            "its config field 'enabled' is a key that the kernel handles",
        ),
        (make("annotated", config=BadAnnotation), "cannot be used: NameError"),
        (make("specs", hookspecs=object()), "its hookspecs cannot be used"),
    ],
)
def test_a_bad_plugin_fails_alone(plugin: Any, reason: str) -> None:
    good = Good()
    with structlog.testing.capture_logs() as logs:
        plugins = active(good, plugin)
    first, second = plugins.records
    assert first.status == "loaded"
    assert second.status == "failed"
    assert reason in second.reason
    assert "\n" not in second.reason
    assert [e["reason"] for e in logs if e["event"] == "plugin failed"] == [second.reason]
    assert plugins.registry.codecs == (FOO,)
    assert plugins.registry.get(FOO, Capability[str]("other")) is None
    plugins.notify("stream_wanted", path=StreamPath.parse("a"))
    assert good.seen == ["a"]


def test_disabled_by_config_blocked_and_required() -> None:
    plugins = active(Good(), good={"enabled": False})
    assert record(plugins, "good").status == "disabled"
    assert plugins.registry.codecs == ()
    blocked = PluginSet.discover([Good()], ["good"], installed=False)
    assert blocked.usable(Config()) == []
    found = PluginSet.discover([make("new", api=(2, 2)), Good()], installed=False)
    config = Config.from_mapping({"new": {"required": True}, "good": {"required": True}}, found.configs)
    assert [r.name for r in found.required_failures(config)] == ["new"]


def test_enable_and_disable_while_running() -> None:
    good = Good()
    plugins = active(good, good={"enabled": False})
    path = StreamPath.parse("a")
    plugins.notify("stream_wanted", path=path)
    assert plugins.enable("good").status == "loaded"
    plugins.notify("stream_wanted", path=path)
    plugins.disable("good")
    plugins.notify("stream_wanted", path=path)
    assert good.seen == ["a"]
    assert plugins.registry.codecs == (FOO,)
    plugins.enable("good")
    plugins.notify("stream_wanted", path=path)
    assert good.seen == ["a", "a"]
    with pytest.raises(UserError, match=r"there is no plugin 'goood'; did you mean good\?"):
        plugins.enable("goood")
    broken = active(make("new", api=(2, 2)))
    with pytest.raises(UserError, match="cannot be enabled: works with plugin API 2"):
        broken.enable("new")


def test_failed_and_recovered_services() -> None:
    plugins = active(Good())
    plugins.fail("good", "port 1935 is in use")
    assert (record(plugins, "good").status, record(plugins, "good").reason) == (
        "failed",
        "port 1935 is in use",
    )
    plugins.recovered("good")
    assert record(plugins, "good").status == "loaded"


def test_an_exception_in_a_notice_goes_no_further() -> None:
    class Raises(Plugin):
        name = "raises"

        @hookimpl
        def stream_wanted(self) -> None:
            raise KeyError("x\ny")

    good = Good()
    plugins = active(Raises(), good)
    with structlog.testing.capture_logs() as logs:
        plugins.notify("stream_wanted", path=StreamPath.parse("a"))
    assert good.seen == ["a"]
    assert (record(plugins, "raises").errors, record(plugins, "raises").last_error) == (
        1,
        "stream_wanted: KeyError: 'x\\ny'",
    )
    assert logs[0]["plugin"] == "raises"


def test_calls_to_one_plugin() -> None:
    class Serves(Plugin):
        name = "serves"

        @hookimpl
        def services(self, config: Any) -> Iterable[Any]:
            return [config]

        @hookimpl
        def schemes(self) -> Any:
            raise RuntimeError("oh")

        @hookimpl
        def secret(self, path: StreamPath) -> str | None:
            if path == "bad":
                raise OSError("disk")
            return "key" if path == "live" else None

    plugins = active(Serves(), Good())
    assert plugins.call("serves", "services", server=None, config=5) == [5]
    assert plugins.call("good", "services", server=None, config=5) is None
    with pytest.raises(UserError, match="its hook schemes failed: RuntimeError: oh"):
        plugins.call("serves", "schemes", server=None, config=5)
    assert plugins.first("secret", path=StreamPath.parse("live")) == "key"
    assert plugins.first("secret", path=StreamPath.parse("other")) is None
    with pytest.raises(Denied):
        plugins.first("secret", path=StreamPath.parse("bad"))


def authorizer(name: str, answer: Any, asked: list[str], **options: bool) -> Plugin:
    class Authorizes(Plugin):
        @hookimpl(**options)  # type: ignore[call-overload, untyped-decorator, unused-ignore]
        async def authorize(self, path: StreamPath, credentials: Credentials) -> Any:
            await anyio.lowlevel.checkpoint()
            asked.append(name)
            return answer() if callable(answer) else answer

    Authorizes.name = name
    return Authorizes()


def raises() -> None:
    raise ValueError("database is down")


@pytest.mark.parametrize(
    ("answers", "denied", "asks"),
    [
        ([], None, 0),
        ([None, None], None, 2),
        ([None, True, False], None, 2),
        ([False, True], "not allowed", 1),
        ([None, "too late"], "too late", 2),
        (["", True], "not allowed", 1),
        ([raises, True], "authorization failed", 1),
        ([1, True], "authorization failed", 1),
        ([True, raises], None, 1),
    ],
)
def test_authorize_stops_at_the_first_answer(answers: list[Any], denied: str | None, asks: int) -> None:
    asked: list[str] = []
    plugins = active(*(authorizer(f"a{n}", answer, asked) for n, answer in enumerate(answers)))

    async def ask() -> None:
        session = Session("1", "test", "127.0.0.1:1")
        await plugins.ask_authorize(session, "read", StreamPath.parse("a"), Credentials())

    if denied is None:
        anyio.run(ask)
    else:
        with pytest.raises(Denied, match=denied) as raised:
            anyio.run(ask)
        assert raised.value.anonymous
    assert asked == [f"a{n}" for n in range(asks)]


def test_a_synchronous_authorize_and_the_order() -> None:
    class Sync(Plugin):
        name = "sync"

        @hookimpl
        def authorize(self, credentials: Credentials) -> bool:
            return credentials.verify(password="secret")

    asked: list[str] = []
    plugins = active(
        authorizer("last", None, asked, trylast=True),
        authorizer("b", None, asked),
        authorizer("a", None, asked),
        authorizer("first", None, asked, tryfirst=True),
        Sync(),
    )

    async def ask(credentials: Credentials) -> None:
        await plugins.ask_authorize(
            Session("1", "test", "::1"), "publish", StreamPath.parse("a"), credentials
        )

    anyio.run(ask, Credentials("user", "secret"))
    assert asked == ["first", "b", "a"]
    with pytest.raises(Denied) as raised:
        anyio.run(ask, Credentials("user", "wrong"))
    assert not raised.value.anonymous


class Specs:
    @hookspec
    def greeting(self, name: str) -> str: ...  # type: ignore[empty-body]


def test_a_plugin_adds_hooks_that_an_earlier_one_implements() -> None:
    class Greets(Plugin):
        name = "a"

        @hookimpl
        def greeting(self, name: str) -> str:
            return f"hello {name}"

    class Host(Plugin):
        name = "host"
        hookspecs: ClassVar[object] = Specs

    plugins = active(Greets(), Host())
    assert plugins.first("greeting", name="you") == "hello you"
    clash = active(Host(), make("thief", hookspecs=Specs))
    assert "the hook 'greeting' is another plugin's" in record(clash, "thief").reason


def test_a_misspelt_hook_fails_its_plugin() -> None:
    class Misspelt(Plugin):
        name = "misspelt"

        @hookimpl
        def sesion_opened(self, session: Session) -> None: ...

    plugins = active(Misspelt(), Good())
    assert record(plugins, "misspelt").status == "failed"
    assert record(plugins, "misspelt").reason == (
        "its hook sesion_opened is one that nobody calls; did you mean session_opened?"
    )
    assert plugins.required_failures(Config()) == []


class BadArgument(Plugin):
    name = "door"

    @hookimpl
    def authorize(self, acton: str) -> bool:
        return False


class BadName(Plugin):
    name = "door"

    @hookimpl
    def authorise(self, action: str) -> bool:
        return False


class Elsewhere(Plugin):
    name = "door"

    @hookimpl(optionalhook=True)
    def authorise(self) -> bool:
        return False


def test_no_door_stands_open_because_its_plugin_failed() -> None:
    for plugin, says in ((BadArgument(), "{'acton'}"), (BadName(), "did you mean authorize?")):
        plugins = active(Good(), plugin)
        (failed,) = plugins.required_failures(Config())
        assert failed.name == "door"
        assert says in failed.reason
        off = active(plugin, door={"enabled": False})
        assert off.required_failures(Config()) == []
    assert active(Elsewhere()).required_failures(Config()) == []


@pytest.mark.anyio
async def test_the_server_does_not_start_without_its_door() -> None:
    server = Server({}, plugins=PluginSet.discover([BadArgument()], installed=False))
    with pytest.raises(UserError, match=r"^plugin door says who may do what and cannot be used: .*'acton'"):
        async with server:
            pass


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution with entry points and modules on the path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    before = set(sys.modules)

    def put(dist: str, entries: dict[str, str], modules: dict[str, str], requires: str = "") -> None:
        info = tmp_path / f"{dist.replace('-', '_')}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 0.3\n{requires}")
        points = "".join(f"{name} = {target}\n" for name, target in entries.items())
        (info / "entry_points.txt").write_text(f"[penstock.plugins]\n{points}")
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)

    yield put
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


ACME = """
from penstock.hooks import Plugin
class Acme(Plugin):
    name = "acme"
plugin = Acme()
number = 5
"""


def test_entry_points(install: Install) -> None:
    install(
        "penstock-acme",
        {
            "acme": "acme_plugin:plugin",
            "acme-other": "acme_plugin:plugin",
            "acme-number": "acme_plugin:number",
            "acme-nothing": "acme_plugin:nothing",
            "acme-missing": "acme_missing:plugin",
            "acme-extra": "acme_extra:plugin",
            "acme-away": "acme_away:plugin",
            "acme-exit": "acme_exit:plugin",
            "acme-syntax": "acme_syntax:plugin",
        },
        {
            "acme_plugin": ACME,
            "acme_missing": "import nowhere_to_be_found.sub",
            "acme_extra": "import video_thing",
            "acme_exit": "raise SystemExit(3)",
            "acme_syntax": "def",
        },
        'Requires-Dist: video-thing>=1 ; extra == "video"\nProvides-Extra: video\n',
    )
    install("acme-squatter", {"acme": "acme_plugin:plugin"}, {})
    plugins = PluginSet.discover()
    plugins.activate(Config())
    reasons = {(r.name, r.distribution): (r.status, r.reason) for r in plugins if "acme" in r.distribution}
    assert reasons.pop(("acme", "acme-squatter")) == ("loaded", "")
    assert reasons == {
        ("acme", "penstock-acme"): ("failed", "the name 'acme' is taken by acme-squatter"),
        ("acme-other", "penstock-acme"): ("failed", "calls itself 'acme' but its entry point 'acme-other'"),
        ("acme-number", "penstock-acme"): ("failed", "is no penstock.Plugin but int"),
        ("acme-nothing", "penstock-acme"): (
            "failed",
            "cannot be imported: AttributeError: module 'acme_plugin' has no attribute 'nothing'",
        ),
        ("acme-missing", "penstock-acme"): (
            "failed",
            "no module named 'nowhere_to_be_found': pip install nowhere_to_be_found",
        ),
        ("acme-extra", "penstock-acme"): (
            "failed",
            "no module named 'video_thing': pip install 'penstock-acme[video]'",
        ),
        ("acme-away", "penstock-acme"): ("failed", "cannot be imported: No module named 'acme_away'"),
        ("acme-exit", "penstock-acme"): ("failed", "cannot be imported: SystemExit: 3"),
        ("acme-syntax", "penstock-acme"): (
            "failed",
            "cannot be imported: SyntaxError: invalid syntax (acme_syntax.py, line 1)",
        ),
    }
    assert plugins.configs["acme-missing"] is None
    blocked = PluginSet.discover(blocked=["acme"])
    assert record(blocked, "acme").status == "disabled"


def test_two_sets_in_one_process() -> None:
    good = Good()
    one, two = active(good), active(good, good={"enabled": False})
    assert one.registry.codecs == (FOO,)
    assert two.registry.codecs == ()
    assert isinstance(one.manager, pluggy.PluginManager)


def test_lines_about_peers_are_limited_by_address() -> None:
    with structlog.testing.capture_logs() as logs:
        plugins = active()
        for port in range(50):
            # Of one network of IPv6.
            plugins.limited_log("session closed", peer=f"[2001:db8::{port}]:{port}", reason="x", path=None)
        plugins.limited_log("session closed", peer="10.0.0.1:5", level="warning")
    assert len(logs) == 11
    assert logs[0] == {
        "event": "session closed",
        "log_level": "info",
        "peer": "[2001:db8::0]:0",
        "reason": "x",
    }
    assert logs[-1]["log_level"] == "warning"
