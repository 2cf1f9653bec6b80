"""The protocol alone beside libsrt's own program: meetings, and keys that are renewed in mid-stream; every byte arrives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .binaries import path_of
from .clients import UNSENT
from .clips import CLIPS
from .frames import read_frames
from .lossy import lossy
from .server import free_port

ROOT = Path(__file__).parents[2]
SRT = "srt-live-transmit"
PASSPHRASE = "0123456789abcdef"
PAYLOAD = 1316
PAYLOADS = 800
GAP = 0.002


def _ours(*arguments: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "bench.srt_peer",
        *arguments,
        "--passphrase",
        PASSPHRASE,
        "--seconds",
        "3",
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _libsrt(*uris: str, output: Path | None = None) -> subprocess.Popen[bytes]:
    command = [path_of(SRT), "-q", "-a:no", "-chunk:1316", *uris]
    if output is None:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with output.open("wb") as sink:
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.DEVNULL)


def _feed(process: subprocess.Popen[bytes], media: bytes) -> None:
    """Give it `media` at 5 Mbit/s; then let it send what it has."""
    assert process.stdin is not None
    began = time.monotonic()
    for n in range(PAYLOADS):
        time.sleep(max(0.0, began + n * GAP - time.monotonic()))
        process.stdin.write(media[n * PAYLOAD : (n + 1) * PAYLOAD])
        process.stdin.flush()
    time.sleep(1)
    process.terminate()
    process.stdin.close()


def _listening(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"listening")


def _to_us(work: Path, media: bytes, ours: list[str], uri: str, *, listens: bool) -> bytes:
    out = work / "ours"
    receiving = _ours(*ours, "receive", "--file", str(out))
    try:
        if listens:
            _listening(receiving)
        sending = _libsrt("file://con", uri)
        assert receiving.stdout is not None
        assert receiving.stdout.readline() == b"met\n"
        # What srt-live-transmit is given before it knows of that, it loses; it asks each quarter of a second.
        time.sleep(0.6)
        _feed(sending, media)
        sending.wait(10)
        receiving.communicate(timeout=10)
    finally:
        receiving.kill()
        receiving.communicate()
    return out.read_bytes()


def _from_us(work: Path, source: Path, ours: list[str], uri: str) -> bytes:
    out = work / "theirs"
    receiving = _libsrt(uri, "file://con", output=out)
    try:
        time.sleep(0.5)
        sending = _ours(*ours, "send", "--file", str(source), "--mbps", "5", "--refresh", "300")
        sending.communicate(timeout=15)
        receiving.wait(10)
    finally:
        receiving.kill()
        receiving.wait()
    return out.read_bytes()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    source = tmp_path / "media"
    source.write_bytes(os.urandom(PAYLOAD * PAYLOADS))
    return source


def test_every_byte_arrives_by_meetings_and_over_new_keys(tmp_path: Path, media: Path) -> None:
    """Each way, both at once, since they mostly wait; ours renews its key each 300 packets, libsrt each 500."""
    sent = media.read_bytes()
    options = f"passphrase={PASSPHRASE}&kmrefreshrate=500&kmpreannounce=200"
    works = [tmp_path / str(n) for n in range(4)]
    for work in works:
        work.mkdir()
    ports = [str(free_port()) for _ in works]
    meet = [["meet", "127.0.0.2", port, "--bind", "127.0.0.1"] for port in ports]
    met = [f"srt://127.0.0.1:{port}?mode=rendezvous&adapter=127.0.0.2&{options}" for port in ports]
    with ThreadPoolExecutor(4) as pool:
        results = [
            pool.submit(
                _to_us, works[0], sent, ["listen", "127.0.0.1", ports[0]],
                f"srt://127.0.0.1:{ports[0]}?{options}", listens=True,
            ),
            pool.submit(_to_us, works[1], sent, meet[1], met[1], listens=False),
            pool.submit(
                _from_us, works[2], media, ["call", "127.0.0.1", ports[2]],
                f"srt://127.0.0.1:{ports[2]}?mode=listener&passphrase={PASSPHRASE}",
            ),
            pool.submit(_from_us, works[3], media, meet[3], met[3]),
        ]  # fmt: skip
        arrived = [result.result() for result in results]
    assert [len(data) for data in arrived] == [len(sent)] * 4
    assert all(data == sent for data in arrived)


@pytest.mark.parametrize("program", ["ffmpeg", "ffmpeg-new"])
def test_what_libsrt_has_not_sent_at_its_close_it_never_sends(program: str, tmp_path: Path) -> None:
    """All that is on the wire arrives; of what FFmpeg wrote, a few of the last frames are not on the wire."""
    written, out = tmp_path / "written.ts", tmp_path / "ours.ts"
    source = CLIPS["h264b-aac44"].file("mp4")
    receiving = subprocess.Popen(
        [sys.executable, "-m", "bench.srt_peer", "listen", "127.0.0.1", "0", "receive", "--file", str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert receiving.stdout is not None
        port = receiving.stdout.readline().split()[1].decode()
        with lossy(f"srt://127.0.0.1:{port}", 0) as link:
            to = f"[f=mpegts]{written}|[f=mpegts]srt://127.0.0.1:{link.port}?pkt_size=1316"
            command = [path_of(program), "-nostdin", "-v", "error", "-re", "-t", "2", "-i", str(source)]
            subprocess.run([*command, "-c", "copy", "-map", "0", "-f", "tee", to], check=True, timeout=20)
            receiving.communicate(timeout=10)
            carried = {data[:4]: data[16:] for data in link.carried if not data[0] & 0x80}
            assert link.carried[-1][:2] == b"\x80\x05", "nothing follows the goodbye"
    finally:
        receiving.kill()
        receiving.communicate()
    assert b"".join(carried.values()) == out.read_bytes()
    assert written.read_bytes().startswith(out.read_bytes())
    whole, came = read_frames(written, tmp_path).audio, read_frames(out, tmp_path).audio
    assert whole is not None
    assert came is not None
    assert 0 <= len(whole.frames) - len(came.frames) <= UNSENT
