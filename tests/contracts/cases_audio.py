"""AAC, Opus, G.711 and MP3 under the contract of every parser."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame, Track
from penstock_codecs.aac import AacConfig
from penstock_codecs.aac.flv import AacFlv
from penstock_codecs.aac.generic import GenericDepacketizer, GenericFormat
from penstock_codecs.aac.latm import LatmDepacketizer, StreamMuxConfig
from penstock_codecs.aac.rtp import AacRtp
from penstock_codecs.g711 import PCMU
from penstock_codecs.g711.flv import G711Flv
from penstock_codecs.g711.rtp import G711Rtp
from penstock_codecs.mp3.flv import Mp3Flv
from penstock_codecs.mp3.header import Mp3Config, split
from penstock_codecs.mp3.rtp import Mp3Rtp
from penstock_codecs.opus.config import OpusConfig, parse_head, write_head
from penstock_codecs.opus.flv import OpusFlv
from penstock_codecs.opus.packet import duration
from penstock_codecs.opus.rtp import OpusRtp
from penstock_formats.flv import FlvBinding
from penstock_formats.rtp import Depacketizer, RtpBinding, RtpFormat

from .case import ParserCase

_HEAD = struct.Struct(">BH")
LC = AacConfig.parse(bytes.fromhex("1210"))
HBR = {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3", "config": "1210"}


def framed(*packets: tuple[bytes, int]) -> bytes:
    """Packets as `rtp_parse` takes them; flags: 1 marker, 2 loss before, 4 new timestamp."""
    return b"".join(_HEAD.pack(flags, len(payload)) + payload for payload, flags in packets)


def rtp_parse(make: Callable[[], Depacketizer]) -> Callable[[bytes], list[Any]]:
    """All events of framed packets, a violation being one of them; first all of the bytes are one payload."""

    def parse(data: bytes) -> list[Any]:
        depacketizer, events, at, timestamp = make(), list[Any](), 0, 0
        packets: list[tuple[bytes, int]] = [(data, 1)]
        while at + _HEAD.size <= len(data):
            flags, size = _HEAD.unpack_from(data, at)
            packets.append((data[at + 3 : at + 3 + size], flags))
            at += 3 + size
        for payload, flags in packets:
            timestamp += 1024 if flags & 4 else 0
            try:
                events += depacketizer.push(payload, timestamp, flags & 1 > 0, flags & 2 > 0)
            except ProtocolViolation as error:
                events.append(str(error))
        return events + depacketizer.flush()

    return parse


def round_trip(binding: RtpBinding, fmt: RtpFormat, known: CodecConfig, most: int) -> Callable[[bytes], Any]:
    """Framed packets to units, those to packets of at most `most` bytes, and back to the same units."""
    parse = rtp_parse(lambda: binding.depacketizer(fmt))

    def there_and_back(data: bytes) -> Any:
        codec, config = binding.accept(fmt)
        track = Track(1, codec, fmt.clock_rate, config or known)
        binding.describe(track)
        packetizer, again = binding.packetizer(track, most), binding.depacketizer(fmt)
        events = parse(data)
        for event in events:
            if isinstance(event, str):
                continue
            payloads = packetizer.packetize(Frame(track, 0, 0, event.units, event.key))
            back = [au for p in payloads for au in again.push(p, event.timestamp, p is payloads[-1], False)]
            if (
                back
                and b"".join(back[0].units) != b"".join(event.units)
                and codec.name not in ("pcmu", "mp3")
            ):
                raise AssertionError(f"{event.units!r} came back as {back!r}")
        return events

    return there_and_back


def flv_parse(binding: FlvBinding) -> Callable[[bytes], Any]:
    """A sequence header behind its length in a byte, then coded data; it is encoded again after."""

    def parse(data: bytes) -> Any:
        size = data[0] if data else 0
        record, body = data[1 : 1 + size], data[1 + size :]
        config = binding.parse_config(record) if size else binding.implied_config(body, 44100, 1 + size % 3)
        if config is None:
            return None
        unit = binding.decode(body, True, config)
        track = Track(1, PCMU, 8000, unit.config or config)
        again = binding.decode(
            binding.encode(Frame(track, 0, 0, unit.units, unit.key)), True, unit.config or config
        )
        if again.units != unit.units:
            raise AssertionError("what is encoded parses back")
        return config, binding.config_record(config), unit

    return parse


def sdp_parse(bindings: Iterable[RtpBinding]) -> Callable[[bytes], Any]:
    """``encoding/clock/channels;key=value;...`` to what a binding accepts of it."""
    by_name = {name: binding for binding in bindings for name in binding.encodings}

    def parse(data: bytes) -> Any:
        head, *fields = data.decode("latin-1").split(";")
        name, clock, channels = [*head.split("/"), "", "", ""][:3]
        binding = by_name.get(name)
        if binding is None:
            raise ProtocolViolation("no such encoding")
        numbers = [
            int(n) if n.isascii() and n.lstrip("-").isdigit() and len(n) < 16 else 1
            for n in (clock, channels)
        ]
        pairs = (f.partition("=") for f in fields)
        fmt = RtpFormat(name, numbers[0], numbers[1], {k: v for k, _, v in pairs})
        accepted = binding.accept(fmt)
        binding.depacketizer(fmt)
        return accepted

    return parse


def _g711_to_flv(data: bytes) -> Any:
    """What a peer describes may be nothing that another carrier takes: that is refused, too."""
    _, config = sdp_parse((G711Rtp(PCMU, 0),))(data)
    return config, G711Flv(8).config_record(config)


def latm_config(config: AacConfig, frames: int = 1) -> bytes:
    """A StreamMuxConfig of version 0."""
    asc = int.from_bytes(config.asc[:2], "big")
    return (1 << 46 | frames - 1 << 40 | asc << 17 | 0xFF << 6).to_bytes(6, "big")[:6]


def _bits(text: str) -> bytes:
    """Bits, blanks between them left out, as bytes filled up with zeros."""
    digits = text.replace(" ", "")
    return int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")


_PLAIN = "000000 0000 000 00010 0100 0010 000"
"""One frame, program and layer; AAC-LC of 44.1 kHz and two channels."""
_MUXES = [
    _bits(f"0 1 {_PLAIN} 000 11111111 1 0 00001000 1 11111111"),
    _bits(f"0 1 {_PLAIN} 000 11111111 1 1 00000001 0 00001000 0"),
    _bits(f"0 1 {_PLAIN} 000 11111111 1" + "1 00000001" * 4),
    _bits(f"0 1 {_PLAIN} 010 10110111"),
    _bits(f"0 1 {_PLAIN} 001"),
    _bits("1 1"),
    _bits("1 0 00 00000000 1 000000 0000 000 01 11111111 11111111"),
    _bits("1 0 00 00000000 1 000000 0000 000 00 00010000 00010 0100 0010 000 000 11111111 1 00 00001000 0"),
    _bits("0 0"),
]
_UNIT = bytes(range(32, 72))
_MP3 = bytes.fromhex("fffb1064") + bytes(100)
_MP3_LONG = bytes.fromhex("fffb9064") + bytes(413)
_PCE = bytes.fromhex("1001") + bytes.fromhex("0410050400") + bytes(16)


def _generic(**changes: int) -> Callable[[], Depacketizer]:
    fmt = GenericFormat(**({"size_length": 13, "index_length": 3, "index_delta_length": 3} | changes))
    return lambda: GenericDepacketizer(fmt, 44100, 1024, 44100)


CASES = [
    ParserCase(
        name="AAC AudioSpecificConfig",
        parse=AacConfig.parse,
        encode=lambda config: config.asc,
        valid=[
            bytes.fromhex(h)
            for h in (
                "1210",
                "1190",
                "121056e500",
                "2b920800",
                "2b8a0800",
                "eb8a0800",
                "1390",
                "139056e5a5488000",
                "1780ac4408",
                "f8e85000",
                "f8e95000",
                "ba10",
                "ba18",
                "b910c0",
                "3210",
                "1214",
                "1212000",
                "bc1000",
                "1000041041042180aa00",
                "100004104107e66a00000000000000000000",
                "1010",
                "1188",
                "f8e8600028",
                "1210" + "00" * 80,
                "1000041005040000000000",
                "100007ffffffffffffffff0000000000",
            )
            if len(h) % 2 == 0
        ],
        modules=["penstock_codecs.aac.config", "penstock_codecs.aac.program"],
        seeds=["mediacommon/pkg/codecs/mpeg4audio/FuzzAudioSpecificConfigUnmarshal"],
    ),
    ParserCase(
        name="AAC StreamMuxConfig",
        parse=StreamMuxConfig.parse,
        valid=[
            bytes.fromhex(h) for h in ("400024203fc0", "40002420adca00", "8000480001212107f0", "400026203fc0")
        ]
        + _MUXES,
        modules=["penstock_codecs.aac.latm"],
        seeds=["mediacommon/pkg/codecs/mpeg4audio/FuzzStreamMuxConfigUnmarshal"],
    ),
    ParserCase(
        name="AAC in RTP, MPEG4-GENERIC",
        parse=round_trip(AacRtp(), RtpFormat("MPEG4-GENERIC", 44100, 2, HBR), LC, 24),
        valid=[
            framed((b"\0\x10" + struct.pack(">H", 40 << 3) + _UNIT, 5)),
            framed((b"\0\x20" + struct.pack(">HH", 10 << 3, 30 << 3) + _UNIT, 5)),
            framed(
                (b"\0\x10" + struct.pack(">H", 40 << 3) + _UNIT[:25], 4), (b"\0\x10\1\x40" + _UNIT[25:], 1)
            ),
            framed(
                (b"\0\x10" + struct.pack(">H", 40 << 3) + _UNIT[:25], 4), (b"\0\x10\1\x40" + _UNIT[25:], 3)
            ),
            framed(
                (b"\0\x10\1\x40" + _UNIT[:9], 4),
                (b"\0\x10\1\x40" + _UNIT[:9], 4),
                (b"\0\x10\1\x40" + _UNIT[:9], 1),
            ),
            framed(
                (b"\0\x10\1\x40" + _UNIT[:9], 4),
                (b"\0\x10\1\x40" + _UNIT, 0),
                (b"\0\x10\1\x48" + _UNIT[:9], 1),
            ),
            framed(
                (b"\0\x10\1\x40" + _UNIT[:9], 4),
                (b"\0\x10\0\x48" + _UNIT[:9], 0),
                (b"\0\x00", 1),
                (b"\0\x10\1\x40", 0),
            ),
        ],
        modules=["penstock_codecs.aac.generic", "penstock_codecs.aac.rtp"],
        seeds=["gortsplib/pkg/format/rtpmpeg4audio/FuzzDecoder"],
    ),
    *(
        ParserCase(
            name=f"AAC in RTP, MPEG4-GENERIC with {', '.join(f'{k} {v}' for k, v in fields.items())}",
            parse=rtp_parse(_generic(**fields)),
            valid=[framed((b"\0\x20" + struct.pack(">HH", 10 << 3, 30 << 3) + _UNIT, 5)), framed((_UNIT, 5))],
            modules=[],
            seeds=["gortsplib/pkg/format/rtpmpeg4audio/FuzzDecoder"],
        )
        for fields in (
            {"size_length": 0, "index_length": 0, "index_delta_length": 0},
            {"size_length": 0, "index_length": 0, "index_delta_length": 0, "constant_size": 8},
            {"size_length": 0, "index_length": 3, "index_delta_length": 0},
            {"size_length": 6, "index_length": 2, "index_delta_length": 2},
            {"cts_delta_length": 4, "dts_delta_length": 4, "random_access": 1, "stream_state": 3},
            {"auxiliary_size_length": 8},
        )
    ),
    ParserCase(
        name="AAC in RTP, MP4A-LATM with its config in the SDP",
        parse=rtp_parse(
            lambda: LatmDepacketizer(44100, StreamMuxConfig.parse(latm_config(LC, 2)), in_band=False)
        ),
        valid=[
            framed((b"\x28" + _UNIT + b"\x05" + _UNIT[:5], 5)),
            framed(
                (b"\x28" + _UNIT, 4), (b"\x05" + _UNIT[:5], 1), (b"\0\0", 7), (b"\xff\0", 7), (b"\xff\0", 1)
            ),
            framed(*[(bytes(65535), 0)] * 17),
        ],
        modules=["penstock_codecs.aac.latm"],
        seeds=["gortsplib/pkg/format/rtpfragmented/FuzzDecoder"],
    ),
    ParserCase(
        name="AAC in RTP, MP4A-LATM with its config in band",
        parse=rtp_parse(lambda: LatmDepacketizer(90000, None, in_band=True)),
        valid=[
            framed((bytes.fromhex("2000121 01fe0a0".replace(" ", "")) + bytes(44), 5), (b"\x80\0\0", 5)),
            bytes.fromhex("470000fc0000b090800300"),
        ],
        modules=[],
        seeds=["mediacommon/pkg/codecs/mpeg4audio/FuzzAudioMuxElementUnmarshal"],
    ),
    ParserCase(
        name="AAC in FLV",
        parse=flv_parse(AacFlv()),
        valid=[
            b"\2\x12\x10" + _UNIT,
            b"\5\x12\x10\x56\xe5\0" + _UNIT,
            b"\2\x12\x10",
            _UNIT[1:],
            b"\0" + _UNIT,
        ],
        modules=["penstock_codecs.aac.flv"],
    ),
    ParserCase(
        name="OpusHead",
        parse=parse_head,
        encode=write_head,
        valid=[write_head(OpusConfig.simple(n)) for n in (1, 2, 3, 6, 8)],
        modules=["penstock_codecs.opus.config"],
        seeds=["mediacommon/pkg/codecs/opus/FuzzIDHeaderUnmarshal"],
    ),
    ParserCase(
        name="Opus packet",
        parse=duration,
        valid=[b"\xfc\1", b"\x08", b"\x79\1\1", b"\x03\3\1", b"\x03\0", b"\x1b\x3f", b"\x03"],
        modules=["penstock_codecs.opus.packet"],
        seeds=["mediacommon/pkg/codecs/opus/FuzzPacketDuration"],
    ),
    ParserCase(
        name="Opus in RTP",
        parse=round_trip(OpusRtp(), RtpFormat("OPUS", 48000, 2), OpusConfig.simple(2), 1200),
        valid=[framed((b"\xfc\1\2", 5), (b"\x08\1", 6))],
        modules=[],
    ),
    ParserCase(
        name="Opus in FLV",
        parse=flv_parse(OpusFlv()),
        valid=[b"\x13" + write_head(OpusConfig.simple(2)) + b"\xfc\1\2", b"\0\xfc\1\2"],
        modules=["penstock_codecs.opus.flv"],
    ),
    ParserCase(
        name="G.711 in RTP",
        parse=round_trip(G711Rtp(PCMU, 0), RtpFormat("PCMU", 8000, 2), LC, 21),
        valid=[framed((_UNIT, 5), (_UNIT[:8], 4))],
        modules=["penstock_codecs.g711.rtp"],
        seeds=["gortsplib/pkg/format/rtplpcm/FuzzDecoder"],
    ),
    ParserCase(
        name="G.711 in FLV",
        parse=flv_parse(G711Flv(7)),
        valid=[b"\0" + _UNIT, b"\1" + _UNIT],
        modules=["penstock_codecs.g711.flv", "penstock_codecs.g711.config"],
    ),
    ParserCase(
        name="G.711 of an SDP into FLV",
        parse=_g711_to_flv,
        valid=[b"PCMU/8000/2", b"PCMU/16000/1", b"PCMU/8000/3"],
        modules=["penstock_codecs.g711.flv", "penstock_codecs.g711.config"],
    ),
    ParserCase(
        name="MP3 frames",
        parse=split,
        encode=lambda found: b"".join(found[0]),
        valid=[
            _MP3,
            _MP3 + _MP3,
            _MP3_LONG,
            bytes.fromhex("fff344c4") + bytes(140),
            bytes.fromhex("ffe318c4") + bytes(100),
            bytes.fromhex("fffd9064") + bytes(413),
            bytes.fromhex("fffb0064") + bytes(413),
            _MP3_LONG + _MP3_LONG[:100],
        ],
        modules=["penstock_codecs.mp3.header"],
        seeds=["mediacommon/pkg/codecs/mpeg1audio/FuzzFrameHeaderUnmarshal"],
    ),
    ParserCase(
        name="MP3 in RTP",
        parse=round_trip(Mp3Rtp(), RtpFormat("MPA", 90000), Mp3Config(44100, 2), 60),
        valid=[
            framed((bytes(4) + _MP3 + _MP3, 5)),
            framed((bytes(4) + _MP3_LONG[:200], 4), (b"\0\0\0\xc8" + _MP3_LONG[200:], 1)),
            framed(
                (bytes(4) + _MP3_LONG[:200], 4),
                (b"\0\0\0\xc8" + _MP3_LONG[200:], 3),
                (b"\0\0\0\xc8" + _MP3, 1),
            ),
            framed((bytes(4) + _MP3_LONG[:200], 4), (b"\0\0\0\xc9" + _MP3_LONG[200:], 1), (bytes(4), 4)),
            framed(
                (bytes(4) + _MP3_LONG[:200], 4), (b"\0\0\0\xc8" + _MP3_LONG[200:300], 0), (bytes(4) + _MP3, 5)
            ),
        ],
        modules=["penstock_codecs.mp3.rtp"],
        seeds=["gortsplib/pkg/format/rtpmpeg1audio/FuzzDecoder"],
    ),
    ParserCase(
        name="MP3 in FLV",
        parse=flv_parse(Mp3Flv()),
        valid=[b"\0" + _MP3, b"\0" + _MP3 + _MP3_LONG, b"\1\1" + _MP3],
        modules=["penstock_codecs.mp3.flv"],
    ),
    ParserCase(
        name="SDP parameters of audio codecs",
        parse=sdp_parse((AacRtp(), OpusRtp(), G711Rtp(PCMU, 0), Mp3Rtp())),
        valid=[
            b"MPEG4-GENERIC/44100/2;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
            b"MPEG4-GENERIC/44100/2;mode=AAC-hbr;constantsize=40",
            b"MPEG4-GENERIC/44100/2;mode=CELP-cbr",
            b"MPEG4-GENERIC/44101/2",
            b"MPEG4-GENERIC/48000/2;sizelength=13;constantsize=40",
            b"MPEG4-GENERIC/0/2",
            b"MPEG4-GENERIC/48000/255",
            b'MPEG4-GENERIC/48000/2;config="1190"',
            b"MPEG4-GENERIC/44100/2;config=121",
            b"MP4A-LATM/90000/1;cpresent=0;config=400024203fc0",
            b"MP4A-LATM/90000/1;cpresent=0",
            b"MP4A-LATM/90000/1",
            b"OPUS/48000/2;sprop-stereo=0",
            b"OPUS/44100/2",
            b"MULTIOPUS/48000/6;channel_mapping=0,4,1,2,3,5;num_streams=4;coupled_streams=2",
            b"MULTIOPUS/48000/6",
            b"MULTIOPUS/48000/6;channel_mapping=0,4,1,2;num_streams=4;coupled_streams=2",
            b"MULTIOPUS/48000/9",
            b"MULTIOPUS/48000/2;channel_mapping=0,9;num_streams=1;coupled_streams=1",
            b"PCMU/8000/1",
            b"PCMU/0/1",
            b"MULTIOPUS/48000/2;channel_mapping=0,1;num_streams=1;coupled_streams=2",
            b"PCMU/8000/0",
            b"MPA/90000",
            b"MPA/1",
            b"MULTIOPUS/48000/2;channel_mapping=0,x;num_streams=1;coupled_streams=1",
        ],
        modules=["penstock_codecs.opus.rtp", "penstock_codecs.g711.config"],
    ),
]
