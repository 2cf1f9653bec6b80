"""A light peer whose link carries less than the largest layer: it gets another one, and the largest when there is room again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import pytest
from attrs import define, field

from penstock import NS, Publisher, Track
from penstock_codecs.vp8.header import VP8 as VP8_CODEC
from penstock_codecs.vp8.header import Vp8Config
from penstock_formats.rtcp import Feedback, PictureLoss, ReceiverReport
from penstock_formats.rtp.packet import RtpPacket, extension_elements
from penstock_formats.transport_cc import EXTENSION, FORMAT, PACKET_TYPE, Arrivals
from penstock_webrtc.layered import FEEDBACK_NS
from tests.webrtc.client import LIMIT, Client, Rig, rig
from tests.webrtc.test_whep import KEY, playing

pytestmark = pytest.mark.anyio
SIZES = (600, 6000)
"""Bytes of a picture of each layer: 0.12 and 1.2 Mbit/s."""
WIDTHS = (16, 32)
LAYERS = [(VP8_CODEC, 90_000, Vp8Config(wide, wide)) for wide in WIDTHS]


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


def picture(wide: int, size: int, *, key: bool) -> bytes:
    head = KEY[:6] + bytes((wide, 0, wide, 0)) if key else b"\x11"
    return head + bytes(size - len(head))


@define(eq=False)
class Show:
    """A publisher of two layers, in real time, and a viewer who tells of a link of `width` bits a second in front of it."""

    publisher: Publisher
    tracks: list[Track]
    client: Client
    width: float = 1e9
    wanted: set[int] = field(factory=set[int])
    asked: list[int] = field(factory=list[int])
    _frame: int = 0
    _taken: int = 0
    _free: int = 0
    _arrivals: Arrivals = field(factory=Arrivals)

    def ask(self, track: Track) -> None:
        self.asked.append(track.id)
        self.wanted.add(track.id)

    async def frame(self) -> None:
        """One picture of each layer, and what the viewer says of it."""
        for track, wide, size in zip(self.tracks, WIDTHS, SIZES, strict=True):
            key = self._frame == 0 or track.id in self.wanted
            self.wanted.discard(track.id)
            data = picture(wide, size, key=key)
            self.publisher.write(track.id, (data,), pts=self._frame * NS // 25, key=key)
        self._frame += 1
        await self.publisher.flush()
        await anyio.sleep(0.04)
        while self.client.receive():
            pass
        for packet in self.client.packets[self._taken :]:
            self._pass(packet)
        self._taken = len(self.client.packets)
        if self._frame % 2 == 0 and (told := self._arrivals.feedback()) is not None:
            self.client.send_rtcp(ReceiverReport(1), told.encode(1, self.client.packets[-1].ssrc))

    def _pass(self, packet: RtpPacket) -> None:
        assert packet.extension is not None
        ((number, value),) = extension_elements(packet.extension)
        assert number == 3
        now = time.monotonic_ns()
        self._free = max(self._free, now) + int(len(packet.payload) * 8 * NS / self.width)
        self._arrivals.add(int.from_bytes(value, "big"), self._free)

    async def until(self, wide: int) -> None:
        """Go on until pictures so large come."""
        with anyio.fail_after(LIMIT):
            while self.shown[-1:] != [wide]:
                await self.frame()

    @property
    def shown(self) -> list[int]:
        """The widths of the key frames that came: of layers, where each begins."""
        found = [p.payload[4:] for p in self.client.of(96)]
        return [data[6] for data in found if data.startswith(KEY[:6])]


async def test_the_layer_follows_the_link(served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_webrtc.probe.FIRST_NS", NS // 5)
    publisher, tracks = await served.publish("live/one", *LAYERS, group="layers")
    client = Client(("VP8/90000",))
    show = Show(publisher, tracks, client)
    publisher.on_key_frame_request = show.ask
    await show.frame()
    await playing(served, client)
    assert client.answer is not None
    attributes = client.answer.media[0].attributes
    assert ("extmap", f"3 {EXTENSION}") in attributes
    assert ("rtcp-fb", "96 transport-cc") in attributes
    (session,) = [s for s in served.server.sessions if s.protocol == "webrtc"]
    await show.until(32)
    for _ in range(10):
        await show.frame()
    assert (session.info["layer"], session.info["estimate"]) == (tracks[1].id, None)
    assert "left_out" not in session.info
    show.width = 600_000
    await show.until(16)
    assert session.info["layer"] == tracks[0].id
    asked = show.asked.copy()
    assert set(asked) == {tracks[0].id}
    # What it wants from now on it wants of the layer that it gets.
    client.send_rtcp(PictureLoss(1, client.of(96)[0].ssrc))
    show.width = 20_000_000
    await show.until(32)
    assert set(show.asked[len(asked) :]) <= {t.id for t in tracks}
    assert show.asked[-1] == tracks[1].id
    assert client.of(97), "nothing was sent again as a probe"
    pictures = client.of(96)
    assert {b.sequence - a.sequence & 0xFFFF for a, b in pairwise(pictures)} == {1}
    times = sorted({p.timestamp for p in pictures}, key=[p.timestamp for p in pictures].index)
    assert all(0 < (b - a & 0xFFFFFFFF) <= 2 * 3600 for a, b in pairwise(times))
    assert sum(len(p.payload) for p in pictures) == session.bytes_out


async def test_who_cannot_tell_of_its_link_has_the_largest_for_good(served: Rig) -> None:
    publisher, tracks = await served.publish("live/one", *LAYERS, group="layers")
    client = Client(("VP8/90000",), feedback=("nack",))
    await playing(served, client)
    (session,) = [s for s in served.server.sessions if s.protocol == "webrtc"]
    assert session.info["left_out"] == {tracks[0].id: "another of its group is played"}
    for track, wide, size in zip(tracks, WIDTHS, SIZES, strict=True):
        publisher.write(track.id, (picture(wide, size, key=True),), pts=NS)
    await publisher.flush()
    await client.until(lambda: len(client.packets) == 6)
    assert all(p.extension is None for p in client.packets)
    client.send_rtcp(Feedback(PACKET_TYPE, FORMAT, 1, client.packets[0].ssrc, b"anything"))
    publisher.write(tracks[1].id, (picture(32, 100, key=False),), pts=NS + NS // 25, key=False)
    await publisher.flush()
    await client.until(lambda: len(client.packets) == 7)


async def test_feedback_that_is_none_is_counted(served: Rig) -> None:
    publisher, tracks = await served.publish("live/one", *LAYERS, group="layers")
    client = Client(("VP8/90000",))
    await playing(served, client)
    (session,) = [s for s in served.server.sessions if s.protocol == "webrtc"]
    client.send_rtcp(Feedback(PACKET_TYPE, FORMAT, 1, 2, b"anything"))
    await served.until(lambda: session.counters.get("bad_packets") == 1)
    publisher.write(tracks[1].id, (picture(32, 100, key=True),), pts=NS)
    await publisher.flush()
    await client.until(lambda: client.packets)


async def test_a_flood_of_feedback_is_not_read(served: Rig) -> None:
    _, tracks = await served.publish("live/one", *LAYERS, group="layers")
    client = Client(("VP8/90000",))
    await playing(served, client)
    (session,) = [s for s in served.server.sessions if s.protocol == "webrtc"]
    began = time.monotonic_ns()
    for _ in range(100):
        client.send_rtcp(*[Feedback(PACKET_TYPE, FORMAT, 1, tracks[0].id, b"anything")] * 10)
    before = session.bytes_in
    await served.until(lambda: session.bytes_in > before)
    await anyio.sleep(0.02)
    elapsed = time.monotonic_ns() - began
    assert 5 <= session.counters["bad_packets"] <= 6 + elapsed // FEEDBACK_NS
