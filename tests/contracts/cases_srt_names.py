"""SRT's stream ids and URLs under the contract of every parser."""

from __future__ import annotations

from penstock_srt.stream_id import StreamId
from penstock_srt.url import SrtUrl
from tests.contracts.case import ParserCase


def _url(data: bytes) -> SrtUrl:
    return SrtUrl.parse(data.decode("latin-1"))


CASES = [
    ParserCase(
        "SRT stream id",
        StreamId.parse,
        [
            b"#!::r=live/stream,m=publish",
            b"#!::h=localhost,r=/live/stream,m=request,u=user,s=password,t=stream,token=x",
            b"#!::h=vhost/live/stream?secret=x,m=publish",
            b"#!::h=live/stream",
            b"#!::",
            b"#!:{u=admin}",
            b"#!::m=bidirectional",
            b"#!::r=a,t=file",
            b"#!::r=a,r=b",
            b"#!::r",
            b"#!::r=../x",
            b"#!::r=live/%ff",
            b"publish:/live/stream",
            b"read:live/stream:token=x#feedbackplay",
            b"request:live/stream:user:password",
            b"subscribe:live/stream?a=b:user:password:c=d",
            b"play:a:b:c:d:e",
            b"127.0.0.1:9000/live/stream,role=publisher",
            b"[::1]/live/stream,role=player",
            b"media.example:9000/live/stream,role=player,token=x",
            b"localhost/live/stream?token=x",
            b"srt://media.example/live/stream",
            b"live/stream,role=both",
            b"live/stream,m",
            b"",
            b"\xff",
            b"x" * 513,
        ],
        ["penstock_srt.stream_id"],
    ),
    ParserCase(
        "SRT URL",
        _url,
        [
            b"srt://media.example:9000?streamid=#!::r=live/stream,m=publish&passphrase=0123456789&pbkeylen=32",
            b"srt://media.example/live/stream?latency=200&peerlatency=300&conntimeo=3000",
            b"srt://[::1]:9001?mode=rendezvous&pkt_size=1316&transtype=live",
            b"srt://:9001?mode=listener",
            b"srt://:9001",
            b"srt://*:9001?mode=server&srt_streamid=a%26b",
            b"srt://h?mode=client&pbkeylen=0",
            b"srt://h?mode=both",
            b"srt://:1?mode=caller",
            b"srt://h:0",
            b"srt://h:70000",
            b"srt://h?pbkeylen=17",
            b"srt://h?passphrase=short",
            b"srt://h?passphrse=0123456789",
            b"srt://h?cryptomode=2&passphrase=0123456789",
            b"srt://h?cryptomode=3",
            b"srt://h?grouptype=backup&nodes=a:9001,b",
            b"srt://h?grouptype=balancing&nodes=a",
            b"srt://:1?nodes=a&mode=listener",
            b"srt://a:b:c",
            b"http://h",
        ],
        ["penstock_srt.url"],
    ),
]
