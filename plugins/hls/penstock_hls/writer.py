"""The service that keeps streams in segments without viewers, and writes them to the directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import anyio
from anyio import to_thread
from attrs import frozen

from penstock import Endpoint, Rendition, SegmentStore, Server, Stream
from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock.settings import Pattern
from penstock_hls.config import HlsConfig
from penstock_hls.directory import Folder
from penstock_hls.resource import Resource, Variant
from penstock_hls.server import FORMATS
from penstock_hls.written import SEGMENTS, media_playlist, multivariant_playlist

LOOK_SECONDS = 0.25
"""How often streams are looked for that nobody has told us of."""
RETRY_SECONDS = 2.0
"""After a disk refused something (no room, no permission): until then segments are lost to the directory, not to viewers."""


class DirectoryService:
    """Runs for as long as the plugin is enabled; one task for each stream."""

    name = "segments"

    def __init__(self, server: Server, config: HlsConfig) -> None:
        self._server = server
        self._config = config
        self._always = [Pattern.parse(text) for text in config.always]
        self._written = [Pattern.parse(text) for text in config.directory_streams] if config.directory else []
        self._busy: set[Stream] = set()

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        started(())
        async with anyio.create_task_group() as tasks:
            while True:
                for stream in self._server.streams:
                    if stream in self._busy or not (stream.published and stream.is_ready):
                        continue
                    writes = any(p.matches(stream.path) for p in self._written)
                    if writes or any(p.matches(stream.path) for p in self._always):
                        self._busy.add(stream)
                        tasks.start_soon(self._keep, stream, writes)
                await anyio.sleep(LOOK_SECONDS)

    async def _keep(self, stream: Stream, writes: bool) -> None:
        config = self._config
        variant: Variant = config.directory_variant if writes else config.variant
        store = await stream.segments_for(FORMATS[variant])
        try:
            with store.held():
                if not writes:
                    while not store.ended:
                        await anyio.sleep(1)
                    return
                output = StreamOutput(store, variant, keep=config.directory_keep)
                await self._write(store, output)
        finally:
            self._busy.discard(stream)
        if not config.directory_keep:
            await self._clear(stream, output)

    async def _clear(self, stream: Stream, output: StreamOutput) -> None:
        """Take away what a stream that has ended left, once viewers have had the time to fetch it."""
        await anyio.sleep(output.retention)
        if self._server.streams.get(stream.path) not in (None, stream):
            return  # one of that name is there again, and takes away what is old
        try:
            await to_thread.run_sync(output.clear, self._config.directory)
        except OSError as e:
            self._server.log.error("segments cannot be removed", path=stream.path, reason=str(e))

    async def _write(self, store: SegmentStore, output: StreamOutput) -> None:
        path, log = store.stream.path, self._server.log
        failed = ""
        while True:
            ended = store.ended
            lead = store.lead
            pending = output.pending()
            try:
                await to_thread.run_sync(partial(output.put, self._config.directory, pending))
                if failed:
                    log.info("the directory takes segments again", path=path)
                failed = ""
            except OSError as e:
                if str(e) != failed:
                    log.error("segments cannot be written", path=path, reason=str(e))
                failed = str(e)
                await anyio.sleep(RETRY_SECONDS)
            if ended:
                return
            with anyio.move_on_after(RETRY_SECONDS):
                if lead is None:
                    await anyio.sleep(RETRY_SECONDS)
                else:
                    await lead.wait(lead.position[0])


@frozen
class Changes:
    """Files by name, playlists by name, the multivariant playlist, and names of what goes."""

    files: dict[str, bytes]
    playlists: dict[str, bytes]
    index: bytes
    removed: list[str]


class StreamOutput:
    """What of one stream is on disk, and what goes there next."""

    def __init__(self, store: SegmentStore, variant: Variant, *, keep: bool) -> None:
        self._store = store
        self._variant: Variant = variant
        self._keep = keep
        self._there: dict[str, bool] = {}
        """Names of segments and inits in the folder."""

    @property
    def retention(self) -> float:
        """Seconds for which viewers may fetch what no list names any more: those of a list and a segment (RFC 8216bis 6.2.2)."""
        return (self._store.window + self._store.target) / NS

    def pending(self) -> Changes:
        """What has to be written and removed for the directory to show what there is now."""
        store = self._store
        files: dict[str, bytes] = {}
        playlists: dict[str, bytes] = {}
        needed: set[str] = set()
        variant: Variant = "ts" if self._variant == "ts" else "fmp4"
        for rendition in store.renditions.values():
            for name, data in self._files(rendition, variant):
                needed.add(name)
                if name not in self._there:
                    files[name] = data
            if rendition.completed >= (1 if rendition.ended else SEGMENTS[self._variant]):
                name = str(Resource("playlist", self._variant, rendition.name))
                playlists[name] = media_playlist(rendition, self._variant).plain
        index = b""
        if playlists:
            index = multivariant_playlist(store, self._variant, "hls/").write().encode()
        removed = [] if self._keep else [name for name in self._there if name not in needed]
        return Changes(files, playlists, index, removed)

    def _files(self, rendition: Rendition, variant: Variant) -> Iterable[tuple[str, bytes]]:
        for segment in rendition.segments:
            if segment.complete and not segment.gap:
                if segment.init.data:
                    yield (
                        str(Resource("init", variant, rendition.name, segment.init.number)),
                        segment.init.data,
                    )
                yield str(Resource("segment", variant, rendition.name, segment.number)), segment.data

    def put(self, directory: str, changes: Changes) -> None:
        """Write `changes`, segments before the playlists that name them, and take away what is needed no more. Blocks."""
        with (
            Folder.root(directory) as root,
            root.below(self._store.stream.path) as folder,
            folder.below("hls") as files,
        ):
            for name, data in changes.files.items():
                files.write(name, data)
                self._there[name] = True
            for name, data in changes.playlists.items():
                files.write(name, data)
            if changes.index:
                folder.write("index.m3u8", changes.index)
            for name in changes.removed:
                files.remove(name)
                self._there.pop(name, None)
            if changes.files and not self._keep:
                # What an earlier stream of that name left, or an earlier server.
                self._remove(files, time.time() - self.retention)

    def clear(self, directory: str) -> None:
        """Take away all that is there of the stream. Blocks."""
        path = self._store.stream.path
        with Folder.root(directory) as root:
            with root.below(path) as folder, folder.below("hls") as files:
                folder.remove("index.m3u8")
                self._there.clear()
                self._remove(files, time.time())
            root.prune(f"{path}/hls")

    def _remove(self, files: Folder, before: float) -> None:
        """Remove what is ours by its name, was written before then (seconds since 1970), and is needed no more."""
        for name, written in list(files.names()):
            if written < before and name not in self._there:
                with suppress(ProtocolViolation):
                    Resource.parse(name)
                    files.remove(name)
