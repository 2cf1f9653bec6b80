"""``srt://`` URLs as FFmpeg, GStreamer and libsrt's tools have them."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock.path import StreamPath
from penstock_srt.cipher import Mode as Cipher
from penstock_srt.extension import GroupType
from penstock_srt.url import Mode, SrtUrl

MEANT: dict[str, SrtUrl] = {
    "srt://media.example:9001": SrtUrl("media.example", 9001),
    "SRT://media.example": SrtUrl("media.example", 9000),
    "srt://[::1]:9001": SrtUrl("::1", 9001),
    "srt://media.example?streamid=#!::r=live/stream,m=publish&pkt_size=1316": SrtUrl(
        "media.example", 9000, stream_id="#!::r=live/stream,m=publish"
    ),
    "srt://media.example?streamid=%23!::r=a%26b": SrtUrl("media.example", 9000, stream_id="#!::r=a&b"),
    "srt://h:9000?streamid=h:9000/live/stream,role=player": SrtUrl(
        "h", 9000, stream_id="h:9000/live/stream,role=player"
    ),
    "srt://media.example/live/stream": SrtUrl(
        "media.example", 9000, path=StreamPath.parse("live/stream")
    ),
    "srt://:9001": SrtUrl("", 9001, Mode.LISTENER),
    "srt://:9001?mode=listener": SrtUrl("", 9001, Mode.LISTENER),
    "srt://0.0.0.0:9001?mode=listener": SrtUrl("0.0.0.0", 9001, Mode.LISTENER),
    "srt://*:9001?mode=server": SrtUrl("", 9001, Mode.LISTENER),
    "srt://h:9001?mode=rendezvous": SrtUrl("h", 9001, Mode.RENDEZVOUS),
    "srt://h:9001?mode=rendezvous&adapter=192.0.2.1": SrtUrl(
        "h", 9001, Mode.RENDEZVOUS, adapter="192.0.2.1"
    ),
    "srt://h?passphrase=0123456789&cryptomode=2": SrtUrl(
        "h", 9000, passphrase="0123456789", cipher=Cipher.GCM
    ),
    "srt://h?grouptype=backup&nodes=g:9001,[::1]": SrtUrl(
        "h", 9000, group=GroupType.BACKUP, nodes=(("g", 9001), ("::1", 9000))
    ),
    "srt://h?mode=client&passphrase=0123456789&pbkeylen=32&latency=200": SrtUrl(
        "h", 9000, passphrase="0123456789", key_length=32, latency=200
    ),
    "srt://h?rcvlatency=100&peerlatency=300&conntimeo=500": SrtUrl(
        "h", 9000, latency=300, connect_timeout=500
    ),
}  # fmt: skip

REFUSED = {
    "http://h": "srt://",
    "srt:h": "srt://",
    "srt://a:b:c": "host",
    "srt://h:0": "port",
    "srt://h:65536": "port",
    "srt://h?mode=both": "mode=both",
    "srt://:9000?mode=caller": "no host",
    # FFmpeg's is in microseconds.
    "srt://h?latency=200000": "latency must be 0 to 65535",
    "srt://h?latency=fast": "latency",
    "srt://h?passphrase=short": "10 to 79",
    "srt://h?pbkeylen=17": "pbkeylen",
    "srt://h?passphrse=0123456789": "'passphrse' is not known",
    "srt://h/../x": "'..'",
    "srt://h?nodes=g": "grouptype",
    "srt://h?cryptomode=gcm": "cryptomode",
    "srt://h?grouptype=balancing": "grouptype",
    "srt://h?grouptype=backup&nodes=a:b:c": "host",
    "srt://:9000?grouptype=backup": "grouptype",
}


@pytest.mark.parametrize("url", MEANT)
def test_what_is_meant(url: str) -> None:
    assert SrtUrl.parse(url) == MEANT[url]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_refused_and_why(url: str) -> None:
    with pytest.raises(ProtocolViolation, match=REFUSED[url]):
        SrtUrl.parse(url)
