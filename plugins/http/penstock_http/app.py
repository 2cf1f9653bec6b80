"""The ASGI application: finds the route of a request, runs its handler, and answers for what it raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes
from weakref import WeakKeyDictionary

import anyio

from penstock import (
    Closed,
    Denied,
    NotFound,
    PenstockError,
    ProtocolViolation,
    Server,
    StreamError,
    UserError,
)
from penstock.errors import Full, leading
from penstock_http.api import Headers, Message, Route
from penstock_http.config import HttpConfig
from penstock_http.cors import Cors, RawHeaders
from penstock_http.forwarded import Proxies
from penstock_http.request import DONE, FRESH, AsgiRequest
from penstock_http.routes import Pattern, Table
from penstock_http.shortcut import PlainGet, PlainGets
from penstock_http.viewer import Refused

MAX_PATH = 2048
"""Bytes of a URL's path: a stream's has 255, and what comes after it is short."""

REALM = 'Basic realm="penstock", charset="UTF-8"'
WRONG_TOKEN = 'Bearer realm="penstock", error="invalid_token"'
"""What a wrong token is answered by (RFC 6750 3.1): a browser that is asked for Basic would ask for a name and a password."""

_ALWAYS: RawHeaders = [(b"x-content-type-options", b"nosniff")]
"""What a response is said to be is what it is: a stream's name in a text is no script."""

_apps: WeakKeyDictionary[Server, HttpApp] = WeakKeyDictionary()


def app_of(server: Server, config: HttpConfig) -> HttpApp:
    """The application of a server: one, whether its own listeners serve it or somebody else's."""
    app = _apps.get(server)
    if app is None:
        app = _apps[server] = HttpApp(server, config)
    return app


