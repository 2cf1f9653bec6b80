"""TURN over TLS with aiortc, which takes the server for what its certificate says and comes by no other way."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from tests.certificate import self_signed
from tests.webrtc.client import LIMIT, rig
from tests.webrtc.test_whep import KEY, PICTURE, write

pytestmark = pytest.mark.anyio

SERVER = re.compile(r'<(turns?:[^>]*)>; rel="ice-server"; username="([^"]*)"; credential="([^"]*)"')
SDP = {"content-type": "application/sdp"}


async def test_who_reaches_nothing_but_turn_over_tls_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    here: dict[str, object] = {"listen_tls": "127.0.0.1:0"}
    async with rig(
        server={"certificate": str(certificate), "key": str(key)}, http=here, webrtc=here
    ) as served:
        publisher, (picture,) = await served.publish("live/one", PICTURE)
        # Who came without TLS, or by no name, knows none that the certificate could be of.
        assert "turns:" not in (await served.http.options("/live/one/whep")).headers["link"]
        ports = {e.what: e.port for e in served.server.endpoints}
        trusted = ssl.create_default_context(cafile=str(certificate))
        async with httpx2.AsyncClient(base_url=f"https://localhost:{ports['https']}", verify=trusted) as http:
            named = await http.options("/live/one/whep", headers={"host": "a>; rel=x"})
            assert "turns:" not in named.headers.get("link", "")
            told = (await http.options("/live/one/whep")).headers["link"]
            (secure,) = [found for found in SERVER.findall(told) if found[0].startswith("turns:")]
            assert secure[0] == f"turns:localhost:{ports['webrtc-turns']}?transport=tcp"
            peer = RTCPeerConnection(
                RTCConfiguration([RTCIceServer(*secure)], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
            )
            peer.addTransceiver("video", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            answer = await http.post("/live/one/whep", content=peer.localDescription.sdp, headers=SDP)
            assert answer.headers["link"].count("turns:localhost:") == 1
            await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            with anyio.fail_after(LIMIT):
                time = 0.0
                while not await received(peer):
                    await write(publisher, picture, KEY, time)
                    await anyio.sleep(0.02)
                    time += 0.02
            assert {s.protocol for s in served.server.sessions} >= {"webrtc", "webrtc-tcp"}
            await peer.close()
            await served.until(lambda: "webrtc-tcp" not in {s.protocol for s in served.server.sessions})


async def received(peer: RTCPeerConnection) -> int:
    """Packets of media."""
    reports: Any = await peer.getStats()
    return sum(report.packetsReceived for report in reports.values() if report.type == "inbound-rtp")
