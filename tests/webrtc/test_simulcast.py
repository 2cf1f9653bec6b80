"""Simulcast with a light peer: each layer is a track of one group, and every reader gets one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from attrs import define, field

from penstock import Frame, Kind, Stream
from penstock_codecs.vp8.rtp import Vp8Packetizer
from penstock_formats.flv.muxer import FlvMuxer
from penstock_formats.mpegts.live_muxer import LiveMuxer
from penstock_formats.rtcp import Nack, PictureLoss, SenderReport, ns_to_ntp
from penstock_formats.rtp.packet import Extension, RtpPacket
from penstock_progressive.mp4 import Mp4Muxer
from penstock_rtsp.description import describe
from penstock_webrtc.repair import build_repair
from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, playing
from tests.webrtc.test_whep import frames as frames_of

pytestmark = pytest.mark.anyio
NS = 1_000_000_000
LARGE_KEY = b"\x10\x00\x00\x9d\x01\x2a\x20\x00\x20\x00" + bytes(2000)
"""As `KEY`, of 32 by 32."""


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


@define(eq=False)
class Layer:
    """Sends one layer; its first packets say which it is."""

    client: Client
    rid: bytes
    ssrc: int
    sequence: int = 100
    packetizer: Vp8Packetizer = field(factory=lambda: Vp8Packetizer(1160))

    def packet(
        self,
        payload: bytes,
        time: int,
        *,
        kind: int = 96,
        ssrc: int = 0,
        element: int = 0x50,
        marker: bool = False,
    ) -> bytes:
        assert self.client.srtp is not None
        names = bytes([0x40]) + b"0" + bytes([element | len(self.rid) - 1]) + self.rid
        extension = Extension(0xBEDE, names + bytes(-len(names) % 4))
        self.sequence += 1
        packet = RtpPacket(kind, marker, self.sequence, time, ssrc or self.ssrc, payload, (), extension)
        return self.client.srtp.protect(packet.encode())

    def frame(self, data: bytes, at: float) -> list[bytes]:
        payloads = self.packetizer.packetize(Frame(None, 0, 0, (data,)))  # type: ignore[arg-type]
        last = len(payloads) - 1
        return [self.packet(p, int(at * 90_000), marker=n == last) for n, p in enumerate(payloads)]

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.client.send(packet)

    def report(self, at: float) -> None:
        ntp = ns_to_ntp(1_800_000_000 * NS + int(at * NS))
        self.client.send_rtcp(SenderReport(self.ssrc, ntp, int(at * 90_000), 1, 1))


async def publishing(served: Rig) -> tuple[Client, Layer, Layer]:
    client = Client(("VP8/90000",), direction="sendonly", layers=("q", "full"))
    response = await served.post("/live/one/whip", client.offer())
    assert response.status_code == 201, response.text
    client.take(response.content)
    await client.connect()
    return client, Layer(client, b"q", 11), Layer(client, b"full", 12)


async def both(served: Rig, small: Layer, large: Layer) -> Stream:
    small.send(*small.frame(KEY, 0))
    large.send(*large.frame(LARGE_KEY, 0))
    small.report(0)
    large.report(0)
    return await served.server.streams.wait("live/one", 5)


async def test_each_layer_is_a_track_of_one_group(served: Rig) -> None:
    client, small, large = await publishing(served)
    assert client.answer is not None
    (media,) = client.answer.media
    assert media.attribute("simulcast") == "recv q;full"
    assert [value for key, value in media.attributes if key == "rid"] == ["q recv", "full recv"]
    assert {value.split()[0] for key, value in media.attributes if key == "extmap" and value} == {*"3456"}
    stream = await both(served, small, large)
    first, second = stream.tracks
    assert first.group == second.group is not None
    found: dict[int, list[bytes]] = {}
    async for event in stream.read():
        if isinstance(event, Frame):
            found.setdefault(event.track.id, []).append(event.units[0])
            if len(found) == 2:
                break
    assert found == {first.id: [KEY], second.id: [LARGE_KEY]}


async def test_readers_that_do_not_choose_get_the_largest(served: Rig) -> None:
    _, small, large = await publishing(served)
    stream = await both(served, small, large)
    registry, (first, second) = served.server.registry, stream.tracks
    for muxer in (FlvMuxer(registry, stream.tracks), FlvMuxer(registry, stream.tracks, multitrack=True),
                  LiveMuxer(registry, stream.tracks), Mp4Muxer(registry, stream.tracks)):  # fmt: skip
        assert "another of its group" in muxer.left_out[first.id], muxer
        assert second.id not in muxer.left_out or isinstance(muxer, LiveMuxer)  # which has no VP8
    description, left_out = describe(registry, stream.tracks, "127.0.0.1", 1)
    assert len(description.media) == 1
    assert set(left_out) == {first.id}
    viewer = Client(("VP8/90000",))
    await playing(served, viewer)
    small.send(*small.frame(INTER, 0.04))
    large.send(*large.frame(INTER + b"large", 0.04))
    await viewer.until(lambda: len(frames_of(viewer)) == 2)
    assert frames_of(viewer) == [LARGE_KEY, INTER + b"large"]
    assert second.kind is Kind.VIDEO


async def test_what_a_layer_lacks_is_asked_for_and_repaired(served: Rig) -> None:
    client, small, large = await publishing(served)
    stream = await both(served, small, large)
    large.frame(INTER, 0.04)
    payload = large.packetizer.packetize(Frame(None, 0, 0, (INTER,)))[0]  # type: ignore[arg-type]
    missing = large.sequence
    large.send(*large.frame(INTER, 0.08))
    await client.until(lambda: any(isinstance(r, Nack) and r.media == 12 for r in client.reports))
    repair = Layer(client, b"full", 99)
    repair.send(repair.packet(build_repair(missing, payload), 3600, kind=97, element=0x60, marker=True))
    count = 0
    async for event in stream.read():
        count += isinstance(event, Frame) and event.track.id == stream.tracks[1].id
        if count == 3:
            break
    stream.request_key_frame()
    await client.until(lambda: {r.media for r in client.reports if isinstance(r, PictureLoss)} == {11, 12})
