"""Large pictures are spread out, in virtual time and to a light peer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import anyio
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_formats.rtcp import Nack
from penstock_webrtc.pacer import BURST, FACTOR, MOST_SECONDS, NARROW_SECONDS, STEP_SECONDS, Pacer
from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, PICTURE, playing, write

LARGE = KEY + bytes(100_000)


@define(eq=False)
class Line:
    """What comes out of a pacer, and when; its task is run by hand."""

    rate: float
    bound: float | None = None
    now: float = 100.0
    sent: list[tuple[float, bytes]] = field(factory=list[tuple[float, bytes]])
    tasks: list[Coroutine[Any, Any, None]] = field(factory=list[Coroutine[Any, Any, None]])
    pacer: Pacer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pacer = Pacer(self.take, lambda: self.rate, lambda: self.bound, self.spawn, lambda: self.now)

    def take(self, packets: Sequence[bytes]) -> None:
        self.sent += [(self.now, packet) for packet in packets]

    def spawn(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.tasks.append(task())

    async def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The task that was begun, with a clock that goes on where it sleeps."""

        async def sleep(seconds: float) -> None:
            self.now += seconds

        monkeypatch.setattr("penstock_webrtc.pacer.anyio.sleep", sleep)
        while self.tasks:
            await self.tasks.pop()


def packets(count: int, size: int = 1000) -> list[bytes]:
    return [bytes([n]) * size for n in range(count)]


@settings(max_examples=20, deadline=None)
@given(count=st.integers(BURST + 1, 200), rate=st.integers(100_000, 20_000_000))
def test_what_is_much_takes_its_time_and_no_more(count: int, rate: int) -> None:
    line = Line(rate)
    with pytest.MonkeyPatch.context() as monkeypatch:
        line.pacer.put(packets(count))
        anyio.run(line.run, monkeypatch)
    assert [packet for _, packet in line.sent] == packets(count)
    assert not line.pacer.waits
    took = line.sent[-1][0] - 100
    pace = max(FACTOR * rate / 8, count * 1000 / MOST_SECONDS)
    assert took == pytest.approx(count * 1000 / pace, abs=2 * STEP_SECONDS)
    assert took <= MOST_SECONDS + STEP_SECONDS
    for at in {at for at, _ in line.sent}:
        assert sum(at == when for when, _ in line.sent) * 1000 <= pace * STEP_SECONDS + 1000


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 100), bound=st.integers(100_000, 20_000_000))
def test_where_a_queue_stands_no_more_goes_out_than_the_link_carries(count: int, bound: int) -> None:
    line = Line(1_000_000, bound)
    with pytest.MonkeyPatch.context() as monkeypatch:
        line.pacer.put(packets(count))
        anyio.run(line.run, monkeypatch)
    assert [packet for _, packet in line.sent] == packets(count)
    pace = max(bound / 8, count * 1000 / NARROW_SECONDS)
    for at in {at for at, _ in line.sent}:
        assert sum(at == when for when, _ in line.sent) * 1000 <= pace * STEP_SECONDS + 1000
    assert line.sent[-1][0] - 100 <= NARROW_SECONDS + STEP_SECONDS


def test_what_is_little_goes_at_once_unless_something_waits() -> None:
    line = Line(1_000_000)
    line.pacer.put(packets(BURST))
    assert len(line.sent) == BURST
    assert not line.tasks
    line.pacer.put(packets(100))
    line.pacer.put([b"last"])
    assert len(line.tasks) == 1
    with pytest.MonkeyPatch.context() as monkeypatch:
        anyio.run(line.run, monkeypatch)
    assert [packet for _, packet in line.sent[BURST:]] == [*packets(100), b"last"]
    line.pacer.put(packets(100))
    line.pacer.clear()
    sent = len(line.sent)
    with pytest.MonkeyPatch.context() as monkeypatch:
        anyio.run(line.run, monkeypatch)
    assert len(line.sent) == sent


@pytest.fixture(params=[True, False])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Rig, bool]]:
    async with rig(webrtc={"pacing": request.param}) as running:
        yield running, request.param


async def spread(client: Client, count: int) -> float:
    """Seconds between the first and the last packet of the next picture."""
    before = len(client.of(96))
    await client.until(lambda: len(client.of(96)) > before)
    began = time.monotonic()
    await client.until(lambda: len(client.of(96)) == before + count)
    return time.monotonic() - began


@pytest.mark.anyio
async def test_who_begins_or_loses_packets_gets_large_pictures_spread_out(served: tuple[Rig, bool]) -> None:
    rig, pacing = served
    publisher, (picture,) = await rig.publish("live/one", PICTURE)
    client, count = Client(("VP8/90000",)), -(-len(LARGE) // 1156)
    await write(publisher, picture, LARGE, 0)
    await playing(rig, client)
    begun = await spread(client, count)
    await write(publisher, picture, INTER, 1.0)
    await client.until(lambda: len(client.of(96)) == count + 1)
    # Nothing was lost: after a moment large pictures go out at once.
    await anyio.sleep(0.6)
    await write(publisher, picture, LARGE, 2.0)
    at_once = await spread(client, count)
    lost = client.of(96)[-1]
    client.send_rtcp(Nack.of(1, lost.ssrc, [lost.sequence]))
    await client.until(lambda: client.of(97))
    await write(publisher, picture, LARGE, 3.0)
    lossy = await spread(client, count)
    assert at_once < 0.05
    assert (begun > 0.1) is pacing
    assert (lossy > 0.1) is pacing


def test_what_is_let_go_of_is_one_sender_s() -> None:
    line = Line(0.0)
    sealed = [
        b"\x80\x60" + bytes(6) + (1 + n % 2).to_bytes(4, "big") + bytes([n]) * 100 for n in range(2 * BURST)
    ]
    line.pacer.put(sealed)
    sent = [packet for _, packet in line.sent]
    line.pacer.clear(1)
    assert line.pacer.waits
    while line.pacer.waits:
        line.now += STEP_SECONDS
        line.pacer.release()
    assert [p for _, p in line.sent[len(sent) :]] == [p for p in sealed[len(sent) :] if p[11] == 2]
    for task in line.tasks:
        task.close()
