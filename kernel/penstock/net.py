"""Sockets: raw and non-blocking, owned by the kernel, never through the event loop's streams or transports."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio import wait_writable

from penstock.errors import Closed, ProtocolViolation, UserError
from penstock.poller import Poller, wait_readable
from penstock.sink import ByteSink, Spawn, TlsSink, broken

BACKLOG = 4096
ACCEPT_BATCH = 64
"""Connections accepted before other tasks get their turn."""
SEND_BUFFER = 256 << 10
"""SO_SNDBUF of a connection: about a second of a 2 Mbit/s stream, so that a join does not wait for the peer."""
RECEIVE_BYTES = 64 << 10
IDLE_BYTES = 32 << 10
"""A read of less from a publisher leaves room in the socket, even the smallest, until frames that nobody reads have gathered."""
TURN_NS = 5_000_000
"""How long one connection's data is worked on before other tasks get their turn."""
SLICE_BYTES = 4 << 10
"""What is parsed at a time: even if it is messages of two bytes, that is less than 50 ms."""
DATAGRAM_BYTES = 65_536
LINGER_SECONDS = 0.5
LINGER_BYTES = 256 << 10
"""What is read from a peer after our last word: closing with unread input resets the connection, and the word with it."""
CIPHERS = "ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""Of TLS 1.2: forward secrecy only (RFC 9325 4.1). Python has it so by itself, but Debian's goes by the choice of OpenSSL."""
UDP_BUFFER = 2 << 20
"""SO_RCVBUF and SO_SNDBUF of a shared UDP socket."""


def slices(data: bytes, awaited: Callable[[], int] | None = None) -> Iterable[bytes]:
    """`data` in parts to parse one at a time, with a `Connection.turn` after each.

    `awaited` tells how many bytes are surely of one message, asked before each part: these are not cut.
    """
    return (data,) if len(data) <= SLICE_BYTES else _slices(data, awaited)


def _slices(data: bytes, awaited: Callable[[], int] | None) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = SLICE_BYTES if awaited is None else max(SLICE_BYTES, awaited())
        yield data[at : at + size]
        at += size


