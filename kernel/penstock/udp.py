"""Many datagrams in few system calls: UDP_SEGMENT, and sendmmsg over the receivers where the system has it."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from penstock.log import LimitedLog

SOL_UDP = 17
UDP_SEGMENT = 103
MAX_SEGMENTS = 64
"""Segments that the kernel takes in one call (UDP_MAX_SEGMENTS)."""
MAX_RUN_BYTES = 65_000
"""Bytes of one call: what fits an IP packet's length field, with headers."""
MAX_DATAGRAM = 65_507
"""What an IPv4 packet has room for."""
MAX_MESSAGES = 1024
"""Messages of one sendmmsg (UIO_MAXIOV)."""

RECEIVE_BYTES = 65_536
RECEIVED = 64
"""Datagrams that are read at a shared socket before other tasks get their turn."""

Address = tuple[Any, ...]
Run = tuple[bytes, int]
"""Datagrams back to back, and the size of each but the last."""


_log = LimitedLog(lines=1, period=60.0)


def spans(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Datagrams of these sizes as what UDP_SEGMENT can send at once: from and to before which of them. All but the last of
    a span are of one size, the last may be smaller; none that is too large is in any.
    """
    first, count = 0, len(sizes)
    while first < count:
        size = sizes[first]
        if size > MAX_DATAGRAM:
            _log.write("error", "", "a datagram was too large to be sent", bytes=size, most=MAX_DATAGRAM)
            first += 1
            continue
        most = max(1, min(MAX_SEGMENTS, MAX_RUN_BYTES // max(size, 1)))
        end, last = min(first + most, count), first + 1
        while last < end and sizes[last] == size:
            last += 1
        if last < end and sizes[last] < size:
            last += 1
        yield first, last
        first = last


def runs(payloads: Sequence[bytes]) -> Iterator[Run]:
    """Payloads as runs that UDP_SEGMENT can send: equal sizes, only the last may be smaller; none that is too large."""
    sizes = list(map(len, payloads))
    for first, end in spans(sizes):
        yield (payloads[first] if end == first + 1 else b"".join(payloads[first:end])), sizes[first]


def received(sock: socket.socket) -> Iterator[tuple[bytes, Address]]:
    """The datagrams that are there and who sent them, `RECEIVED` of them at most."""
    for _ in range(RECEIVED):
        try:
            yield sock.recvfrom(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # What came back for something that was sent (port unreachable) says nothing of the others.
            continue


_GSO_REFUSED = {errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT, errno.EMSGSIZE}
_gso = sys.platform == "linux"


@lru_cache(maxsize=256)
def _segments(size: int) -> Sequence[tuple[int, int, bytes]]:
    """What says that a message is of segments of that size."""
    return ((SOL_UDP, UDP_SEGMENT, struct.pack("=H", size)),)


def send_run(sock: socket.socket, run: Run, address: Address) -> int:
    """Send one run to one address; returns the bytes sent, 0 where the socket is full or the peer out of reach."""
    data, size = run
    try:
        if len(data) <= size:
            return sock.sendto(data, address)
        if _gso:
            try:
                return sock.sendmsg((data,), _segments(size), 0, address)
            except OSError as e:
                if e.errno not in _GSO_REFUSED:
                    raise
        return sum(sock.sendto(data[i : i + size], address) for i in range(0, len(data), size))
    except OSError:
        return 0


Span = tuple[int, int, Sequence[tuple[int, int, bytes]]]
"""From and to before which datagram, and what says how large they are, where they are some."""


@lru_cache(maxsize=256)
def _spans(sizes: tuple[int, ...]) -> Sequence[Span]:
    """What goes out in one call. Remembered, as packets of many receivers are of the same sizes."""
    return tuple((n, end, _segments(sizes[n]) if end > n + 1 else ()) for n, end in spans(sizes))


def send_all(sock: socket.socket, datagrams: Sequence[bytes], address: Address) -> None:
    """Send datagrams to one address in as few calls as can be."""
    for first, end, segments in _spans(tuple(map(len, datagrams))):
        try:
            if not segments:
                sock.sendto(datagrams[first], address)
            elif _gso:
                sock.sendmsg((b"".join(datagrams[first:end]),), segments, 0, address)
            else:
                _one_by_one(sock, datagrams[first:end], address)
        except OSError as e:
            # Where the socket is full, or the peer out of reach, the others are lost one by one as well.
            if segments and e.errno in _GSO_REFUSED:
                _one_by_one(sock, datagrams[first:end], address)


def _one_by_one(sock: socket.socket, datagrams: Sequence[bytes], address: Address) -> None:
    for datagram in datagrams:
        with suppress(OSError):
            sock.sendto(datagram, address)


if sys.platform == "linux":

    class _Iovec(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    class _Msghdr(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_void_p),
            ("namelen", ctypes.c_uint32),
            ("iov", ctypes.c_void_p),
            ("iovlen", ctypes.c_size_t),
            ("control", ctypes.c_void_p),
            ("controllen", ctypes.c_size_t),
            ("flags", ctypes.c_int),
        )

    class _Mmsghdr(ctypes.Structure):
        _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))

    _sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    _sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    _sendmmsg.restype = ctypes.c_int


def _sockaddr(family: int, address: Address) -> bytes:
    if family == socket.AF_INET6:
        flow, scope = (*address[2:], 0, 0)[:2]
        ip = socket.inet_pton(family, address[0])
        return (
            struct.pack("=H", family) + struct.pack("!HI", address[1], flow) + ip + struct.pack("=I", scope)
        )
    return (
        struct.pack("=H", family)
        + struct.pack("!H", address[1])
        + socket.inet_pton(family, address[0])
        + bytes(8)
    )


class Fanout:
    """The same datagrams to many addresses of one socket, prepared once: all messages share one buffer.

    A receiver that cannot be reached is passed over.
    """

    def __init__(self, sock: socket.socket, addresses: Iterable[Address]) -> None:
        self.sock = sock
        self.addresses = list(addresses)
        self._native = sys.platform == "linux"
        if self._native:
            self._prepare()

    def _prepare(self) -> None:
        count = len(self.addresses)
        names = [_sockaddr(self.sock.family, a) for a in self.addresses]
        width = len(names[0]) if names else 0
        self._names = ctypes.create_string_buffer(b"".join(names), max(1, width * count))
        self._iovec = _Iovec()
        self._messages = (_Mmsghdr * count)()
        base, iov = ctypes.addressof(self._names), ctypes.addressof(self._iovec)
        for i, message in enumerate(self._messages):
            header = message.header
            header.name, header.namelen = base + i * width, width
            header.iov, header.iovlen = iov, 1

    def __len__(self) -> int:
        return len(self.addresses)

    def send(self, run: Run, first: int = 0) -> int:
        """Send one run to the addresses from `first` on.

        Returns the number served: less than all where the socket is full.
        """
        data, size = run
        if not self._native:
            return self._one_by_one(run, first)
        refused: list[Address] = []
        if len(data) <= size:
            done = self._send(run, first, refused)
        else:
            # For the socket and not beside each message, which costs 2 to 3 % more; nobody else sends before it is taken back.
            try:
                self.sock.setsockopt(SOL_UDP, UDP_SEGMENT, size)
            except OSError:
                return self._one_by_one(run, first)
            try:
                done = self._send(run, first, refused)
            finally:
                self.sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        for address in refused:
            # A single datagram as well, where it is larger than the path's MTU: the system then cuts it up itself.
            send_run(self.sock, run, address)
        return done

    def _one_by_one(self, run: Run, first: int) -> int:
        for address in self.addresses[first:]:
            send_run(self.sock, run, address)
        return len(self.addresses)

    def _send(self, run: Run, first: int, refused: list[Address]) -> int:
        data, _ = run
        pointer = ctypes.c_char_p(data)
        self._iovec.base = ctypes.cast(pointer, ctypes.c_void_p).value
        self._iovec.length = len(data)
        start, count, fd = ctypes.addressof(self._messages), len(self.addresses), self.sock.fileno()
        width, done = ctypes.sizeof(_Mmsghdr), first
        while done < count:
            sent = _sendmmsg(fd, start + done * width, min(MAX_MESSAGES, count - done), 0)
            if sent > 0:
                done += sent
                continue
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.ENOBUFS):
                return done
            if error in _GSO_REFUSED:
                refused.append(self.addresses[done])
            if error != errno.EINTR:
                done += 1
        return done
