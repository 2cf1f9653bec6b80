"""The harness, proven against servers that are not penstock: nginx-rtmp, gst-rtsp-server, and FFmpeg as an
RTSP receiver.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import tables
from .binaries import SYSTEM_PYTHON, path_of, require
from .clients import GST_CAPS, PLAYERS, PUBLISHERS, FFmpegPlayer, Player, Publisher
from .clips import CLIPS
from .compare import Rules, compare
from .crossing import Crossing, Endpoints, cross, cross_command
from .frames import MS
from .matrix import CODEC_SETS, pairwise, possible
from .process import Child, stop_all, wait_all
from .rtp_shift import Rewriter, Tap, proxy
from .server import free_port, nginx_rtmp

LENGTH = 120
"""Pictures compared where the reference server cannot be trusted with the last ones."""


def _players(scheme: str, clip: str) -> list[Player]:
    return [player for player in PLAYERS if player.scheme == scheme and player.can(CLIPS[clip])]


@pytest.fixture(scope="module")
def nginx(work: Path) -> Iterator[Endpoints]:
    require("nginx-rtmp", "ffmpeg-new")
    with nginx_rtmp(work) as endpoints:
        yield endpoints


@pytest.mark.parametrize(
    "publisher", [p for p in PUBLISHERS if p.protocol == "rtmp"], ids=lambda p: p.program
)
def test_every_rtmp_client_is_frame_exact_through_nginx(
    publisher: Publisher, nginx: Endpoints, folder: Path
) -> None:
    players = _players("rtmp", "h264b-aac44")
    require(*publisher.needs, *(need for player in players for need in player.needs))
    outcomes = cross(
        nginx, publisher, CLIPS["h264b-aac44"], players, f"live/{publisher.program}".replace(" ", ""), folder
    )
    assert len(outcomes) == 5
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


def test_a_second_sequence_header_passes_nginx(nginx: Endpoints, folder: Path) -> None:
    clip = CLIPS["sps-change"]
    players = [player for player in PLAYERS if player.name == "ffmpeg new rtmp"]
    outcomes = cross(nginx, PUBLISHERS[0], clip, players, "live/sps", folder)
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


@pytest.mark.parametrize("start", [0, 2**24 - 2000])
def test_the_crafted_publisher_is_frame_exact_through_nginx(
    start: int, nginx: Endpoints, folder: Path
) -> None:
    clip = CLIPS["h264-aac"]
    script = Path(__file__).with_name("rtmp_publish.py")
    url = nginx.url("rtmp", f"live/crafted{start}")
    argv = [sys.executable, str(script), url, str(clip.file("flv")), str(start)]
    players = [player for player in PLAYERS if player.name in ("ffmpeg new rtmp", "rtmpdump rtmp")]
    require(*(need for player in players for need in player.needs))
    outcomes = cross_command(
        nginx, argv, clip.frames("flv"), clip, players, f"live/crafted{start}", folder, same_dts=True
    )
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


@pytest.mark.parametrize(
    ("name", "program"),
    [
        # Sound and picture begin at the same instant here, as gst-rtsp-server's RTP-Info claims they
        # always do.
        pytest.param("h264-pcma", "", id="h264-pcma"),
        # Here they do not, and GStreamer's player corrects itself at the first sender report; FFmpeg's
        # does not look.
        pytest.param("hevc-opus", "ffmpeg", id="hevc-opus"),
    ],
)
def test_every_rtsp_player_is_frame_exact_from_gst_rtsp_server(name: str, program: str, folder: Path) -> None:
    require("gst-launch-1.0", "gst-rtsp-server", "ffmpeg", "ffmpeg-new")
    clip = CLIPS[name]
    pay = {
        "h264": "h264parse ! rtph264pay name=pay0 pt=96",
        "hevc": "h265parse ! rtph265pay name=pay0 pt=96",
        "aac": "aacparse ! rtpmp4gpay name=pay1 pt=97",
        "opus": "opusparse ! rtpopuspay name=pay1 pt=97",
        "pcm_alaw": "rtppcmapay name=pay1 pt=8",
    }
    container = "mov" if clip.base == "mov" else "plain.mp4"
    launch = f"( filesrc location={clip.file(container)} ! qtdemux name=d "
    launch += " ".join(f"d. ! {GST_CAPS[codec]} ! queue ! {pay[codec]}" for codec in clip.codecs)
    folder.mkdir(parents=True)
    port = free_port()
    argv = [SYSTEM_PYTHON, str(Path(__file__).with_name("reference_rtsp.py")), str(port), launch + " )"]
    server = Child.start("gst-rtsp-server", argv, folder / "server.log")
    running: list[tuple[Player, Child, Path]] = []
    try:
        deadline = time.monotonic() + 10
        while "ready" not in server.words() and time.monotonic() < deadline:
            time.sleep(0.05)
        for player in (player for player in _players("rtsp", name) if program in player.name):
            own = folder / player.name.replace(" ", "-")
            own.mkdir()
            url = f"rtsp://127.0.0.1:{port}/live/file"
            running.append((player, Child.start(player.name, player.argv(clip, url, own), own / "log"), own))
        wait_all([child for _, child, _ in running], clip.seconds + 4)
    finally:
        stop_all([*(child for _, child, _ in running), server])
    # gst-rtsp-server leaves out what is shown after the file's nominal end.
    source = clip.frames(container).without_dts().head(LENGTH)
    failed: list[str] = []
    for player, child, own in running:
        report = compare(
            source, player.frames(own).head(LENGTH), Rules(tail=0, same_dts=False, from_start=True)
        )
        if not report.ok:
            failed.append(f"--- {player.name}\n{report}\n{' '.join(child.argv)}\n{child.words()}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("protocol", ["rtsp-tcp", "rtsp-udp"])
@pytest.mark.parametrize("program", ["ffmpeg 5.1", "ffmpeg new"])
def test_ffmpeg_publishes_frame_exact_to_a_listening_ffmpeg(
    program: str, protocol: str, folder: Path
) -> None:
    require("ffmpeg", "ffmpeg-new")
    _listen_and_publish(program, protocol, folder, None)


@pytest.mark.parametrize("program", ["ffmpeg 5.1", "ffmpeg new"])
@pytest.mark.parametrize("name", ["h264-aac", "h264b-aac44", "h264-mp3"])
def test_ffmpeg_never_sends_the_last_sound_that_it_gathers(program: str, name: str, folder: Path) -> None:
    require("ffmpeg", "ffmpeg-new")
    tap = Tap((0,))
    _listen_and_publish(program, "rtsp-tcp", folder, tap, name)
    # RFC 3640 3.2.1: 16 bits for the length in bits of the AU headers, each of 16; RFC 2250 3.5: four bytes before the sound.
    sizes = [
        len(packet) - 12 - (4 if name.endswith("mp3") else 2 + int.from_bytes(packet[12:14], "big") // 8)
        for channel, packet in tap.packets
        if channel == 2
    ]
    sound = CLIPS[name].frames("mp4").audio
    assert sound is not None
    total, whole = 0, [0]
    for frame in sound.frames:
        total += frame.size
        whole.append(total)
    assert sum(sizes) in whole, "it sent whole frames only"
    unsent = len(sound.frames) - whole.index(sum(sizes))
    publisher = next(p for p in PUBLISHERS if p.name == f"{program} rtsp-tcp")
    assert 0 < unsent <= publisher.unsent_sound(CLIPS[name])


def test_the_rtp_wrap_that_the_proxy_brings_about_is_frame_exact(folder: Path) -> None:
    require("ffmpeg", "ffmpeg-new")
    _listen_and_publish("ffmpeg 5.1", "rtsp-tcp", folder, Rewriter((2 * 90_000, 2 * 44_100)))


def _listen_and_publish(
    program: str, protocol: str, folder: Path, rewriter: Rewriter | None, name: str = "h264b-aac44"
) -> None:
    clip = CLIPS[name]
    folder.mkdir(parents=True)
    port = free_port()
    # Debian's, because the newer FFmpeg no longer takes its own default for listen_timeout.
    receiver = next(p for p in PLAYERS if isinstance(p, FFmpegPlayer) and p.name == "ffmpeg 5.1 rtsp-tcp")
    argv = receiver.argv(clip, f"rtsp://127.0.0.1:{port}/live/s", folder)
    argv[argv.index("-rtsp_transport") : argv.index("-i")] = ["-rtsp_flags", "listen"]
    listening = Child.start("listening ffmpeg", argv, folder / "listener.log")
    publisher = next(p for p in PUBLISHERS if p.name == f"{program} {protocol}")
    try:
        time.sleep(0.7)
        if rewriter is None:
            sender = Child.start(
                program,
                publisher.argv(clip, f"rtsp://127.0.0.1:{port}/live/s", folder),
                folder / "publisher.log",
            )
            sender.wait(clip.seconds + 8)
            sender.stop()
        else:
            with proxy("127.0.0.1", port, rewriter) as own:
                sender = Child.start(
                    program,
                    publisher.argv(clip, f"rtsp://127.0.0.1:{own}/live/s", folder),
                    folder / "publisher.log",
                )
                sender.wait(clip.seconds + 8)
                sender.stop()
        listening.wait(2)
    finally:
        listening.stop()
    # A listening FFmpeg stops at TEARDOWN and drops what it holds: up to a packet of a dozen AAC frames.
    # On a busy machine its times move with the sender's reports; where only the packets are looked at that says nothing.
    times = not isinstance(rewriter, Tap)
    report = compare(clip.frames("mp4"), receiver.frames(folder), Rules(tail=12, times=times, same_dts=False))
    assert report.ok, f"{report}\n{sender.words()}\n{listening.words()}"


def test_encoding_is_repeatable_so_that_the_seeds_command_can_be_checked(folder: Path) -> None:
    require("ffmpeg")
    folder.mkdir(parents=True)
    source = str(CLIPS["h264-aac"].file("mp4"))
    command = [path_of("ffmpeg"), "-v", "error", "-i", source, "-c:v", "libx264", "-c:a", "aac", "-f", "flv"]
    for name in ("one", "two"):
        subprocess.run([*command, str(folder / name)], check=True, timeout=60)
    assert (folder / "one").read_bytes()[600:] == (folder / "two").read_bytes()[600:]


def test_rtp_is_shifted_wherever_the_bytes_are_cut() -> None:
    request = b"ANNOUNCE rtsp://h/s RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\n$\0\0\x08"
    rtp = b"$\x00\x00\x10" + b"\x80\x60\xff\xff\x00\x00\x00\x05abcdefgh"
    report = b"$\x01\x00\x1c" + b"\x80\xc8\x00\x06" + b"ssrc" + b"n" * 8 + b"\x00\x00\x00\x07" + b"\0" * 8
    whole = Rewriter((100,)).feed(request + rtp + report)
    assert whole.startswith(request)
    assert whole[len(request) + 6 : len(request) + 12] == (65_480).to_bytes(2, "big") + (
        2**32 - 100
    ).to_bytes(4, "big")
    assert (2**32 - 98).to_bytes(4, "big") in whole[len(request) + len(rtp) :]
    one_by_one = Rewriter((100,))
    assert b"".join(one_by_one.feed(bytes([b])) for b in request + rtp + report) == whole


def test_the_subset_covers_every_pair_and_is_the_same_each_time() -> None:
    crossings = possible()
    chosen = pairwise(crossings)
    assert [c.name for c in chosen] == [c.name for c in pairwise(possible())]

    def everything(these: list[Crossing]) -> set[tuple[str, str, str]]:
        found: set[tuple[str, str, str]] = set()
        for c in these:
            for p in c.players:
                for of in (c.publisher.program, c.publisher.protocol):
                    for to in (p.program, p.protocol):
                        found |= {
                            ("of to", of, to),
                            ("of clip", of, c.clip.name),
                            ("clip to", c.clip.name, to),
                        }
        return found

    assert everything(chosen) == everything(crossings)
    assert len(chosen) < len(crossings) / 2


def test_the_table_says_yes_only_where_frames_crossed() -> None:
    import datetime

    from .compare import Report
    from .crossing import Outcome

    crossing = possible(["h264-aac"])[0]
    first, second = crossing.players[:2]
    outcomes = [Outcome(first, Report((), ()), ""), Outcome(second, Report(("video: no",), ()), "")]
    results, date = [(crossing, outcomes)], datetime.date(2026, 1, 2)
    assert "| ffmpeg 5.1 rtmp | h264-aac | yes | no |" in tables.table(results, date)
    summary = tables.summary(results, date)
    assert "| ffmpeg 5.1 | 1 of 2 |" in summary
    assert f"- h264-aac by ffmpeg 5.1 rtmp, played by {second.name}\n" in summary
    everything = tables.summary([(crossing, outcomes[:1])], date)
    assert "| h264-aac | yes |" in everything
    assert "Not exact" not in everything


@pytest.mark.parametrize("name", [*CODEC_SETS, "sps-change", "defaults"])
def test_every_clip_has_the_codecs_it_names_and_key_frames_to_join_at(name: str) -> None:
    require("ffmpeg-new")
    clip = CLIPS[name]
    container = "ts" if clip.second_size else clip.base
    frames = clip.frames(container)
    assert frames.codecs == "+".join(clip.codecs)
    if frames.video is not None:
        assert frames.video.frames[0].key
        assert (
            frames.audio is None
            or abs((frames.audio.frames[0].pts or 0) - (frames.video.frames[0].pts or 0)) < 100 * MS
        )
        joins = sum(frame.key for frame in frames.video.frames)
        assert joins == 1 if name == "defaults" else joins > 3


def test_imageio_ffmpeg_is_what_the_test_extra_installs() -> None:
    assert importlib.util.find_spec("imageio_ffmpeg") is not None