def format_address(address: Any) -> str:
    """``127.0.0.1:1935`` or ``[::1]:1935``."""
    if isinstance(address, str) or not address or len(address) < 2:
        return str(address)
    host, port = str(address[0]), str(address[1])
    if "." in host:
        # How a socket for both families has an IPv4 peer (RFC 4291 2.5.5.2).
        host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection:
    """One peer's TCP connection: what comes in by `receive`, what goes out through `sink`."""

    __slots__ = (
        "_held",
        "_poller",
        "_since",
        "address",
        "bytes_in",
        "drained",
        "patient",
        "peer",
        "secure",
        "sink",
        "sock",
    )

    def __init__(
        self, sock: socket.socket, peer: Any, spawn: Spawn, stall_timeout: float, poller: Poller
    ) -> None:
        self.sock = sock
        self.peer = peer
        self.address = format_address(peer)
        self.bytes_in = 0
        self.patient = False
        """Whether what the peer says may wait a moment, as a player's reports may."""
        self.drained = False
        """Set where the last read took all that there was, and nothing can have come since: saves a call in vain."""
        self._poller = poller
        self._since = 0
        self._held = bytearray()
        self.secure = isinstance(sock, ssl.SSLSocket)
        self.sink = (TlsSink if isinstance(sock, ssl.SSLSocket) else ByteSink)(sock, spawn, stall_timeout)  # type: ignore[arg-type]

    async def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """The next bytes; empty at the peer's end. Raises `Closed` where the connection broke."""
        if self.sink.closed:
            raise Closed(self.sink.closed)
        if self._held:
            data = bytes(self._held[:most])
            del self._held[:most]
            return data
        if time.monotonic_ns() - self._since > TURN_NS:
            await self.turn()
        try:
            if self.drained:
                self.drained = False
                await self._wait()
            while True:
                try:
                    data = self.sock.recv(most)
                except (BlockingIOError, ssl.SSLWantReadError):
                    if self.sink.closed:
                        raise Closed(self.sink.closed) from None
                    await self._wait()
                except ssl.SSLWantWriteError:
                    await wait_writable(self.sock)
                else:
                    if self.secure:
                        data = self._gathered(data, most)
                    self.bytes_in += len(data)
                    return data
        except (OSError, ValueError, anyio.ClosedResourceError) as e:
            raise Closed(broken(e)) from None

    def _gathered(self, data: bytes, most: int) -> bytes:
        """`data`, and what is there besides: TLS gives out one record at a time, and less than was asked for says nothing."""
        parts, left = [data], most - len(data)
        # Where the connection broke behind what has come, the next read says so.
        with suppress(OSError):
            while left > 0 and parts[-1]:
                parts.append(self.sock.recv(left))
                left -= len(parts[-1])
        return b"".join(parts)

    async def _wait(self) -> None:
        await self._poller.wait(self.sock, patient=self.patient)
        self.rested()

    async def turn(self) -> None:
        """Let the others have their turn: a peer that sends faster than it is read never makes us wait."""
        if time.monotonic_ns() - self._since > TURN_NS:
            await anyio.lowlevel.checkpoint()
            self.rested()

    def rested(self) -> None:
        """The others have had their turn, as the task slept."""
        self._since = time.monotonic_ns()

    async def receive_until(self, separator: bytes, most: int) -> bytes | None:
        """What comes before the next `separator`, which is dropped; None at the peer's end.

        Raises `ProtocolViolation` where more than `most` bytes come without it, and `Closed` as `receive`.
        """
        held, self._held = self._held, bytearray()
        start = 0
        try:
            while (at := held.find(separator, start)) < 0:
                if len(held) > most:
                    raise ProtocolViolation(f"more than {most} bytes without {separator!r}")
                start = max(0, len(held) - len(separator) + 1)
                data = await self.receive()
                if not data:
                    return None
                held += data
            found = bytes(held[:at])
            del held[: at + len(separator)]
            return found
        finally:
            self._held = held

    async def send(self, data: bytes) -> None:
        """Send `data` and wait until the socket has it all, so that a slow peer holds up its own task and no other.

        Raises `Closed` where the connection is closed, or makes no progress for ``server.stall_timeout``.
        """
        self.sink.control(data)
        await self.sink.flushed()
        if self.sink.closed:
            raise Closed(self.sink.closed)

    async def linger(self) -> None:
        """Let the peer have our last word before `close`: send the rest, say that no more comes, drop what it sends."""
        if self.sink.closed:
            return
        with anyio.move_on_after(LINGER_SECONDS):
            await self.sink.flushed()
            self._say_no_more()
            self.sink.close("closed")
            try:
                self.sock.shutdown(socket.SHUT_WR)
                left = LINGER_BYTES
                while left > 0:
                    await wait_readable(self.sock)
                    data = self.sock.recv(RECEIVE_BYTES)
                    if not data:
                        return
                    left -= len(data)
            except (OSError, ValueError, anyio.ClosedResourceError):
                return

    def _say_no_more(self) -> None:
        """TLS's own goodbye (RFC 8446 6.1): an end without it is an attack to GnuTLS, and an error to players."""
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self.sock.unwrap()  # what it then waits for, the peer's own, is not needed

    def close(self, reason: str = "closed") -> None:
        if not self.sink.closed:
            self._say_no_more()
        self.sink.close(reason)
        if self.sock.fileno() >= 0:
            # A task that waits to write must not wait on for whoever gets this descriptor next.
            anyio.notify_closing(self.sock)
        self.sock.close()


def _explain(what: str, host: str | None, port: int, transport: str, key: str, error: OSError) -> UserError:
    where = f"{host or ''}:{port}/{transport}"
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"{what} cannot listen on {where}: the port is in use; stop the other program or set {key} to another port."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(
            f"{what} cannot listen on {where}: no permission; use a port above 1023 in {key}, or run with the right to bind it."
        )
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return UserError(f"{what} cannot listen on {where}: this machine has no such address; correct {key}.")
    return UserError(f"{what} cannot listen on {where}: {error.strerror or error}; correct {key}.")


def open_listener(host: str | None, port: int, *, what: str, key: str) -> list[socket.socket]:
    """Listening TCP sockets for an address; all addresses (IPv6 with IPv4) where `host` is None or empty.

    Raises `UserError`, naming the config `key`, where that cannot be.
    """
    return _open(host, port, socket.SOCK_STREAM, what=what, key=key)


def open_udp(host: str | None, port: int, *, what: str, key: str) -> socket.socket:
    """One UDP socket for an address, as `open_listener`."""
    return _open(host, port, socket.SOCK_DGRAM, what=what, key=key)[0]


def _open(
    host: str | None, port: int, kind: socket.SocketKind, *, what: str, key: str
) -> list[socket.socket]:
    transport = "tcp" if kind == socket.SOCK_STREAM else "udp"
    try:
        if not host:
            if socket.has_dualstack_ipv6():
                found: list[tuple[Any, Any]] = [(socket.AF_INET6, ("::", port))]
            else:
                found = [(socket.AF_INET, ("0.0.0.0", port))]
        else:
            found = [
                (i[0], i[4]) for i in socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
            ][:1]
        return [_bind(family, address, kind, dual=not host) for family, address in found]
    except OSError as e:
        if not host and e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            try:
                return [_bind(socket.AF_INET, ("0.0.0.0", port), kind, dual=False)]
            except OSError as e4:
                e = e4
        raise _explain(what, host, port, transport, key, e) from None


