"""What OBS 30 and later sends to a WHIP server, replayed: its requests, its offer (libdatachannel's form), its packets.

Read in plugins/obs-webrtc of obs-studio: it takes 201 alone for an answer, 200 alone for the end, puts a `Location` without
scheme behind the host that it asked, and adds no candidate later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock import Frame
from penstock_codecs.h264.config import H264Config
from penstock_formats.rtcp import SenderReport, ns_to_ntp
from tests.contracts.cases_h26x import H264_UNITS
from tests.webrtc.client import Client, Rig, rig

pytestmark = pytest.mark.anyio
AGENT = "Mozilla/5.0 (OBS-Studio/30.2.3; Linux x86_64; en-US)"
TOKEN = "a-stream-key"
SOUND, PICTURE = 4_000_000_000, 4_000_000_001
"""Its SSRCs follow each other."""
SPS, PPS, IDR = (next(u for u in H264_UNITS if u[0] & 31 == kind) for kind in (7, 8, 5))


class Obs(Client):
    """The light peer with OBS's offer."""

    def offer(self) -> bytes:
        name, value = self.identity.fingerprint
        stream = "m3dIaStReAmId0123"
        lines = ["v=0", "o=rtc 3412345678 0 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines += ["a=group:LS 0 1", "a=group:BUNDLE 0 1", "a=msid-semantic:WMS *", "a=setup:actpass"]
        lines += [f"a=ice-ufrag:{self.credentials.ufrag}", f"a=ice-pwd:{self.credentials.password}"]
        lines += ["a=ice-options:ice2,trickle", f"a=fingerprint:{name} {value.hex(':').upper()}"]
        for mid, kind, number, ssrc in (("0", "audio", 111, SOUND), ("1", "video", 96, PICTURE)):
            lines += [
                f"m={kind} 9 UDP/TLS/RTP/SAVPF {number}",
                "c=IN IP4 0.0.0.0",
                f"a=mid:{mid}",
                "a=sendonly",
            ]
            lines += [f"a=ssrc:{ssrc} cname:cNaMe", f"a=ssrc:{ssrc} msid:{stream} {stream}-{kind}"]
            lines += [f"a=msid:{stream} {stream}-{kind}", "a=rtcp-mux"]
            if kind == "audio":
                lines += ["a=rtpmap:111 opus/48000/2"]
                lines += [
                    "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1"
                ]
            else:
                lines += ["a=rtpmap:96 H264/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"]
                lines += ["a=rtcp-fb:96 goog-remb"]
                lines += ["a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"]
        return "".join(f"{line}\r\n" for line in lines).encode()


@pytest.fixture
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        yield running


async def test_obs_publishes(served: Rig) -> None:
    obs = Obs()
    sent = {"accept": "*/*", "authorization": f"Bearer {TOKEN}", "user-agent": AGENT}
    response = await served.post("/live/obs/whip", obs.offer(), **sent)
    assert response.status_code == 201
    assert response.content.startswith(b"v=0")
    location = response.headers["location"]
    assert location.startswith("/live/obs/whip/")
    obs.take(response.content)
    assert obs.answer is not None
    sound, picture = obs.answer.media
    assert [m.direction for m in (sound, picture)] == ["recvonly", "recvonly"]
    assert [m.payload_types for m in (sound, picture)] == [(111,), (96,)]
    # It has no address of its own in the offer, and is the one that checks; a lite agent answers.
    assert dict(obs.answer.attributes).get("ice-lite", "") is None
    assert sound.attribute("setup") == "passive"
    await obs.connect()
    assert obs.srtp is not None
    # Each NAL unit is a packet, parameter sets in front of each key frame; a report after the first second at the latest.
    for number in range(3):
        at = 12_345 + 3600 * number
        for index, unit in enumerate((SPS, PPS, IDR)):
            kinds = (96, 96) if index < 2 else (224, 224)
            for packet in obs.srtp.seal(PICTURE, kinds, at, [unit], 100 + 3 * number + index):
                obs.send(packet)
        for packet in obs.srtp.seal(SOUND, (111, 111), 777 + 1920 * number, [b"\xfc\x01"], 60 + number):
            obs.send(packet)
    ntp = ns_to_ntp(1_800_000_000_000_000_000)
    obs.send_rtcp(SenderReport(PICTURE, ntp, 12_345, 3, 900))
    obs.send_rtcp(SenderReport(SOUND, ntp, 777, 3, 6))
    stream = await served.server.streams.wait("live/obs", 5)
    found: list[Frame] = []
    async for event in stream.read():
        if isinstance(event, Frame):
            found.append(event)
            if {f.track.kind for f in found} == {"video", "audio"}:
                break
    first = next(f for f in found if f.track.kind == "video")
    assert (first.units, first.key) == ((IDR,), True)
    assert H264Config.of(first.track.config).sps == (SPS,)
    assert next(f for f in found if f.track.kind == "audio").units == (b"\xfc\x01",)
    ended = await served.http.delete(location, headers=sent)
    assert ended.status_code == 200
    await served.until(lambda: stream.ended)
    assert not served.peers
