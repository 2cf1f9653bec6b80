"""Publishes the clip by WHIP for `bench.webrtc`: ``python -m bench.webrtc_publisher HTTP_PORT PATH``.

At real-time pace, in a loop, with the time of sending in its pictures, as `bench/c/publisher.c` does over RTMP.
"""

from __future__ import annotations

import http.client
import sys
import time

from bench import clip
from bench.webrtc_viewers import CHECK_SECONDS, JOIN_SECONDS, connect
from penstock.media import Frame, Track
from penstock_codecs.h264.config import H264
from penstock_codecs.h264.record import parse_record
from penstock_codecs.h264.rtp import H264Rtp
from penstock_formats.rtcp import SenderReport, encode_rtcp, ns_to_ntp
from tests.webrtc.client import Client

PICTURE, SOUND = 1, 2
"""Our SSRCs."""
MAX_PAYLOAD = 1160
REPORT_SECONDS = 1.0


def stamped(unit: bytes) -> bytes:
    at = unit.find(clip.STAMP_ID)
    if at < 0:
        return unit
    at += len(clip.STAMP_ID)
    return unit[:at] + b"%016x" % time.monotonic_ns() + unit[at + 16 :]


def main(port: int, path: str) -> None:
    records = clip.read(clip.with_opus())
    (config,) = (r.data for r in records if r.kind == clip.VIDEO and r.flags & clip.CONFIG)
    track = Track(1, H264, 90_000, parse_record(config[5:]))
    packetizer = H264Rtp().packetizer(track, MAX_PAYLOAD)
    client = Client(("H264/90000", "opus/48000/2"), direction="sendonly")
    server = http.client.HTTPConnection("127.0.0.1", port, timeout=JOIN_SECONDS)
    connect(client, server, f"/{path}/whip", lambda: time.sleep(0.001))
    srtp = client.srtp
    assert srtp is not None
    print("publishing", flush=True)
    numbers = {PICTURE: 0, SOUND: 0}
    begin = time.monotonic() + 0.02
    report_at = check_at = 0.0
    passed = 0
    while True:
        for record in records:
            if record.flags & clip.CONFIG:
                continue
            at = passed + record.time
            time.sleep(max(0.0, begin + at / 1000 - time.monotonic()))
            if record.kind == clip.VIDEO:
                units = tuple(stamped(unit) for unit in clip.nals(record.data[5:]))
                frame = Frame(track, at, at, units, key=bool(record.flags & clip.KEY))
                source, kinds, stamp, payloads = PICTURE, (96, 224), at * 90, packetizer.packetize(frame)
            else:
                source, kinds, stamp, payloads = SOUND, (98, 98), at * 48, (record.data[5:],)
            for packet in srtp.seal(source, kinds, stamp & 0xFFFFFFFF, payloads, numbers[source]):
                client.send(packet)
            numbers[source] += len(payloads)
            while client.receive():
                pass
            now = time.monotonic()
            if now >= report_at:
                report_at = now + REPORT_SECONDS
                ntp = ns_to_ntp(time.time_ns())
                for ssrc, clock in ((PICTURE, 90), (SOUND, 48)):
                    report = SenderReport(ssrc, ntp, at * clock & 0xFFFFFFFF, 1, 1)
                    client.send(srtp.protect_rtcp(encode_rtcp([report])))
            if now >= check_at:
                check_at = now + CHECK_SECONDS
                client.send(client.check())
        passed += clip.SECONDS * 1000


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
