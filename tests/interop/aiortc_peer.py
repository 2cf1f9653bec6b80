"""aiortc as a peer: ``publish URL FILE``, or ``play URL FOLDER`` until SIGINT.

It publishes H.264 and Opus of a file as they are. What it plays is recorded as its jitter buffer gives it to its decoders.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioice.ice
import aiortc.rtcrtpsender
import av
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaPlayer, PlayerStreamTrack
from aiortc.jitterbuffer import JitterBuffer


def loopback(*_: object, **__: object) -> list[str]:
    """Its own list leaves the loopback out."""
    return ["127.0.0.1"]


aioice.ice.get_host_addresses = loopback


def post(url: str, body: str) -> tuple[str, str]:
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/sdp"}, method="POST")
    with urllib.request.urlopen(request, timeout=5) as response:
        return urllib.parse.urljoin(url, response.headers["location"]), response.read().decode()


def in_step(place: str, video: Any, audio: Any) -> None:
    """Let both tracks count from when the first of them begins: each would count from its own first packet.

    It takes the time of the first picture for 0, and leaves the sound's times as they are.
    """
    with av.open(place) as file:
        packet = next(file.demux(video=0))
        begin = float((packet.pts or 0) * packet.time_base)
    player: Any = PlayerStreamTrack
    real = player.recv

    async def recv(self: Any) -> Any:
        data = await real(self)
        video._start = video._start or self._start + begin
        audio._start = audio._start or self._start - begin
        return data

    player.recv = recv


def record(folder: Path) -> None:
    """Write what comes out of the jitter buffers: pictures as they are, of sound the size and MD5 of each packet."""
    real: Any = JitterBuffer.add
    video, audio = (folder / "video.h264").open("wb", 0), (folder / "audio.txt").open("w", 1)

    def add(self: Any, packet: Any) -> Any:
        found = real(self, packet)
        frame = found[1]
        if frame is not None and self._is_video:
            video.write(frame.data)
        elif frame is not None:
            print(len(frame.data), hashlib.md5(frame.data).hexdigest(), file=audio)
        return found

    JitterBuffer.add = add  # type: ignore[method-assign]


def report_often() -> None:
    """Ten times a second, and not once: of so many some are not late, however busy the machine is."""
    rtcp: Any = aiortc.rtcrtpsender
    rtcp.random = SimpleNamespace(random=lambda: -0.4)  # 0.5 s more are waited for


async def main(what: str, url: str, place: str) -> None:
    peer, sink, ended = RTCPeerConnection(), MediaBlackhole(), asyncio.Event()
    if what == "publish":
        player = MediaPlayer(place, decode=False)
        in_step(place, player.video, player.audio)
        report_often()
        for track in (player.video, player.audio):
            assert track is not None
            sender = peer.addTrack(track)
            track.on("ended", ended.set)
            mime = "video/H264" if track.kind == "video" else "audio/opus"
            (transceiver,) = [t for t in peer.getTransceivers() if t.sender is sender]
            codecs = [c for c in RTCRtpSender.getCapabilities(track.kind).codecs if c.mimeType == mime]
            transceiver.setCodecPreferences(codecs)
    else:
        record(Path(place))
        peer.addTransceiver("video", direction="recvonly")
        peer.addTransceiver("audio", direction="recvonly")
        peer.on("track", sink.addTrack)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
    await peer.setLocalDescription(await peer.createOffer())
    verb = "whip" if what == "publish" else "whep"
    resource, answer = await asyncio.to_thread(post, f"{url}/{verb}", peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await sink.start()
    await ended.wait()
    await asyncio.sleep(0.5 if what == "publish" else 0)
    delete = urllib.request.Request(resource, method="DELETE")
    await asyncio.to_thread(lambda: urllib.request.urlopen(delete, timeout=5).close())
    await peer.close()


asyncio.run(main(*sys.argv[1:4]))
