"""The life of a server inside any program: started, stopped, several of them, with ports that the system chose."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
import structlog
from attrs import frozen

import penstock
from penstock import Connection, Endpoint, Plugin, PluginSet, Session, TcpService, hookimpl, option
from penstock.errors import UserError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


@frozen
class EchoConfig:
    listen: str = option("127.0.0.1:0", "Where to listen.", validator=penstock.is_listen)


class Echo(Plugin):
    """Says back each line, and goodbye."""

    name = "echo"
    config = EchoConfig

    @hookimpl
    def services(self, server: penstock.Server, config: EchoConfig) -> Iterable[penstock.Service]:
        return [TcpService(server, "echo", config.listen, echo, url="echo://{host}:{port}/")]


async def echo(connection: Connection, session: Session) -> None:
    session.direction = "read"
    try:
        while (line := await connection.receive_until(b"\n", 100)) is not None:
            await connection.send(line + b"\n")
    finally:
        connection.sink.control(b"bye\n")


def server_of(**tables: Any) -> penstock.Server:
    return penstock.Server(tables, plugins=PluginSet.discover([Echo()], installed=False))


def port_of(server: penstock.Server) -> int:
    (endpoint,) = server.endpoints
    assert endpoint == Endpoint("echo", "127.0.0.1", endpoint.port, "tcp", ("echo://{host}:{port}/",))
    assert endpoint.port > 0
    return endpoint.port


async def say(port: int, line: bytes) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(line)
        return await stream.receive()


async def test_an_embedded_server_leaves_logging_to_its_program() -> None:
    structlog.reset_defaults()
    async with server_of():
        assert not structlog.is_configured()


async def test_started_and_stopped_again_and_again() -> None:
    """Each time everything is given back: the port too, which the next server gets."""
    port = 0
    for turn in range(5):
        async with server_of(echo={"listen": f"127.0.0.1:{port}"}) as server:
            port = port_of(server)
            assert await say(port, b"%d\n" % turn) == b"%d\n" % turn
        assert server.endpoints == []
        assert len(server.sessions) == 0
        with pytest.raises(OSError):
            await say(port, b"gone\n")


async def test_several_at_once_know_nothing_of_each_other() -> None:
    async with server_of() as one, server_of() as two:
        assert port_of(one) != port_of(two)
        async with await anyio.connect_tcp("127.0.0.1", port_of(one)) as stream:
            await stream.send(b"x\n")
            assert await stream.receive() == b"x\n"
            assert (len(one.sessions), len(two.sessions)) == (1, 0)
            await one.disable("echo")
            assert await stream.receive() == b"bye\n"
        assert one.endpoints == []
        assert await say(port_of(two), b"y\n") == b"y\n"


async def test_the_end_is_told_to_open_connections() -> None:
    async with server_of() as server:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(server))
        await stream.send(b"x\n")
        assert await stream.receive() == b"x\n"
    assert await stream.receive() == b"bye\n"
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await stream.aclose()


async def test_what_a_session_had_is_given_back_at_its_end() -> None:
    """And not by the collector: of ten thousand that end together it would take a tenth of a second at once."""
    async with server_of() as server:
        gc.collect()
        gc.disable()
        try:
            async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
                await stream.send(b"x\n")
                await stream.receive()
                (session,) = [weakref.ref(session) for session in server.sessions]
                await stream.send(b"more than a line may have" * 10)
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while await stream.receive():
                        pass
            with anyio.fail_after(5):
                while session() is not None:
                    await anyio.sleep(0.01)
        finally:
            gc.enable()


async def test_stop_ends_the_wait() -> None:
    async with server_of() as server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run_until_stopped)
        await anyio.wait_all_tasks_blocked()
        server.stop()


async def test_an_error_of_the_program_is_raised_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with server_of():
            raise KeyError("mine")


async def test_cancelled_from_outside() -> None:
    """Its program's scope ends it, and it still says goodbye."""
    with socket.socket() as peer:
        with anyio.CancelScope() as scope:
            async with server_of() as server:
                peer.connect(("127.0.0.1", port_of(server)))
                peer.sendall(b"x\n")
                peer.setblocking(False)
                await anyio.wait_readable(peer)
                assert peer.recv(10) == b"x\n"
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert peer.recv(10) == b"bye\n"


async def test_one_life_and_one_set_of_plugins_each() -> None:
    server = server_of()
    async with server:
        pass
    with pytest.raises(UserError, match="a Server is started once"):
        async with server:
            pytest.fail("it started")
    with pytest.raises(UserError, match="a PluginSet is for one server"):
        penstock.Server(plugins=server.plugins)


