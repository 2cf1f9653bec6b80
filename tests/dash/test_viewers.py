"""Who watches DASH: one session for a player's descriptions and segments; who may not is refused."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin

import anyio
import pytest

import penstock
from penstock import Credentials, Plugin, hookimpl
from tests.dash.stage import URL, description, live, serving, watching
from tests.hls.stage import Live, get
from tests.http.port import port_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


def viewers(server: penstock.Server) -> list[penstock.Session]:
    return [s for s in server.sessions if s.protocol == "dash"]


async def test_a_player_is_one_session() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 2)
        # Who follows @Location, and who does not.
        location = urljoin(URL, mpd.one("Location").text or "")
        again = await description(server, location)
        assert again.one("Location").text == mpd.one("Location").text
        assert (await description(server)).one("Location").text == mpd.one("Location").text
        (session,) = viewers(server)
        assert (session.path, session.direction) == ("live/one", "read")
        before = session.bytes_out
        answer = await get(server, mpd.media(mpd.times()[0][0]), "User-Agent: another")
        assert session.bytes_out == before + len(answer.body)
        assert viewers(server) == [session]
        session.kick("enough")
        assert (await get(server, location)).status == 403
        assert (await get(server, mpd.media(mpd.times()[0][0]))).status == 403


async def test_who_is_kicked_gets_no_more_of_the_segment_that_it_is_sent() -> None:
    async with live() as (server, stream):
        mpd = await watching(server, stream, 2)
        (session,) = viewers(server)
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as peer:
            await peer.send(f"GET {mpd.media(mpd.times()[-1][0])} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            data = b""
            with anyio.fail_after(2):
                while b"moof" not in data:
                    data += await peer.receive()
            session.kick("enough")
            # The part that was waited for, and nothing after it, nor an end that would look like the segment's.
            stream.write(16)
            with anyio.fail_after(2), suppress(anyio.EndOfStream):
                while True:
                    data += await peer.receive()
        assert data.count(b"moof") == 1
        assert not data.endswith(b"0\r\n\r\n")


class Door(Plugin):
    """Lets in who has the token."""

    name = "door"

    @hookimpl
    async def authorize(self, action: str, credentials: Credentials) -> bool | None:
        return None if action == "publish" else credentials.query.get("token") == "a&b"


async def test_segments_carry_what_the_description_was_asked_with() -> None:
    async with serving(plugins=[Door()]) as server:
        stream = Live(server)
        await stream.publish()
        assert (await get(server, URL)).status == 401
        assert (await get(server, f"{URL}?token=wrong")).status == 401
        mpd = await watching(server, stream, 2, f"{URL}?token=a%26b")
        url = mpd.media(mpd.times()[0][0])
        answer = await get(server, url)
        assert answer.status == 200
        assert answer.headers["cache-control"].startswith("private")
        assert (await get(server, mpd.init())).status == 200
        assert (await get(server, url.partition("?")[0])).status == 401
