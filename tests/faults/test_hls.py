"""Row H3: what clients of Low-Latency HLS ask that cannot be, and ten thousand of them who wait for the same part."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from .crowd import Crowd, Member, allow_files
from .hls import frames, get, playlist, send_later
from .peer import own_address
from .rig import Rig, rig
from .server import PROBED
from .test_streams import start

CROWD = 10_000
CONNECT_LIMIT = 60.0
STALL_SECONDS = 0.1
"""What the loop may be held, in its own thread's processor time."""
RELEASE_LIMIT = 20.0


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    allow_files(CROWD)
    settings = ("server.segment_seconds=20", "server.publisher_timeout=120", "server.handshake_timeout=60")
    with rig(tmp_path_factory.mktemp("hls"), *settings, program=PROBED) as running:
        allow_files(CROWD, running.server.pid)
        yield running


def test_H3_numbers_that_cannot_be(faults: Rig) -> None:
    with faults.watched(), faults.peer() as publisher:
        start(publisher, "h3")
        publisher.send(frames(0, 5, 20))
        asker = threading.Thread(target=partial(send_later, publisher, frames(5, 42, 20)))
        asker.start()
        url, last = playlist(faults.server.ports["http"], "h3")
        asker.join()
        far = (
            "9223372036854775808",
            "18446744073709551616",
            "9" * 40,
            str(last + 100),
            "-1",
            "1e3",
            "",
            "%00",
            "0x10",
        )
        for query in (
            *(f"_HLS_msn={number}" for number in far),
            f"_HLS_msn={last + 1}&_HLS_part=1000000000",
            "_HLS_part=0",
            f"_HLS_msn={last}&_HLS_part=-1",
        ):
            with faults.peer("http") as peer:
                assert get(peer, f"{url}?{query}").startswith(b"HTTP/1.1 400 "), query
        for query in (
            "_HLS_skip=odd",
            "_HLS_skip=YES",
            f"_HLS_msn={last}&_HLS_part=1000000000",
            "_HLS_msn=0",
        ):
            with faults.peer("http") as peer:
                assert get(peer, f"{url}?{query}").startswith(b"HTTP/1.1 200 "), query


def test_H3_who_waits_when_the_stream_ends_is_let_go(faults: Rig) -> None:
    """After ``reconnect_grace`` (1 s), with a playlist that says so; who waits for what does not come is told after 6 s."""
    with faults.watched(settle=10), faults.peer() as publisher, faults.peer("http") as viewer:
        start(publisher, "h3end")
        publisher.send(frames(0, 5, 20))
        later = threading.Thread(target=partial(send_later, publisher, frames(5, 42, 20)))
        later.start()
        url, last = playlist(faults.server.ports["http"], "h3end")
        later.join()
        viewer.send(f"GET {url}?_HLS_msn={last + 1} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        time.sleep(0.2)
        assert not viewer.received
        publisher.sock.close()
        # What there is of the last segment is all of it when the publisher leaves; the end is told when none has come again.
        assert b"#EXT-X-ENDLIST" not in viewer.until(f"-{last + 1}.m4s".encode(), 3)
        viewer.send(f"GET {url}?_HLS_msn={last + 2} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        viewer.until(b"#EXT-X-ENDLIST", 6)


def test_H3_ten_thousand_blocked_reloads_are_let_go_and_the_loop_goes_on(probed: Rig) -> None:
    server, source = probed.server, own_address()
    with probed.watched(rss=CROWD * 48 * 1024, settle=60), probed.peer() as publisher:
        start(publisher, "crowd")
        publisher.send(frames(0, 5, 200))
        later = threading.Thread(target=partial(send_later, publisher, frames(5, 203, 200)))
        later.start()
        url, last = playlist(server.ports["http"], "crowd")
        later.join()
        request = f"GET {url}?_HLS_msn={last + 1}&_HLS_part=2 HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        members = [
            Member(server.ports["http"], request, b"#EXT-X-PRELOAD-HINT", source) for _ in range(CROWD)
        ]
        with Crowd(members) as crowd:
            before = server.descriptors
            failed: list[AssertionError | OSError] = []

            def wait() -> None:
                try:
                    crowd.connect(CONNECT_LIMIT + RELEASE_LIMIT)
                except (AssertionError, OSError) as e:
                    failed.append(e)

            waiting = threading.Thread(target=wait)
            waiting.start()
            deadline = time.monotonic() + CONNECT_LIMIT
            while server.descriptors < before + CROWD:
                assert time.monotonic() < deadline, "not all are accepted"
                assert not failed, failed
                time.sleep(0.05)
            time.sleep(2)
            server.probe()
            assert not any(m.received for m in members), "some did not wait"
            began = time.monotonic()
            publisher.send(frames(203, 206, 200))
            waiting.join(RELEASE_LIMIT)
            took = time.monotonic() - began
            longest, total = server.probe()
            assert not failed, failed
            assert all(b"HTTP/1.1 200 " in m.received for m in members)
            print(
                f"{CROWD} released in {took:.2f} s; {total:.2f} s of the loop, {longest * 1000:.0f} ms at a stretch"
            )
            assert longest < STALL_SECONDS, f"{longest * 1000:.0f} ms of {total:.2f} s at a stretch"
