"""Row C3: whatever a plugin's service does, the others and the server go on, and its name is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import pytest
import structlog

import penstock
from penstock import services
from penstock.errors import UserError
from penstock.hooks import Endpoint, Plugin, hookimpl
from penstock.plugins import LoadedPlugin, PluginSet

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

Started = Callable[[Iterable[Endpoint]], None]
Work = Callable[[Started], Awaitable[None]]
HERE = Endpoint("test", "127.0.0.1", 7)


class Runs:
    """A service of one function."""

    def __init__(self, work: Work, name: str = "it") -> None:
        self.name = name
        self.run = work


def make(name_: str, *works: Work, **attributes: Any) -> Plugin:
    """A plugin with a service for each of `works`, or with what its attributes say."""

    class Made(Plugin):
        name = name_

        @hookimpl
        def services(self) -> Any:
            return [Runs(work, f"{name_}{n}") for n, work in enumerate(works)]

    for key, value in attributes.items():
        setattr(Made, key, hookimpl(value))
    return Made()


async def test_what_the_system_refuses_at_the_start_is_a_sentence(
    logs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a traceback; what breaks while it runs has one."""
    monkeypatch.setattr(services, "BACKOFF_SECONDS", (0.01,))
    lives = 0

    async def refused(started: Started) -> None:
        nonlocal lives
        lives += 1
        if lives > 1:
            started([HERE])
        raise OSError(22, "Invalid argument")

    async with server_of(make("bad", refused)):
        while lives < 2:
            await anyio.sleep(0.01)
        await anyio.sleep(0.05)
    first, *_, last = [e for e in logs if e["event"] == "plugin failed"]
    assert first["plugin"] == "bad"
    assert first["reason"] == "its service bad0 failed: OSError: [Errno 22] Invalid argument"
    assert not first.get("exc_info")
    assert isinstance(last["exc_info"], OSError)


async def good(started: Started) -> None:
    started([HERE])
    await anyio.sleep_forever()


async def hangs(started: Started) -> None:
    await anyio.sleep_forever()


def server_of(*plugins: Plugin, **tables: Any) -> penstock.Server:
    return penstock.Server(tables, plugins=PluginSet.discover(plugins, installed=False))