def test_made_outside_of_any_loop(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    server = server_of()

    async def main() -> bytes:
        async with server:
            return await say(port_of(server), b"x\n")

    backend, options = anyio_backend
    assert anyio.run(main, backend=backend, backend_options=options) == b"x\n"


def test_a_config_in_the_shape_of_a_file() -> None:
    with pytest.raises(UserError, match=r"echo\.listn is unknown; did you mean echo\.listen\?"):
        server_of(echo={"listn": ":1"})
    with pytest.raises(UserError, match=r"server\.drain_timeout must be a number"):
        server_of(server={"drain_timeout": "long"})


async def test_a_peer_that_asks_for_nothing_is_let_go() -> None:
    async def silent(connection: Connection, session: Session) -> None:
        await connection.receive()

    class Silent(Plugin):
        name = "silent"

        @hookimpl
        def services(self, server: penstock.Server) -> Iterable[penstock.Service]:
            return [TcpService(server, "silent", "127.0.0.1:0", silent)]

    plugins = PluginSet.discover([Silent()], installed=False)
    limits = {"handshake_timeout": 0.2, "publisher_timeout": 0.4}
    with structlog.testing.capture_logs() as logs:
        async with penstock.Server({"server": limits}, plugins=plugins) as server:
            port = server.endpoints[0].port
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                with anyio.fail_after(3), pytest.raises(anyio.EndOfStream):
                    await stream.receive()
    reasons = [e["reason"] for e in logs if e["event"] == "session closed"]
    assert reasons == ["the peer asked for nothing within 0.2 s"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_connections": 2}, "server.max_connections (2) reached"),
        ({"max_connections_per_address": 2}, "server.max_connections_per_address (2) reached"),
    ],
)
async def test_connections_over_the_limit_are_refused_and_places_are_given_back(
    limits: dict[str, int], reason: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with server_of(server=limits) as server:
            port = port_of(server)
            for _ in range(3):
                async with (
                    await anyio.connect_tcp("127.0.0.1", port) as one,
                    await anyio.connect_tcp("127.0.0.1", port) as two,
                ):
                    for stream in (one, two):
                        await stream.send(b"x\n")
                        assert await stream.receive() == b"x\n"
                    with socket.create_connection(("127.0.0.1", port)) as third:
                        third.setblocking(False)
                        await until_closed(third)
                with anyio.fail_after(3):
                    while len(server.sessions):
                        await anyio.sleep(0.01)
    refused = [e["reason"] for e in logs if e["event"] == "connection refused"]
    assert refused == [reason] * 3


async def until_closed(sock: socket.socket) -> None:
    with anyio.fail_after(3):
        await anyio.wait_readable(sock)
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass


async def test_a_session_that_begins_while_the_server_stops_is_not_waited_for() -> None:
    """As that of an HLS viewer, whose request had come before."""
    ended: list[str] = []

    class Late(Plugin):
        name = "late"

        @hookimpl
        def session_closed(self, session: Session, reason: str, server: penstock.Server) -> None:
            if session.protocol == "echo":
                server.spawn(partial(self.work, server))
            else:
                ended.append(reason)

        async def work(self, server: penstock.Server) -> None:
            session = server.open_session("late", "127.0.0.1:1")
            with anyio.CancelScope() as scope:
                session.ends(scope)
                await anyio.sleep_forever()
            server.close_session(session)

    plugins = PluginSet.discover([Echo(), Late()], installed=False)
    async with penstock.Server(plugins=plugins) as server:
        peer = socket.create_connection(("127.0.0.1", port_of(server)))
        with anyio.fail_after(3):
            while not len(server.sessions):
                await anyio.sleep(0.01)
        began = anyio.current_time()
    peer.close()
    assert anyio.current_time() - began < 5
    assert ended == ["the server is stopping"]


async def test_whoever_is_told_of_a_session_is_told_of_its_end() -> None:
    """Also where its task is cancelled from outside."""
    seen: list[str] = []

    class Witness(Plugin):
        name = "witness"

        @hookimpl
        def session_opened(self, session: Session) -> None:
            seen.append("opened")

        @hookimpl
        def session_closed(self, session: Session, reason: str) -> None:
            seen.append(reason)

    async def work() -> None:
        await anyio.sleep_forever()

    plugins = PluginSet.discover([Witness()], installed=False)
    async with penstock.Server(plugins=plugins) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run_session, server.sessions.add("test", "::1"), work)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert seen == ["opened", "the server is stopping"]


async def test_kicked_in_its_work_it_ends_with_that_reason() -> None:
    async with server_of() as server, await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        await stream.send(b"x\n")
        await stream.receive()
        (session,) = server.sessions
        assert server.sessions.get(session.id) is session
        session.kick("because")
        session.kick("the first reason counts")
        assert await stream.receive() == b"bye\n"
        assert session.reason == "because"
