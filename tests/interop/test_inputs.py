"""Inputs that are hard in one way each: the seed's own commands, wraps of time stamps, a new SPS, a picture
for who joins.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .binaries import path_of, require
from .clients import PLAYERS, PUBLISHERS, Player
from .clips import CLIPS, Clip
from .compare import Rules, compare
from .crossing import Outcome, cross, cross_command
from .frames import NORMAL_FORM, SAMPLED, FrameList, read_dump
from .process import Child, stop_all
from .rtp_shift import shifting_proxy
from .server import Penstock

EVERYWHERE = ("ffmpeg new rtmp", "ffmpeg 5.1 rtsp-tcp", "ffmpeg new rtsp-udp", "gstreamer rtsp-tcp")
"""One player of each kind of carrier; the matrix has the rest."""

SEED_COMMANDS = {
    "rtmp": "ffmpeg -re -i f.mp4 -c:v libx264 -c:a aac -f flv rtmp://H:1935/live/stream",
    "rtsp": "ffmpeg -re -i f.mp4 -c:v libx264 -c:a aac -rtsp_transport udp -f rtsp rtsp://H:8554/live/stream",
    "g711-rtmp": "ffmpeg -re -i f.mp4 -vcodec libx264 -acodec pcm_alaw -ac 1 -ar 8000 -f flv rtmp://H:1935/live/stream",
    "g711-rtsp": "ffmpeg -re -i f.mp4 -vcodec libx264 -acodec pcm_mulaw -ac 1 -ar 8000 -f rtsp rtsp://H:8554/live/stream",
    "hevc-rtsp": "ffmpeg -re -i f.mp4 -vcodec libx265 -acodec aac -f rtsp rtsp://H:8554/live/stream",
}
"""As the seed's examples have them; only the input file, the host and the port are filled in."""


def _players(*names: str) -> list[Player]:
    found = [player for player in PLAYERS if player.name in names]
    require(*(need for player in found for need in player.needs))
    return found


def _assert_crossed(outcomes: list[Outcome], players: list[Player]) -> None:
    assert len(outcomes) == len(players)
    assert all(outcome.report.ok for outcome in outcomes), "\n".join(map(str, outcomes))


Crossed = tuple[list[Outcome], list[Player]]


def _wanted(request: pytest.FixtureRequest, parameter: str) -> set[str]:
    """The values of a parameter among the tests that were selected."""
    calls: list[Any] = [getattr(item, "callspec", None) for item in request.session.items]
    return {call.params[parameter] for call in calls if call and parameter in call.params}


@pytest.fixture(scope="module")
def seeds(
    server: Penstock, work: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Crossed]]]:
    """The seed's commands, two at a time: they encode, which takes a core now and then; each test waits for its own."""
    with ThreadPoolExecutor(2) as lanes:
        names = [name for name in SEED_COMMANDS if name in _wanted(request, "seed")]
        yield {name: lanes.submit(_seed, name, server, work / f"seed-{name}") for name in names}


@pytest.mark.parametrize("seed", SEED_COMMANDS)
def test_the_seeds_own_command_unchanged(seed: str, seeds: dict[str, Future[Crossed]]) -> None:
    _assert_crossed(*seeds[seed].result())


def _seed(name: str, server: Penstock, folder: Path) -> Crossed:
    require("ffmpeg")
    folder.mkdir(parents=True)
    scheme = "rtsp" if name.endswith("rtsp") else "rtmp"
    words = shlex.split(SEED_COMMANDS[name])
    clip = CLIPS["short"]
    url = server.endpoints.url(scheme, f"live/seed-{name}")
    argv = [path_of("ffmpeg"), "-nostdin", *words[1:-1], url]
    argv[argv.index("f.mp4")] = str(clip.file("mp4"))
    source = _same_encoding(argv, folder)
    codecs = tuple(track.codec for track in source.tracks)
    output = Clip("seed", codecs, ("encoded",), ("encoded",), seconds=clip.seconds)
    players = [player for player in _players(*EVERYWHERE) if player.can(output)]
    outcomes: list[Outcome] = []
    # x264 decides by its look-ahead, which now and then comes out otherwise beside a loaded machine: a second try.
    for attempt in ("crossing", "again"):
        outcomes = cross_command(
            server.endpoints,
            argv,
            source,
            output,
            players,
            f"live/seed-{name}",
            folder / attempt,
            same_dts=scheme == "rtmp",
            unsent_sound=12 * (scheme != "rtmp"),
        )
        if all(outcome.report.ok for outcome in outcomes):
            break
    return outcomes, players


ENCODERS = {"libx264": "h264", "libx265": "hevc"}
"""What comes out of encoders that are not named after it."""


