"""Many datagrams in few calls: each arrives whole, once and in order, whatever their sizes."""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from penstock import udp
from penstock.log import LimitedLog
from penstock.udp import MAX_DATAGRAM, MAX_RUN_BYTES, MAX_SEGMENTS, Fanout, runs, send_all, send_run


@given(
    st.lists(st.sampled_from([1, 2, 1359, 1360, 1361, 30_000, MAX_DATAGRAM, MAX_DATAGRAM + 1]), max_size=200)
)
def test_runs_are_what_udp_segment_can_send(sizes: list[int]) -> None:
    payloads = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    found: list[bytes] = []
    for data, size in runs(payloads):
        parts = [data[i : i + size] for i in range(0, len(data), size)]
        assert len(parts) <= MAX_SEGMENTS
        assert len(data) <= max(MAX_RUN_BYTES, size)
        assert size <= MAX_DATAGRAM
        assert all(len(part) == size for part in parts[:-1])
        found += parts
    assert found == [p for p in payloads if len(p) <= MAX_DATAGRAM]


def test_a_datagram_that_no_packet_can_hold_is_dropped_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's mistake: the other datagrams of the frame go out, and the feed goes on."""
    with structlog.testing.capture_logs() as logs:
        monkeypatch.setattr(udp, "_log", LimitedLog(lines=1, period=60.0))
        for _ in range(100):
            assert list(runs([b"a", bytes(70_000), b"b"])) == [(b"a", 1), (b"b", 1)]
    assert [(e["event"], e["bytes"]) for e in logs] == [("a datagram was too large to be sent", 70_000)]


Receivers = list[socket.socket]


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    found: socket.AddressFamily = request.param
    return found


@pytest.fixture
def sender(family: socket.AddressFamily) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        yield sock


@pytest.fixture
def receivers(family: socket.AddressFamily) -> Iterator[Receivers]:
    found: Receivers = []
    for _ in range(5):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
        sock.setblocking(False)
        found.append(sock)
    yield found
    for sock in found:
        sock.close()


