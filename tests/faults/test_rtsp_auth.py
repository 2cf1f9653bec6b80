"""Faults of RTSP authentication: row T13, and T14's one canonical path as the plugin that decides sees it.

The server runs in this process, because a plugin decides here; what disturbs others is tested elsewhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from penstock import PluginSet, Server
from penstock.hooks import Plugin, hookimpl
from penstock_rtsp import credentials as module

from .peer import Peer
from .rtsp import H264, Client, digest

USER, PASSWORD = "anna", "s3cret"
PATH = "door/one"
NONCE_LIFETIME_SECONDS = 60


class Door(Plugin):
    """Lets in who knows the password, to the one path that it guards, and records what it was asked."""

    name = "door"

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    async def authorize(self, path: Any, credentials: Any) -> bool:
        self.asked.append(str(path))
        return str(path) != PATH or (credentials.user == USER and credentials.verify(password=PASSWORD))


class Running:
    """A server on a thread of its own."""

    def __init__(self) -> None:
        self.door = Door()
        self.port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=anyio.run, args=(self._run,))
        self._stop = threading.Event()

    async def _run(self) -> None:
        config = {
            "rtsp": {"listen": "127.0.0.1:0", "rtp": "", "multicast": ""},
            "rtmp": {"enabled": False},
            "http": {"enabled": False},
            "srt": {"enabled": False},
            "server": {"wait_for_stream": 0, "drain_timeout": 1},
        }
        async with Server(config, plugins=PluginSet.discover(extra=[self.door])) as server:
            self.port = next(e.port for e in server.endpoints if e.what == "rtsp")
            self._started.set()
            while not self._stop.is_set():
                await anyio.sleep(0.02)

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def client(self) -> Client:
        return Client(Peer(self.port), PATH)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as running:
        yield running


def challenge(client: Client, method: str = "DESCRIBE", *lines: str) -> tuple[str, str]:
    """Realm and nonce of the Digest that is asked for."""
    reply = client.ask(method, "", *lines)
    assert reply.status == 401, reply.head
    found = re.search(r'Digest realm="([^"]+)", nonce="([^"]+)"', reply.head)
    assert found is not None, reply.head
    return found[1], found[2]


def test_T13_who_knows_the_password_is_let_in(server: Running) -> None:
    with server.client() as client:
        realm, nonce = challenge(client)
        line = digest(USER, PASSWORD, realm, nonce, "DESCRIBE", client.url)
        assert client.ask("DESCRIBE", "", line).status == 404, "let in, and nobody publishes there"
    with server.client() as client:
        realm, nonce = challenge(client, "ANNOUNCE")
        line = digest(USER, PASSWORD, realm, nonce, "ANNOUNCE", client.url)
        body = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{H264}".encode()
        assert client.ask("ANNOUNCE", "", "Content-Type: application/sdp", line, body=body).status == 200


def wrong(realm: str, nonce: str, url: str) -> dict[str, str]:
    """Authorization lines by what is wrong with them."""

    def line(user: str = USER, password: str = PASSWORD, /, **fields: str) -> str:
        return digest(user, password, fields.pop("ask_realm", realm), nonce, "DESCRIBE", url, **fields)

    return {
        "password": line(USER, "guess"),
        "user": line("bert"),
        "realm": line(ask_realm="elsewhere"),
        "nonce of our own making": line().replace(nonce, "f" * len(nonce)),
        "nonce too short": line().replace(nonce, "0"),
        "nonce that is no ASCII": line().replace(nonce, "ä" * 48),
        "another method's answer": digest(USER, PASSWORD, realm, nonce, "SETUP", url),
        "another path's answer": line(uri="rtsp://127.0.0.1/door/two"),
        "uri that is none": line(uri="http://x/"),
        "algorithm SHA-256 that was not asked for": line(algorithm="SHA-256"),
        "algorithm that does not exist": line(algorithm="NONE"),
        "algorithm MD5-sess": line(algorithm="MD5-sess"),
        "qop without count": line(qop="auth"),
        "qop auth-int": line(qop="auth-int", nc="00000001", cnonce="x"),
        "quote left open": 'Authorization: Digest username="anna',
        "no fields": "Authorization: Digest",
        "empty user": line(username=""),
        "empty nonce": line(nonce=""),
        "empty response": line(response=""),
        "response that is no digest": line(response="x" * 32),
        "a field twice": line() + ', nonce="x"',
        "10 KiB of user name, which no header may be": line("a" * 5000),
        "Basic with a wrong password": "Authorization: Basic YW5uYTpndWVzcw==",
        "Basic that is no base64": "Authorization: Basic ****",
        "Basic without a colon": "Authorization: Basic YW5uYQ==",
        "Basic of no UTF-8": "Authorization: Basic //86/w==",
        "a scheme of its own": "Authorization: Bearer abc",
        "nothing": "Authorization:",
    }


@pytest.mark.parametrize("what", wrong("", "n", ""))
def test_T13_wrong_answers_open_nothing(server: Running, what: str) -> None:
    with server.client() as client:
        realm, nonce = challenge(client)
        reply = client.ask("DESCRIBE", "", wrong(realm, nonce, client.url)[what])
        assert reply.status == 401, reply.head
        assert "stale=true" not in reply.head
        line = digest(USER, PASSWORD, realm, nonce, "DESCRIBE", client.url)
        assert client.ask("DESCRIBE", "", line).status == 404, "the right one is still taken"


def test_T13_header_of_10_kib_ends_the_connection(server: Running) -> None:
    with server.client() as client:
        realm, nonce = challenge(client)
        assert (
            client.ask("DESCRIBE", "", digest("a" * 10_240, PASSWORD, realm, nonce, "DESCRIBE", "u")).status
            == 400
        )
        client.peer.closed_within(3)


def test_T13_nonce_replayed_after_its_time_is_stale(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured answer is good for a minute; then the client is told to take a new nonce, unseen by its user."""
    clock = module.time.monotonic_ns  # type: ignore[attr-defined]

    class Later:
        @staticmethod
        def monotonic_ns() -> int:
            return int(clock()) + (NONCE_LIFETIME_SECONDS + 1) * 1_000_000_000

    with server.client() as client, server.client() as replay:
        realm, nonce = challenge(client)
        line = digest(USER, PASSWORD, realm, nonce, "DESCRIBE", client.url)
        assert client.ask("DESCRIBE", "", line).status == 404
        monkeypatch.setattr(module, "time", Later)
        reply = replay.ask("DESCRIBE", "", line)
        assert reply.status == 401
        assert "stale=true" in reply.head


