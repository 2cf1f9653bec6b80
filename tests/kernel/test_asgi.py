"""A server as an ASGI application: which plugin answers is found anew as plugins come and go."""

from __future__ import annotations

from typing import Any

import pytest

import penstock
from penstock.asgi import Message, Receive, Send
from penstock.hooks import Plugin, hookimpl
from penstock.plugins import PluginSet

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


class Web(Plugin):
    name = "web"

    @hookimpl
    def asgi(self) -> Any:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await send({"type": "answer", "path": scope["path"]})

        return app


async def ask(server: penstock.Server, kind: str = "http") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody reads a body here")

    async def send(message: Message) -> None:
        sent.append(message)

    await server.asgi({"type": kind, "path": "/live/a"}, receive, send)
    return sent


async def test_requests_go_to_the_plugin_that_answers_while_it_is_enabled() -> None:
    async with penstock.Server(plugins=PluginSet.discover([Web()], installed=False)) as server:
        assert await ask(server) == [{"type": "answer", "path": "/live/a"}]
        await server.disable("web")
        assert [message.get("status") for message in await ask(server)] == [503, None]
        assert await ask(server, "websocket") == [{"type": "websocket.close", "code": 1013}]
        await server.enable("web")
        assert await ask(server) == [{"type": "answer", "path": "/live/a"}]
    assert (await ask(server))[0]["status"] == 503


async def test_nobody_answers_where_no_plugin_does() -> None:
    async with penstock.Server(plugins=PluginSet.discover([], installed=False)) as server:
        assert (await ask(server))[0]["status"] == 503