def _bind(family: int, address: Any, kind: socket.SocketKind, *, dual: bool) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


async def accept(listener: socket.socket, handle: Callable[[socket.socket, Any], None]) -> None:
    """Hand every new connection to `handle`, until cancelled."""
    while True:
        await wait_readable(listener)
        for _ in range(ACCEPT_BATCH):
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # Out of descriptors: those that wait stay in the backlog until some are free again.
                    await anyio.sleep(0.1)
                    break
                continue
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()  # some systems say so where the peer is gone already
                continue
            handle(sock, peer)
        await anyio.lowlevel.checkpoint()


async def start_tls(
    sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None = None
) -> ssl.SSLSocket:
    """TLS over a connected non-blocking socket; as the server unless `server_hostname` is given.

    Raises `Closed`, saying why, where the handshake fails; the socket is then closed.
    """
    try:
        tls = context.wrap_socket(
            sock,
            server_side=server_hostname is None,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=True,
            server_hostname=server_hostname,
        )
    except (OSError, ValueError) as e:
        # The peer is gone already, or its name is none.
        sock.close()
        raise Closed(f"TLS handshake failed: {e}") from None
    try:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await wait_readable(tls)
            except ssl.SSLWantWriteError:
                await wait_writable(tls)
            else:
                return tls
    except OSError as e:
        tls.close()
        raise Closed(f"TLS handshake failed: {getattr(e, 'reason', None) or e}") from None
    except BaseException:
        tls.close()
        raise


async def connect(host: str, port: int, timeout: float = 10.0) -> socket.socket:
    """A connected non-blocking TCP socket. Raises `Closed` where nobody answers."""
    try:
        with anyio.fail_after(timeout):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            last: OSError | None = None
            for family, kind, proto, _, address in found:
                sock = socket.socket(family, kind, proto)
                try:
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                    code = sock.connect_ex(address)
                    if code == errno.EINPROGRESS:
                        await wait_writable(sock)
                        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return sock
                    last = OSError(code, os.strerror(code))
                except BaseException:
                    sock.close()
                    raise
                sock.close()
    except TimeoutError:
        raise Closed(f"{host}:{port} did not answer within {timeout:g} s") from None
    except (OSError, UnicodeError) as e:
        raise Closed(f"{host}:{port}: {getattr(e, 'strerror', None) or e}") from None
    raise Closed(f"{host}:{port}: {last.strerror if last is not None else 'no address'}")


def load_tls(certificate: str, key: str, *, tickets: bool = True) -> ssl.SSLContext:
    """A server's TLS context. Raises `UserError` in one sentence where the files will not do.

    Without `tickets` no session can be taken up again: librtmp (rtmpdump) with GnuTLS takes those of TLS 1.3 for the
    connection's end, and peers that send or play media seldom come back so soon.
    """
    if not certificate:
        raise UserError("TLS needs server.certificate beside server.key; set it.")
    for name, path in (("server.certificate", certificate), ("server.key", key or certificate)):
        try:
            with open(path, "rb"):
                pass
        except OSError as e:
            raise UserError(f"{name}: cannot read {path}: {e.strerror}.") from None

    def passphrase() -> str:
        # Without this OpenSSL asks on the terminal, if there is one, and the start hangs.
        raise UserError(
            f"the private key in {key or certificate} has a passphrase; write it to a file without one."
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_ciphers(CIPHERS)
    try:
        context.load_cert_chain(certificate, key or None, passphrase)
    except ssl.SSLError as e:
        raise UserError(_tls_refusal(e.reason, certificate, key)) from None
    if not tickets:
        context.num_tickets = 0
    return context


_ANOTHERS_KEY = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
_WEAK = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}
"""OpenSSL's own words, which say nothing to who does not know them."""


def _tls_refusal(reason: str | None, certificate: str, key: str) -> str:
    if reason in _ANOTHERS_KEY:
        return f"server.key {key or certificate} is not the key of server.certificate {certificate}; set the pair."
    if reason in _WEAK:
        return f"server.certificate {certificate} is too weak for today's TLS; make one of a larger key, with SHA-256."
    if b"BEGIN CERTIFICATE" not in Path(certificate).read_bytes():
        return f"server.certificate {certificate} has no certificate in PEM form; write one to it."
    if b"PRIVATE KEY" not in Path(key or certificate).read_bytes():
        name = f"server.key {key}" if key else f"server.certificate {certificate}"
        return f"{name} has no private key in PEM form; " + ("write one to it." if key else "set server.key.")
    return f"server.certificate {certificate} or its key is damaged; write both anew."
