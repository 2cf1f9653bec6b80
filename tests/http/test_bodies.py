"""Bodies in files: of what many ask for, in bounds, and the same bytes whoever reads them how slowly."""

from __future__ import annotations

import os
import time

import anyio
import pytest

from penstock_http import bodies
from penstock_http.api import Answer
from penstock_http.bodies import LEAST, Bodies

from .port import port_of, serving
from .test_express import GET, LARGE, Page


def test_who_asks_again_has_a_file() -> None:
    files = Bodies()
    body = os.urandom(LEAST)
    assert files.descriptor(body) == -1
    number = files.descriptor(body)
    assert number >= 0
    assert files.descriptor(body) == number
    assert os.pread(number, LEAST + 1, 0) == body
    assert files.descriptor(bytes(bytearray(body))) == -1, "another of the same bytes"
    files.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_what_is_small_or_huge_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Bodies()
    monkeypatch.setattr(bodies, "MOST", 2 * LEAST)
    for body in (bytes(LEAST - 1), bytes(2 * LEAST + 1)):
        assert [files.descriptor(body) for _ in range(3)] == [-1] * 3
    assert len(files) == 0


def test_they_are_bounded_in_bytes_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Bodies()
    monkeypatch.setattr(bodies, "MOST", 3 * LEAST)
    every = [bytes(LEAST) + bytes([n]) for n in range(5)]
    for body in every:
        files.descriptor(body)
        files.descriptor(body)
    assert len(files) == 2
    monkeypatch.setattr(bodies, "MOST", 100 * LEAST)
    monkeypatch.setattr(bodies, "COUNT", 4)
    for body in every:
        files.descriptor(body)
    assert len(files) == 4
    files.expire(time.monotonic())
    assert len(files) == 4
    files.expire(time.monotonic() + bodies.KEPT_SECONDS)
    assert len(files) == 0


def test_where_the_system_has_none_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(os, "memfd_create", fails)
    files = Bodies()
    body = bytes(LEAST)
    assert [files.descriptor(body) for _ in range(3)] == [-1] * 3


@pytest.mark.anyio
@pytest.mark.usefixtures("logs")
async def test_each_gets_the_same_bytes() -> None:
    """Also who reads slowly, while the file is let go."""
    page = Page(LARGE)
    async with serving(page.route) as server:
        for _ in range(4):
            async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
                await stream.send(GET)
                await anyio.sleep(0.05)
                data = bytearray()
                with anyio.fail_after(10):
                    while not data.endswith(LARGE[-256:]) or len(data) < len(LARGE):
                        data += await stream.receive(1 << 20)
                assert bytes(data).partition(b"\r\n\r\n")[2] == LARGE
        page.answer = Answer(b"other")
        async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
            await stream.send(GET)
            assert (await stream.receive()).endswith(b"other")
    assert len(page.asked) == 5
