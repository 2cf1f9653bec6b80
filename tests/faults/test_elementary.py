"""Faults of elementary streams beside a canary: rows B1 to B4 of the list of bad inputs, over RTMP and RTSP.

No ADTS is read: AAC comes raw in FLV and in RTP, so that of row B3 its frame length does not apply.
"""

from __future__ import annotations

import base64
import struct
import time

import pytest

from . import rtmp
from .canary_program import PPS, SPS
from .refusal import CLOSE
from .rig import Rig
from .rtsp import H264, IDR, SLICE, TCP, client, sdp
from .server import MIB
from .source import Source
from .test_payloads import H265_IDR, H265_SETS, after, media


def ue(value: int) -> str:
    """An Exp-Golomb code (H.264 9.1)."""
    code = bin(value + 1)[2:]
    return "0" * (len(code) - 1) + code


def packed(bits: str) -> bytes:
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def sps(
    *,
    id_: str = ue(0),
    order: str = ue(2),
    references: str = ue(1),
    width: str = ue(19),
    height: str = ue(14),
    crop: str = "0",
    vui: str = "0",
) -> bytes:
    """A sequence parameter set of Baseline profile, 320 by 240; each field is bits."""
    fields = id_ + ue(0) + order + references + "0" + width + height + "1" + "1" + crop + vui
    return b"\x67\x42\x00\x1e" + packed(fields)


RATE = "0" * 4 + "1" + f"{1:032b}{50:032b}" + "1" + "0" * 3
RESTRICTION = "1" + "1" + ue(2) + ue(1) + ue(16) + ue(16)
SETS = {
    "whole": sps(),
    "64 zero bits": sps(id_="0" * 64),
    "zero bits alone": b"\x67\x42\x00\x1e" + bytes(8),
    "8 KiB of zero bits": b"\x67\x42\x00\x1e" + bytes(8000) + b"\x80",
    "id 32": sps(id_=ue(32)),
    "2^32 - 2 references": sps(references=ue(2**32 - 2)),
    "17 references": sps(references=ue(17)),
    "2^32 - 2 wide": sps(width=ue(2**32 - 2)),
    "2^16 square": sps(width=ue(2**16), height=ue(2**16)),
    "2^32 - 2 square": sps(width=ue(2**32 - 2), height=ue(2**32 - 2)),
    "cropped to nothing": sps(crop="1" + ue(80) + ue(80) + ue(0) + ue(0)),
    "cropped by 2^32 - 2": sps(crop="1" + ue(2**32 - 2) * 4),
    "255 offsets": sps(order=ue(1) + "0" + ue(0) * 2 + ue(255) + ue(2**31) * 255),
    "2^31 offsets": sps(order=ue(1) + "0" + ue(0) * 2 + ue(2**31)),
    "a VUI cut": sps(vui="1" + "1"),
    "a VUI of zeros": sps(vui="1" + "0" * 9),
    "a rate of 2^32": sps(vui="1" + RATE.replace(f"{50:032b}", "1" * 32) + "0" * 2),
    "a tick of 2^32": sps(vui="1" + RATE.replace(f"{1:032b}", "1" * 32) + "0" * 2),
    "a rate of nothing": sps(vui="1" + RATE.replace(f"{1:032b}", "0" * 32) + "0" * 2),
    "2^32 - 2 reordered": sps(vui="1" + RATE + RESTRICTION + ue(2**32 - 2) + ue(2**32 - 2)),
    "17 reordered": sps(vui="1" + RATE + RESTRICTION + ue(17) + ue(17)),
    "16 reordered": sps(vui="1" + RATE + RESTRICTION + ue(16) + ue(16)),
    "scaling lists cut": b"\x67\x64\x00\x1e" + packed(ue(0) + ue(1) + ue(0) * 2 + "0" + "1" + "1" * 8),
    "chroma format 4": b"\x67\x64\x00\x1e" + packed(ue(0) + ue(4)),
    "its type alone": b"\x67",
    "emulation prevention at the end": sps() + b"\x00\x00\x03",
} | {f"{n} bytes": SPS[:n] for n in range(2, len(SPS))}


