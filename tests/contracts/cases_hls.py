"""HLS under the contract of every parser: playlists, the names of files, what clients ask of playlists."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from penstock.errors import ProtocolViolation
from penstock_hls.directives import Directives
from penstock_hls.playlist import MAX_RENDITIONS, MAX_VARIANTS, Playlist, parse_playlist
from penstock_hls.resource import Resource
from tests.contracts.case import ParserCase

LOW_LATENCY = b"""#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24.0,PART-HOLD-BACK=1.002,HOLD-BACK=12,CAN-SKIP-DATERANGES=YES
#EXT-X-PART-INF:PART-TARGET=0.33334
#EXT-X-MEDIA-SEQUENCE:266
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-START:TIME-OFFSET=-12.5,PRECISE=YES
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2024-02-29T23:59:59.106Z
#EXTINF:4.00008,

fileSequence266.mp4
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2019-02-14T02:13:40.106+01:30
#EXT-X-PART:DURATION=0.33334,URI="filePart271.0.mp4"
#EXT-X-PART:DURATION=0.33334,URI="filePart271.1.mp4",INDEPENDENT=YES,BYTERANGE="20@30",GAP=YES
#EXTINF:4.00008,a title, with a comma
fileSequence271.mp4
#EXT-X-PART:DURATION=0.5,URI="filePart272.a.mp4",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="filePart272.b.mp4",BYTERANGE-START=7,BYTERANGE-LENGTH=8
#EXT-X-RENDITION-REPORT:URI="../1M/waitForMSN.php",LAST-MSN=273,LAST-PART=2
"""

ON_DEMAND = b"""#EXTM3U
#EXT-X-TARGETDURATION:10
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-START:TIME-OFFSET=3
#EXT-X-KEY:METHOD=AES-128,URI="https://key.example/1",IV=0x0123,KEYFORMAT="identity"
#EXT-X-MAP:URI="all.mp4",BYTERANGE="700@0"
#EXT-X-BYTERANGE:1000@700
#EXTINF:9.009,
all.mp4
#EXT-X-KEY:METHOD=NONE
#EXT-X-BYTERANGE:1000
#EXT-X-GAP
#EXTINF:10,
all.mp4
# a comment
#EXT-X-UNKNOWN:what=ever
#EXT-X-ENDLIST
"""

DELTA = b"""#EXTM3U\r
#EXT-X-PLAYLIST-TYPE:EVENT\r
#EXT-X-TARGETDURATION:2\r
#EXT-X-SKIP:SKIPPED-SEGMENTS=9\r
#EXTINF:2,\r
9.ts\r
"""

MULTIVARIANT = b"""#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",DEFAULT=YES,AUTOSELECT=YES,LANGUAGE="en",CHANNELS="2",URI="en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="Deutsch"
#EXT-X-STREAM-INF:BANDWIDTH=1280000,AVERAGE-BANDWIDTH=1000000,CODECS="avc1.4d401e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="aac"
low/video.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=65000
audio.m3u8
"""

_HEAD = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n"

_REFUSED = [
    _HEAD + b'#EXT-X-PLAYLIST-TYPE:LIVE\n',
    _HEAD + b"1.ts\n",
    _HEAD + b"#EXT-X-START:TIME-OFFSET=--1\n",
    _HEAD + b"#EXTINF:-1,\n1.ts\n",
    _HEAD + b"#EXTINF:NaN,\n1.ts\n",
    _HEAD + b"#EXTINF:1e308,\n1.ts\n",
    _HEAD + b'#EXT-X-MAP:URI=a.mp4\n',
    _HEAD + b'#EXT-X-MAP:BYTERANGE="1"\n',
    _HEAD + b"#EXT-X-KEY:METHOD=\n",
    _HEAD + b"#EXT-X-KEY:URI=\"a\"\n",
    _HEAD + b'#EXT-X-KEY:METHOD="NONE"\n',
    _HEAD + b'#EXT-X-PART:URI="a"\n',
    _HEAD + b"#EXT-X-PART:URI=\"a\",URI=\"b\"\n",
    _HEAD + b"#EXT-X-PROGRAM-DATE-TIME:2023-02-29T00:00:00Z\n",
    _HEAD + b"#EXT-X-PROGRAM-DATE-TIME:2023-13-01T00:00:00Z\n",
    _HEAD + b"#EXT-X-PROGRAM-DATE-TIME:today\n",
    _HEAD + b"#EXT-X-VERSION:0\n",
    _HEAD + b"#EXT-X-PRELOAD-HINT:URI=\"a\"\n" ,
    _HEAD + b"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a\"\n" * (MAX_RENDITIONS + 1),
    _HEAD + b"#EXT-X-STREAM-INF:BANDWIDTH=1\na\n",
    _HEAD + b"#EXT-X-SERVER-CONTROL:" + b",".join(b"A%d=1" % n for n in range(70)) + b"\n",
    b"#EXTM3U\n#EXTINF:2,\na\n",
    b"#EXTM3U\n#EXT-X-STREAM-INF:AUDIO=\"a\"\na\n",
    b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=wide\na\n",
    b"#EXTM3U\n" + b"#EXT-X-STREAM-INF:BANDWIDTH=1\na\n" * (MAX_VARIANTS + 1),
    b"#EXTM3U\n" + b'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"\n' * (MAX_RENDITIONS + 1),
    b"\xef\xbb\xbf#EXTM3U\n",
    b"#EXTM3U\n#EXT-X-\x07\n",
    b"<html>",
]  # fmt: skip


def _encode(playlist: Playlist) -> bytes:
    return playlist.write().encode()


def _directives(data: bytes) -> Directives:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolViolation("not ASCII") from None
    found = Directives.parse(dict(parse_qsl(text, keep_blank_values=True)))
    found.check(20, 3, 200_000_000)
    found.check(20, 3, 1_500_000_000)
    return found


def _query(directives: Directives) -> bytes:
    fields = {"_HLS_msn": directives.msn, "_HLS_part": directives.part}
    query = {name: str(value) for name, value in fields.items() if value is not None}
    return urlencode({**query, "_HLS_skip": "YES"} if directives.skip else query).encode()


def _resource(data: bytes) -> Resource:
    return Resource.parse(data.decode("utf-8", "replace"))


CASES = [
    ParserCase(
        "playlist",
        parse_playlist,
        [LOW_LATENCY, ON_DEMAND, DELTA, MULTIVARIANT, *_REFUSED],
        [
            "penstock_hls.attributes",
            "penstock_hls.media_playlist",
            "penstock_hls.multivariant_playlist",
            "penstock_hls.number",
            "penstock_hls.playlist",
        ],
        encode=_encode,
    ),
    ParserCase(
        "delivery directives",
        _directives,
        [
            b"_HLS_msn=20&_HLS_part=4&_HLS_skip=YES",
            b"_HLS_msn=22",
            b"_HLS_part=1",
            b"_HLS_msn=-1",
            b"_HLS_msn=23",
            b"",
        ],
        ["penstock_hls.directives"],
        encode=_query,
    ),
    ParserCase(
        "names of files",
        _resource,
        [
            b"ll-v1.m3u8",
            b"ts-main.m3u8",
            b"v1-897864795.mp4",
            b"a3-12.m4s",
            b"main-7.ts",
            b"v1-7.3.m4s",
            b"v1-7.3.ts",
        ],
        ["penstock_hls.resource"],
        encode=lambda resource: str(resource).encode(),
    ),
]
