"""Sound of another rate is another track; the rendition that players know goes on with it."""

from __future__ import annotations

import anyio
import pytest

from penstock.media import to_ns
from penstock_codecs.aac import AAC, AacConfig
from penstock_codecs.h264 import H264
from tests.hls.stage import FRAME, LARGE, SOUND, get, live, media, watching
from tests.http.both_ways import answers

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs")]

OLD = b"GET /live/one/hls/ll-a2.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_a_playlist_goes_on_where_the_next_publisher_has_another_rate() -> None:
    async with live({"reconnect_grace": 5.0}) as (server, stream):
        await watching(server, stream, 3)
        before = await media(server, "ll-a2")
        old = await get(server, f"/live/one/hls/{before.segments[0].uri}")
        assert old.status == 200
        waiting: list[bytes] = []

        async def wait() -> None:
            last = before.media_sequence + len(before.segments)
            url = f"/live/one/hls/ll-a2.m3u8?_HLS_msn={last}"
            waiting.append((await get(server, url)).body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            stream.close()
            session = server.sessions.add("test", "127.0.0.1:2")
            publisher = await server.streams.publish(session, "live/one")
            video = publisher.add_track(H264, 90_000, LARGE).id
            audio = publisher.add_track(AAC, 44_100, AacConfig.lc(44_100, 2)).id
            assert audio not in stream.audio
            publisher.tracks_complete()
            samples = 0
            for n in range(80):
                unit = (b"\x65\x88" if n % 25 == 0 else b"\x41\x9a") + n.to_bytes(4, "big") + bytes(60)
                publisher.write(video, (unit,), pts=n * FRAME, dts=n * FRAME, key=n % 25 == 0)
                while to_ns(samples, 44_100) < (n + 1) * FRAME:
                    publisher.write(audio, (b"\x21" * 40,), pts=to_ns(samples, 44_100))
                    samples += SOUND
        after, picture = await media(server, "ll-a2"), await media(server, "ll-v1")
        assert b"#EXT-X-ENDLIST" not in waiting[0]
        assert after.media_sequence == before.media_sequence
        # The same discontinuities under the same numbers as the picture beside it (6.2.1).
        told = [s.discontinuity for s in picture.segments][: len(after.segments)]
        assert [s.discontinuity for s in after.segments] == told
        assert sum(s.discontinuity for s in after.segments) == 1
        maps = {s.map.uri for s in after.segments if s.map is not None}
        assert len(maps) == 2
        (quick,) = await answers(server, [OLD])
        assert quick.startswith(b"HTTP/1.1 200 ")
        # What was there is still there.
        assert (await get(server, f"/live/one/hls/{before.segments[0].uri}")).body == old.body
        assert (await get(server, "/live/one/hls/ll-a9.m3u8")).status == 404
