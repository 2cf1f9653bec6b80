"""The relay: pulls from and pushes to servers that nobody here wrote, and another penstock."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve, frozen

from tests.certificate import self_signed

from .binaries import require
from .clients import GST_NEEDS, RTSP_GST, RTSP_RULES, FFmpegPlayer, Player, Publisher, player, publisher
from .clips import CLIPS, Clip
from .crossing import Endpoints, cross_command
from .gst_server import GstRecorder, GstServer
from .server import Penstock, free_port, nginx_rtmp, penstock
from .tcp_only import tcp_only

SHORT, LONG = CLIPS["short"], CLIPS["h264b-aac44"]
DEMAND = "source_on_demand = true"
GST_SERVER = ("gst-rtsp-server", *GST_NEEDS)
TO_FILE = "live/file"
"""The path at which gst-rtsp-server and a listening FFmpeg are found."""


@frozen
class Case:
    """A relayed stream: `config` is its table; it is published to `url`, or to the relay itself, and played from
    `endpoints` as `played`, or from the relay itself."""

    path: str
    config: str
    publisher: Publisher
    player: Player
    url: str = ""
    endpoints: Endpoints | None = None
    played: str = ""
    clip: Clip = SHORT
    join_after: float = 1.2


@frozen
class Leaving(FFmpegPlayer):
    """A listening FFmpeg that leaves after half a second, and another one that comes then."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        again = super().argv(clip, url, work)
        at = again.index("-i") + 2
        first = [*again[:at], "-t", "0.5", "-c", "copy", "-f", "null", "-"]
        return ["sh", "-c", f"{shlex.join(first)}; exec {shlex.join(again)}"]


@pytest.fixture(scope="module")
def nginx(work: Path) -> Iterator[Endpoints]:
    require("nginx-rtmp")
    folder = work / "nginx"
    folder.mkdir()
    with nginx_rtmp(folder) as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def other(work: Path) -> Iterator[Penstock]:
    """Another penstock, whose certificate the relay trusts."""
    certificate, key = self_signed(work)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate))
        tls = f"server.certificate={certificate}", f"server.key={key}"
        with penstock(work / "other", *tls) as server:
            yield server


def _relay(cases: Sequence[Case], folder: Path) -> list[dict[str, object]]:
    """All cases at once through one relay, frame-exact; returns the relay's log."""
    require(*(need for case in cases for client in (case.publisher, case.player) for need in client.needs))
    for case in cases:
        # Made beforehand: encoding beside a running crossing would take its two cores.
        case.clip.frames(case.publisher.container(case.clip))
    # Without grace the end of a publisher is that of its stream, and so of what is pushed.
    config = "".join(f'[streams."{case.path}"]\nreconnect_grace = 0\n{case.config}\n' for case in cases)
    with penstock(folder / "relay", config=config) as relay, relay.explained():

        def run(case: Case) -> str:
            own = folder / case.path
            url = case.url or relay.endpoints.url(case.publisher.scheme, case.path)
            (outcome,) = cross_command(
                case.endpoints or relay.endpoints,
                case.publisher.argv(case.clip, url, own),
                lambda: case.publisher.sent(case.clip, own),
                case.clip,
                [case.player],
                case.played or case.path,
                own,
                same_dts=case.publisher.scheme == "rtmp",
                unsent_sound=case.publisher.unsent_sound(case.clip),
                join_after=case.join_after,
            )
            return "" if outcome.report.ok else f"{case.path}: {outcome}"

        with ThreadPoolExecutor(len(cases)) as lanes:
            problems = list(filter(None, lanes.map(run, cases)))
        assert not problems, "\n".join(problems)
        return relay.log()


def test_pulls_always_and_on_demand(nginx: Endpoints, other: Penstock, folder: Path) -> None:
    with tcp_only(other.endpoints.rtsp or "") as behind_a_firewall:
        log = _relay(list(_pulls(nginx, other, behind_a_firewall)), folder)
    reasons = [line["reason"] for line in log if line.get("event") == "falling back to TCP"]
    assert reasons == ["no packet came over UDP"]


