"""HLS as a source: its playlists followed, its segments fetched ahead of time, their frames published when they are due."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

import anyio

from penstock import Closed, PenstockError, ProtocolViolation, Server, StreamPath
from penstock.net import slices
from penstock_formats import isobmff, mpegts
from penstock_formats.language import language_tag
from penstock_hls.decryption import KEY_SIZE, Decryption, check_key, initialization_vector
from penstock_hls.follower import Follower, Period, Wanted
from penstock_hls.media_playlist import Key, Map, MediaPlaylist
from penstock_hls.multivariant_playlist import MultivariantPlaylist
from penstock_hls.pacer import Input, Pacer
from penstock_hls.playlist import MAX_BYTES, Playlist, parse_playlist
from penstock_hls.selection import select
from penstock_http.api import HttpPull, HttpSource, Response

CONTENT_TYPES = (
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "audio/mpegurl",
    "audio/x-mpegurl",
)
MAX_SEGMENT = 256 << 20
"""Bytes: ten seconds at 200 Mbit/s. Frames are taken from a segment as it comes; this bounds one that never ends."""
MAX_MAP = 4 << 20
MAX_FAILURES = 3
"""Segments in a row that cannot be had or read, after which the source is given up."""
IN_THREAD = 64 << 10
"""Bytes of a playlist that is read in a thread: it would hold up the event loop."""
AHEAD = 2
"""How much is fetched ahead of time, in target durations, beside the segment that goes beyond it."""
PATIENCE = 10.0
"""Seconds at least that a live playlist may bring nothing new, and that may be waited for one response."""

Ingest = mpegts.Ingest | isobmff.Ingest


_Newest = tuple[int, str]
_played: WeakKeyDictionary[Server, dict[StreamPath | None, _Newest | None]] = WeakKeyDictionary()
"""By path, the last segment of the live playlist that ended last: it may stay where it is for long."""


async def pull(source: HttpPull) -> None:
    """Publish what a playlist leads to, until it ends; a live one that ended is not played a second time."""
    played, path = _played.setdefault(source.server, {}), source.session.path
    played[path] = await _pull(source, played.get(path))


async def _pull(source: HttpPull, played: _Newest | None) -> _Newest | None:
    """As `pull`; returns the last segment of a playlist that was live, None for a recording."""
    url = source.response.url
    playlist = await _read(source.response)
    pacer = Pacer(source.publish, source.session)
    if isinstance(playlist, MultivariantPlaylist):
        known = {
            name.lower()
            for _, binding in source.server.registry.having(isobmff.ISOBMFF)
            for name in binding.formats
        }
        variant, renditions = select(playlist, known)
        source.session.info["variant"] = variant.uri
        ways = [_Way(source, pacer, variant.uri, url, played=played)]
        ways += [_Way(source, pacer, r.uri or "", url, language_tag(r.language)) for r in renditions]
    else:
        ways = [_Way(source, pacer, url, played=played)]
        ways[0].loaded(playlist, url, time.monotonic())
    errors: list[PenstockError] = []

    async def follow() -> None:
        async def run(way: _Way) -> None:
            try:
                await way.run()
            except PenstockError as e:
                # What is there already is still played.
                errors.append(e)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for way in ways:
                tasks.start_soon(run, way)
        pacer.end()

    async with anyio.create_task_group() as both:
        both.start_soon(follow)
        await pacer.run()
    if errors:
        raise errors[0]
    source.session.reason = source.session.reason or "the playlist ended"
    return ways[0].played


async def _read(response: Response) -> Playlist:
    data: bytes | None = None
    with anyio.move_on_after(PATIENCE):
        data = await response.read(MAX_BYTES)
    if data is None:
        raise Closed(f"a playlist did not come within {PATIENCE:g} s")
    if len(data) <= IN_THREAD:
        return parse_playlist(data)
    return await anyio.to_thread.run_sync(parse_playlist, data)


class _Way:
    """One media playlist: from its URL to the frames of its segments."""

    def __init__(
        self,
        source: HttpPull,
        pacer: Pacer,
        url: str,
        base: str = "",
        language: str | None = None,
        *,
        played: _Newest | None = None,
    ) -> None:
        self._source = source
        self._pacer = pacer
        self._input: Input = pacer.input(language)
        self._follower = Follower(time.monotonic())
        self._url, self._url_base = url, base
        self._base = base
        self._period: Period | None = None
        self._ingest: Ingest | None = None
        self._map: tuple[Map, bytes] | None = None
        self._key: tuple[str, bytes] | None = None
        self._failures = 0
        self._known = self._live = False
        self._played = played

    @property
    def played(self) -> _Newest | None:
        """The last segment of a playlist that was live when we came, None where it was ended then."""
        return self._follower.newest if self._live else None

    def loaded(self, playlist: Playlist, url: str, began: float) -> None:
        """What `url` had when it was loaded at `began`."""
        if not isinstance(playlist, MediaPlaylist):
            raise ProtocolViolation(
                "a multivariant playlist in a multivariant playlist", "RFC 8216bis 4.4.6.2"
            )
        self._base = url
        self._follower.loaded(playlist, began)
        if not self._known and playlist.end and self._played and self._follower.newest == self._played:
            raise Closed("the playlist ended, and what it has was played")
        self._known = True
        self._live = self._live or not playlist.end

    async def run(self) -> None:
        """Until the playlist ends. Raises `Closed` or `ProtocolViolation` where it cannot be followed."""
        follower = self._follower
        while not follower.ended:
            if follower.reload_at is not None and time.monotonic() >= follower.reload_at:
                await self._load()
            behind = follower.is_behind(self._input.ahead)
            self._pacer.hurry = behind
            early = self._input.ahead - AHEAD * follower.target
            if early > 0:
                await anyio.sleep(min(early, follower.target))
            elif (wanted := follower.take()) is not None:
                await self._take(wanted)
            elif follower.reload_at is not None:
                await anyio.sleep(max(0.0, follower.reload_at - time.monotonic()))

    async def _load(self) -> None:
        began = time.monotonic()
        follower = self._follower
        try:
            async with self._source.client.get(self._url, self._url_base, seconds=PATIENCE) as response:
                playlist = await _read(response)
            self.loaded(playlist, response.url, began)
        except (Closed, ProtocolViolation):
            # An origin that is started again, or a file that is being written: the next load may find it well.
            follower.failed(began)
            if not self._known or self._is_stale(began):
                raise
        else:
            if self._is_stale(began) and follower.reload_at is not None:
                raise Closed(f"the playlist has had nothing new for {began - follower.changed_at:.0f} s")

    def _is_stale(self, now: float) -> bool:
        return now - self._follower.changed_at > max(PATIENCE, 3 * self._follower.target)

    async def _take(self, wanted: Wanted) -> None:
        """Fetch a segment, and give its frames to the pacer as they come."""
        frames = self._input.frames
        try:
            await self._segment(wanted)
            if self._input.frames == frames:
                raise ProtocolViolation("a segment without a frame that any plugin knows")
        except (Closed, ProtocolViolation) as e:
            self._ingest = None
            self._failures += 1
            if self._failures > MAX_FAILURES:
                raise
            self._source.server.log_peer(
                self._source.session,
                "segment left out",
                level="warning",
                apart="segment",
                number=wanted.number,
                reason=str(e),
            )
        else:
            self._failures = 0

    async def _segment(self, wanted: Wanted) -> None:
        segment = wanted.segment
        cipher = await self._decryption(segment.key, wanted.number)
        ingest = await self._start(wanted)
        seconds = PATIENCE + 3 * self._follower.target
        async with self._source.client.get(
            segment.uri, self._base, seconds=seconds, byte_range=wanted.range
        ) as response:
            left = MAX_SEGMENT if wanted.range is None else wanted.range[1]
            while data := await response.receive():
                left -= len(data)
                if left < 0:
                    raise Closed(
                        f"a segment of more bytes than {'it is said to have' if wanted.range else MAX_SEGMENT}"
                    )
                await self._receive(ingest, data if cipher is None else cipher.update(data))
        if cipher is not None:
            await self._receive(ingest, cipher.finish())
        ingest.end()
        self._input.end_segment()

    async def _receive(self, ingest: Ingest, data: bytes) -> None:
        for part in slices(data):
            ingest.receive(part)
            await anyio.lowlevel.checkpoint()
        await self._pacer.room()

    async def _start(self, wanted: Wanted) -> Ingest:
        """The ingest for a segment, which has had its init section; another one where its times begin anew."""
        map, ingest = wanted.segment.map, self._ingest
        kind = mpegts.Ingest if map is None else isobmff.Ingest
        if self._period != wanted.period or not isinstance(ingest, kind):
            self._period = wanted.period
            self._input.begin(wanted.period)
            server = self._source.server
            ingest = (
                mpegts.Ingest(self._input, server)
                if map is None
                else isobmff.Ingest(self._input, server.registry)
            )
        if map is not None and (ingest is not self._ingest or self._map is None or self._map[0] != map):
            if self._map is None or self._map[0] != map:
                self._map = map, await self._init(map, wanted.segment.key)
            ingest.start_segment()
            ingest.receive(self._map[1])
        ingest.start_segment()
        self._ingest = ingest
        return ingest

    async def _init(self, map: Map, key: Key | None) -> bytes:
        """An init section."""
        where = map.byte_range
        byte_range = None if where is None else (where.offset or 0, where.length)
        async with self._source.client.get(
            map.uri, self._base, seconds=PATIENCE, byte_range=byte_range
        ) as response:
            data = await response.read(MAX_MAP)
        # It is encrypted only by a key with an IV (4.4.4.5), which may also come after it in the playlist.
        if key is not None and key.iv is not None and data[4:8] not in (b"ftyp", b"styp", b"moov"):
            cipher = await self._decryption(key, 0)
            if cipher is not None:
                return cipher.update(data) + cipher.finish()
        return data

    async def _decryption(self, key: Key | None, number: int) -> Decryption | None:
        if key is None:
            return None
        uri = check_key(key)
        if self._key is None or self._key[0] != uri:
            async with self._source.client.get(uri, self._base, seconds=PATIENCE) as response:
                self._key = uri, await response.read(KEY_SIZE)
        return Decryption(self._key[1], initialization_vector(key, number))


SOURCE = HttpSource(CONTENT_TYPES, (".m3u8", ".m3u"), pull)
"""What the plugin offers to the HTTP port's hook."""