def _same_encoding(argv: list[str], folder: Path) -> FrameList:
    """What the command sends: x264, x265 and FFmpeg's AAC give the same bytes for the same input and options each time.

    No container in between: it would move x265's own SEI. With the global header that RTMP's and RTSP's muxers ask for,
    that is in none of the frames.
    """
    stem = folder / "encoded"
    until = argv.index("-rtsp_transport") if "-rtsp_transport" in argv else argv.index("-f")
    options = [word for word in argv[1:until] if word not in ("-re", "-nostdin")]
    at = options.index("-i") + 2
    command = [argv[0], "-v", "error", "-nostdin", "-y", *options[:at]]
    for kind, names in (("video", ("-c:v", "-vcodec")), ("audio", ("-c:a", "-acodec"))):
        encoder = next(options[i + 1] for i, word in enumerate(options) if word in names)
        codec, letter = ENCODERS.get(encoder, encoder), kind[0]
        command += [*options[at:], "-map", f"0:{letter}:0", f"-flags:{letter}", "+global_header"]
        if codec in NORMAL_FORM:
            command += [f"-bsf:{letter}", NORMAL_FORM[codec]]
        listings = [f"[f=framehash:hash=md5]{stem}.{kind}.hash", f"[f=framecrc]{stem}.{kind}.crc"]
        if codec in SAMPLED:
            listings.append(f"[f=data]{stem}.{kind}.raw")
        command += ["-f", "tee", "|".join(listings)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return read_dump(stem) if "flv" in argv else read_dump(stem).without_dts()


@pytest.mark.parametrize("start", [2**24 - 3000, 2**31 - 3000, 2**32 - 3000])
@pytest.mark.parametrize("manner", ["repeat", "omit"])
def test_rtmp_times_that_pass_a_border(start: int, manner: str, server: Penstock, folder: Path) -> None:
    clip = CLIPS["h264-aac"]
    path = f"live/wrap-{start}-{manner}"
    script = str(Path(__file__).with_name("rtmp_publish.py"))
    argv = [
        sys.executable,
        script,
        server.endpoints.url("rtmp", path),
        str(clip.file("flv")),
        str(start),
        manner,
    ]
    players = [p for p in _players(*EVERYWHERE) if p.scheme == "rtsp" or start < 2**31 - 10_000]
    # FFmpeg's own FLV reader has 31 bits of time stamp, so RTMP players can follow over the first border
    # only.
    outcomes = cross_command(
        server.endpoints, argv, clip.frames("flv"), clip, players, path, folder, same_dts=True
    )
    _assert_crossed(outcomes, players)


@pytest.mark.parametrize("program", ["ffmpeg 5.1", "gstreamer"])
def test_rtp_times_and_numbers_that_wrap(program: str, server: Penstock, folder: Path) -> None:
    clip = CLIPS["h264b-aac44"]
    publisher = next(p for p in PUBLISHERS if p.name == f"{program} rtsp-tcp")
    require(*publisher.needs)
    players = _players(*EVERYWHERE)
    path = f"live/rtp-wrap-{program.partition(' ')[0]}"
    host, _, port = server.endpoints.url("rtsp", "").removeprefix("rtsp://").rstrip("/").rpartition(":")
    with shifting_proxy(host, int(port), (3 * 90_000, 3 * 44_100)) as own:
        argv = publisher.argv(clip, f"rtsp://127.0.0.1:{own}/{path}", folder)
        source = clip.frames(publisher.container(clip))
        outcomes = cross_command(
            server.endpoints, argv, source, clip, players, path, folder, same_dts=False, unsent_sound=12
        )
    _assert_crossed(outcomes, players)


def _changing(protocol: str) -> Clip:
    """FFmpeg does not announce AAC out of MPEG-TS over RTSP ("AAC with no global headers"): the picture alone there."""
    return CLIPS["sps-change" if protocol == "rtmp" else "sps-video"]


@pytest.fixture(scope="module")
def changes(
    server: Penstock, work: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Crossed]]]:
    """A change of picture size over each carrier, all at once."""
    wanted = _wanted(request, "carrier")
    with ThreadPoolExecutor(3) as lanes:
        for clip in map(_changing, wanted):
            # Made beforehand: encoding beside a running crossing would take its two cores.
            clip.frames("ts")
        yield {name: lanes.submit(_change, name, server, work / f"sps-{name}") for name in sorted(wanted)}


@pytest.mark.parametrize("carrier", ["rtmp", "rtsp-tcp", "rtsp-udp"])
def test_a_new_sps_in_mid_stream(carrier: str, changes: dict[str, Future[Crossed]]) -> None:
    _assert_crossed(*changes[carrier].result())