class HttpApp:
    """The routes of all plugins that are enabled."""

    def __init__(self, server: Server, config: HttpConfig) -> None:
        self._server = server
        self._cors = Cors(config.cors)
        self._proxies = Proxies(config.trusted_proxies, config.proxy_header)
        self._table = Table(())
        self._plain = PlainGets(self._table, self._common, self._proxies, server.plugins)
        self._routes: dict[str, tuple[int, list[Route]]] = {}
        self._changes = -1

    def refresh(self) -> None:
        """Ask plugins that were enabled since for their routes, and forget those of plugins that were disabled."""
        plugins = self._server.plugins
        if self._changes == plugins.changes:
            return
        self._changes = plugins.changes
        routes: dict[str, tuple[int, list[Route]]] = {}
        for record in plugins:
            if not record.since:
                continue
            known = self._routes.get(record.name)
            if known is None or known[0] != record.since:
                known = record.since, self._ask(record.name)
            routes[record.name] = known
        self._routes = routes
        self._table = Table(route for _, found in routes.values() for route in found)
        self._plain = PlainGets(self._table, self._common, self._proxies, plugins)

    def shown(self, to: str) -> list[str]:
        """The paths that a user copies to publish or to play, those of a page first."""
        patterns = [r.pattern for _, found in self._routes.values() for r in found if r.shown == to]
        return [
            p.replace("{path}", "live/stream")
            for p in sorted(patterns, key=lambda p: ("." in p or "/" in p[1:], p))
        ]

    def _ask(self, name: str) -> list[Route]:
        server = self._server
        config = server.config.plugin(name).config
        try:
            return server.plugins.call(name, "http_routes", _checked, server=server, config=config) or []
        except PenstockError as e:
            server.log.error("a plugin's routes are left out", plugin=name, reason=str(e))
            return []

    def _common(self, origin: str) -> RawHeaders:
        """What every response to a request from a page of `origin` (empty: not said) has."""
        return _ALWAYS + self._cors.headers(origin)

    def shortcut(self, target: bytes, headers: Mapping[str, str]) -> PlainGet | None:
        """As `penstock_http.api.Shortcuts` says."""
        if self._changes != self._server.plugins.changes:
            self.refresh()
        return self._plain.find(target, headers)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] not in ("http", "websocket"):
            raise ValueError(f"penstock serves HTTP and WebSockets, not {scope['type']!r}")
        if self._changes != self._server.plugins.changes:
            self.refresh()
        origin = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"origin"), "")
        request = AsgiRequest(
            self._server,
            scope,
            receive,
            send,
            root=scope.get("root_path", ""),
            common=self._common(origin),
            proxies=self._proxies,
        )
        try:
            request.url_path = _path(scope)
            if request.method == "OPTIONS" and request.url_path == "*":
                # RFC 9110 9.3.7: of the server as a whole.
                handle = self._options([r for _, routes in self._routes.values() for r in routes])
            else:
                found = self._table.find(request.url_path)
                if found is None:
                    raise NotFound("there is nothing here")
                routes, request.values = found
                handle = self._chosen(request, routes, origin)
            await self._run(request, handle)
        except (PenstockError, OSError) as e:
            await self._answer(request, e)

    def _chosen(
        self, request: AsgiRequest, routes: list[Route], origin: str
    ) -> Callable[[Any], Awaitable[None]]:
        """The handler of the request; what no handler is asked for is answered by one of our own."""
        method = request.method
        for route in routes:
            if request.websocket:
                if not route.websocket:
                    continue
                if origin and not self._cors.allows(origin, request.headers.get("host", "")):
                    raise Denied(f"pages of {origin} may not open a WebSocket here: see http.cors")
                return route.handle
            if method in route.methods or (method == "HEAD" and "GET" in route.methods):
                return route.handle

        async def refuse(request: AsgiRequest) -> None:
            allow = [("allow", ", ".join(_methods(routes)))]
            await request.respond(405, b"this method is not allowed here\n", headers=allow)

        async def no_websocket(request: AsgiRequest) -> None:
            await request.respond(404, b"no WebSocket is served here\n")

        if request.websocket:
            return no_websocket
        return self._options(routes) if method == "OPTIONS" else refuse

    def _options(self, routes: Iterable[Route]) -> Callable[[Any], Awaitable[None]]:
        methods = _methods(routes)

        async def options(request: AsgiRequest) -> None:
            headers = [("allow", ", ".join(methods)), *self._cors.preflight(request.headers, methods)]
            told: set[Callable[[Any], Headers]] = {r.options for r in routes if r.options is not None}
            for more in told if request.url_path != "*" else ():
                headers += more(request)
            await request.respond(204, headers=headers)

        return options

    async def _run(self, request: AsgiRequest, handle: Callable[[Any], Awaitable[None]]) -> None:
        error: BaseException | None = None
        try:
            with request.scope:
                if request.websocket:
                    await request.connect()
                if request.peer is not None:
                    await handle(request)
                else:
                    await self._watched(request, handle)
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            error = leading(e) if isinstance(e, BaseExceptionGroup) else e  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(error, anyio.get_cancelled_exc_class()):
                raise
        finally:
            if request.opened is not None:
                session = request.opened
                request.opened = None
                if error is None:
                    gone = request.peer.gone if request.peer is not None else ""
                    session.reason = session.reason or request.reason or gone or "the response ended"
                request.reason = request.reason or session.reason
                self._server.close_session(session, error)
                logged = True
            else:
                logged = False
        try:
            await self._end(request, error, logged=logged)
        finally:
            error = None  # its traceback has this frame, and would keep all that the request had

    async def _watched(self, request: AsgiRequest, handle: Callable[[Any], Awaitable[None]]) -> None:
        async with anyio.create_task_group() as tasks:
            # Once it reads: a handler that read beside it would have what comes in another order.
            await tasks.start(request.watch)
            await handle(request)
            tasks.cancel_scope.cancel()

    async def _end(self, request: AsgiRequest, error: BaseException | None, *, logged: bool) -> None:
        """See the response to its end: what was begun is ended or broken off, what was not is answered."""
        try:
            if request.state == FRESH:
                if error is None and request.peer is not None and request.peer.broken:
                    error = request.ending
                elif error is None and (request.scope.cancel_called or request.reason):
                    # Kicked, or the server stops; where the peer left nobody hears it.
                    await request.respond(503, f"{request.reason}\n".encode(), headers=[("retry-after", "1")])
                elif error is None:
                    error = RuntimeError("the handler answered nothing")
            if error is not None:
                await self._answer(request, error, logged=logged)
            elif request.state != DONE:
                with anyio.move_on_after(1, shield=True):
                    await request.finish()
        except (PenstockError, OSError):
            pass
        finally:
            if request.state != DONE:
                request.abort()

    async def _answer(self, request: AsgiRequest, error: BaseException, *, logged: bool = False) -> None:
        headers: list[tuple[str, str]] = []
        text = str(error)
        match error:
            case Refused() | Full():
                status = 403
            case Denied():
                # Who has said who it is and is refused with a reason reads that. Anybody else is asked, again if need be:
                # browsers go on saying what was not answered by 401.
                given = request.headers.get("authorization", "")
                status = 403 if request.websocket or (given and error.explained) else 401
                if status == 401:
                    bearer = given.lower().startswith("bearer ")
                    headers.append(("www-authenticate", WRONG_TOKEN if bearer else REALM))
            case NotFound():
                status = 404
            case StreamError():
                status = 409
            case ProtocolViolation():
                status = 400
                if not logged:
                    self._tell(request, "protocol violation", "warning", reason=text)
            case Closed() | OSError():
                return
            case UserError():
                status, text = 500, "this server is not set up for that"
                if not logged:
                    self._tell(request, "request failed", "error", reason=str(error))
            case _:
                status, text = 500, "internal error"
                if not logged:
                    self._tell(request, "request failed", "error", exc_info=error)
        if request.state == FRESH:
            await request.respond(status, f"{text}\n".encode("utf-8", "replace"), headers=headers)

    def _tell(self, request: AsgiRequest, event: str, level: str, **values: Any) -> None:
        self._server.plugins.limited_log(
            event,
            level=level,
            protocol="http",
            peer=request.address,
            method=request.method,
            url=request.url_path,
            **values,
        )


def _methods(routes: Iterable[Route]) -> list[str]:
    methods = sorted({m for route in routes for m in route.methods} | {"OPTIONS"})
    if "GET" in methods:
        methods.append("HEAD")
    return methods


def _path(scope: Message) -> str:
    """The path, decoded once, without the prefix of an application that we are mounted in."""
    raw: bytes | None = scope.get("raw_path")
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    if len(path) > MAX_PATH:
        raise ProtocolViolation(f"the path is longer than {MAX_PATH} bytes")
    if "\ufffd" in path and raw is not None:
        # How servers decode what is not UTF-8, which is not to be taken for another name.
        try:
            unquote_to_bytes(raw.split(b"?")[0]).decode()
        except UnicodeDecodeError:
            raise ProtocolViolation("the path is not UTF-8") from None
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"


def _checked(answer: Iterable[Any]) -> list[Route]:
    routes = list(answer)
    for route in routes:
        if not isinstance(route, Route):
            raise TypeError(f"http_routes answers Routes, not {type(route).__name__}")
        Pattern(route.pattern)
    return routes
