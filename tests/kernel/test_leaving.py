"""A peer that leaves is no traceback in the log, and everything else is."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, cast

import pytest

from penstock import leaving


class Ends(asyncio.Protocol):
    """Ends its connection when it hears that there is room to write again."""

    def __init__(self) -> None:
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def resume_writing(self) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


async def _break(quiet: bool) -> int:
    loop = asyncio.get_running_loop()
    if quiet:
        leaving.keep_quiet(loop)
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    protocol = Ends()
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    transport.write(bytes(1 << 20))
    while not protocol.lost:
        assert await loop.sock_recv(theirs, 1 << 16)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    theirs.close()
    return protocol.lost


@pytest.mark.parametrize("quiet", [True, False])
def test_a_connection_that_is_lost_twice_is_no_news(quiet: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(_break(quiet)) == 1
    told = [r.getMessage() for r in caplog.records if r.name == "asyncio" and r.levelno >= logging.ERROR]
    assert len(told) == (0 if quiet else 1), told
    assert all("_call_connection_lost" in line for line in told)


def test_other_errors_and_other_words_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        loop = asyncio.get_running_loop()
        leaving.keep_quiet(loop)

        def close(what: Any) -> None:
            what.close()

        loop.call_soon(close, None)
        await asyncio.sleep(0)
        for word in (*leaving.WORDS, "something else"):
            logging.getLogger("asyncio").warning(word)

    asyncio.run(fail())
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert warnings == ["something else"]
    assert len(errors) == 1
    assert errors[0].startswith("Exception in callback")
