"""WHEP with a light peer: what is played, what is sent again, and what is refused."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from random import Random

import anyio
import pytest
from attrs import evolve

from penstock import NS, Publisher, Track
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.g711 import PCMA as PCMA_CODEC
from penstock_codecs.g711 import G711Config
from penstock_codecs.h265.config import H265, H265Config
from penstock_codecs.opus import OPUS, OpusConfig
from penstock_codecs.vp8.header import VP8 as VP8_CODEC
from penstock_codecs.vp8.header import Vp8Config
from penstock_codecs.vp8.rtp import Vp8Depacketizer
from penstock_formats.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    SenderReport,
    ntp_to_ns,
)
from penstock_formats.rtp.packet import extension_elements
from penstock_webrtc.ice import Credentials
from penstock_webrtc.playout import EXTENSION
from penstock_webrtc.retransmission import History
from penstock_webrtc.shared import CALM_SECONDS
from penstock_webrtc.stun import Attribute, Kind
from penstock_webrtc.transport import Transport
from tests.webrtc.client import Client, Rig, rig

pytestmark = pytest.mark.anyio
PICTURE = (VP8_CODEC, 90_000, Vp8Config(16, 16))
SOUND = (OPUS, 48_000, OpusConfig.simple(2))
PCMA = (PCMA_CODEC, 8000, G711Config())
KEY = b"\x10\x00\x00\x9d\x01\x2a\x10\x00\x10\x00" + bytes(range(256)) * 12
"""A key frame of 16 by 16, of three packets; only its first bytes are looked at."""
INTER = b"\x11" + bytes(900)

VPS = b64decode("QAEMAf//AWAAAAMAkAAAAwAAAwB4lZQJ")
SPS = b64decode("QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC8BaAgAAB9IAAOpgE")
PPS = b64decode("RAHAc8GJ")


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


async def write(publisher: Publisher, track: Track, data: bytes, time: float) -> None:
    publisher.write(track.id, (data,), pts=int(time * NS), key=data[:1] != b"\x11")
    await publisher.flush()


async def playing(served: Rig, client: Client, path: str = "live/one") -> str:
    """Connect to play; the resource's URL."""
    response = await served.post(f"/{path}/whep", client.offer())
    assert response.status_code == 201, response.text
    client.take(response.content)
    await client.connect()
    return response.headers["location"]


def frames(client: Client) -> list[bytes]:
    depacketizer = Vp8Depacketizer()
    packets = sorted(client.of(96), key=lambda p: p.sequence)
    return [
        unit.units[0]
        for packet in packets
        for unit in depacketizer.push(packet.payload, packet.timestamp, packet.marker, False)
    ]


