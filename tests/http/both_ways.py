"""Asks the same past ASGI and through it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import anyio
import pytest

import penstock
from penstock_http.express import Express

from .port import port_of

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_VOLATILE = re.compile(rb"(?<=\r\ndate: )[^\r]+|(?<=viewer=)[\w-]{16}|(?<=value=\")20[\d:T.-]+Z")
"""What differs from answer to answer: the time, and by which name a viewer is known."""


async def both_ways(
    server: penstock.Server, requests: Sequence[bytes], protocol: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[bytes], list[bytes], int]:
    """The answers of handlers, those past ASGI, and how many of the latter there were.

    What is counted for the viewers' sessions of `protocol` has to be the same, too.
    """
    taken = 0
    take = Express.take

    def never(self: Express, data: bytes) -> bool:
        return False

    def counted(self: Express, data: bytes) -> bool:
        nonlocal taken
        found = take(self, data)
        taken += found
        return found

    def sent() -> int:
        return sum(s.bytes_out for s in server.sessions if s.protocol == protocol)

    before = sent()
    with monkeypatch.context() as patch:
        patch.setattr(Express, "take", never)
        slow = await answers(server, requests)
    between = sent()
    with monkeypatch.context() as patch:
        patch.setattr(Express, "take", counted)
        fast = await answers(server, requests)
    assert sent() - between == between - before
    return slow, fast, taken


async def answers(server: penstock.Server, requests: Sequence[bytes]) -> list[bytes]:
    """Those to `requests`, one after the other on one connection, without what is volatile."""
    found: list[bytes] = []
    async with await anyio.connect_tcp("127.0.0.1", port_of(server)) as stream:
        for request in requests:
            await stream.send(request)
            data = b""
            with anyio.fail_after(5):
                while True:
                    data += await stream.receive()
                    head, end, body = data.partition(b"\r\n\r\n")
                    length = _LENGTH.search(head + b"\r\n")
                    if end and (request.startswith(b"HEAD") or (length and len(body) == int(length[1]))):
                        break
            found.append(_VOLATILE.sub(b"", data))
    return found
