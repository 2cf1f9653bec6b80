"""Faults of RTP and RTCP packets beside a canary: rows P1 to P7 and P13 of the list of bad inputs.

What cannot be read is dropped and counted, over TCP as over UDP; the stream goes on. The payloads of codecs
are in test_payloads.py.
"""

from __future__ import annotations

import itertools
import random
import struct
import time

import anyio
import pytest

from penstock.poller import Poller
from penstock_formats.rtp.packet import RtpPacket
from penstock_rtsp.udp import Ports

from .canary_program import udp_pair
from .rig import Rig
from .rtsp import AAC, H264, IDR, SSRC, client, interleaved, rtp, sender_report
from .server import MIB
from .source import Source

BOTH = pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
GOOD = rtp(7, 7, IDR + b"x" * 40)


def head(first: int, second: int = 96) -> bytes:
    return struct.pack(">BBHII", first, second, 1, 1, SSRC)


CUT = {f"{size} bytes": GOOD[:size] for size in range(12)} | {
    "15 CSRCs in 12 bytes": head(0x8F),
    "15 CSRCs cut": head(0x8F) + bytes(59),
    "an extension that is not there": head(0x90),
    "an extension past the end": head(0x90) + b"\xbe\xde\xff\xff" + bytes(100),
    "an extension one word too long": head(0x90) + b"\xbe\xde\x00\x02" + bytes(4),
    "padding of 0": head(0xA0) + IDR + b"x" * 10 + b"\0",
    "padding of more than there is": head(0xA0) + IDR + b"x" * 10 + b"\x0e",
    "padding of 255": head(0xA0) + IDR + b"x" * 10 + b"\xff",
    "padding of nothing": head(0xA0),
    "version 0": head(0x00) + IDR,
    "version 1": head(0x40) + IDR,
    "version 3": head(0xC0) + IDR,
    "another payload type": rtp(1, 1, IDR, kind=97),
}


@BOTH
def test_P1_cut_packets_are_dropped_and_counted(faults: Rig, udp: bool) -> None:
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        source.goes_on()
        for data in CUT.values():
            source.packet(data)
        source.goes_on()
        assert source.leave()["bad_packets"] == len(CUT)


@BOTH
def test_P1_packets_without_payload_or_of_padding_alone(faults: Rig, udp: bool) -> None:
    """They are allowed, and nothing comes of them."""
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        source.goes_on()
        source.payload(b"")
        source.packet(b"\xa0" + source.next(b"\0\0\3")[1:])
        source.packet(b"\xaf" + source.next(bytes(60) + IDR + b"padded" + b"\0\0\3")[1:])
        source.goes_on()


EXTENSIONS = {
    "id 0 with a length": b"\xbe\xde\x00\x01\x03\x00\x00\x00",
    "id 15": b"\xbe\xde\x00\x01\xf2\x01\x02\x03",
    "a cut last element": b"\xbe\xde\x00\x01\x1f\x00\x00\x00",
    "padding alone": b"\xbe\xde\x00\x02" + bytes(8),
    "two-byte elements of no length": b"\x10\x00\x00\x01\x01\x00\x02\x00",
    "a cut two-byte element": b"\x10\x0f\x00\x01\x01\xff\x00\x00",
    "no words": b"\xbe\xde\x00\x00",
    "another profile": b"\xff\xff\x00\x01abcd",
    "65,000 bytes": b"\xbe\xde\x3f\x00" + b"\x10" * 0x3F00 * 4,
}


@BOTH
def test_P2_extensions_of_any_kind_are_passed_over(faults: Rig, udp: bool) -> None:
    """Nothing in RTSP is read from them: the packet counts, whatever its extension holds."""
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        source.goes_on()
        player = source.player
        for number, extension in enumerate(EXTENSIONS.values()):
            data = source.next(IDR + b"extended-%d." % number + b"x" * 40)
            source.packet(b"\x90" + data[1:12] + extension + data[12:])
        for number in range(len(EXTENSIONS)):
            source.until(b"extended-%d." % number, player)
        source.goes_on()


JUMPS = [
    1,
    2,
    100,
    2_999,
    3_000,
    3_001,
    32_766,
    32_767,
    32_768,
    32_769,
    -1,
    -2,
    -100,
    -511,
    -512,
    -514,
    -3_000,
]


@BOTH
def test_P3_jumps_of_the_number_cost_no_more_than_a_moment(faults: Rig, udp: bool) -> None:
    """Over UDP a step back by up to 512 cannot be told from packets that are late: as many are dropped."""
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        for jump in JUMPS:
            source.goes_on()
            source.sequence += jump
            if udp and -512 <= jump < 0:
                for _ in range(-jump):
                    source.frame()
        source.goes_on()
        line = source.leave()
        assert not udp or line["lost_packets"]


