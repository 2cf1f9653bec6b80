"""Sockets: listening with one sentence for each mistake, accepting, connecting, TLS, and a peer's bytes both ways."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from penstock import net
from penstock.errors import Closed, ProtocolViolation, UserError
from penstock.net import (
    Connection,
    accept,
    connect,
    format_address,
    load_tls,
    open_listener,
    open_udp,
    start_tls,
)
from penstock.poller import Poller
from tests.certificate import self_signed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 1935), "127.0.0.1:1935"),
        (("::1", 1935, 0, 0), "[::1]:1935"),
        ("/run/x.sock", "/run/x.sock"),
        ("", ""),
        (None, "None"),
        (("only",), "('only',)"),
    ],
)
async def test_addresses_as_text(address: Any, text: str) -> None:
    assert format_address(address) == text


@pytest.mark.parametrize("host", [None, "", "127.0.0.1", "::1", "localhost"])
async def test_listening(host: str | None) -> None:
    """On every address where none is named, IPv4 included; port 0 is the system's choice."""
    listeners = open_listener(host, 0, what="X", key="x.listen")
    port = listeners[0].getsockname()[1]
    try:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as peer:
                reached = peer.connect_ex((address, port)) == 0
                assert reached or host not in (None, "")
    finally:
        for listener in listeners:
            listener.close()
    with open_udp(host, 0, what="X", key="x.listen") as sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


async def test_one_sentence_for_each_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as taken_udp:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken_udp.bind(("127.0.0.1", 0))
        port, udp = taken.getsockname()[1], taken_udp.getsockname()[1]
        with pytest.raises(UserError) as raised:
            open_listener("127.0.0.1", port, what="RTMP", key="rtmp.listen")
        assert str(raised.value) == (
            f"RTMP cannot listen on 127.0.0.1:{port}/tcp: the port is in use; stop the other program or set rtmp.listen"
            " to another port."
        )
        with pytest.raises(UserError, match=f"RTP cannot listen on 127.0.0.1:{udp}/udp: the port is in use"):
            open_udp("127.0.0.1", udp, what="RTP", key="rtsp.rtp")
    with pytest.raises(
        UserError, match=r"192.0.2.1:0/tcp: this machine has no such address; correct x.listen\."
    ):
        open_listener("192.0.2.1", 0, what="X", key="x.listen")
    with pytest.raises(UserError, match=r"nowhere.invalid:0/tcp: this machine has no such address"):
        open_listener("nowhere.invalid", 0, what="X", key="x.listen")

    def refuses(error: int) -> Callable[..., Any]:
        def bind(*_: Any, **__: Any) -> Any:
            raise OSError(error, os.strerror(error))

        return bind

    monkeypatch.setattr(net, "_bind", refuses(errno.EACCES))
    with pytest.raises(
        UserError, match=r"X cannot listen on :80/tcp: no permission; use a port above 1023 in x.listen"
    ):
        open_listener(None, 80, what="X", key="x.listen")
    monkeypatch.setattr(net, "_bind", refuses(errno.EMFILE))
    with pytest.raises(UserError, match=r"X cannot listen on :80/tcp: Too many open files; correct x.listen"):
        open_listener(None, 80, what="X", key="x.listen")


async def test_without_ipv6_every_address_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = net._bind  # pyright: ignore[reportPrivateUsage]

    def bind(family: int, address: Any, kind: socket.SocketKind, *, dual: bool) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, address, kind, dual=dual)

    monkeypatch.setattr(net, "_bind", bind)
    (listener,) = open_listener(None, 0, what="X", key="x.listen")
    with listener:
        assert listener.family == socket.AF_INET
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with open_udp(None, 0, what="X", key="x.listen") as sock:
        assert sock.family == socket.AF_INET


