"""WHIP with a light peer: what it publishes comes in as it was, what is missing is asked for, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from attrs import define

from penstock import Frame, Stream
from penstock_codecs.vp8.rtp import Vp8Packetizer
from penstock_formats.rtcp import (
    Feedback,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    SenderReport,
    ns_to_ntp,
)
from penstock_formats.rtp.packet import Extension, RtpPacket
from penstock_formats.transport_cc import TransportFeedback
from penstock_webrtc import recorder
from penstock_webrtc.repair import build_repair
from tests.webrtc.client import Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, playing
from tests.webrtc.test_whep import frames as frames_of

pytestmark = pytest.mark.anyio
NS = 1_000_000_000
PICTURE, SOUND, REPAIR = 11, 22, 33
"""Our SSRCs."""


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


@define(eq=False)
class Encoder:
    """Makes the packets of a stream of VP8 and Opus; `number` is the packet's in the whole transport."""

    client: Client
    picture: Vp8Packetizer
    sequence: int = 65_533
    sound: int = 65_000
    number: int = 65_530

    @classmethod
    def of(cls, client: Client) -> Encoder:
        return cls(client, Vp8Packetizer(1160))

    def packet(
        self, kind: int, sequence: int, time: int, ssrc: int, payload: bytes, *, marker: bool = False
    ) -> bytes:
        assert self.client.srtp is not None
        self.number = (self.number + 1) & 0xFFFF
        mid = b"0" if ssrc != SOUND else b"1"
        extension = Extension(0xBEDE, b"\x31" + self.number.to_bytes(2, "big") + b"\x40" + mid + bytes(3))
        packet = RtpPacket(kind, marker, sequence & 0xFFFF, time, ssrc, payload, (), extension)
        return self.client.srtp.protect(packet.encode())

    def frame(self, data: bytes, at: float) -> list[bytes]:
        """The packets of a picture."""
        payloads = self.picture.packetize(Frame(None, 0, 0, (data,)))  # type: ignore[arg-type]
        found: list[bytes] = []
        for number, payload in enumerate(payloads):
            last = number == len(payloads) - 1
            found.append(self.packet(96, self.sequence, int(at * 90_000), PICTURE, payload, marker=last))
            self.sequence += 1
        return found

    def tone(self, data: bytes, at: float) -> bytes:
        self.sound += 1
        return self.packet(98, self.sound, int(at * 48_000), SOUND, data)

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.client.send(packet)

    def report(self, at: float) -> None:
        """Both tracks' reports: they stand at the same time of a wall clock."""
        ntp = ns_to_ntp(1_800_000_000 * NS + int(at * NS))
        self.client.send_rtcp(SenderReport(PICTURE, ntp, int(at * 90_000), 1, 1))
        self.client.send_rtcp(SenderReport(SOUND, ntp, int(at * 48_000), 1, 1))


async def publishing(served: Rig, client: Client, path: str = "live/one") -> str:
    """Connect to publish; the resource's URL."""
    response = await served.post(f"/{path}/whip", client.offer())
    assert response.status_code == 201, response.text
    client.take(response.content)
    await client.connect()
    return response.headers["location"]


def publisher(**changes: object) -> Client:
    return Client(direction="sendonly", **changes)  # type: ignore[arg-type]


async def stream_of(served: Rig, path: str = "live/one") -> Stream:
    return await served.server.streams.wait(path, 5)


async def test_what_is_published_comes_in_as_it_was(served: Rig) -> None:
    client = publisher()
    resource = await publishing(served, client)
    assert client.answer is not None
    assert [m.direction for m in client.answer.media] == ["recvonly", "recvonly"]
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0), encoder.tone(b"\xfc\x01", 0.01))
    encoder.report(0)
    encoder.send(*encoder.frame(INTER, 0.04), encoder.tone(b"\xfc\x02", 0.03))
    stream = await stream_of(served)
    found: list[Frame] = []
    async for event in stream.read():
        if isinstance(event, Frame):
            found.append(event)
            if len(found) == 4:
                break
    assert sorted(f.units[0] for f in found) == sorted([KEY, INTER, b"\xfc\x01", b"\xfc\x02"])
    times = {f.units[0]: f.pts for f in found}
    assert times[INTER] - times[KEY] == 40_000_000
    assert times[b"\xfc\x01"] - times[KEY] == pytest.approx(10_000_000, abs=1000)
    assert [f.key for f in found if f.track.kind == "video"] == [True, False]
    assert (await served.http.delete(resource)).status_code == 200
    await served.until(lambda: stream.ended)
    assert not served.peers


