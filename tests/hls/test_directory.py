"""Files on disk: what a plain file server needs, whole or not at all, and never outside the directory."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from penstock_hls.directory import Folder
from penstock_hls.media_playlist import MediaPlaylist
from penstock_hls.multivariant_playlist import MultivariantPlaylist
from penstock_hls.playlist import parse_playlist
from penstock_hls.writer import StreamOutput
from tests.hls.stage import LARGE, Live, get, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.02)


def read(folder: Path, name: str) -> MediaPlaylist:
    """A playlist whose files are all there."""
    found = parse_playlist((folder / "hls" / name).read_bytes())
    assert isinstance(found, MediaPlaylist)
    for segment in found.segments:
        assert (folder / "hls" / segment.uri).is_file(), segment.uri
        assert segment.map is None or (folder / "hls" / segment.map.uri).is_file()
    return found


@pytest.mark.parametrize(("variant", "name"), [("ts", "ts-main.m3u8"), ("fmp4", "fmp4-v1.m3u8")])
async def test_playlists_and_segments_are_the_same_as_over_http(
    variant: str, name: str, tmp_path: Path
) -> None:
    async with serving(directory=str(tmp_path), directory_variant=variant) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        stream.write(25 * 4 + 1)
        folder = tmp_path / "live" / "one"
        await until(lambda: (folder / "index.m3u8").exists())
        index = parse_playlist((folder / "index.m3u8").read_bytes())
        assert isinstance(index, MultivariantPlaylist)
        assert (folder / index.variants[0].uri).is_file()
        assert all((folder / (r.uri or "")).is_file() for r in index.renditions)
        playlist = read(folder, name)
        assert len(playlist.segments) == 4
        for segment in playlist.segments:
            answer = await get(server, f"/live/one/hls/{segment.uri}")
            assert answer.body == (folder / "hls" / segment.uri).read_bytes()
        assert not [n for n in os.listdir(folder / "hls") if n.endswith(".part")]


async def test_what_has_left_the_window_is_removed_and_the_end_is_told(tmp_path: Path) -> None:
    async with serving(
        {"segment_window": 0, "reconnect_grace": 0}, directory=str(tmp_path), directory_variant="fmp4"
    ) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        folder = tmp_path / "live" / "one" / "hls"
        stream.write(26)
        await until(lambda: list(folder.glob("v1-*.m4s")))
        (first,) = folder.glob("v1-*.m4s")
        (init,) = folder.glob("v1-*.mp4")
        assert not (folder / "fmp4-v1.m3u8").exists(), "one segment is played before the list is loaded again"
        stream.publisher.configure(stream.video, LARGE)
        for _ in range(30):
            stream.write(25)
            await anyio.sleep(0.01)
        await until(lambda: not first.exists())
        await until(lambda: not init.exists())
        await until(lambda: len(list(folder.glob("v1-*.m4s"))) < 12)
        stream.close()
        await until(lambda: read(folder.parent, "fmp4-v1.m3u8").end)


async def test_nothing_is_left_of_a_stream_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamOutput, "retention", 0.3)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "index.html").touch()
    async with serving({"reconnect_grace": 0}, directory=str(tmp_path)) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        stream.write(25 * 4 + 1)
        folder = tmp_path / "live" / "one"
        await until((folder / "index.m3u8").exists)
        stream.close()
        await until(lambda: read(folder, "ts-main.m3u8").end)
        await until(lambda: not folder.exists())
        assert os.listdir(tmp_path / "live") == ["index.html"], "and what is not ours stays"


async def test_what_an_earlier_stream_of_that_name_left_is_removed_in_time(tmp_path: Path) -> None:
    folder = tmp_path / "live" / "one" / "hls"
    folder.mkdir(parents=True)
    names = ("v1-7.ts", "v1-0.mp4", "ll-v1.m3u8", "notes.txt", "v1-8.ts")
    for name in names:
        (folder / name).touch()
        if name != "v1-8.ts":
            os.utime(folder / name, (0, 0))
    async with serving({"reconnect_grace": 0}, directory=str(tmp_path)) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        stream.write(25 * 4 + 1)
        await until(lambda: (folder / "ts-main.m3u8").exists())
        await until(lambda: not (folder / "v1-7.ts").exists())
        assert [n for n in names if (folder / n).exists()] == ["notes.txt", "v1-8.ts"]
        assert len(read(folder.parent, "ts-main.m3u8").segments) == 4


async def test_segments_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    async with serving({"segment_window": 0}, directory=str(tmp_path), directory_keep=True) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        folder = tmp_path / "live" / "one" / "hls"
        stream.write(25)
        for number in range(1, 20):
            # What comes faster than the disk takes it is lost to that.
            stream.write(25)
            with anyio.fail_after(5):
                while len(list(folder.glob("*.ts"))) < number:
                    await anyio.sleep(0.01)


async def test_only_streams_of_the_pattern_are_written_and_others_may_be_kept_ready(tmp_path: Path) -> None:
    async with serving(
        directory=str(tmp_path), directory_streams=["live/disk/*"], always=["live/ready"]
    ) as server:
        streams = [Live(server, path, prepared=False) for path in ("live/disk/a", "live/ready", "live/other")]
        for stream in streams:
            await stream.publish()
        await until(
            lambda: len(streams[0].publisher.stream.stores) + len(streams[1].publisher.stream.stores) == 2
        )
        for stream in streams:
            stream.write(60)
        await until(lambda: (tmp_path / "live" / "disk" / "a" / "index.m3u8").exists())
        assert not (tmp_path / "live" / "ready").exists()
        assert not streams[2].publisher.stream.stores
        # Nobody watched, and it is there at once.
        with anyio.fail_after(1):
            assert (await get(server, "/live/ready.m3u8")).status == 200


async def test_no_link_below_the_directory_is_followed(
    tmp_path: Path, logs: list[MutableMapping[str, Any]]
) -> None:
    """H1: whoever can write there must not make us write elsewhere. Viewers do not notice."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (root / "live").mkdir(parents=True)
    (root / "live" / "one").symlink_to(outside)
    async with serving(directory=str(root)) as server:
        stream = Live(server)
        await stream.publish()
        await until(lambda: stream.publisher.stream.stores)
        stream.write(60)
        await until(lambda: [e for e in logs if e["event"] == "segments cannot be written"])
        assert list(outside.iterdir()) == []
        assert (await get(server, "/live/one.m3u8?variant=ts")).status == 200
        # Once that is mended, files come.
        (root / "live" / "one").unlink()
        with anyio.fail_after(6):
            while not (root / "live" / "one" / "index.m3u8").exists():
                stream.write(25)
                await anyio.sleep(0.1)
        assert [e for e in logs if e["event"] == "the directory takes segments again"]


def test_a_file_is_replaced_in_one_step_and_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep")
    with Folder.root(str(tmp_path / "root")) as root, root.below("a/b") as folder:
        inner = tmp_path / "root" / "a" / "b"
        (inner / "x.ts").symlink_to(secret)
        (inner / ".x.ts.part").symlink_to(secret)
        folder.write("x.ts", b"new")
        assert not (inner / "x.ts").is_symlink()
        assert (inner / "x.ts").read_bytes() == b"new"
        assert secret.read_text() == "keep"
        folder.remove("x.ts")
        folder.remove("x.ts")
        assert list(inner.iterdir()) == []
        (inner / "link").symlink_to(tmp_path)
        with pytest.raises(OSError):
            folder.below("link")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root", "secret"]