def _change(protocol: str, server: Penstock, folder: Path) -> Crossed:
    clip = _changing(protocol)
    publisher = next(p for p in PUBLISHERS if p.name == f"ffmpeg new {protocol}")
    # GStreamer's players write Matroska here, which cannot change its picture size.
    players = _players("ffmpeg new rtmp", "rtmpdump rtmp", "ffmpeg 5.1 rtsp-tcp", "ffmpeg new rtsp-udp")
    return cross(server.endpoints, publisher, clip, players, f"live/sps-{protocol}", folder), players


@pytest.mark.full
@pytest.mark.parametrize("protocol", ["rtmp", "rtsp-tcp"])
def test_pictures_of_both_sizes_are_decoded(protocol: str, server: Penstock, folder: Path) -> None:
    """Equal slices prove nothing about parameter sets, since the normal form leaves those out: decoding
    does.
    """
    clip = _changing(protocol)
    folder.mkdir(parents=True)
    path = f"live/sizes-{protocol}"
    publisher = next(p for p in PUBLISHERS if p.name == f"ffmpeg new {protocol}")
    sender = Child.start(
        "publisher",
        publisher.argv(clip, server.endpoints.url(publisher.scheme, path), folder),
        folder / "publisher.log",
    )
    players: list[tuple[str, Child]] = []
    try:
        sender.wait(1.2)
        for name, scheme, end in (
            ("rtmp", "rtmp", ""),
            ("rtsp", "rtsp", ""),
            ("hls-ts", "http", ".m3u8?variant=ts"),
            ("hls-fmp4", "http", ".m3u8?variant=fmp4"),
            ("hls-ll", "http", ".m3u8"),
            ("dash", "http", ".mpd"),
        ):
            transport = ["-rtsp_transport", "tcp"] if scheme == "rtsp" else []
            url = server.endpoints.url(scheme, path) + end
            decode = [
                "-map",
                "0:v",
                "-noautoscale",
                "-fps_mode",
                "passthrough",
                "-f",
                "framemd5",
                "-flush_packets",
                "1",
            ]
            argv = [
                path_of("ffmpeg-new"),
                "-nostdin",
                "-v",
                "error",
                *transport,
                "-i",
                url,
                *decode,
                str(folder / name),
            ]
            players.append((name, Child.start(f"ffmpeg {name}", argv, folder / f"{name}.log")))
        sender.wait(clip.seconds + 10)
        for name, child in players:
            # Players of lists are some seconds behind.
            child.wait(1.5 if name in ("rtmp", "rtsp") else 8)
    finally:
        stop_all([sender, *(child for _, child in players)])
    for name, child in players:
        sizes = [
            int(line.split(",")[4]) for line in (folder / name).read_text().splitlines() if line[:1] == "0"
        ]
        small, large = 320 * 180 * 3 // 2, 480 * 272 * 3 // 2
        # The second half is 100 pictures, and who joined at a key frame within the first saw at least 50
        # of that.
        assert sizes.count(small) >= 50, f"{name}: {child.words()}"
        assert sizes.count(large) >= 95, f"{name}: {child.words()}"
        assert sizes == sorted(sizes), f"{name}: sizes alternate"
        # Players of lists are stopped while they ask for the next one, and tell of that as well.
        live = name in ("rtmp", "rtsp")
        said = child.words().lower().splitlines()
        assert not [line for line in said if "error" in line and (live or line.startswith("[h264"))], name


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp-tcp", "rtsp-udp"])
def test_who_joins_in_mid_gop_gets_it_from_its_key_frame(scheme: str, server: Penstock, folder: Path) -> None:
    """One GOP of six seconds: without a cache there would be no key frame to join at any more."""
    clip = CLIPS["defaults"]
    publisher = next(p for p in PUBLISHERS if p.name == f"ffmpeg new {scheme}")
    players = _players("ffmpeg 5.1 rtmp", *EVERYWHERE)
    source = clip.frames(publisher.container(clip))
    path = f"live/mid-gop-{scheme}"
    argv = publisher.argv(clip, server.endpoints.url(publisher.scheme, path), folder)
    outcomes = cross_command(
        server.endpoints,
        argv,
        source,
        clip,
        players,
        path,
        folder,
        same_dts=scheme == "rtmp",
        unsent_sound=12 * (scheme != "rtmp"),
        join_after=3.0,
    )
    _assert_crossed(outcomes, players)
    assert all(outcome.report.tracks[0].joined == 0 for outcome in outcomes)


def test_a_file_compared_with_itself_is_the_smallest_crossing(folder: Path) -> None:
    require("ffmpeg-new")
    frames = CLIPS["h264-aac"].frames("mp4")
    assert compare(frames, CLIPS["h264-aac"].frames("flv"), Rules(from_start=True)).ok