def _pulls(nginx: Endpoints, other: Penstock, behind_a_firewall: str) -> Iterator[Case]:
    old, new = publisher("ffmpeg 5.1 rtmp"), publisher("ffmpeg new rtmp")
    url = nginx.url("rtmp", "live/source")
    yield Case("pull/nginx", f'source = "{url}"', old, player("ffmpeg 5.1 rtsp-tcp"), url)
    url = f"rtmp://127.0.0.1:{free_port()}/live/source"
    listening = publisher("ffmpeg 5.1 rtmp", "-listen", "1")
    yield Case("pull/ffmpeg", f'source = "{url}"', listening, player("ffmpeg new rtsp-tcp"), url)
    url = other.endpoints.url("rtmp", "live/one")
    yield Case("pull/rtmp", f'source = "{url}"\n{DEMAND}', new, player("ffmpeg 5.1 rtmp"), url)
    url = other.endpoints.url("rtsp", "live/two")
    rtsp = publisher("ffmpeg new rtsp-tcp")
    yield Case("pull/rtsp", f'source = "{url}"\n{DEMAND}', rtsp, player("ffmpeg new rtmp"), url)
    source, url = other.secure.url("rtsp", "live/four"), other.endpoints.url("rtsp", "live/four")
    yield Case("pull/rtsps", f'source = "{source}"\n{DEMAND}', rtsp, player("ffmpeg 5.1 rtmp"), url)
    source = f"rtsp://{behind_a_firewall}/live/three"
    url = other.endpoints.url("rtmp", "live/three")
    yield Case(
        "pull/blocked", f'source = "{source}"\n{DEMAND}', new, player("ffmpeg 5.1 rtmp"), url,
        clip=LONG, join_after=0.3,
    )  # fmt: skip
    url = f"rtsp://127.0.0.1:{free_port()}/{TO_FILE}"
    gst = GstServer("gst-rtsp-server", "rtsp-udp", GST_SERVER, RTSP_GST)
    to = player("ffmpeg new rtmp")
    # It leaves out what is shown after the file's nominal end.
    to = evolve(to, rules=evolve(to.rules, tail=12))
    yield Case("pull/gst", f'source = "{url}"\n{DEMAND}', gst, to, url)


def test_pushes_and_pushes_again(nginx: Endpoints, other: Penstock, folder: Path) -> None:
    log = _relay(list(_pushes(nginx, other)), folder)
    assert "the server takes no UDP" in [
        line["reason"] for line in log if line.get("event") == "falling back to TCP"
    ]
    ends = [
        str(line["reason"])
        for line in log
        if line.get("event") in ("session closed", "push failed") and line.get("path") == "push/leaving"
    ]
    # Refused, as nobody listens yet; left by the first who listened; the end, after its publisher's.
    assert ends[0].endswith("Connection refused")
    assert ends[-3:] == ["the server left", "the peer left", "the publisher left"]


def _pushes(nginx: Endpoints, server: Penstock) -> Iterator[Case]:
    old, new = publisher("ffmpeg 5.1 rtmp"), publisher("ffmpeg new rtmp")
    other = server.endpoints

    def case(path: str, url: str, source: Publisher, to: Player, at: Endpoints, played: str = "") -> Case:
        return Case(path, f'push = ["{url}"]', source, to, endpoints=at, played=played)

    def coming(path: str, scheme: str, to: Player) -> Case:
        """Who listens comes after the stream: the push is refused at first, and tried again."""
        host = f"{scheme}://127.0.0.1:{free_port()}"
        at = Endpoints(rtmp=host, rtsp=host)
        return evolve(case(path, f"{host}/{TO_FILE}", old, to, at, TO_FILE), join_after=0.7)

    rtsp = publisher("ffmpeg 5.1 rtsp-tcp")
    url = nginx.url("rtmp", "live/pushed")
    yield case("push/nginx", url, rtsp, player("ffmpeg new rtmp"), nginx, "live/pushed")
    yield case("push/rtmp", other.url("rtmp", "push/rtmp"), new, player("ffmpeg 5.1 rtmp"), other)
    yield case("push/rtmps", server.secure.url("rtmp", "push/rtmps"), old, player("ffmpeg new rtmp"), other)
    yield case("push/rtsp", other.url("rtsp", "push/rtsp"), new, player("ffmpeg 5.1 rtsp-udp"), other)
    yield coming("push/listening", "rtsp", player("ffmpeg 5.1 rtsp-tcp", "-rtsp_flags", "listen"))
    gst = GstRecorder("gst-rtsp-server", "rtsp-udp", GST_SERVER, RTSP_GST, evolve(RTSP_RULES, tail=6))
    yield coming("push/gst", "rtsp", gst)
    yield coming("push/gst-tcp", "rtsp", evolve(gst, options=("tcp",)))
    to = player("ffmpeg 5.1 rtmp", "-listen", "1")
    leaving = Leaving(to.program, to.protocol, to.needs, to.codecs, to.rules, options=to.options)
    yield evolve(coming("push/leaving", "rtmp", leaving), clip=LONG)