async def test_it_plays_what_is_published_from_the_last_key_frame_on(served: Rig) -> None:
    publisher, (picture, sound) = await served.publish("live/one", PICTURE, SOUND)
    await write(publisher, picture, KEY, 0)
    await write(publisher, sound, b"\xfc\x01", 0)
    await write(publisher, picture, INTER, 2.0)
    client = Client()
    await playing(served, client)
    await client.until(lambda: len(frames(client)) == 2)
    first, last = client.of(96)[0], client.of(96)[-1]
    # What lies back is shown up to now at once: 2 s are pressed together, and no sound of then is played.
    assert (last.timestamp - first.timestamp) & 0xFFFFFFFF == 90_000 * 2 // 32
    await write(publisher, sound, b"\xfc\x02", 2.02)
    await write(publisher, picture, INTER, 2.04)
    await client.until(lambda: len(frames(client)) == 3 and client.of(98))
    assert frames(client) == [KEY, INTER, INTER]
    assert [p.payload for p in client.of(98)] == [b"\xfc\x02"]
    assert (client.of(96)[-1].timestamp - last.timestamp) & 0xFFFFFFFF == 3600
    assert [p.marker for p in client.of(96)] == [False, False, True, True, True]
    # Reports put both on one clock.
    reports = [r for r in client.reports if isinstance(r, SenderReport)]
    packets = {p.ssrc: p for p in client.packets}
    assert {r.ssrc for r in reports} == set(packets)
    by_ssrc = {r.ssrc: r for r in reports}
    wall = [
        ntp_to_ns(by_ssrc[s].ntp) / NS
        + (((packets[s].timestamp - by_ssrc[s].rtp_time + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)) / rate
        for s, rate in ((client.of(98)[0].ssrc, 48_000), (last.ssrc, 90_000))
    ]
    assert wall[1] - wall[0] == pytest.approx(0.02, abs=0.002)


async def test_its_stream_is_said_by_the_answer(served: Rig) -> None:
    await served.publish("live/one", PICTURE, SOUND)
    client = Client()
    response = await served.post("/live/one/whep", client.offer())
    client.take(response.content)
    assert client.answer is not None
    picture, sound = client.answer.media
    assert [m.direction for m in (picture, sound)] == ["sendonly", "sendonly"]
    assert picture.attribute("ssrc-group") is not None
    assert sound.attribute("ssrc-group") is None
    assert dict(client.answer.attributes)["group"] == "BUNDLE 0 1"
    assert response.headers["etag"].strip('"') == client.remote.credentials.ufrag  # type: ignore[union-attr]
    assert response.headers["accept-patch"] == "application/trickle-ice-sdpfrag"


@pytest.mark.parametrize("rtx", [True, False])
async def test_what_is_lost_is_sent_again_once(served: Rig, rtx: bool) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = Client(("VP8/90000",), rtx=rtx)
    await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: len(client.of(96)) == 3)
    lost = client.of(96)[1]
    before, raw = len(client.packets), list(client.raw)
    asked = Nack.of(1, lost.ssrc, [lost.sequence, (lost.sequence + 500) & 0xFFFF])
    client.send_rtcp(ReceiverReport(1), asked)
    client.send_rtcp(asked)
    await client.until(lambda: len(client.raw) > len(raw))
    await client.rest()
    if rtx:
        (again,) = client.packets[before:]
        assert again.payload_type == 97
        assert again.payload == lost.sequence.to_bytes(2, "big") + lost.payload
        assert again.timestamp == lost.timestamp
    else:
        # Never other bytes under the same number: with GCM that gives the key away.
        assert client.raw[len(raw) :] == [raw[1]]


@pytest.mark.parametrize("profile", ["SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"])
@pytest.mark.parametrize("coding", ["opus/48000/2", "PCMA/8000"])
async def test_sound_without_rtx_is_sent_again_as_it_was(served: Rig, coding: str, profile: str) -> None:
    """That with samples in more than one packet as well, each of which has a time of its own."""
    opus = coding.startswith("opus")
    publisher, (picture, sound) = await served.publish("live/one", PICTURE, SOUND if opus else PCMA)
    client = Client(("VP8/90000", coding))
    client.identity.context.set_tlsext_use_srtp(profile.encode())
    await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: client.of(96))
    # Until it is known to take everything at once.
    await anyio.sleep(2 * CALM_SECONDS)
    for number in range(1, 6):
        await write(publisher, picture, INTER, number / 25)
        await write(publisher, sound, bytes([number]) * (50 if opus else 3000), number / 25)
    each = 1 if opus else 3
    await client.until(lambda: len(client.of(98)) == 5 * each)
    numbers = [packet.sequence for packet in client.of(98)]
    assert numbers == list(range(numbers[0], numbers[0] + 5 * each))
    raw = {int.from_bytes(data[2:4], "big"): data for data in client.raw if data[1] & 127 == 98}
    lost, before = numbers[each : 4 * each], len(client.raw)
    client.send_rtcp(ReceiverReport(1), Nack.of(1, client.of(98)[0].ssrc, lost))
    await client.until(lambda: len(client.raw) == before + len(lost))
    # RFC 7714 9.1: never other bytes under the same number.
    assert client.raw[before:] == [raw[number] for number in lost]


