"""Row H7: who may read from a page of another origin, and open WebSockets; nothing of a request gets into a header."""

from __future__ import annotations

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from penstock_http.api import Request, Route

from .port import ask, port_of, says, serving

pytestmark = pytest.mark.anyio

PLAYER = "https://player.example"


async def echoes(request: Request) -> None:
    await request.start(200, content_type="text/plain")
    await request.send(b"hello")
    await request.finish()


ROUTES = (Route("/{path}.ts", says("ts")), Route("/ws", echoes, websocket=True))


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        (["*"], PLAYER, "*"),
        (["*"], "", "*"),
        ([PLAYER], PLAYER, PLAYER),
        ([PLAYER], "https://evil.example", None),
        ([PLAYER], "https://player.example.evil.example", None),
        ([PLAYER], "null", None),
        ([], PLAYER, None),
    ],
)
async def test_origins(cors: list[str], origin: str, allowed: str | None) -> None:
    async with serving(*ROUTES, cors=cors) as server:
        for line in ("GET /a.ts", "GET /nothing/here/at/all", "GET /../a.ts"):
            answer = await ask(server, line, *([f"Origin: {origin}"] if origin else []))
            assert answer.headers.get("access-control-allow-origin") == allowed
            # Credentials of the browser are nobody's.
            assert "access-control-allow-credentials" not in answer.headers
            if cors and cors != ["*"]:
                assert answer.headers["vary"] == "origin"


async def test_preflight() -> None:
    async with serving(*ROUTES, cors=[PLAYER]) as server:
        asks = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization, range")
        answer = await ask(server, "OPTIONS /a.ts", f"Origin: {PLAYER}", *asks)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == PLAYER
        assert answer.headers["access-control-allow-methods"] == "get, options, head"
        assert answer.headers["access-control-allow-headers"] == "authorization, range"
        other = await ask(server, "OPTIONS /a.ts", "Origin: https://evil.example", *asks)
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("cors", "origin", "status"),
    [
        (["*"], "https://evil.example", 101),
        ([PLAYER], PLAYER, 101),
        ([PLAYER], "https://evil.example", 403),
        ([], "https://evil.example", 403),
        ([], "http://{host}", 101),
        ([], "http://{host}.evil.example", 403),
        ([], "null", 403),
        ([], None, 101),
    ],
)
async def test_websockets_of_other_origins(cors: list[str], origin: str | None, status: int) -> None:
    async with serving(*ROUTES, cors=cors) as server:
        host = f"127.0.0.1:{port_of(server)}"
        headers = {"Origin": origin.format(host=host)} if origin else {}
        if status == 101:
            async with connect(f"ws://{host}/ws", additional_headers=headers) as peer:
                assert await peer.recv() == b"hello"
        else:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{host}/ws", additional_headers=headers)
            assert refused.value.response.status_code == status


async def test_a_websocket_where_none_is_served() -> None:
    async with serving(*ROUTES) as server:
        for path, status in (("a.ts", 404), ("x", 404), ("../a.ts", 400)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{port_of(server)}/{path}")
            assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    "value", ["a\r\nSet-Cookie: x=1", "a\nb", "a\0b", "a\x7f"], ids=["CRLF", "LF", "NUL", "DEL"]
)
async def test_no_header_smuggles_another(value: str) -> None:
    async def handle(request: Request) -> None:
        await request.respond(200, headers=[("x-name", value)])

    async def streams(request: Request) -> None:
        await request.start(200, content_type=value)
        await request.finish()

    async with serving(Route("/a", handle), Route("/b", streams)) as server:
        for path in "ab":
            answer = await ask(server, f"GET /{path}")
            assert answer.status == 500
            assert "set-cookie" not in answer.headers