@BOTH
@pytest.mark.parametrize(
    ("spread", "size", "count"), [(65_536, 1400, 4000), (2500, 1400, 4000), (2500, 50_000, 800)]
)
def test_P3_numbers_without_order_are_held_back_within_bounds(
    faults: Rig, udp: bool, spread: int, size: int, count: int
) -> None:
    """With a spread below 3000 packets are waited for: at most 512 and 2 MiB of them, for at most 200 ms."""
    dice = random.Random(spread * size)
    payload = IDR + b"x" * size
    with faults.watched(rss=8 * MIB), Source(faults, H264, udp=udp) as source:
        source.frame()
        for turn in range(count):
            number = source.sequence + turn // 4 + dice.randrange(1, spread)
            source.packet(rtp(number, source.timestamp + 90 * turn, payload))
            if turn % max(1, 40_000 // size) == 0:
                time.sleep(0.001)
        source.sequence += 30_000
        source.timestamp += 90 * count
        source.goes_on()


def steps(packets: list[RtpPacket]) -> list[int]:
    """Ticks from frame to frame, as a player gets them."""
    times = [p.timestamp for p in packets]
    return [((b - a + 2**31) & 0xFFFFFFFF) - 2**31 for a, b in itertools.pairwise(times)]


@BOTH
@pytest.mark.parametrize("kind", ["wrap", "hour back", "hour on", "constant", "random", "half the range"])
def test_P4_timestamps_reach_players_without_a_hole(faults: Rig, udp: bool, kind: str) -> None:
    """Whatever the source's times are, a player's go on, by less than two seconds at a time; back they go only as
    far as reordered pictures may."""
    dice = random.Random(4)
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        source.timestamp = 2**32 - 90_000
        source.frame()
        player = source.player
        for number in range(60):
            match kind:
                case "hour back" if number == 30:
                    source.timestamp -= 3600 * 90_000
                case "hour on" if number == 30:
                    source.timestamp += 3600 * 90_000
                case "half the range" if number % 10 == 0:
                    source.timestamp += 2**31
                case "constant":
                    source.timestamp = 5
                case "random":
                    source.timestamp = dice.getrandbits(32)
                case _:
                    pass
            source.frame(b"number-%d." % number)
            time.sleep(0.002)
        packets = source.until(b"number-59.", player)
        assert len(packets) >= 55
        least = -90_000 if kind == "random" else 0
        assert not (bad := [s for s in steps(packets) if not least <= s < 2 * 90_000]), bad
        source.goes_on()


@BOTH
@pytest.mark.parametrize("count", [2, 10_000])
def test_P5_sources_that_change_with_every_packet(faults: Rig, udp: bool, count: int) -> None:
    """A track has one source at a time: the last. Of those before nothing is kept."""
    with (
        faults.watched(rss=MIB, bound=max(2.0, faults.canary.bound)),
        Source(faults, H264, udp=udp) as source,
    ):
        for turn in range(6000):
            source.ssrc = 1000 + turn % count
            source.frame()
            if turn % 50 == 0:
                time.sleep(0.001)
        source.goes_on()


NTP_2036 = 2**64 - (1 << 32)
REPORTS = {
    "0": [0],
    "1": [1],
    "all ones": [2**64 - 1],
    "2036": [NTP_2036, NTP_2036 + (1 << 31), 2 << 32],
    "before the last": [4_000_000_000 << 32, 3_000_000_000 << 32, 5 << 32],
    "to and fro": [4_000_000_000 << 32, 0, 4_000_000_001 << 32, 0] * 3,
}


@BOTH
@pytest.mark.parametrize("name", REPORTS)
def test_P6_sender_reports_of_impossible_times(faults: Rig, udp: bool, name: str) -> None:
    """They may put sound and picture apart, as nobody can know better, by up to the ten seconds that are no jump yet; the
    times of each go on."""
    with faults.watched(), client(faults) as peer, client(faults, peer.path) as player:
        pairs = peer.record_udp(H264, AAC) if udp else []
        if not udp:
            peer.record(H264, AAC)

        def send(channel: int, data: bytes) -> None:
            if udp:
                port = faults.server.ports[("rtp", "rtcp")[channel % 2]]
                pairs[channel // 2][channel % 2].sendto(data, ("127.0.0.1", port))
            else:
                peer.peer.send(interleaved(channel, data))

        for index, ntp in enumerate([ntp for ntp in REPORTS[name] for _ in range(2)]):
            track, ssrc, rate = (2, 2, 48_000) if index % 2 else (0, 1, 90_000)
            for turn in range(5):
                number = index * 5 + turn
                send(0, rtp(number, number * 3600, IDR + b"number-%d." % number + b"x" * 40, ssrc=1))
                send(2, rtp(number, number * 1920, b"\x00\x10\x00\xa0" + b"s" * 20, ssrc=2, kind=97))
                time.sleep(0.002)
            send(track + 1, sender_report(ntp, 2**32 - 5, ssrc=99))
            send(track + 1, sender_report(ntp, index * 5 * rate // 25, ssrc=ssrc))
            if index == 1:
                player.play()
        last = b"number-%d." % (10 * len(REPORTS[name]) - 1)
        if len(REPORTS[name]) == 1:
            return
        found: list[RtpPacket] = []
        # Who joins gets sender reports first, on the other channel.
        while not found or last not in found[-1].payload:
            frame = player.frame()
            if frame[1] == 0:
                found.append(RtpPacket.parse(frame[4:]))
        assert not (bad := [s for s in steps(found) if not -90_000 <= s < 10 * 90_000]), bad


def rtcp(kind: int, count: int, words: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0x80 | count, kind, words) + body


COMPOUNDS = {
    "a length of 65,535": rtcp(200, 0, 0xFFFF, bytes(24)),
    "a sender report of no length": rtcp(200, 0, 0),
    "a thousand of no length": rtcp(201, 0, 0) * 1000,
    "a thousand": rtcp(201, 0, 1, struct.pack(">I", SSRC)) * 1000,
    "31 reports in 8 bytes": rtcp(201, 31, 1, struct.pack(">I", SSRC)),
    "31 sources leave, a reason past the end": rtcp(203, 31, 32, bytes(124) + b"\xffbye"),
    "a source leaves": rtcp(203, 1, 1, struct.pack(">I", SSRC)),
    "a description without its end": rtcp(202, 1, 2, struct.pack(">I", SSRC) + b"\x01\x02ab"),
    "a description past the end": rtcp(202, 1, 2, struct.pack(">I", SSRC) + b"\x01\xffab"),
    "31 descriptions": rtcp(202, 31, 1, bytes(4)),
    "an application's": rtcp(204, 5, 2, struct.pack(">I", SSRC) + b"name"),
    "an extended report": rtcp(207, 0, 3, struct.pack(">I", SSRC) + b"\x07\x00\xff\xff" + bytes(4)),
    "feedback": rtcp(205, 1, 3, bytes(12)) + rtcp(206, 1, 2, bytes(8)) + rtcp(206, 15, 4, bytes(8) + b"REMB\xff\0\0\0"),
    "floods of NACK": rtcp(205, 1, 12, bytes(8) + b"\0\0\xff\xff" * 10),
    "an unknown type": rtcp(255, 31, 0),
    "padding past the end": b"\xa0\xc9\x00\x01" + b"\0\0\0\xff",
    "version 0": b"\x00\xc8\x00\x06" + bytes(24),
    "nothing": b"",
    "a byte": b"\x80",
    "65,000 bytes": bytes(65_000),
}  # fmt: skip


@BOTH
def test_P7_compounds_of_any_kind_are_read_or_dropped(faults: Rig, udp: bool) -> None:
    with faults.watched(), Source(faults, H264, udp=udp) as source:
        source.goes_on()
        for data in COMPOUNDS.values():
            for _ in range(10):
                source.rtcp(data)
        source.goes_on()
        assert source.leave()["bad_packets"]


def test_P7_player_that_sends_rtcp_of_any_kind(faults: Rig) -> None:
    """It is a sign of life and nothing else."""
    with faults.watched(), client(faults, "canary/udp") as peer:
        media, control, reply = peer.setup_udp("/trackID=1")
        assert reply.status == 200
        assert peer.ask("PLAY").status == 200
        for data in COMPOUNDS.values():
            control.sendto(data, ("127.0.0.1", faults.server.ports["rtcp"]))
            media.sendto(data, ("127.0.0.1", faults.server.ports["rtp"]))
        assert media.recv(2048)
        assert peer.ask("OPTIONS").status == 200


def test_P13_packets_of_a_stranger_do_not_reach_a_stream(faults: Rig) -> None:
    """Not from another address, and not from another port of the publisher's own."""
    with faults.watched(), Source(faults, H264, udp=True) as source, client(faults) as stranger:
        source.goes_on()
        player = source.player
        for sock in (*stranger.udp(), source.client.udp()[0]):
            for number in range(50):
                data = rtp(source.sequence + number, source.timestamp, IDR + b"stranger" + b"x" * 40)
                sock.sendto(data, ("127.0.0.1", faults.server.ports["rtp"]))
                sock.sendto(sender_report(0, 0), ("127.0.0.1", faults.server.ports["rtcp"]))
        source.goes_on()
        source.frame(b"last")
        assert not any(b"stranger" in p.payload for p in source.until(b"last", player))


@pytest.mark.anyio
async def test_P13_packets_of_a_stranger_are_counted() -> None:
    ports = Ports(*udp_pair())
    got: list[bytes] = []
    peer, stranger = udp_pair()
    try:
        with peer, stranger:
            host, port = peer.getsockname()
            ports.rtp.add(host, port, lambda data, _: got.append(data))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ports.run, Poller())
                for sock in (stranger, stranger, peer):
                    sock.sendto(b"x", ("127.0.0.1", ports.rtp.number))
                with anyio.fail_after(5):
                    while not got:
                        await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
    finally:
        ports.close()
    assert (got, ports.rtp.dropped) == ([b"x"], 2)