async def test_what_it_publishes_another_plays(served: Rig) -> None:
    client, viewer = publisher(), Client()
    await publishing(served, client)
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0), encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    await stream_of(served)
    await playing(served, viewer)
    encoder.send(*encoder.frame(INTER, 0.04), encoder.tone(b"\xfc\x02", 0.02))
    await viewer.until(lambda: frames_of(viewer) == [KEY, INTER] and viewer.of(98))
    # Who plays may ask for a key frame; the publisher is asked at once, and once.
    for _ in range(5):
        viewer.send_rtcp(PictureLoss(1, viewer.of(96)[0].ssrc))
    await client.until(lambda: any(isinstance(r, PictureLoss) for r in client.reports))
    assert [r.media for r in client.reports if isinstance(r, PictureLoss)] == [PICTURE]


@pytest.mark.parametrize("rtx", [True, False])
async def test_what_is_missing_is_asked_for_and_put_in_its_place(served: Rig, rtx: bool) -> None:
    client = publisher(rtx=rtx)
    await publishing(served, client)
    encoder = Encoder.of(client)
    payload = encoder.picture.packetize(Frame(None, 0, 0, (KEY,)))[1]  # type: ignore[arg-type]
    encoder.picture = Vp8Packetizer(1160)
    first, second, third = encoder.frame(KEY, 0)
    encoder.send(first, third, *encoder.frame(INTER, 0.04), encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    await client.until(lambda: any(isinstance(r, Nack) for r in client.reports))
    (nack, *_) = [r for r in client.reports if isinstance(r, Nack)]
    assert (nack.media, list(nack.sequences())) == (PICTURE, [65_534])
    if rtx:
        encoder.send(encoder.packet(97, 7, 0, REPAIR, b""))
        encoder.send(encoder.packet(97, 8, 0, REPAIR, build_repair(65_534, payload)))
    else:
        encoder.send(second)
    stream = await stream_of(served)
    async for event in stream.read():
        if isinstance(event, Frame) and event.track.kind == "video":
            assert event.units[0] == KEY
            break
    asked = len([r for r in client.reports if isinstance(r, Nack)])
    assert asked <= 3


async def test_what_stays_away_is_given_up_and_a_key_frame_asked_for(served: Rig) -> None:
    client = publisher()
    await publishing(served, client)
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0), encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    encoder.frame(INTER, 0.04)
    encoder.send(*encoder.frame(INTER, 0.08))
    await client.until(lambda: any(isinstance(r, PictureLoss) for r in client.reports))
    assert any(isinstance(r, Nack) for r in client.reports)