async def test_accepting_goes_on_when_descriptors_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knocked meanwhile is let in once there are some again; who is gone already is passed over."""
    (listener,) = open_listener("127.0.0.1", 0, what="X", key="x.listen")
    accepted: list[socket.socket] = []
    errors = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    def handle(sock: socket.socket, peer: Any) -> None:
        accepted.append(sock)

    class Listener:
        def fileno(self) -> int:
            return listener.fileno()

        def accept(self) -> Any:
            if errors:
                raise OSError(errors.pop(0), "out")
            return listener.accept()

    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, cast(socket.socket, Listener()), handle)
            with socket.create_connection(listener.getsockname()), anyio.fail_after(3):
                while not accepted:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert errors == []
        assert not accepted[0].getblocking()
        accepted[0].close()


@asynccontextmanager
async def connected(*, stall_timeout: float = 5) -> AsyncGenerator[tuple[Connection, socket.socket]]:
    """A connection and its peer."""
    (listener,) = open_listener("127.0.0.1", 0, what="X", key="x.listen")
    far = await connect("127.0.0.1", listener.getsockname()[1])
    near, address = listener.accept()
    listener.close()
    near.setblocking(False)
    async with anyio.create_task_group() as tasks:
        connection = Connection(near, address, tasks.start_soon, stall_timeout, Poller())
        with far:
            try:
                yield connection, far
            finally:
                connection.close()
                tasks.cancel_scope.cancel()


async def test_a_peers_bytes() -> None:
    async with connected() as (connection, far):
        assert connection.address == format_address(far.getsockname())
        assert not connection.secure
        far.sendall(b"hello")
        assert await connection.receive() == b"hello"
        far.sendall(b"world")
        assert await connection.receive(3) == b"wor"
        assert await connection.receive(10) == b"ld"
        assert connection.bytes_in == 10
        far.close()
        assert await connection.receive() == b""
        connection.close()
        connection.close()
        with pytest.raises(Closed, match="closed"):
            await connection.receive()


async def test_a_connection_that_broke() -> None:
    async with connected() as (connection, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        with pytest.raises(Closed, match="the peer left"):
            await connection.receive()
        with pytest.raises(Closed):
            await connection.send(b"x" * 1000)


async def test_up_to_a_separator() -> None:
    async with connected() as (connection, far):
        far.sendall(b"one\r\ntwo\r")
        assert await connection.receive_until(b"\r\n", 10) == b"one"
        far.sendall(b"\nthree and more")
        assert await connection.receive_until(b"\r\n", 10) == b"two"
        # What was read beyond comes first from `receive`.
        assert await connection.receive(5) == b"three"
        with pytest.raises(ProtocolViolation, match="more than 5 bytes without"):
            await connection.receive_until(b"\n", 5)
        far.close()
        assert await connection.receive() == b" and more"
        assert await connection.receive_until(b"\n", 5) is None


async def test_a_fast_peer_does_not_keep_the_others_from_their_turn() -> None:
    async with connected() as (connection, far):
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        far.sendall(bytes(100))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            for _ in range(40):
                await connection.receive(1)
                time.sleep(net.TURN_NS / 2e9)  # noqa: ASYNC251 - work that a message makes
            tasks.cancel_scope.cancel()
        assert turns >= 10


@pytest.mark.parametrize("size", [0, 1, net.SLICE_BYTES, net.SLICE_BYTES + 1, 10 * net.SLICE_BYTES])
def test_slices_are_all_of_it_and_one_where_it_is_short(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    parts = list(net.slices(data[:size]))
    assert b"".join(parts) == data[:size]
    assert max(map(len, parts), default=0) <= net.SLICE_BYTES


def test_what_is_surely_of_one_message_is_not_cut() -> None:
    data, awaited = bytes(10 * net.SLICE_BYTES), iter([1, 3 * net.SLICE_BYTES, 0, 100 * net.SLICE_BYTES])
    parts = [len(part) // net.SLICE_BYTES for part in net.slices(data, lambda: next(awaited))]
    assert parts == [1, 3, 1, 5]


async def test_sending_waits_for_a_slow_peer_and_not_for_one_that_stopped() -> None:
    async with connected(stall_timeout=0.3) as (connection, far):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        got = 0

        async def read() -> None:
            nonlocal got
            while got < 500_000:
                await anyio.wait_readable(far)
                got += len(far.recv(1 << 16))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for _ in range(50):
                await connection.send(bytes(10_000))
        assert got == 500_000
        with pytest.raises(Closed, match=r"the peer took no data for 0.3 s"):
            await connection.send(bytes(8_000_000))


async def test_the_last_word_arrives_though_the_peer_still_sends() -> None:
    """Closing with unread input would reset the connection, and the word with it."""
    async with connected() as (connection, far):
        far.sendall(bytes(100_000))
        connection.sink.control(b"goodbye")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.linger)
            await anyio.wait_readable(far)
            assert far.recv(100) == b"goodbye"
            await anyio.wait_readable(far)
            assert far.recv(100) == b""
            far.close()
        connection.close()
        await connection.linger()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "Connection refused"),
        ("nowhere.invalid", "nowhere.invalid:1: "),
        ("a" * 70, ":1: "),
    ],
)
async def test_nobody_there(host: str, reason: str) -> None:
    with pytest.raises(Closed) as raised:
        await connect(host, 1, 5)
    assert reason in str(raised.value)


async def test_nobody_answers() -> None:
    """A listener whose backlog is full says nothing."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting: list[socket.socket] = []
        try:
            for _ in range(3):
                sock = socket.socket()
                sock.setblocking(False)
                waiting.append(sock)
                sock.connect_ex(("127.0.0.1", port))
            with pytest.raises(Closed, match=r"did not answer within 0\.2 s"):
                await connect("127.0.0.1", port, 0.2)
        finally:
            for sock in waiting:
                sock.close()


# -- TLS ----------------------------------------------------------------------------------------------------------


