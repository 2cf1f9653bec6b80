"""A server with HLS on its HTTP port, a publisher that writes as fast as it is told, and a client that reads playlists."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

import penstock
from penstock import Plugin, Publisher, Session
from penstock.media import NS, CodecConfig, to_ns
from penstock.plugins import PluginSet
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.aac import plugin as aac
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.h264 import plugin as h264
from penstock_codecs.opus import plugin as opus
from penstock_codecs.vp8 import plugin as vp8
from penstock_hls.media_playlist import MediaPlaylist
from penstock_hls.multivariant_playlist import MultivariantPlaylist
from penstock_hls.playlist import parse_playlist
from penstock_hls.plugin import plugin as hls
from penstock_hls.server import FORMATS
from penstock_http.plugin import plugin as http
from tests.contracts.cases_h26x import H264_PPS, H264_SPS
from tests.http.port import Answer, ask

SMALL, LARGE = (H264Config((sps,), (H264_PPS,)) for sps in H264_SPS[:2])
FRAME = NS // 25
SOUND = 1024


@define
class Live:
    """25 pictures a second and AAC at 48 kHz, on a clock that runs as far as it is told."""

    server: penstock.Server
    path: str = "live/one"
    gop: int = 25
    languages: tuple[str | None, ...] = (None,)
    has_video: bool = True
    config: CodecConfig = SMALL
    prepared: bool = True
    """Whether it is cut into segments from its beginning, as if somebody had asked before."""
    number: int = 0
    samples: int = 0
    begun: int = field(factory=time.monotonic_ns)
    """From when on its frames came, by what they say, each at its time."""
    publisher: Publisher = field(init=False)
    video: int = field(init=False, default=0)
    audio: list[int] = field(init=False, factory=list[int])

    async def publish(self) -> None:
        session: Session = self.server.sessions.add("test", "127.0.0.1:1")
        self.publisher = await self.server.streams.publish(session, self.path)
        if self.has_video:
            self.video = self.publisher.add_track(H264, 90_000, self.config).id
        for language in self.languages:
            track = self.publisher.add_track(AAC, 48_000, AacConfig.lc(48_000, 2), language=language)
            self.audio.append(track.id)
        self.publisher.tracks_complete()
        if self.prepared:
            for variant in ("ts", "fmp4"):
                self.publisher.stream.segments(FORMATS[variant])

    def write(self, pictures: int) -> None:
        """So many pictures, and sound up to their end."""
        for _ in range(pictures):
            n = self.number
            self.number += 1
            if self.video:
                key = n % self.gop == 0
                unit = (b"\x65\x88" if key else b"\x41\x9a") + n.to_bytes(4, "big") + bytes(60)
                at = n * FRAME
                self.publisher.write(self.video, (unit,), pts=at, dts=at, key=key, arrival=self.begun + at)
            while to_ns(self.samples, 48_000) < (n + 1) * FRAME:
                at = to_ns(self.samples, 48_000)
                for track in self.audio:
                    self.publisher.write(track, (b"\x21" * 40,), pts=at, arrival=self.begun + at)
                self.samples += SOUND

    def close(self) -> None:
        self.publisher.close()
        self.server.sessions.remove(self.publisher.session)


@asynccontextmanager
async def serving(
    server: Mapping[str, Any] | None = None,
    *,
    plugins: Iterable[Plugin] = (),
    protocol: Plugin = hls,
    cors: Iterable[str] = ("*",),
    **config: Any,
) -> AsyncGenerator[penstock.Server]:
    """A server with `protocol`, the tables ``[server]`` and the protocol's (`config`): segments of 1 s, parts of 0.2 s."""
    tables = {
        "http": {"listen": "127.0.0.1:0", "cors": list(cors)},
        protocol.name: config,
        "server": {"segment_seconds": 1.0, "wait_for_stream": 0.3, **(server or {})},
    }
    found = PluginSet.discover([http, protocol, h264, aac, opus, vp8, *plugins], installed=False)
    async with penstock.Server(tables, plugins=found) as running:
        try:
            yield running
        finally:
            for session in running.sessions:
                if session.protocol == "test":
                    running.sessions.remove(session)  # nobody runs it, who would end it


@asynccontextmanager
async def live(
    server: Mapping[str, Any] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    protocol: Plugin = hls,
    **source: Any,
) -> AsyncGenerator[tuple[penstock.Server, Live]]:
    """A server with one stream on it."""
    async with serving(server, protocol=protocol, **(config or {})) as running:
        stream = Live(running, **source)
        await stream.publish()
        yield running, stream


async def get(server: penstock.Server, url: str, *headers: str) -> Answer:
    return await ask(server, f"GET {url}", *headers)


async def multivariant(
    server: penstock.Server, url: str = "/live/one.m3u8", stream: Live | None = None
) -> MultivariantPlaylist:
    """With `stream`, more of that comes meanwhile."""
    answer = await (get(server, url) if stream is None else asked(server, stream, url))
    assert answer.status == 200, answer
    found = parse_playlist(answer.body)
    assert isinstance(found, MultivariantPlaylist)
    return found


async def media(server: penstock.Server, name: str = "ll-v1", query: str = "") -> MediaPlaylist:
    answer = await get(server, f"/live/one/hls/{name}.m3u8{query}")
    assert answer.status == 200, answer
    found = parse_playlist(answer.body)
    assert isinstance(found, MediaPlaylist)
    return found


async def asked(server: penstock.Server, stream: Live, url: str, pictures: int = 60) -> Answer:
    """Who asks, then so many pictures of the stream, and what the answer was."""
    answers: list[Answer] = []

    async def ask_for() -> None:
        answers.append(await get(server, url))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_for)
        await anyio.sleep(0.05)
        stream.write(pictures)
    return answers[0]


async def watching(
    server: penstock.Server, stream: Live, seconds: int = 3, name: str = "ll-v1"
) -> MediaPlaylist:
    """A viewer comes, then `seconds` of the stream and a picture more: the playlist."""
    await asked(server, stream, f"/live/one.m3u8?variant={name.partition('-')[0]}", 25 * seconds + 1)
    return await media(server, name)