def record(server: penstock.Server, name: str) -> LoadedPlugin:
    found = server.plugins.get(name)
    assert found is not None
    return found


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds in place of seconds."""
    monkeypatch.setattr(services, "BACKOFF_SECONDS", (0.02, 0.02))
    monkeypatch.setattr(services, "START_SECONDS", 0.3)
    monkeypatch.setattr(services, "STOP_SECONDS", 0.3)


async def test_one_that_hangs_at_its_start_holds_up_no_other() -> None:
    """The others listen meanwhile, in the order of the plugins, and it is named; nobody waits for each in turn."""
    begun: list[float] = []

    async def late(started: Started) -> None:
        begun.append(time.monotonic())
        await good(started)

    before = time.monotonic()
    async with server_of(make("a", hangs, hangs, hangs), make("b", hangs, late), make("c", late)) as server:
        assert time.monotonic() - before < 4 * services.START_SECONDS
        assert all(moment - before < services.START_SECONDS for moment in begun)
        assert server.endpoints == [HERE, HERE]
        for name in "ab":
            assert record(server, name).status == "failed"
            assert record(server, name).reason == f"its service {name}0 did not start within 0.3 s"
        assert record(server, "c").status == "loaded"


async def test_one_that_starts_late_is_failed_until_then() -> None:
    go = anyio.Event()

    async def slow(started: Started) -> None:
        await go.wait()
        await good(started)

    async with server_of(make("slow", slow)) as server:
        assert record(server, "slow").status == "failed"
        go.set()
        await until(lambda: record(server, "slow").status == "loaded")
        assert server.endpoints == [HERE]


def raises(error: BaseException | Callable[[], BaseException]) -> Work:
    async def work(started: Started) -> None:
        started([HERE])
        await anyio.sleep(0.01)
        raise error() if callable(error) else error

    return work


async def in_a_task_of_its_own(started: Started) -> None:
    async def inner() -> None:
        raise RuntimeError("inside")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inner)


async def takes_nothing() -> None: ...


async def ends(started: Started) -> None:
    started([HERE])


def no_coroutine(started: Started) -> None: ...


DEATHS: list[tuple[Any, str]] = [
    (raises(RuntimeError("no\nway")), "its service bad0 failed: RuntimeError: no way"),
    (raises(SystemExit(3)), "its service bad0 failed: SystemExit: 3"),
    (raises(GeneratorExit()), "its service bad0 failed: GeneratorExit"),
    (raises(BaseExceptionGroup("", [SystemExit(4)])), "its service bad0 failed: SystemExit: 4"),
    (raises(UserError("the disk is full.")), "the disk is full."),
    (in_a_task_of_its_own, "its service bad0 failed: RuntimeError: inside"),
    (ends, "its service bad0 ended by itself"),
    (no_coroutine, "its service bad0 failed: TypeError: object NoneType can't be used"),
    (takes_nothing, "its service bad0 failed: TypeError: takes_nothing() takes 0"),
]


@pytest.mark.parametrize(("work", "reason"), DEATHS, ids=[reason[-20:] for _, reason in DEATHS])
async def test_one_that_dies_is_started_again_and_shown_as_failed(work: Any, reason: str) -> None:
    lives: list[str] = []

    async def counted(started: Started) -> None:
        lives.append(record(server, "bad").status)
        await work(started)

    server = server_of(make("bad", counted), make("other", good))
    with structlog.testing.capture_logs() as logs:
        async with server:
            await until(lambda: len(lives) >= 3)
            assert server.endpoints[-1] == HERE
            assert record(server, "other").status == "loaded"
    assert lives[1:3] == ["failed", "failed"]
    told = [e for e in logs if e["event"] == "plugin failed"]
    assert len(told) >= 2
    assert told[0]["plugin"] == "bad"
    assert told[0]["reason"].startswith(reason)


async def test_one_that_recovers_is_no_longer_failed() -> None:
    lives = 0

    async def second_life(started: Started) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise OSError("first")
        await good(started)

    async with server_of(make("phoenix", second_life)) as server:
        await until(lambda: record(server, "phoenix").status == "loaded")
        assert (lives, record(server, "phoenix").reason, record(server, "phoenix").errors) == (2, "", 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_cancels_itself_is_dead_and_not_merely_silent() -> None:
    """Under trio nobody can make a cancellation."""
    async with server_of(make("bad", raises(asyncio.CancelledError))) as server:
        await until(lambda: record(server, "bad").errors > 1)
        assert record(server, "bad").reason == "its service bad0 failed: CancelledError"


async def test_a_mistake_of_the_operator_is_told_once_and_not_tried_again() -> None:
    """In a task group of the service as well, which wraps it: RTSP opens its ports in one."""
    lives = 0

    async def in_use(started: Started) -> None:
        nonlocal lives
        lives += 1
        async with anyio.create_task_group():
            raise UserError("the port is in use")

    with structlog.testing.capture_logs() as logs:
        async with server_of(make("bad", in_use, good)) as server:
            await anyio.sleep(0.1)
            assert (record(server, "bad").status, record(server, "bad").reason) == (
                "failed",
                "the port is in use",
            )
            assert server.endpoints == [HERE], "its other service runs"
            lives_before = lives
            with pytest.raises(UserError, match="the port is in use"):
                await server.enable("bad")
            assert server.endpoints == []
    assert (lives_before, lives) == (1, 2)
    assert [e["reason"] for e in logs if e["event"] == "plugin failed"] == ["the port is in use"] * 2


def answers(made: Callable[[], Any]) -> Callable[[Any], Any]:
    """A hook that answers what `made` gives."""

    def hook(self: Any) -> Any:
        return made()

    return hook


def services_that_raise() -> Any:
    yield Runs(good)
    raise RuntimeError("half way")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {"services": answers(lambda: 5)},
            "its hook services failed: TypeError: 'int' object is not iterable",
        ),
        ({"services": answers(lambda: [5])}, "its hook services failed: AttributeError: 'int' object has no"),
        ({"services": answers(lambda: [Runs(5)])}, "TypeError: a service has a name, and the method run"),  # type: ignore[arg-type]
        ({"services": answers(lambda: [Runs(good, 5)])}, "TypeError: a service has a name"),  # type: ignore[arg-type]
        ({"services": answers(services_that_raise)}, "its hook services failed: RuntimeError: half way"),
        ({"services": answers(lambda: exit(2))}, "its hook services failed: SystemExit: 2"),
        (
            {"schemes": answers(lambda: ["a"])},
            "its hook schemes failed: TypeError: a mapping of URL schemes is",
        ),
        (
            {"schemes": answers(lambda: {"a": 1})},
            "its hook schemes failed: AttributeError: 'int' object has no",
        ),
    ],
)
async def test_hooks_that_answer_what_they_must_not(attributes: dict[str, Any], reason: str) -> None:
    async with server_of(make("bad", **attributes), make("other", good)) as server:
        assert record(server, "bad").status == "failed"
        assert reason in record(server, "bad").reason
        assert record(server, "bad").errors == 1
        assert server.endpoints == [HERE]


@pytest.mark.parametrize(
    "endpoints",
    [5, [5], None, ["a"]],
)
async def test_started_takes_endpoints(endpoints: Any) -> None:
    async def work(started: Started) -> None:
        started(endpoints)
        await anyio.sleep_forever()

    async with server_of(make("bad", work), make("other", good)) as server:
        assert record(server, "bad").status == "failed"
        assert "TypeError" in record(server, "bad").reason
        assert server.endpoints == [HERE]


@pytest.mark.parametrize(
    "values",
    [("a", None, 1), ("a", "b", "1"), (1, "b", 1), ("a", "b", 1, "sctp"), ("a", "b", 1, "tcp", "rtmp://")],
)
def test_endpoints_are_checked_where_they_are_made(values: Any) -> None:
    """The start table would fail of them, and the server with it."""
    with pytest.raises((TypeError, ValueError)):
        Endpoint(*values)


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (
            make("auth", hangs),
            "plugin auth is required and did not start: its service auth0 did not start within",
        ),
        (
            make("auth", services=answers(lambda: 5)),
            "plugin auth is required and did not start: its hook services",
        ),
        (
            make("auth", register=answers(lambda: exit(1))),
            "plugin auth is required and cannot be used: SystemExit",
        ),
    ],
)
async def test_a_required_plugin_that_fails_stops_the_start(plugin: Plugin, reason: str) -> None:
    """In one sentence, and with nothing left running."""
    server = server_of(make("a", good), plugin, auth={"required": True})
    with pytest.raises(UserError) as raised:
        async with server:
            pytest.fail("it started")
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)
    assert server.endpoints == []


async def test_a_required_plugin_that_dies_later_is_an_ordinary_failure() -> None:
    begun = anyio.Event()

    async def dies(started: Started) -> None:
        started([HERE])
        await begun.wait()
        raise RuntimeError("x")

    async with server_of(make("a", good), make("auth", dies), auth={"required": True}) as server:
        begun.set()
        await until(lambda: record(server, "auth").status == "failed")
        assert record(server, "a").status == "loaded"


async def test_required_and_a_port_in_use() -> None:
    async def in_use(started: Started) -> None:
        raise UserError("the port is in use")

    with pytest.raises(UserError, match="plugin auth is required and did not start: the port is in use"):
        async with server_of(make("auth", in_use), auth={"required": True}):
            pytest.fail("it started")


async def test_switched_off_and_on_while_others_run() -> None:
    async with server_of(make("a", good), make("b", good)) as server:
        for _ in range(3):
            await server.disable("a")
            assert server.endpoints == [HERE]
            assert (record(server, "a").status, record(server, "b").status) == ("disabled", "loaded")
            await server.disable("a")
            await server.enable("a")
            assert server.endpoints == [HERE, HERE]
            assert record(server, "a").status == "loaded"
        with pytest.raises(UserError, match="there is no plugin 'c'"):
            await server.enable("c")
    async with server_of(make("a", good), a={"required": True}) as server:
        with pytest.raises(UserError, match="the plugin a is required"):
            await server.disable("a")


async def test_at_once_from_several_tasks() -> None:
    """Switching is one after the other, whatever the order: at the end it is on or off, whole."""
    async with server_of(make("a", good)) as server, anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(server.disable if n % 3 else server.enable, "a")
        await anyio.wait_all_tasks_blocked()
        status = record(server, "a").status
        assert (status, server.endpoints) in [("loaded", [HERE]), ("disabled", [])]


async def test_one_that_cannot_start_when_switched_on_leaves_nothing() -> None:
    async with server_of(make("a", good, hangs), a={"enabled": False}) as server:
        with pytest.raises(UserError, match="its service a1 did not start within"):
            await server.enable("a")
        assert server.endpoints == []
        assert record(server, "a").status == "failed"


async def stubborn(started: Started) -> None:
    started([HERE])
    with anyio.CancelScope(shield=True):
        await anyio.sleep(1)


async def test_one_that_does_not_stop_is_named_and_not_waited_for() -> None:
    with structlog.testing.capture_logs() as logs:
        async with server_of(make("slug", stubborn), make("other", good)) as server:
            before = time.monotonic()
            await server.disable("slug")
            assert time.monotonic() - before < 0.9
            assert record(server, "slug").status == "disabled"
            assert server.endpoints == [HERE]
    told = [e for e in logs if e["event"] == "a service does not stop"]
    assert [(e["plugin"], e["service"]) for e in told] == [("slug", "slug0")]


async def test_one_that_does_not_stop_is_named_at_the_end() -> None:
    with structlog.testing.capture_logs() as logs:
        async with server_of(make("slug", stubborn), server={"drain_timeout": 0.2}):
            pass
    told = [e for e in logs if e["event"] == "a service does not stop"]
    assert [(e["plugin"], e["service"]) for e in told] == [("slug", "slug0")]


async def test_a_bug_in_its_cleanup_is_its_own() -> None:
    async def untidy(started: Started) -> None:
        started([HERE])
        try:
            await anyio.sleep_forever()
        finally:
            raise RuntimeError("in cleanup")

    with structlog.testing.capture_logs() as logs:
        async with server_of(make("untidy", untidy), make("other", good)) as server:
            await server.disable("untidy")
            assert record(server, "untidy").status == "disabled"
            assert server.endpoints == [HERE]
            await server.enable("untidy")
            assert server.endpoints == [HERE, HERE]
    reasons = [e["reason"] for e in logs if e["event"] == "plugin failed"]
    assert reasons == ["its service untidy0 failed: RuntimeError: in cleanup"] * 2


async def test_a_task_of_the_server_may_fail() -> None:
    """What a plugin has given to `Server.spawn` ends alone."""

    async def fails(error: BaseException) -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        async with server_of(make("other", good)) as server:
            for error in (RuntimeError("x"), SystemExit(1), GeneratorExit()):
                server.spawn(lambda error=error: fails(error))  # type: ignore[misc]
            await anyio.sleep(0.05)
            assert server.endpoints == [HERE]
    assert [e["event"] for e in logs if e["event"] != "listening"] == ["a task failed"] * 3
    server.spawn(lambda: fails(RuntimeError()))  # the server is gone: nothing is begun


async def test_a_session_may_fail() -> None:
    """So does whatever a session raises; it is told of as any other."""

    async def fails(error: BaseException) -> None:
        raise error

    async with server_of(make("other", good)) as server:
        for error in (RuntimeError("x"), SystemExit(1), GeneratorExit()):
            session = server.sessions.add("test", "127.0.0.1:1")
            assert await server.run_session(session, lambda error=error: fails(error))  # type: ignore[misc]
            assert session.reason == "internal error"
        assert len(server.sessions) == 0


async def held_up(started: Started) -> None:
    started([HERE])
    time.sleep(1.6)  # noqa: ASYNC251 - the mistake that is to be found
    await anyio.sleep_forever()


async def test_the_watchdog_names_who_holds_up_the_loop() -> None:
    with structlog.testing.capture_logs() as logs:
        async with server_of(make("other", good), make("block", held_up)):
            await anyio.sleep(0.05)
    told = [e for e in logs if e["event"] == "the event loop is held up"]
    assert len(told) == 1
    assert "block" in told[0]["plugin"]
    assert "held_up" in told[0]["at"]
    assert told[0]["seconds"] >= 1