def avcc(one: bytes) -> bytes:
    record = b"\x01\x42\x00\x1e\xff\xe1" + struct.pack(">H", len(one)) + one
    return record + b"\x01" + struct.pack(">H", len(PPS)) + PPS


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_B1_sets_over_rtmp(faults: Rig, batch: int) -> None:
    """A config that cannot be read ends the session with one line; of one that can, a picture reaches a player."""
    with faults.watched():
        for number, (name, one) in enumerate(SETS.items()):
            if number % 3 != batch:
                continue
            with faults.peer() as peer:
                rtmp.publishing(peer, f"b1-{number}", tags=False)
                peer.send(rtmp.video(b"\x17\x00\x00\x00\x00" + avcc(one)) + rtmp.video(rtmp.key_frame(), 40))
                peer.send(rtmp.user_control(6, 31))
                peer.end()
                peer.closed_within(CLOSE)
                line = faults.line(peer)
                taken = struct.pack(">HI", 7, 31) in peer.received
                assert line["event"] == ("session closed" if taken else "protocol violation"), (name, line)


def test_B1_sets_in_descriptions(faults: Rig) -> None:
    with faults.watched(), client(faults) as peer:
        for name, one in SETS.items():
            sets = ",".join(base64.b64encode(nal).decode() for nal in (one, PPS))
            track = media("video", "H264/90000", "packetization-mode=1;sprop-parameter-sets=" + sets)
            reply = peer.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=sdp(track))
            assert reply.status in (200, 415, 455), name
            if reply.status == 200:
                # Once taken, it is taken: the next needs a connection of its own.
                peer.peer.sock.close()
                peer = client(faults, peer.path)
        peer.peer.sock.close()


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_B1_sets_within_the_stream(faults: Rig, codec: str) -> None:
    """Whatever comes as a set: it costs the picture that it came with, and the stream goes on with those it had."""
    if codec == "h264":
        track, idr, sets = H264, IDR, list(SETS.values())
    else:
        track, idr = media("video", "H265/90000", H265_SETS), H265_IDR
        known = [base64.b64decode(part.partition("=")[2] + "==") for part in H265_SETS.split(";")]
        sets = [nal[:n] for nal in known for n in range(3, len(nal))]
        sets += [nal[:3] + bytes(n) + b"\x80" for nal in known for n in (8, 8000)]
        sets += [nal[:n] + b"\xff" * 8 + nal[n:] for nal in known for n in range(2, len(nal), 3)]
    with faults.watched(), Source(faults, track, whole=after(idr)) as source:
        source.goes_on()
        for one in sets:
            source.payload(one, marker=False)
            source.frame(b"picture")
        # The last word is a set as it should be.
        if codec == "h264":
            source.payload(SPS, marker=False)
            source.payload(PPS, marker=False)
        source.goes_on()


def nal_tag(nals: bytes, *, key: bool = True) -> bytes:
    return (b"\x17" if key else b"\x27") + b"\x01\x00\x00\x00" + nals


def sized(nal: bytes) -> bytes:
    return struct.pack(">I", len(nal)) + nal


FRAMES = {
    "a length of 0": bytes(4),
    "lengths of 0": bytes(4000),
    "lengths of 0 without end": bytes(400_000),
    "a length cut": b"\x00\x00\x01",
    "a length past the end": struct.pack(">I", 100) + b"\x65" * 99,
    "a length of 2^32 - 1": b"\xff\xff\xff\xff" + b"\x65" * 100,
    "a length of 2^31": b"\x80\x00\x00\x00" + b"\x65" * 100,
    "start codes alone": b"\x00\x00\x00\x01" * 1000,
    "a byte stream": b"\x00\x00\x00\x01\x65\x88" + b"x" * 100,
    "emulation prevention at the end": sized(b"\x65\x88\x00\x00\x03") + sized(b"\x06\x00\x00\x03"),
    "emulation prevention alone": sized(b"\x65" + b"\x00\x00\x03" * 1000),
    "two thousand units": sized(b"\x41\x9a") * 2000,
    "an SEI of types without end": sized(b"\x06" + b"\xff" * 100_000),
    "an SEI of messages without end": sized(b"\x06" + b"\x05\x00" * 50_000),
    "a set of 100 KiB": sized(b"\x67" + b"\xff" * 100_000) + sized(b"\x65\x88x"),
    "types that are reserved": b"".join(sized(bytes([kind]) + b"x" * 20) for kind in range(13, 32)),
    "type 0": sized(b"\x00" * 50),
}


