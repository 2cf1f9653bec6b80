"""Peers that have one profile of SRTP (RFC 5764 4.1.2, RFC 7714 14.2) and no other: whole sessions, ours and aiortc's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio
import pytest
from aiortc import (
    AudioStreamTrack,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
    VideoStreamTrack,
    rtcdtlstransport,
)

from penstock_formats.rtcp import Nack, PictureLoss
from tests.webrtc.client import LIMIT, Client, Rig, rig
from tests.webrtc.test_whep import INTER, KEY, playing
from tests.webrtc.test_whep import frames as frames_of
from tests.webrtc.test_whip import PICTURE, Encoder, publisher, publishing, stream_of

pytestmark = pytest.mark.anyio

CM, GCM, GCM_256 = "SRTP_AES128_CM_SHA1_80", "SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM"


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


def only(client: Client, profile: str) -> Client:
    """It, with that profile alone."""
    client.identity.context.set_tlsext_use_srtp(profile.encode())
    return client


def profiles(served: Rig) -> list[object]:
    return [s.info["srtp"] for s in served.server.sessions if s.protocol == "webrtc"]


@pytest.mark.parametrize(("sent", "played"), [(CM, CM), (GCM, GCM), (CM, GCM), (GCM_256, CM)])
async def test_a_session_of_our_own_peers(served: Rig, sent: str, played: str) -> None:
    client, viewer = only(publisher(), sent), only(Client(), played)
    await publishing(served, client)
    encoder = Encoder.of(client)
    first, lost, third = encoder.frame(KEY, 0)
    encoder.send(first, third, encoder.tone(b"\xfc\x01", 0))
    encoder.report(0)
    # What is missing is asked for and taken, either way, and what a viewer asks for reaches the publisher.
    await client.until(lambda: any(isinstance(r, Nack) for r in client.reports))
    encoder.send(lost)
    await stream_of(served)
    await playing(served, viewer)
    encoder.send(*encoder.frame(INTER, 0.04), encoder.tone(b"\xfc\x02", 0.02))
    await viewer.until(lambda: frames_of(viewer) == [KEY, INTER] and viewer.of(98))
    picture = viewer.of(96)[1]
    viewer.send_rtcp(Nack.of(1, picture.ssrc, [picture.sequence]), PictureLoss(1, picture.ssrc))
    await viewer.until(lambda: viewer.of(97))
    assert viewer.of(97)[0].payload[2:] == picture.payload
    await client.until(lambda: any(isinstance(r, PictureLoss) for r in client.reports))
    assert {r.media for r in client.reports if isinstance(r, PictureLoss)} == {PICTURE}
    assert profiles(served) == [sent, played]


@pytest.mark.parametrize("profile", [CM, GCM])
async def test_a_session_of_aiortc(served: Rig, profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It publishes pictures that it makes, and plays and decodes them."""
    had: list[Any] = rtcdtlstransport.SRTP_PROFILES
    monkeypatch.setattr(
        rtcdtlstransport, "SRTP_PROFILES", [p for p in had if p.openssl_profile == profile.encode()]
    )
    source, viewer = RTCPeerConnection(), RTCPeerConnection()
    try:
        source.addTrack(VideoStreamTrack())
        source.addTrack(AudioStreamTrack())
        await agree(served, source, "/live/one/whip")
        await stream_of(served)
        for kind in ("video", "audio"):
            viewer.addTransceiver(kind, direction="recvonly")
        await agree(served, viewer, "/live/one/whep")
        picture, sound = [decoded(receiver) for receiver in viewer.getReceivers()]
        with anyio.fail_after(3 * LIMIT):
            pictures = [await anext(picture) for _ in range(10)]
            sounds = [await anext(sound) for _ in range(10)]
        assert {(p.width, p.height) for p in pictures} == {(640, 480)}
        assert {s.sample_rate for s in sounds} == {48_000}
        assert profiles(served) == [profile, profile]
    finally:
        await viewer.close()
        await source.close()


async def decoded(receiver: RTCRtpReceiver) -> AsyncGenerator[Any]:
    """The pictures or the sound that come."""
    track: Any = receiver.track
    while True:
        yield await track.recv()


async def agree(served: Rig, peer: RTCPeerConnection, url: str) -> None:
    await peer.setLocalDescription(await peer.createOffer())
    answer = await served.post(url, peer.localDescription.sdp.encode())
    assert answer.status_code == 201, answer.text
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
