"""What is answered past ASGI is what the handler answers, byte for byte, and counts the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

import anyio
import pytest

import penstock
from penstock_http.express import Express
from tests.hls.stage import live, media, multivariant, watching
from tests.http.port import port_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

_DATE = re.compile(rb"(?<=\r\ndate: )[^\r]+")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


async def answers(server: penstock.Server, requests: Iterable[bytes]) -> list[bytes]:
    """Those to `requests`, one after the other on one connection, whatever the time."""
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
            found.append(_DATE.sub(b"", data))
    return found


@pytest.mark.parametrize("cors", [["*"], [], ["https://player.example"]])
async def test_both_ways_answer_the_same(cors: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    take = Express.take

    def never(self: Express, data: bytes) -> bool:
        return False

    def counted(self: Express, data: bytes) -> bool:
        nonlocal taken
        found = take(self, data)
        taken += found
        return found

    async with live(config={"cors": cors}) as (server, stream):
        await watching(server, stream, 4)
        (variant,) = (await multivariant(server)).variants
        token = variant.uri.partition("?")[2]
        low, plain = await media(server), await media(server, "fmp4-v1")
        transport = await media(server, "ts-main")
        last = low.media_sequence + len(low.segments) - 1
        names = [
            "ll-v1.m3u8",
            f"ll-v1.m3u8?{token}",
            "fmp4-v1.m3u8",
            "ts-main.m3u8",
            "ll-a2.m3u8?token=x%2Fy&z",
        ]
        names += [f"ll-v1.m3u8?{token}&_HLS_msn={last - 1}&_HLS_part=0", "ll-v1.m3u8?_HLS_skip=YES"]
        names += [f"ll-v1.m3u8?_HLS_msn={last + 100}", "ll-v1.m3u8?_HLS_part=1", "ll-v1.m3u8?_HLS_msn=x"]
        names += [plain.segments[0].uri, transport.segments[0].uri, f"{plain.segments[1].uri}?token=x"]
        names += [s.map.uri for s in plain.segments[:1] if s.map]
        names += [p.uri for s in low.segments[-2:] for p in s.parts[:2]]
        names += ["v1-1.m4s", "v9-1.m4s", "a2-7.mp4", "v1-1.1.m4s", "none.m4s"]
        requests = [
            b"%s /live/one/hls/%s HTTP/1.1\r\nHost: h\r\nUser-Agent: %s\r\n%s\r\n" % (method, name.encode(), agent, more)
            for agent, more in (
                (b"one", b""),
                (b"two", b"Origin: https://player.example\r\n"),
                (b"three", b"origin: https://else.example\r\nCookie: a=b\r\n"),
                (b"four", b"Authorization: Basic eDp5\r\n"),
                (b"five", b"Range: bytes=0-9\r\n"),
            )
            for method in (b"GET", b"HEAD")
            for name in names
        ]  # fmt: skip
        ours = [s for s in server.sessions if s.protocol == "hls"]
        with monkeypatch.context() as patch:
            patch.setattr(Express, "take", never)
            slow = await answers(server, requests)
            before = sum(s.bytes_out for s in server.sessions if s.protocol == "hls")
        monkeypatch.setattr(Express, "take", counted)
        fast = await answers(server, requests)
        sent = sum(s.bytes_out for s in server.sessions if s.protocol == "hls") - before
    assert len(ours) >= 1
    assert fast == slow
    assert taken > 40
    assert sent == sum(len(a.partition(b"\r\n\r\n")[2]) for a in slow if b" 200 OK" in a) + _heads(
        requests, slow
    )


def _heads(requests: list[bytes], found: list[bytes]) -> int:
    """What is counted for HEAD requests: the handler counts what it gave."""
    total = 0
    for request, answer in zip(requests, found, strict=True):
        length = _LENGTH.search(answer)
        if request.startswith(b"HEAD") and b" 200 OK" in answer and length:
            total += int(length[1])
    return total