def test_T13_every_refusal_of_a_guess_takes_its_time(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random pause, so that guessing is slow and its duration tells nothing; who only asks does not wait."""
    pauses: list[float] = []
    pause = module.Authenticator.pause

    def spy(self: module.Authenticator, request: Any) -> float:
        pauses.append(pause(self, request))
        return pauses[-1]

    monkeypatch.setattr(module.Authenticator, "pause", spy)
    with server.client() as client:
        realm, nonce = challenge(client)
        for guess in ("a", "b", "c"):
            client.ask("DESCRIBE", "", digest(USER, guess, realm, nonce, "DESCRIBE", client.url))
    assert pauses[0] == 0
    assert len(pauses) == 4
    assert len(set(pauses[1:])) == 3
    assert all(0 < p <= module.MAX_PAUSE for p in pauses[1:])


@pytest.mark.parametrize("fields", [64, 65, 500, 1365])
def test_T13_query_of_many_fields(server: Running, fields: int) -> None:
    """Credentials may be in the query; one of very many fields is no credentials, and no fault of the server's."""
    query = "?" + "&".join(["a=b"] * (fields - 1) + [f"user={USER}", f"pass={PASSWORD}"])
    with server.client() as client:
        reply = client.ask("DESCRIBE", query[:1900])
        assert reply.status in (401, 403, 404)
        assert client.ask("OPTIONS").status == 200


def test_T14_plugin_is_asked_about_the_canonical_path_only(server: Running) -> None:
    """No spelling of a guarded path gets past the plugin that guards it."""
    spellings = ("/", "?", "?a=b", "/trackID=1", "//", "/.", "/../one", "%2e", "/%2e%2e/one")
    urls = [f"rtsp://127.0.0.1/{PATH}{s}" for s in spellings]
    urls += [
        f"rtsp://127.0.0.1/{p}"
        for p in ("/door/one", "./door/one", "door%2Fone", "d%6for/one", "x/../door/one", "%2Fdoor/one")
    ]
    urls += [f"rtsp://elsewhere/{PATH}", f"RTSP://127.0.0.1:1/{PATH}"]
    with server.client() as client:
        for url in urls:
            server.door.asked.clear()
            status = client.ask("DESCRIBE", url).status
            assert status == (401 if server.door.asked == [PATH] else 404 if server.door.asked else 400), url
            assert all("//" not in p and "%" not in p and ".." not in p for p in server.door.asked), url
            assert "one" not in "".join(server.door.asked).replace(PATH, "") or server.door.asked != [PATH]