async def test_a_picture_that_goes_back_is_sent_again_as_it_was() -> None:
    """Behind sound, of which the last was there when the viewer came: one picture is after that, and the next before it."""
    async with rig(webrtc={"pacing": False}) as served:
        publisher, (picture, sound) = await served.publish("live/one", PICTURE, SOUND)
        await write(publisher, picture, KEY, 0)
        await write(publisher, sound, b"\xfc\x01", 1.0)
        client = Client(rtx=False)
        await playing(served, client)
        await client.until(lambda: len(client.of(96)) == 3)
        for number, (dts, pts) in enumerate(((0.5, 1.04), (0.54, 0.9)), 4):
            publisher.write(picture.id, (INTER,), pts=int(pts * NS), dts=int(dts * NS), key=False)
            await publisher.flush()
            await client.until(lambda number=number: len(client.of(96)) == number)  # type: ignore[misc]
        lost, raw = client.of(96)[-1], client.raw[-1]
        client.raw.clear()
        client.send_rtcp(ReceiverReport(1), Nack.of(1, lost.ssrc, [lost.sequence]))
        await client.until(lambda: client.raw)
        # RFC 7714 9.1: never other bytes under the same number.
        assert client.raw == [raw]


async def test_what_it_begins_with_is_sent_again_however_long_ago_it_was_published(served: Rig) -> None:
    """A key frame of 8 s ago, in a group of more frames than are kept of the last ones; but not of more than 10 s ago."""
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    await write(publisher, picture, KEY, 0)
    for number in range(1, 200):
        await write(publisher, picture, INTER[:50], number / 25)
    client = Client(("VP8/90000",))
    await playing(served, client)
    await client.until(lambda: len(client.of(96)) > 3)
    lost = client.of(96)[0]
    asked = Nack.of(1, lost.ssrc, [lost.sequence])
    client.send_rtcp(ReceiverReport(1), asked)
    await client.until(lambda: client.of(97))
    (again,) = client.of(97)
    assert again.payload == lost.sequence.to_bytes(2, "big") + lost.payload
    assert again.timestamp == lost.timestamp
    await client.until(lambda: len(frames(client)) == 200)
    for number in range(200, 260):
        await write(publisher, picture, INTER[:50], number / 25)
    await client.until(lambda: len(frames(client)) == 260)
    client.send_rtcp(ReceiverReport(1), asked)
    await client.rest()
    assert len(client.of(97)) == 1