def test_B2_frames_that_are_none(faults: Rig) -> None:
    """Each is left out and counted, and the next one arrives."""
    with faults.watched(rss=4 * MIB), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, "b2")
        peer.send(rtmp.video(rtmp.key_frame(b"first")))
        rtmp.playing(player, "b2")
        for number, (name, body) in enumerate(FRAMES.items()):
            peer.send(rtmp.video(nal_tag(body), number * 80 + 40))
            peer.send(rtmp.video(rtmp.key_frame(b"after-%d." % number), number * 80 + 80))
            try:
                player.until(b"after-%d." % number)
            except AssertionError as error:
                error.add_note(name)
                raise
        peer.end()
        peer.closed_within(CLOSE)
        assert faults.line(peer)["dropped_frames"]


def test_B2_frames_that_are_none_for_ever_end_the_session(faults: Rig) -> None:
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "b2e")
        peer.send(rtmp.video(rtmp.key_frame()))
        for number in range(200):
            peer.send(rtmp.video(nal_tag(b"\xff" * 8), number))
        peer.closed_within(CLOSE)
    assert "NAL unit" in faults.line(peer)["reason"]


WORST = {
    "zeros": b"\x65\x88" + bytes(1 << 20),
    "zeros and a one": b"\x65\x88" + bytes(1 << 20) + b"\x01",
    "escapes": b"\x06" + b"\x00\x00\x03" * (1 << 18),
    "start codes": b"\x65\x88" + b"\x00\x00\x01" * (1 << 18),
    "an SEI of one size": b"\x06\x05" + b"\xff" * (1 << 20),
}


