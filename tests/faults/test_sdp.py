"""Faults of session descriptions beside a canary: rows D1 to D8 of the list of bad inputs, as ANNOUNCE carries them."""

from __future__ import annotations

import base64
import itertools

import pytest

from . import log
from .canary_program import PPS, SPS
from .refusal import refused
from .rig import Rig
from .rtsp import AAC, H264, TCP, Client, Reply, client, sdp
from .server import MIB
from .source import Source

MAX_SIZE = 128 << 10
TYPE = "Content-Type: application/sdp"


def announce(peer: Client, body: bytes) -> Reply:
    return peer.ask("ANNOUNCE", "", TYPE, body=body)


def attributes(size: int) -> bytes:
    """A description of about so many bytes, most of them attributes of one letter."""
    body = sdp(H264)
    return body + b"a=x\r\n" * ((size - len(body)) // 5)


def test_D1_attributes_without_end_cost_linear_time(faults: Rig) -> None:
    """Up to 128 KiB it is read, in a time that grows with its size; what is longer is refused unread."""
    with faults.watched(rss=8 * MIB):
        costs: list[float] = []
        for size in (MAX_SIZE // 8, MAX_SIZE):
            before = faults.server.cpu
            for _ in range(20):
                # A connection each: the time until something is published is bounded.
                with client(faults) as peer:
                    assert announce(peer, attributes(size - 200) + b"v=1\r\n").status == 400
            costs.append(faults.server.cpu - before)
        assert costs[1] < 30 * max(costs[0], 0.02), costs
        with client(faults) as peer:
            assert announce(peer, attributes(MAX_SIZE)).status == 200
        with client(faults) as peer:
            peer.peer.send(b"ANNOUNCE " + peer.url.encode() + b" RTSP/1.0\r\nCSeq: 1\r\n" + TYPE.encode())
            peer.peer.send(b"\r\nContent-Length: 500000\r\n\r\n" + b"a=x\r\n" * 100_000)
            refused(faults, peer.peer, "Content-Length is above 131072")


@pytest.mark.parametrize(
    "line", [b"a=" + b"x" * 120_000, b"a=fmtp:96 " + b";" * 120_000, b"s=" + b"\xc3\xa9" * 60_000]
)
def test_D1_one_line_of_all_bytes(faults: Rig, line: bytes) -> None:
    with faults.watched(rss=4 * MIB), client(faults) as peer:
        assert announce(peer, sdp(H264) + line + b"\r\n").status == 200


def test_D1_sections_without_end(faults: Rig) -> None:
    """At most 64 sections are read, and 32 tracks of them taken; who announces more is told so, and may try again."""
    with faults.watched(), client(faults) as peer:
        assert announce(peer, b"v=0\r\n" + b"m=a 0 b c\r\n" * 10_000).status == 400
        assert announce(peer, sdp(*[AAC] * 65)).status == 400
        assert announce(peer, sdp(*[AAC] * 64)).status == 415
        assert announce(peer, sdp(*[AAC] * 32)).status == 200
    lines = log.lines_of(faults.server, peer.peer.address)
    assert any("more than 64 media sections" in line["reason"] for line in lines), lines


def test_D1_log_of_tracks_that_are_left_out_is_limited(faults: Rig) -> None:
    """A peer that announces 64 unknown tracks again and again does not fill the log."""
    unknown = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 \x1bNONSUCH/90000\r\n"
    with faults.watched(), client(faults) as peer:
        for _ in range(50):
            assert announce(peer, sdp(*[unknown] * 64)).status == 415
    assert 0 < len(log.lines_of(faults.server, peer.peer.address)) < 200


TAKEN = {
    "only the media": H264.encode(),
    "wrong order": H264.encode() + b"t=0 0\r\nb=AS:99\r\ns=x\r\nv=0\r\n",
    "CR only": sdp(H264).replace(b"\r\n", b"\r"),
    "LF only": sdp(H264).replace(b"\r\n", b"\n"),
    "empty lines": sdp(H264).replace(b"\r\n", b"\r\n\r\n"),
    "blanks": sdp(H264).replace(b"\r\n", b"  \r\n "),
    "byte order mark": b"\xef\xbb\xbf" + sdp(H264),
    "name in Latin-1": sdp(H264).replace(b"faults", b"caf\xe9"),
    "odd names": sdp(H264).replace(b"faults", "‮<script>\x1b[2J".encode()),
}
REFUSED = {
    "nothing": b"",
    "NUL": sdp(H264).replace(b"faults", b"\0"),
    "bytes": bytes(range(1, 256)),
    "text": b"hello\r\n",
    "no media": sdp(),
    "no type": sdp(H264) + b"=x\r\n",
    "upper case": sdp(H264) + b"A=x\r\n",
    "version 1": sdp(H264).replace(b"v=0", b"v=1"),
    "version of text": sdp(H264).replace(b"v=0", b"v=" + b"0" * 5000),
    "m= of one word": sdp(H264) + b"m=video\r\n",
    "m= of three words": sdp(H264) + b"m=video 0 RTP/AVP\r\n",
    "port 65536": sdp(H264).replace(b"video 0", b"video 65536"),
    "port -1": sdp(H264).replace(b"video 0", b"video -1"),
}


def test_D2_missing_and_misplaced_lines(faults: Rig) -> None:
    """Cameras send all of this; what cannot be a description is refused, and the connection lives on."""
    with faults.watched():
        for name, body in TAKEN.items():
            with client(faults) as peer:
                assert announce(peer, body).status == 200, name
        with client(faults) as peer:
            for name, body in REFUSED.items():
                assert announce(peer, body).status in (400, 415), name
            assert announce(peer, sdp(H264)).status == 200


def mapped(rtpmap: str, kind: str = "96", listed: str = "96") -> bytes:
    return sdp(f"m=audio 0 RTP/AVP {listed}\r\na=rtpmap:{kind} {rtpmap}\r\na=control:trackID=0\r\n")


MAPS = {
    "clock 0": mapped("opus/0/2"),
    "clock -1": mapped("opus/-48000/2"),
    "clock 2^40": mapped("opus/1099511627776/2"),
    "clock of 5000 digits": mapped(f"opus/{'9' * 5000}/2"),
    "clock in hex": mapped("opus/0xbb80/2"),
    "clock of other digits": mapped("opus/٤٨٠٠٠/2"),
    "no clock": mapped("opus"),
    "channels 0": mapped("PCMU/8000/0"),
    "channels 255": mapped("PCMU/8000/255"),
    "channels 256": mapped("PCMU/8000/256"),
    "AAC of 255 channels": mapped("mpeg4-generic/48000/255"),
    "AAC of 2^31 Hz": mapped("mpeg4-generic/2147483648/2"),
    "Opus of 44100 Hz": mapped("opus/44100/2"),
    "VP8 of 1 Hz": mapped("VP8/1"),
    "payload type 300": mapped("opus/48000/2", kind="300"),
    "payload type 300 listed": mapped("opus/48000/2", listed="300"),
    "payload type -1": mapped("opus/48000/2", kind="-1", listed="-1"),
    "payload type of text": mapped("opus/48000/2", kind="x"),
    "two meanings": mapped("opus/48000/2\r\na=rtpmap:96 PCMU/8000"),
    "no encoding": mapped("/48000"),
}


def test_D3_rtpmaps(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer:
        for name, body in MAPS.items():
            assert announce(peer, body).status in (400, 415), name
        # A payload type twice is one; the first rtpmap of the same meaning counts.
        assert (
            announce(peer, mapped("opus/48000/2\r\na=rtpmap:96 OPUS/48000/2", listed="96 96")).status == 200
        )


@pytest.mark.parametrize("clock", [1, 1000, 90_001, 2**31])
def test_D3_pictures_on_an_odd_clock(faults: Rig, clock: int) -> None:
    """H.264 of another clock than 90 kHz is none of RFC 6184's, and harms nobody."""
    media = H264.replace("H264/90000", f"H264/{clock}")
    with faults.watched(), client(faults) as peer:
        if announce(peer, sdp(media)).status == 200:
            with Source(faults, media) as source:
                source.goes_on()
                for number in range(50):
                    source.timestamp = number * clock // 25
                    source.frame()
                source.goes_on()


def with_fmtp(fmtp: str, encoding: str = "H264/90000", kind: str = "video") -> bytes:
    return sdp(
        f"m={kind} 0 RTP/AVP 96\r\na=rtpmap:96 {encoding}\r\na=fmtp:96 {fmtp}\r\na=control:trackID=0\r\n"
    )


def sprop(*nals: bytes) -> str:
    return "sprop-parameter-sets=" + ",".join(base64.b64encode(nal).decode() for nal in nals)


def pps_id(number: int) -> bytes:
    """A PPS's beginning with this id, as Exp-Golomb code and some bits more."""
    code = bin(number + 1)[2:]
    bits = "0" * (len(code) - 1) + code + "1111"
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


GENERIC = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config="
FMTP = {
    "no base64": with_fmtp("sprop-parameter-sets=****"),
    "base64 of one letter": with_fmtp("sprop-parameter-sets=Z"),
    "not ASCII": with_fmtp("sprop-parameter-sets=Zé=="),
    "100 KiB": with_fmtp(sprop(SPS + bytes(75_000), PPS)),
    "an SPS of 40 KiB": with_fmtp(sprop(SPS + b"\xff" * 40_000)),
    "an SPS of its type alone": with_fmtp(sprop(SPS[:1], PPS)),
    "an SPS cut": with_fmtp(sprop(SPS[:6], PPS)),
    "a PPS without number": with_fmtp(sprop(SPS, PPS[:1])),
    "300 PPS": with_fmtp(sprop(SPS, *(bytes([0x68]) + pps_id(n) for n in range(300)))),
    "interleaved": with_fmtp("packetization-mode=2"),
    "mode of text": with_fmtp("packetization-mode=" + "1" * 5000),
    "odd hex": with_fmtp(GENERIC + "119", "mpeg4-generic/48000/2", "audio"),
    "no hex": with_fmtp(GENERIC + "zz", "mpeg4-generic/48000/2", "audio"),
    "config of 60 KiB": with_fmtp(GENERIC + "11" * 30_000, "mpeg4-generic/48000/2", "audio"),
    "size of 10^9 bits": with_fmtp("mode=AAC-hbr;sizelength=999999999;config=1190", "mpeg4-generic/48000/2", "audio"),
    "a mode of CELP": with_fmtp("mode=CELP-vbr;config=1190", "mpeg4-generic/48000/2", "audio"),
    "LATM without config": with_fmtp("cpresent=0", "MP4A-LATM/48000/2", "audio"),
    "LATM of odd hex": with_fmtp("config=4", "MP4A-LATM/48000/2", "audio"),
    "LATM cut": with_fmtp("config=4000", "MP4A-LATM/48000/2", "audio"),
    "a mapping of no channel": with_fmtp("channel_mapping=0,9;num_streams=1;coupled_streams=1", "multiopus/48000/2", "audio"),
    "H.265 with DON": with_fmtp("sprop-max-don-diff=1", "H265/90000"),
    "an H.265 VPS alone cut": with_fmtp("sprop-sps=QgEB", "H265/90000"),
    "fmtp of another type": with_fmtp("x\r\na=fmtp:300 x"),
}  # fmt: skip


def test_D4_parameters(faults: Rig) -> None:
    """Each is either left out with a reason, or of no harm; the last one is as it should be."""
    with faults.watched(rss=8 * MIB), client(faults) as peer:
        for name, body in FMTP.items():
            assert announce(peer, body).status in (400, 415), name
        assert (
            announce(
                peer, with_fmtp(sprop(b"", SPS, b"", PPS, PPS) + ";;=;x;y=z=,;" + "k=v;" * 10_000)
            ).status
            == 200
        )
    assert any(line["event"] == "track left out" for line in log.lines_of(faults.server, peer.peer.address))


CONTROLS = (
    "../../etc/passwd",
    "rtsp://192.0.2.1/other/trackID=0",
    "",
    "a" * 2000,
    "%2e%2e/x",
    "trackID=0/../1",
    "*",
)


def test_D5_controls_lead_to_no_other_stream(faults: Rig) -> None:
    """A track is asked for by the control that it was announced with, by its number or by being the last: a control
    that leads elsewhere leads to nothing but that track."""
    with faults.watched():
        for number, control in itertools.product((0, 1), CONTROLS):
            media = H264.replace("trackID=0", control), AAC.replace("trackID=1", control)
            with client(faults) as peer:
                assert announce(peer, sdp(*media)).status == 200
                tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
                assert peer.ask("SETUP", "rtsp://127.0.0.1/canary/rtsp/trackID=0", tcp).status == 404
                assert peer.ask("SETUP", "rtsp://192.0.2.1/other/trackID=0", tcp).status in (200, 404)
                assert peer.ask("SETUP", f"/trackID={number}", tcp).status in (200, 455)
                assert peer.ask("RECORD").status == 200


# -- D6 to D8: what is WebRTC's ---------------------------------------------------

CANDIDATE = "a=candidate:{n} 1 {protocol} 2130706431 {address} {port} typ {kind}\r\n"
ADDRESSES = (
    "169.254.169.254",
    "127.0.0.1",
    "::1",
    "fe80::1",
    "0.0.0.0",
    "c0ffee00-0000.local",
    "metadata.google.internal",
)
CANDIDATES = "".join(
    CANDIDATE.format(
        n=n,
        protocol=("udp", "tcp", "x")[n % 3],
        address=ADDRESSES[n % 7],
        port=n % 65_537,
        kind=("host", "relay")[n % 2],
    )
    for n in range(1200)
)
OF_WEBRTC = {
    "candidates": CANDIDATES,
    "candidates that are none": "a=candidate:\r\na=candidate:1 1 udp\r\na=candidate:1 1 udp -1 h 99999999999 typ\r\n",
    "short credentials": "a=ice-ufrag:a\r\na=ice-pwd:b\r\na=ice-options:\r\n",
    "long credentials": f"a=ice-ufrag:{'u' * 5000}\r\na=ice-pwd:{'p' * 5000}\r\n",
    "fingerprints": "a=fingerprint:md9 00:11\r\na=fingerprint:sha-256\r\na=fingerprint:sha-256 zz\r\na=setup:everything\r\n",
    "bundle of nobody": "a=group:BUNDLE none 0 0 "
    + " ".join(map(str, range(1000)))
    + "\r\na=mid:\r\na=mid:0\r\n",
    "sources": "".join(f"a=ssrc:{n % 7} cname:{n}\r\n" for n in range(1000))
    + "a=ssrc:4294967296 x\r\na=ssrc-group:FID\r\n",
    "simulcast of itself": "a=rid:a send a=rid:a\r\na=rid:a send pt=a;depend=a\r\na=simulcast:send a;a,~a;;, recv a\r\n",
    "many layers": "".join(f"a=rid:{n} send depend={n + 1}\r\n" for n in range(1000))
    + f"a=simulcast:send {';'.join(map(str, range(1000)))}\r\n",
    "header extensions": "".join(f"a=extmap:{n} urn:x\r\n" for n in (0, 1, 1, 15, 256, 65_536, -1, "x", ""))
    + "a=extmap:2/nowhere urn:x\r\na=extmap-allow-mixed\r\n",
}


@pytest.mark.parametrize("name", OF_WEBRTC)
def test_D6_to_D8_what_is_of_webrtc_means_nothing_here(faults: Rig, name: str) -> None:
    """Wherever it stands: no address in it is looked up or sent to, and the track is taken as it would be without."""
    with faults.watched(rss=8 * MIB):
        for body in (
            sdp(H264 + OF_WEBRTC[name]),
            sdp(OF_WEBRTC[name] + H264),
            sdp(H264, "m=application 9 x y\r\n" + OF_WEBRTC[name]),
        ):
            with client(faults) as peer:
                assert announce(peer, body).status == 200
                assert peer.ask("SETUP", "/trackID=0", "Transport: " + TCP).status == 200
                assert peer.ask("RECORD").status == 200