async def test_after_an_outage_a_key_frame_is_asked_for_at_once_and_nothing_else(
    served: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What browsers still have of an outage they send without being asked, as padding: it is older than what comes then."""
    monkeypatch.setattr(recorder, "SILENCE_NS", NS // 5)
    monkeypatch.setattr(recorder, "DELAY_NS", 60 * NS)
    client = publisher()
    await publishing(served, client)
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0), encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    frames = (await stream_of(served)).read()
    await anyio.sleep(0.3)
    (old,) = encoder.picture.packetize(Frame(None, 0, 0, (b"\x11old",)))  # type: ignore[arg-type]
    lost = encoder.sequence
    encoder.sequence += 400
    encoder.send(encoder.packet(97, 7, 3600, REPAIR, build_repair((lost + 350) & 0xFFFF, old)))
    encoder.send(*encoder.frame(INTER, 0.4))
    encoder.send(encoder.packet(97, 8, 3600, REPAIR, build_repair((lost + 399) & 0xFFFF, old)))
    encoder.send(*encoder.frame(b"\x11new", 0.44))
    await client.until(lambda: any(isinstance(r, PictureLoss) for r in client.reports))
    encoder.send(*encoder.frame(b"\x11end", 0.52))
    found: list[bytes] = []
    async for event in frames:
        if isinstance(event, Frame) and event.track.kind == "video":
            found.append(event.units[0])
            if found[-1] == b"\x11end":
                break
    assert b"\x11old" not in found
    assert not [r for r in client.reports if isinstance(r, Nack)]


async def test_the_sender_hears_how_it_goes(served: Rig) -> None:
    client = publisher()
    await publishing(served, client)
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0))
    encoder.packet(96, encoder.sequence, 0, PICTURE, b"lost on the way")
    encoder.send(encoder.tone(b"\xfc\x01", 0))

    def told() -> list[TransportFeedback]:
        return [
            TransportFeedback.parse(r.data)
            for r in client.reports
            if isinstance(r, Feedback) and (r.packet_type, r.format) == (205, 15)
        ]

    await client.until(lambda: sum(len(f.arrivals) for f in told()) == 5)
    numbers = [
        (f.base + i) & 0xFFFF for f in told() for i, arrival in enumerate(f.arrivals) if arrival is not None
    ]
    assert numbers == [65_531, 65_532, 65_533, 65_535]
    await client.until(
        lambda: any(isinstance(r, ReceiverReport) and len(r.reports) == 2 for r in client.reports)
    )
    (report, *_) = [r for r in client.reports if isinstance(r, ReceiverReport) and len(r.reports) == 2]
    assert {block.ssrc for block in report.reports} == {PICTURE, SOUND}


async def test_a_stranger_among_its_packets_changes_nothing(served: Rig) -> None:
    client = publisher()
    await publishing(served, client)
    encoder = Encoder.of(client)
    first, *rest = encoder.frame(KEY, 0)
    encoder.send(first, first)
    # P1, P2, P5, W8: broken headers and extensions, payload types that were not agreed on, sources without end.
    assert client.srtp is not None
    protect = client.srtp.protect
    broken = RtpPacket(96, False, 900, 0, 99, b"x", (), Extension(0xBEDE, b"\x3f\0\0\0")).encode()
    encoder.send(protect(broken), protect(RtpPacket(60, False, 1, 0, 98, b"x").encode()))
    encoder.send(*(protect(RtpPacket(60, False, 1, 0, 1000 + n, b"x").encode()) for n in range(200)))
    encoder.send(client.srtp.protect_rtcp(b"\x80\xc8\0\1abcd"), b"\x80\x60" + bytes(40))
    client.send_rtcp(Goodbye((PICTURE, 77)))
    encoder.send(*rest, encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    stream = await stream_of(served)
    async for event in stream.read():
        if isinstance(event, Frame) and event.track.kind == "video":
            assert event.units[0] == KEY
            break
    assert len(served.peers) == 1


async def test_refusals(served: Rig) -> None:
    client = publisher()
    await publishing(served, client)
    offer = publisher().offer()
    assert (await served.post("/live/one/whip", offer)).status_code == 409
    unknown = await served.post("/live/two/whip", publisher(codings=("X-UNKNOWN/90000",)).offer())
    assert (unknown.status_code, "X-UNKNOWN" in unknown.text) == (422, True)
    assert (await served.post("/live/two/whip", Client().offer())).status_code == 422
    assert (await served.post("/live/two", offer)).status_code == 404
    for url in (
        "/live/a?direction=whip",
        "/webrtc/push/live/b",
        "/rtc/v1/whip/?app=live&stream=c",
        "/index/api/whip?app=live&stream=d",
        "/whip/v1?app=live&name=e",
    ):
        response = await served.post(url, offer)
        assert response.status_code == 201, url
        assert response.headers["location"].startswith("/live/")


async def test_two_that_begin_at_once_do_not_both_publish(served: Rig) -> None:
    first, second = publisher(), publisher()
    first.take((await served.post("/live/one/whip", first.offer())).content)
    await publishing(served, second)
    first.send(first.check())
    await first.until(lambda: first.checks)
    first.shake_hands()
    await first.until(lambda: first.dtls is not None and first.dtls.failure)
    assert len(served.peers) == 1