def received(sock: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(sock.recv(1 << 17))
        except BlockingIOError:
            return found


PAYLOADS = [b"a" * 1360, b"b" * 1360, b"c" * 7, b"d" * 9000, b"e", b"", b"f" * 40_000, b"g" * MAX_DATAGRAM]


def test_a_fanout_reaches_all(sender: socket.socket, receivers: Receivers) -> None:
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    assert len(fanout) == 5
    for run in runs(PAYLOADS):
        assert fanout.send(run) == 5
    assert [received(r) for r in receivers] == [PAYLOADS] * 5
    run = (b"xy", 1)
    assert fanout.send(run, 3) == 5
    assert [received(r) for r in receivers] == [[], [], [], [b"x", b"y"], [b"x", b"y"]]


def test_one_address(sender: socket.socket, receivers: Receivers) -> None:
    for run in runs(PAYLOADS):
        assert send_run(sender, run, receivers[0].getsockname()) == len(run[0])
    assert received(receivers[0]) == PAYLOADS


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("gso", [True, False])
def test_many_to_one_address(
    sender: socket.socket,
    receivers: Receivers,
    gso: bool,
    refused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether or not the system, and this path, can segment."""
    monkeypatch.setattr(udp, "_gso", gso)
    if refused:
        # So many segments are too many.
        def segments(_size: int) -> object:
            return ((udp.SOL_UDP, udp.UDP_SEGMENT, b"\1\0"),)

        monkeypatch.setattr(udp, "_segments", segments)
    udp._spans.cache_clear()  # pyright: ignore[reportPrivateUsage]
    for _ in range(2):
        send_all(sender, PAYLOADS, receivers[0].getsockname())
        assert received(receivers[0]) == PAYLOADS
    udp._spans.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_a_full_socket_and_nothing_to_send_are_no_error(receivers: Receivers) -> None:
    class Full:
        def sendmsg(self, *_: object) -> int:
            raise BlockingIOError

        sendto = sendmsg

    full: Any = Full()
    send_all(full, PAYLOADS, receivers[0].getsockname())
    send_all(full, (), receivers[0].getsockname())


def test_where_the_system_cannot_segment(
    sender: socket.socket, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same datagrams, one call each: without UDP_SEGMENT, and without sendmmsg."""
    monkeypatch.setattr(udp, "_gso", False)
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    monkeypatch.setattr(fanout, "_native", False)
    for run in runs(PAYLOADS):
        assert fanout.send(run) == 5
    assert [received(r) for r in receivers] == [PAYLOADS] * 5


def refusing(error: int, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the first `times` calls of sendmmsg fail with `error`; returns how many messages each call was given."""
    real: Callable[..., int] = udp._sendmmsg  # pyright: ignore[reportPrivateUsage]
    given: list[int] = []

    def sendmmsg(fd: int, messages: int, count: int, flags: int) -> int:
        given.append(count)
        if len(given) <= times:
            ctypes.set_errno(error)
            return -1
        return real(fd, messages, count, flags)

    monkeypatch.setattr(udp, "_sendmmsg", sendmmsg)
    return given


@pytest.mark.parametrize(
    ("error", "served", "first_gets"),
    [
        (errno.EAGAIN, 0, []),
        (errno.ENOBUFS, 0, []),
        (errno.EINTR, 5, [b"x", b"y"]),
        (errno.ENETUNREACH, 5, []),
        (errno.EPERM, 5, []),
        (errno.EINVAL, 5, [b"x", b"y"]),
        (errno.EIO, 5, [b"x", b"y"]),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) and value > 5 else "",
)
def test_what_the_system_may_say(
    sender: socket.socket,
    receivers: Receivers,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
    served: int,
    first_gets: list[bytes],
) -> None:
    """A full socket is told to the caller; one that cannot be reached, or cannot be segmented for, holds up nobody."""
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    refusing(error, 1, monkeypatch)
    assert fanout.send((b"xy", 1)) == served
    assert received(receivers[0]) == first_gets
    assert received(receivers[4]) == ([b"x", b"y"] if served else [])


def test_where_segmentation_is_refused_the_socket_does_not_segment_any_more(
    sender: socket.socket, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than the path's MTU would be refused again, datagram by datagram."""
    sizes: list[int] = []

    def send_run(sock: socket.socket, run: udp.Run, address: udp.Address) -> int:
        sizes.append(sock.getsockopt(udp.SOL_UDP, udp.UDP_SEGMENT))
        return sum(sock.sendto(run[0][i : i + run[1]], address) for i in range(0, len(run[0]), run[1]))

    monkeypatch.setattr(udp, "send_run", send_run)
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    refusing(errno.EMSGSIZE, 2, monkeypatch)
    assert fanout.send((b"xyz", 2)) == 5
    assert sizes == [0, 0]
    assert [received(r) for r in receivers] == [[b"xy", b"z"]] * 5


def test_one_datagram_larger_than_the_mtu(
    sender: socket.socket, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UDP_SEGMENT refuses it (EINVAL), an ordinary call lets the system cut it up."""
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    refusing(errno.EINVAL, 5, monkeypatch)
    assert fanout.send((b"x" * 1400, 1400)) == 5
    assert [received(r) for r in receivers] == [[b"x" * 1400]] * 5


def test_more_receivers_than_one_call_takes(
    sender: socket.socket, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = refusing(0, 0, monkeypatch)
    monkeypatch.setattr(udp, "MAX_MESSAGES", 2)
    assert Fanout(sender, [r.getsockname() for r in receivers]).send((b"x", 1)) == 5
    assert given == [2, 2, 1]
    assert [received(r) for r in receivers] == [[b"x"]] * 5


def test_only_what_is_fanned_out_is_cut_up(sender: socket.socket, receivers: Receivers) -> None:
    """The socket is everybody's: what others send by it stays whole."""
    to = receivers[0].getsockname()
    assert Fanout(sender, [to]).send((b"xyz", 2)) == 1
    sender.sendto(b"whole", to)
    assert received(receivers[0]) == [b"xy", b"z", b"whole"]


def test_a_system_without_segmentation(
    sender: socket.socket, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "UDP_SEGMENT", 9999)
    fanout = Fanout(sender, [r.getsockname() for r in receivers])
    assert fanout.send((b"xyz", 2), 1) == 5
    assert [received(r) for r in receivers] == [[]] + [[b"xy", b"z"]] * 4


def test_nobody_to_send_to(sender: socket.socket) -> None:
    assert Fanout(sender, []).send((b"x", 1)) == 0


def test_a_closed_socket_sends_nothing(sender: socket.socket, receivers: Receivers) -> None:
    fanout = Fanout(sender, [receivers[0].getsockname()])
    sender.close()
    assert fanout.send((b"xy", 1)) == 1
    assert send_run(sender, (b"xy", 1), receivers[0].getsockname()) == 0
    assert received(receivers[0]) == []