def test_certificates(tmp_path: Path) -> None:
    certificate, key = (str(path) for path in self_signed(tmp_path))
    assert isinstance(load_tls(certificate, key), ssl.SSLContext)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    assert isinstance(load_tls(str(both), ""), ssl.SSLContext), "the key may be in the certificate's file"
    with pytest.raises(UserError, match=r"^TLS needs server\.certificate beside server\.key; set it\.$"):
        load_tls("", key)
    with pytest.raises(
        UserError, match=r"^server\.certificate: cannot read /nowhere: No such file or directory\.$"
    ):
        load_tls("/nowhere", key)
    with pytest.raises(UserError, match=r"^server\.key: cannot read /nowhere: No such file"):
        load_tls(certificate, "/nowhere")
    _, other = (str(path) for path in self_signed(tmp_path / "other"))
    weak, rsa = (str(path) for path in self_signed(tmp_path / "weak", 1024))
    cut = tmp_path / "cut.pem"
    cut.write_bytes(Path(certificate).read_bytes()[:200])
    for pair, says in (
        (
            (certificate, certificate),
            f"server.key {certificate} has no private key in PEM form; write one to it.",
        ),
        (
            (certificate, ""),
            f"server.certificate {certificate} has no private key in PEM form; set server.key.",
        ),
        ((key, key), f"server.certificate {key} has no certificate in PEM form; write one to it."),
        (
            (certificate, other),
            f"server.key {other} is not the key of server.certificate {certificate}; set the pair.",
        ),
        (
            (certificate, str(rsa)),
            f"server.key {rsa} is not the key of server.certificate {certificate}; set the pair.",
        ),
        (
            (weak, rsa),
            f"server.certificate {weak} is too weak for today's TLS; make one of a larger key, with SHA-256.",
        ),
        ((str(cut), key), f"server.certificate {cut} or its key is damaged; write both anew."),
    ):
        with pytest.raises(UserError) as raised:
            load_tls(*pair)
        assert str(raised.value) == says
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        load_pem_private_key(Path(key).read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    with pytest.raises(
        UserError, match=r"^the private key in .*locked\.pem has a passphrase; write it to a file"
    ):
        load_tls(certificate, str(locked))


@pytest.mark.parametrize("way", ["linger", "close"])
async def test_tls_ends_with_its_own_goodbye(tmp_path: Path, way: str) -> None:
    """An end without it may have lost the last words: GnuTLS, in GStreamer, calls that an error, as this client does."""
    certificate, key = (str(path) for path in self_signed(tmp_path))
    client = ssl.create_default_context(cafile=certificate)
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(5)
    read: list[bytes] = []

    def peer() -> None:
        with client.wrap_socket(far, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
            read.extend(iter(lambda: tls.recv(100), b""))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, peer)
        tls = await start_tls(near, load_tls(certificate, key))
        connection = Connection(tls, ("::1", 1, 0, 0), tasks.start_soon, 5, Poller())
        connection.sink.control(b"last word")
        if way == "linger":
            await connection.linger()
        connection.close()
    assert read == [b"last word"]


async def test_handshakes(tmp_path: Path) -> None:
    certificate, key = (str(path) for path in self_signed(tmp_path))
    server, client = load_tls(certificate, key), ssl.create_default_context(cafile=certificate)
    ends: dict[str, ssl.SSLSocket | str] = {}

    async def shake(name: str, sock: socket.socket, context: ssl.SSLContext, host: str | None = None) -> None:
        try:
            ends[name] = await start_tls(sock, context, host)
        except Closed as e:
            ends[name] = str(e)

    async def both(first: Callable[[], Any], second: Callable[[], Any]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            tasks.start_soon(second)

    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    await both(lambda: shake("near", near, server), lambda: shake("far", far, client, "localhost"))
    one, other = ends["near"], ends["far"]
    assert isinstance(one, ssl.SSLSocket)
    assert isinstance(other, ssl.SSLSocket)
    async with anyio.create_task_group() as tasks:
        connection = Connection(one, ("::1", 1, 0, 0), tasks.start_soon, 5, Poller())
        assert connection.secure
        other.send(b"hello")
        assert await connection.receive() == b"hello"
        for record in (b"one, ", b"two, ", b"three"):
            other.send(record)
        assert await connection.receive(8) == b"one, two"
        assert await connection.receive() == b", three", "as much as there is, in however many records"
        other.close()
        assert await connection.receive() == b""
        connection.close()

    # A certificate that the client does not trust, and a peer that speaks no TLS at all.
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    stranger = ssl.create_default_context()
    await both(lambda: shake("near", near, server), lambda: shake("far", far, stranger, "localhost"))
    assert "TLS handshake failed" in str(ends["far"])
    assert "TLS handshake failed" in str(ends["near"])
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        far.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await shake("near", near, server)
        assert ends["near"] == "TLS handshake failed: HTTP_REQUEST"
        assert near.fileno() == -1