@pytest.mark.parametrize("again", [True, False])
async def test_over_a_bad_link_nothing_is_missing_unless_nothing_is_sent_again(
    again: bool, served: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One packet in ten is lost either way; what is missing is asked for each 11 ms."""

    def nothing(_history: History, *_: object) -> None:
        return None

    if not again:
        monkeypatch.setattr(History, "find", nothing)
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client, random = Client(("VP8/90000",)), Random(7)
    await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: client.of(96))
    first = client.of(96)[0]
    kept: set[int] = set()
    frames_sent = 120

    async def ask() -> None:
        await anyio.sleep(0.011)
        taken = len(client.packets)
        while client.receive():
            pass
        for packet in client.packets[taken:]:
            number = (
                packet.sequence if packet.payload_type == 96 else int.from_bytes(packet.payload[:2], "big")
            )
            if random.random() > 0.1:
                kept.add(number)
        asked = [n for n in range(first.sequence + 3, max(kept, default=0)) if n not in kept]
        if asked and random.random() > 0.1:
            client.send_rtcp(Nack.of(1, first.ssrc, asked))

    for number in range(1, frames_sent + 1):
        await write(publisher, picture, INTER[:400], number / 25)
        if number % 4 == 0:
            await ask()
    for _ in range(10):
        await ask()
    missing = set(range(first.sequence + 3, max(kept))) - kept
    assert bool(missing) is not again, missing
    assert max(kept) > first.sequence + frames_sent - 10


async def test_who_lost_a_picture_is_told_to_show_them_later(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = Client(("VP8/90000",), playout=True)
    await playing(served, client)
    assert client.answer is not None
    extensions = [value for key, value in client.answer.media[0].attributes if key == "extmap"]
    assert extensions == [f"7 {EXTENSION}"]
    await write(publisher, picture, KEY, 0)
    await write(publisher, picture, INTER, 0.04)
    await client.until(lambda: len(client.of(96)) == 4)
    assert {p.extension for p in client.of(96)} == {None}
    lost = client.of(96)[0]
    client.send_rtcp(Nack.of(1, lost.ssrc, [lost.sequence]))
    await client.until(lambda: client.of(97))
    await write(publisher, picture, INTER, 0.08)
    await client.until(lambda: len(frames(client)) == 3)
    (extension,) = {p.extension for p in client.of(96)[4:]}
    assert extension is not None
    ((number, value),) = extension_elements(extension)
    # It is one picture behind the newest, and a picture takes 40 ms to become that.
    assert (number, int.from_bytes(value, "big") >> 12) == (7, 9)
    assert frames(client) == [KEY, INTER, INTER]


async def test_it_asks_the_publisher_for_a_key_frame(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    asked: list[int] = []
    publisher.on_key_frame_request = lambda track: asked.append(track.id)
    client = Client(("VP8/90000",))
    await playing(served, client)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: client.of(96))
    ssrc = client.of(96)[0].ssrc
    for _ in range(20):
        client.send_rtcp(PictureLoss(1, ssrc))
        client.send_rtcp(FullIntraRequest(1, 0, ((ssrc, 1), (99, 1))))
    await served.until(lambda: asked)
    await anyio.sleep(0.05)
    assert asked == [picture.id]


async def test_it_says_hello_to_who_waits_for_that(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = Client(("VP8/90000",), setup="passive")
    response = await served.post("/live/one/whep", client.offer())
    client.take(response.content)
    client.send(client.check())
    await client.until(lambda: client.srtp is not None)
    await write(publisher, picture, KEY, 0)
    await client.until(lambda: frames(client) == [KEY])


async def test_who_leaves_and_who_is_left_is_told(served: Rig) -> None:
    publisher, _ = await served.publish("live/one", PICTURE)
    first, second = Client(("VP8/90000",)), Client(("VP8/90000",))
    resource = await playing(served, first)
    await playing(served, second)
    assert len(served.peers) == 2
    assert (await served.http.delete(resource)).status_code == 200
    await first.until(lambda: any(isinstance(r, Goodbye) for r in first.reports))
    await first.until(lambda: first.dtls is not None and first.dtls.failure == "the peer left")
    assert (await served.http.delete(resource)).status_code == 404
    assert len(served.peers) == 1
    assert second.dtls is not None
    second.dtls.close()
    second.flight()
    await served.until(lambda: not served.peers)
    publisher.close()


async def test_a_viewer_ends_with_its_stream(served: Rig) -> None:
    publisher, _ = await served.publish("live/one", PICTURE)
    client = Client(("VP8/90000",))
    await playing(served, client)
    publisher.stream.end("the end")
    await client.until(lambda: client.dtls is not None and client.dtls.failure == "the peer left")
    assert not served.peers


async def test_a_new_network_is_told_by_a_restart(served: Rig) -> None:
    publisher, (picture,) = await served.publish("live/one", PICTURE)
    client = Client(("VP8/90000",))
    response = await served.post("/live/one/whep", client.offer())
    client.take(response.content)
    await client.connect()
    resource, etag = response.headers["location"], response.headers["etag"]
    fragment = f"a=ice-ufrag:{client.credentials.ufrag}\r\na=ice-pwd:{client.credentials.password}\r\n"
    kind = {"content-type": "application/trickle-ice-sdpfrag"}

    async def patch(body: str, **headers: str) -> tuple[int, str, str]:
        sent = {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        told = await served.http.patch(resource, content=body, headers=sent)
        return told.status_code, told.headers.get("etag", ""), told.text

    restart = fragment.replace("ufrag:", "ufrag:new")
    status, fresh, told = await patch(restart, if_match="*")
    assert status == 200
    assert fresh != etag
    lines = dict(line.removeprefix("a=").split(":", 1) for line in told.splitlines() if ":" in line)
    assert fresh == f'"{lines["ice-ufrag"]}"'
    # The old credentials hold until the peer has heard of the new ones.
    client.send(client.check())
    await client.until(lambda: len(client.checks) == 2)
    moved = Client(("VP8/90000",))
    moved.server = client.server
    moved.remote = Transport(Credentials(lines["ice-ufrag"], lines["ice-pwd"]), (), "passive")
    moved.srtp = client.srtp
    moved.send(moved.check())
    await moved.until(lambda: moved.checks)
    # From the first check with the new ones on they do not.
    client.send(client.check())
    assert await client.silence()
    await write(publisher, picture, KEY, 0)
    await moved.until(lambda: frames(moved) == [KEY])


async def test_consent_runs_out(served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.publish("live/one", PICTURE)
    client, other = Client(("VP8/90000",)), Client(("VP8/90000",))
    await playing(served, client)
    await playing(served, other)
    monkeypatch.setattr("penstock_webrtc.ice.CONSENT_SECONDS", 0.6)
    with anyio.fail_after(5):
        while len(served.peers) > 1:
            client.send(client.check())
            await anyio.sleep(0.05)
    await client.until(lambda: len(client.checks) > 5)
    assert len(served.peers) == 1


class TestRefusals:
    """What is answered to who asks for what cannot be."""

    async def test_requests(self, served: Rig) -> None:
        await served.publish("live/one", PICTURE)
        offer = Client().offer()
        answers = [
            (await served.post("/live/one/whep", offer, **{"content-type": "text/plain"})).status_code,
            (await served.post("/live/one/whep", b"v=0\r\n")).status_code,
            (await served.post("/live/one/whep", b"\xff" * (1 << 20))).status_code,
            (await served.post("/live/two/whep", offer)).status_code,
            (await served.http.delete("/live/one/whep/none")).status_code,
        ]
        assert answers == [415, 400, 413, 409, 404]
        assert not served.peers

    async def test_other_spellings(self, served: Rig) -> None:
        await served.publish("live/one", PICTURE)
        offer = Client().offer()
        for url in (
            "/webrtc/play/live/one",
            "/rtc/v1/whep/?app=live&stream=one",
            "/index/api/whep?app=live&stream=one",
            "/whep/v1?app=live&name=one",
        ):
            response = await served.post(url, offer)
            assert response.status_code == 201, url
            assert response.headers["location"].startswith("/live/one/whep/")
        assert (await served.post("/rtc/v1/whep", offer)).status_code == 400

    @pytest.mark.parametrize(
        ("codings", "reason"),
        [(("H264/90000",), "does not play VP8"), ((OPUS.name + "/48000/2",), "asks for no more video")],
    )
    async def test_a_codec_that_the_peer_has_not(
        self, served: Rig, codings: tuple[str, ...], reason: str
    ) -> None:
        await served.publish("live/one", PICTURE)
        response = await served.post("/live/one/whep", Client(codings).offer())
        assert response.status_code == 422
        assert reason in response.text
        assert not served.peers

    async def test_hevc(self, served: Rig) -> None:
        await served.publish("live/one", (H265, 90_000, H265Config((VPS,), (SPS,), (PPS,))))
        response = await served.post("/live/one/whep", Client(("H264/90000",)).offer())
        assert (response.status_code, "H265" in response.text) == (422, True)

    async def test_sound_that_browsers_do_not_play_is_made_anew_or_left_out(self, served: Rig) -> None:
        await served.publish("live/one", PICTURE, (AAC, 48_000, AacConfig.lc(48_000, 2)))
        assert "opus/48000/2" in (await served.post("/live/one/whep", Client().offer())).text
        assert not [s for s in served.server.sessions if "left_out" in s.info]
        await served.server.disable("transcode")
        assert (await served.post("/live/one/whep", Client().offer())).status_code == 201
        (reasons,) = [s.info["left_out"] for s in served.server.sessions if "left_out" in s.info]
        assert "MPEG4-GENERIC" in str(reasons)

    async def test_who_does_not_connect_is_gone_and_there_are_only_so_many(self, served: Rig) -> None:
        await served.publish("live/one", PICTURE)
        offer = Client().offer()
        answers = [(await served.post("/live/one/whep", offer)).status_code for _ in range(66)]
        assert answers == [201] * 64 + [503] * 2
        await served.until(lambda: not served.peers)
        assert (await served.post("/live/one/whep", offer)).status_code == 201

    async def test_it_is_switched_off_alone(self, served: Rig) -> None:
        await served.publish("live/one", PICTURE)
        client = Client()
        await playing(served, client)
        await served.server.disable("webrtc")
        assert not served.peers
        assert (await served.post("/live/one/whep", client.offer())).status_code == 400
        await served.server.enable("webrtc")
        assert (await served.post("/live/one/whep", client.offer())).status_code == 201


class TestPeers:
    """Group W of BAD_INPUTS: what the port is sent by who is no peer, or a bad one. Beside it one plays on."""

    @pytest.fixture
    async def other(self, served: Rig) -> AsyncIterator[Client]:
        """A peer that has an answer, and nothing else yet. At the end the one that plays gets its pictures."""
        publisher, (picture,) = await served.publish("live/one", PICTURE)
        canary, client = Client(("VP8/90000",)), Client(("VP8/90000",))
        await playing(served, canary)
        client.take((await served.post("/live/one/whep", client.offer())).content)
        yield client
        await write(publisher, picture, KEY, 0)
        await canary.until(lambda: frames(canary) == [KEY])

    async def test_who_does_not_know_the_password_hears_nothing(self, other: Client) -> None:
        assert other.remote is not None
        stranger = evolve(other.remote, credentials=Credentials("nobody", "x" * 24))
        known, other.remote = other.remote, stranger
        other.send(other.check())
        other.remote = known
        other.send(other.check(key=b"wrong"))
        unsigned = other.check()[:-32]
        other.send(unsigned[:2] + (len(unsigned) - 20).to_bytes(2, "big") + unsigned[4:])
        assert await other.silence()
        await other.connect()

    async def test_no_handshake_before_a_check(self, other: Client) -> None:
        other.shake_hands()
        assert await other.silence()
        other.dtls = None
        await other.connect()

    async def test_what_must_be_understood_and_is_not(self, other: Client) -> None:
        other.send(other.check((0x7F01, b""), (0x7F02, b"ab")))
        other.send(other.check((Attribute.ICE_CONTROLLED, bytes(8))))
        await other.until(lambda: len(other.checks) == 2)
        assert [c.kind for c in other.checks] == [Kind.ERROR, Kind.ERROR]
        assert other.checks[0].get(Attribute.UNKNOWN_ATTRIBUTES) == b"\x7f\x01\x7f\x02"
        assert [(c.get(Attribute.ERROR_CODE) or b"")[2:4] for c in other.checks] == [b"\4\x14", b"\4\x57"]

    async def test_another_certificate_than_that_of_the_offer(self, served: Rig, other: Client) -> None:
        session = next(s for s in served.server.sessions if s.id == served.peers[-1])
        other.identity = Client().identity
        other.send(other.check())
        await other.until(lambda: other.checks)
        other.shake_hands()
        await other.until(lambda: len(served.peers) == 1)
        assert session.reason == "the peer's certificate is not the one of its SDP"
        assert not other.packets

    async def test_a_handshake_of_rubbish(self, served: Rig, other: Client) -> None:
        other.send(other.check())
        await other.until(lambda: other.checks)
        for size in (0, 1, 12, 13, 500, 9000):
            other.send(b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + b"\xff" * size)
        # A fragment that is to be put together with others that never come, of 16 MB.
        hello = b"\x01\xff\xff\xff\0\0\0\0\0\0\0\1a"
        other.send(b"\x16\xfe\xfd" + bytes(8) + len(hello).to_bytes(2, "big") + hello)
        for _ in range(200):
            other.send(b"\x16\xfe\xfd" + bytes(8) + b"\x03\xe8" + b"\xff" * 1000)
        await served.until(lambda: len(served.peers) == 1)

    async def test_what_is_no_datagram_of_webrtc(self, served: Rig, other: Client) -> None:
        for data in (
            b"",
            b"\x05",
            b"\x80",
            b"\xc0" * 40,
            b"\x40" * 2000,
            b"\x80" * 65_507,
            b"\0\1\0\0" + bytes(16),
        ):
            other.send(data)
        await other.connect()
        (session,) = [s for s in served.server.sessions if s.protocol == "webrtc"][-1:]
        for data in (
            b"\x80",
            b"\x80\x60",
            b"\x80\xc8" + bytes(18),
            b"\x80\xc8" + bytes(25),
            b"\x80\x60" + bytes(30),
        ):
            other.send(data)
        other.send(b"\x80\x60" + bytes(5000))
        other.send_rtcp(ReceiverReport(1))
        other.dtls.close()  # type: ignore[union-attr]
        other.flight()
        await served.until(lambda: session.id not in served.peers)
        assert session.counters["bad_packets"] == 6
