"""Other people's projects that `Server.asgi` is mounted in, below ``/media``, and uvicorn to serve them."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.routing import Route as Page

import penstock

START_SECONDS = 10.0


class Quiet(uvicorn.Server):
    """Uvicorn, which leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def uvicorn_serves(app: Any, **settings: Any) -> AsyncGenerator[int]:
    """The port where uvicorn serves `app`, as anybody would start it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, **settings)
        server = Quiet(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: server.serve([sock]))
            with anyio.fail_after(START_SECONDS):
                while not server.started:
                    await anyio.sleep(0.01)
            try:
                yield sock.getsockname()[1]
            finally:
                server.should_exit = True


def starlette(server: penstock.Server) -> Starlette:
    async def home(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(f"{len(server.sessions)} sessions")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with server:
            yield

    return Starlette(routes=[Page("/", home), Mount("/media", server.asgi)], lifespan=lifespan)


def fastapi(server: penstock.Server) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with server:
            yield

    async def home() -> PlainTextResponse:
        return PlainTextResponse(f"{len(server.sessions)} sessions")

    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/", home)
    app.mount("/media", server.asgi)
    return app


def django(server: penstock.Server) -> Any:
    # It has no types.
    settings: Any = import_module("django.conf").settings
    get_asgi_application: Any = import_module("django.core.asgi").get_asgi_application
    path: Any = import_module("django.urls").path
    answer: Any = import_module("django.http").HttpResponse

    async def home(request: Any) -> Any:
        return answer(f"{len(server.sessions)} sessions")

    if not settings.configured:
        settings.configure(ROOT_URLCONF=(path("", home),), ALLOWED_HOSTS=["*"], SECRET_KEY="for tests only")
    site = get_asgi_application()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await server.asgi(scope, receive, send)
        elif scope["path"].startswith("/media/"):
            await server.asgi({**scope, "root_path": "/media"}, receive, send)
        else:
            await site(scope, receive, send)

    return application
