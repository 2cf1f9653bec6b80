"""What a peer reads where it may not do what it asks."""

from __future__ import annotations

from base64 import b64encode

import anyio
import pytest
from structlog.testing import capture_logs

from penstock.hooks import Plugin, hookimpl
from penstock.session import Credentials, Session
from tests.rtsp.served import publish, serving, talking

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Door(Plugin):
    """Says why to who is not `anna`."""

    name = "door"

    def __init__(self, answer: str | bool) -> None:
        self.answer = answer

    @hookimpl
    async def authorize(self, session: Session, credentials: Credentials) -> bool | str:
        return session.protocol != "rtsp" or credentials.user == "anna" or self.answer


def basic(user: str) -> str:
    return "Authorization: Basic " + b64encode(f"{user}:x".encode()).decode()


async def test_who_gave_credentials_reads_the_plugins_reason() -> None:
    async with serving(Door("no\r\nTeapot: \x07yes ☕" + "!" * 500)) as server, talking(server) as peer:
        await publish(server)
        reply = await peer.ask("DESCRIBE", "?user=bert&password=x")
        assert (reply.status, reply.header("WWW-Authenticate")[:6]) == (401, "Digest")
        assert "no" not in reply.head.splitlines()[0]
        reply = await peer.ask("DESCRIBE", "", basic("bert"))
        assert reply.status == 403
        status = reply.head.splitlines()[0]
        assert status.startswith(r"RTSP/1.0 403 Forbidden: no\r\nTeapot: \x07yes ☕!!!")
        assert len(status) < 300
        assert not reply.header("Teapot")
        assert not reply.header("WWW-Authenticate")
        assert (await peer.ask("DESCRIBE", "", basic("anna"))).status == 200, "the session goes on"


async def test_without_a_reason_credentials_are_asked_for_again() -> None:
    async with serving(Door(False)) as server, talking(server) as peer:
        await publish(server)
        assert (await peer.ask("DESCRIBE", "", basic("bert"))).status == 401


async def test_who_leaves_for_want_of_a_stream_is_told_of_as_such() -> None:
    ended: list[str] = []

    class Watcher(Plugin):
        name = "watcher"

        @hookimpl
        def session_closed(self, session: Session, reason: str) -> None:
            ended.append(reason)

    async with serving(Watcher()) as server:
        async with talking(server, "live/none") as peer:
            assert (await peer.ask("DESCRIBE")).status == 404
        with anyio.fail_after(2):
            while not ended:
                await anyio.sleep(0.01)
    assert ended == ["nobody publishes live/none"]


async def test_limits_and_publishers_are_named() -> None:
    async with serving(streams={"live/*": {"max_readers": 1}}) as server:
        source = await publish(server)
        await source.picture(key=True)
        async with talking(server) as one, talking(server) as two:
            assert (await one.play(1)).status == 200
            reply = await two.ask("DESCRIBE")
            assert reply.head.splitlines()[0] == "RTSP/1.0 403 Forbidden: live/one has its 1 readers already"
            reply = await two.ask("ANNOUNCE")
            assert reply.head.splitlines()[0] == "RTSP/1.0 403 Forbidden: live/one is being published already"


@pytest.mark.parametrize(
    ("method", "path", "lines", "status"),
    [
        ("DESCRIBE", "live//one", [], "400 Bad Request: the stream path has an empty, '.' or '..' segment"),
        ("ANNOUNCE", "api/one", [], "400 Bad Request: stream paths may not start with 'api'"),
        (
            "SETUP",
            "live/one/trackID=1",
            ["Transport: RTP/AVP;client_port=0-1"],
            "400 Bad Request: client_port",
        ),
        ("DESCRIBE", "live/one", ["Session: 0123"], "454 Session Not Found: foreign session"),
        ("PLAY", "live/one", [], "455 Method Not Valid In This State: PLAY"),
        ("REDIRECT", "live/one", [], "501 Not Implemented: unknown method"),
        ("OPTIONS", "*", ["Require: x"], "551 Option Not Supported: Require"),
        ("DESCRIBE", "live/none", [], "404 Not Found: nobody publishes live/none"),
    ],
)
async def test_who_is_refused_reads_why(method: str, path: str, lines: list[str], status: str) -> None:
    async with serving() as server, talking(server, path) as peer:
        await publish(server)
        with capture_logs() as logs:
            reply = await peer.ask(method, "", *lines)
        assert reply.head.startswith(f"RTSP/1.0 {status}"), reply.head
        told = [line for line in logs if line["event"] == "request refused"]
        # Players who wait for a stream ask again and again; of those the session's end tells, once.
        assert [line["method"] for line in told] == ([] if reply.status == 404 else [method])
        assert (await peer.ask("OPTIONS")).status in (200, 400), "the session goes on"