@pytest.mark.parametrize("name", WORST)
def test_B2_large_units_cost_linear_time(faults: Rig, name: str) -> None:
    """A unit of a megabyte costs about four times what one of a quarter does, and not sixteen times."""
    nal = WORST[name]
    with faults.watched(rss=40 * MIB, bound=max(2.0, faults.canary.bound)), faults.peer(timeout=30) as peer:
        rtmp.publishing(peer, "b2l")
        peer.send(rtmp.set_chunk_size(65_536))
        costs: list[float] = []
        for turn, size in enumerate((len(nal) // 4, len(nal))):
            tag = rtmp.video(nal_tag(sized(nal[: size - 1] + nal[-1:])), turn * 40, size=65_536)
            before = faults.server.cpu
            for _ in range(5):
                assert peer.send(tag)
            peer.send(rtmp.user_control(6, size))
            peer.until(struct.pack(">HI", 7, size), 20)
            costs.append(faults.server.cpu - before)
        assert costs[1] < 10 * max(costs[0], 0.05), costs


def asc(object_type: int, index: int, layout: int, rest: str = "") -> bytes:
    return packed(f"{object_type:05b}{index:04b}{layout:04b}{rest}")


ASCS = {
    "nothing": b"",
    "a byte": b"\x11",
    "index 13": asc(2, 13, 2, "000"),
    "index 15 cut": asc(2, 15, 2),
    "a rate of 0": asc(2, 15, 0, "0" * 20 + "0010000"),
    "a rate of 2^24 - 1": packed(f"{2:05b}{15:04b}" + "1" * 24 + "0010000"),
    "layout 0 without its element": asc(2, 3, 0, "000"),
    "layout 0 of 0 channels": asc(2, 3, 0, "000" + "0" * 200),
    "layout 0 of all channels cut": asc(2, 3, 0, "000" + "1" * 40),
    "layout 0 of a comment of 255 bytes": asc(2, 3, 0, "000" + "0" * 10 + "0001" + "0" * 26 + "1" * 60),
    "layout 15": asc(2, 3, 15, "000"),
    "type 0": asc(0, 3, 2, "000"),
    "type 31 cut": asc(31, 15, 15),
    "type 95": packed("1" * 11 + "0" * 20),
    "SBR of another rate": asc(5, 3, 2, "0000" + "00010" + "000"),
    "SBR in SBR": asc(5, 3, 2, "0011" + "00101" + "0011" + "00010" + "000"),
    "CELP": asc(8, 3, 2, "000"),
    "ELD with SBR": asc(39 - 32, 3, 2),
    "100 bytes": asc(2, 3, 2, "000") + bytes(98),
    "64 KiB": asc(2, 3, 2, "000") + b"\xff" * 65_536,
}


def test_B3_audio_specific_configs_over_rtmp(faults: Rig) -> None:
    with faults.watched():
        for number, (name, one) in enumerate(ASCS.items()):
            with faults.peer() as peer:
                rtmp.publishing(peer, f"b3-{number}", tags=False)
                peer.send(rtmp.audio(b"\xaf\x00" + one) + rtmp.audio(rtmp.sound(), 20))
                peer.send(rtmp.user_control(6, 33))
                peer.end()
                peer.closed_within(CLOSE)
                line = faults.line(peer)
                taken = struct.pack(">HI", 7, 33) in peer.received
                assert line["event"] == ("session closed" if taken else "protocol violation"), (name, line)


def latm(
    *, other: str = "0", frames: str = "000000", config: str = "00010" + "0011" + "0010" + "000"
) -> bytes:
    """An audioMuxElement with its StreamMuxConfig in it, of one program and layer, and one byte of sound."""
    mux = "0" + "0" + "1" + frames + "0000" + "000" + config + "000" + "1" * 8 + other + "0"
    return packed(mux + f"{1:08b}" + "1" * 8)


LATMS = {
    "another length without end": latm(other="1" + "1" + "1" * 300),
    "another length of 2^32": latm(other="1" + ("1" + "1" * 8) * 3 + "0" + "1" * 8),
    "64 frames that are not there": latm(frames="111111"),
    "a config cut": b"\x20\x00",
    "version 1 with a config of 2^32 bits": packed("0" + "1" + "0" + "00" + "0" * 8 + "1" + "0" * 13 + "11" + "1" * 32),
    "version A": packed("0" + "11" + "0" * 40),
    "several programs": packed("0" + "0" + "1" + "000000" + "1111" + "000" + "0" * 40),
    "layout 0 without its element": latm(config="00010" + "0011" + "0000" + "000"),
    "no config at all": b"\x80\x01\xff",
    "all ones": b"\xff" * 200,
    "all zeros": bytes(200),
}  # fmt: skip


def test_B3_latm_configs_in_the_stream(faults: Rig) -> None:
    """Each is dropped or understood; the next element with its config arrives."""

    def whole(text: bytes) -> bytes:
        head = "0" + "0" + "1" + "000000" + "0000" + "000" + "00010" + "0011" + "0010" + "000" + "000"
        size = len(text) + 40
        bits = head + "1" * 8 + "0" + "0" + f"{size:08b}"
        body = "".join(f"{b:08b}" for b in text + b"x" * 40)
        return packed(bits + body)

    with faults.watched(), Source(faults, media("audio", "MP4A-LATM/48000/2"), whole=whole) as source:
        source.goes_on()
        for name, element in LATMS.items():
            source.payload(element)
            try:
                source.goes_on()
            except (AssertionError, OSError) as error:
                error.add_note(name)
                raise


def test_B4_no_key_frame_for_an_hour(faults: Rig) -> None:
    """Nothing is kept for who joins late, and a player waits: with the next key frame it has its picture."""
    with faults.watched(rss=2 * MIB), faults.peer() as peer, faults.peer() as player:
        rtmp.publishing(peer, "b4", tags=False)
        peer.send(rtmp.script("onMetaData", {"videocodecid": 7.0}) + rtmp.video(rtmp.CONFIG_TAG))
        with faults.peer() as early:
            rtmp.playing(early, "b4")
            peer.send(rtmp.video(rtmp.inter_frame(b"before")))
            # It is there for who comes now.
            early.until(b"before", 10)
        rtmp.playing(player, "b4")
        for number in range(1, 3600):
            assert peer.send(rtmp.video(rtmp.inter_frame(size=5000), number * 1000, size=128))
        peer.send(rtmp.video(rtmp.key_frame(b"at last"), 3_600_000))
        player.until(b"at last", 10)
        assert b"before" not in player.received


def test_B4_group_of_pictures_of_a_minute(faults: Rig) -> None:
    """Longer than what is kept for who joins late: who joins in its midst waits for the next."""
    with faults.watched(rss=2 * MIB), faults.peer() as peer, faults.peer() as early, faults.peer() as late:
        rtmp.publishing(peer, "b4g", tags=False)
        peer.send(rtmp.script("onMetaData", {"videocodecid": 7.0}) + rtmp.video(rtmp.CONFIG_TAG))
        peer.send(rtmp.video(rtmp.key_frame(b"key-one")))
        rtmp.playing(early, "b4g")
        for number in range(1, 1500):
            peer.send(rtmp.video(rtmp.inter_frame(b"picture-%d." % number, 1000), number * 40))
            if number % 100 == 99:
                # Who does not read for ten seconds of media skips to the next key frame, which does not come.
                early.until(b"picture-%d." % number, 10)
        rtmp.playing(late, "b4g")
        peer.send(rtmp.video(rtmp.key_frame(b"key-two"), 60_000))
        late.until(b"key-two")
        assert b"key-one" not in late.received


def test_B4_parameter_sets_that_never_come_over_rtmp(faults: Rig) -> None:
    """Pictures that nobody could decode are no signs of life."""
    with faults.watched(), faults.peer() as peer:
        rtmp.publishing(peer, "b4s", tags=False)
        began = time.monotonic()
        while peer.send(rtmp.video(rtmp.key_frame())):
            time.sleep(0.05)
            assert time.monotonic() - began < 10
    assert "sent nothing" in faults.line(peer)["reason"]


def test_B4_parameter_sets_that_come_late_over_rtsp(faults: Rig) -> None:
    """Until they are there no player is let in, and is told so; with them, it plays."""
    with faults.watched(), Source(faults, media("video", "H264/90000", "packetization-mode=1")) as source:
        with client(faults, source.client.path) as player:
            player.peer.send(
                f"DESCRIBE {player.url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode()
            )
            for _ in range(60):
                source.frame()
                time.sleep(0.05)
            assert player.reply().status in (404, 415, 503)
        source.payload(SPS, marker=False)
        source.payload(PPS, marker=False)
        source.goes_on()


def test_B4_size_that_changes_with_every_picture(faults: Rig) -> None:
    sizes = [sps(width=ue(9 + n % 50)) for n in range(300)]
    with faults.watched(rss=2 * MIB), Source(faults, H264) as source:
        source.goes_on()
        player = source.player
        for number, one in enumerate(sizes):
            source.payload(one, marker=False)
            source.payload(PPS, marker=False)
            source.frame(b"size-%d." % number)
            source.payload(SLICE + b"x" * 40)
        source.until(b"size-299.", player)
        source.goes_on()


def test_B4_player_of_rtsp_waits_for_a_key_frame(faults: Rig) -> None:
    with faults.watched(), Source(faults, H264) as source:
        for _ in range(10):
            source.payload(SLICE + b"inter" + b"x" * 40)
        with client(faults, source.client.path) as player:
            player.play(TCP)
            for _ in range(10):
                source.payload(SLICE + b"inter" + b"x" * 40)
            source.frame(b"key")
            assert not any(b"inter" in p.payload for p in source.until(b"key", player))
