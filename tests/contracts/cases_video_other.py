"""AV1, VP8 and VP9 under the contract of every parser."""

from __future__ import annotations

import struct

from penstock.registry import VideoInfo
from penstock_codecs.av1 import Av1Config
from penstock_codecs.av1.flv import Av1Flv
from penstock_codecs.av1.obu import leb128, split, with_size, write_leb128
from penstock_codecs.av1.record import parse_record, write_record
from penstock_codecs.av1.rtp import Av1Rtp
from penstock_codecs.vp8.flv import Vp8Flv
from penstock_codecs.vp8.header import Vp8Config
from penstock_codecs.vp8.header import parse_frame as parse_vp8
from penstock_codecs.vp8.info import Vp8Info
from penstock_codecs.vp8.record import RECORD
from penstock_codecs.vp8.rtp import Vp8Rtp
from penstock_codecs.vp9 import Vp9Config
from penstock_codecs.vp9.flv import Vp9Flv
from penstock_codecs.vp9.header import parse_frame as parse_vp9
from penstock_codecs.vp9.rtp import Vp9Rtp
from penstock_formats.rtp import RtpFormat

from .case import ParserCase
from .cases_audio import flv_parse, framed, round_trip, sdp_parse

_HEADERS = [
    bytes.fromhex(h)
    for h in (
        "080200000 51da7fb895f2008".replace(" ", ""),  # SVT-AV1, Main
        "0800000003b4ff736be501",  # libaom, 10 bits
        "08180000002d4cffb3cc7c10",  # reduced still picture, as libaom writes for AVIF
        "0a0b000000042aabe7d5f00804",
        "080c00000001000000f0280000000000000000" + "00" * 24,
        "0804800000020000004b200000000c8a4d57bff8" + "ff" * 12,
    )
]


def sequence(profile: int, color: str, screen: str = "11") -> bytes:
    """A small sequence header of 16 x 16 pixels whose color_config is `color`, in bits."""
    bits = f"{profile:03b}00" + "0000000" + "0" * 12 + "00000" + "00110011" + "11111111" + "00000000"
    bits += "100" + screen + "000000" + color + "01"
    bits += "0" * (-len(bits) % 8)
    return b"\x08" + int(bits, 2).to_bytes(len(bits) // 8, "big")


_PROFILES = [
    sequence(0, "000000", "00"),
    sequence(0, "0100", "0101"),
    sequence(1, "100"),
    sequence(1, "01" + f"{1:08b}{13:08b}{0:08b}"),
    sequence(2, "0001"),
    sequence(2, "11001100"),
    sequence(2, "11000"),
    sequence(3, "000000"),
    b"\x30\0",
]
_SEQUENCE = Av1Config.parse(_HEADERS[0])
_KEY, _INTER, _TILES = b"\x30\x10" + bytes(60), b"\x30\x30" + bytes(80), b"\x22\x04abcd"
_VP8_KEY = b"\x10\2\0\x9d\1\x2a\xa0\0\x78\0" + bytes(60)
_VP8_INTER = b"\x11\2\0" + bytes(60)
_VP9_KEY = bytes.fromhex("82498342000 9f0077 0".replace(" ", "")) + bytes(60)
_VPCC = bytes.fromhex("01000000000a820202020000")
_VP9_INTER = b"\x86\0" + bytes(60)


def _described_vp8(data: bytes) -> VideoInfo | None:
    found = parse_vp8(data)
    return Vp8Info().describe(found) if found else None


CASES = [
    ParserCase(
        name="AV1 leb128",
        parse=lambda data: leb128(data, 0)[0],
        encode=write_leb128,
        valid=[write_leb128(n) for n in (0, 127, 128, 16383, 16384, 2**32 - 1)]
        + [b"\xff" * 10, b"\x80" * 7 + b"\1"],
        modules=[],
    ),
    ParserCase(
        name="AV1 low-overhead OBUs",
        parse=split,
        encode=lambda obus: b"".join(map(with_size, obus)),
        valid=[
            b"\x12\0" + with_size(_HEADERS[0]) + with_size(_KEY),
            with_size(_INTER),
            b"\x36\x10\3abc\x22\0",
            _KEY,
        ],
        modules=["penstock_codecs.av1.obu"],
        seeds=["mediacommon/pkg/codecs/av1/FuzzBitstreamUnmarshal"],
    ),
    ParserCase(
        name="AV1 sequence header",
        parse=Av1Config.parse,
        encode=lambda config: config.sequence_header,
        valid=[*_HEADERS, *_PROFILES],
        modules=["penstock_codecs.av1.sequence"],
        seeds=["mediacommon/pkg/codecs/av1/FuzzSequenceHeaderUnmarshal"],
    ),
    ParserCase(
        name="AV1 av1C",
        parse=parse_record,
        encode=write_record,
        valid=[b"\x81\0\x0c\0" + with_size(h) for h in _HEADERS] + [b"\x81\x40\xf6\0", b"\x80\0\0\0"],
        modules=["penstock_codecs.av1.record"],
    ),
    ParserCase(
        name="AV1 in FLV",
        parse=flv_parse(Av1Flv()),
        valid=[
            b"\x04\x81\0\x0c\0" + with_size(_HEADERS[0]) + with_size(_KEY),
            b"\x04\x81\0\x0c\0" + with_size(_INTER),
            b"\0\x12\0" + with_size(_HEADERS[1]) + with_size(_KEY),
            b"\0" + with_size(_KEY),
            b"\x04\x81\0\x0c\0\x32\0",
            b"\x04\x81\0\x0c\0\x12\0",
        ],
        modules=["penstock_codecs.av1.flv"],
    ),
    ParserCase(
        name="AV1 in RTP",
        parse=round_trip(Av1Rtp(), RtpFormat("AV1", 90000), _SEQUENCE, 30),
        valid=[
            framed((b"\x28" + bytes((len(_HEADERS[0]),)) + _HEADERS[0] + _KEY, 5), (b"\x10" + _INTER, 5)),
            framed((b"\x50" + _INTER[:40], 4), (b"\x90" + _INTER[40:], 1), (b"\x90" + _INTER, 5)),
            framed((b"\x50" + _INTER[:40], 4), (b"\xd0" + _INTER[40:50], 0), (b"\xa0\1a" + _INTER, 1)),
            framed(
                (b"\x50" + _INTER[:40], 4),
                (b"\x10" + _INTER[40:], 1),
                (b"\x10" + _TILES, 0),
                (b"\x10" + _INTER, 7),
            ),
            framed(
                (b"\x50" + _INTER[:40], 4),
                (b"\x90" + _INTER[40:], 3),
                (b"\x10" + _INTER, 5),
                (b"\x50" + _INTER, 5),
            ),
            framed(
                (b"\0\x52" + _INTER + b"\4\x20abc", 4),
                (b"\0\x52" + _INTER, 4),
                (b"\x98" + _INTER, 0),
                (b"\x30\1a", 0),
            ),
            framed((b"\x10" + _INTER, 4), (b"\x10\x10\0", 5), (b"\x10\x10\0", 1)),
        ],
        modules=[
            "penstock_codecs.av1.depacketizer",
            "penstock_codecs.av1.packetizer",
            "penstock_codecs.av1.rtp",
        ],
        seeds=["gortsplib/pkg/format/rtpav1/FuzzDecoder"],
    ),
    ParserCase(
        name="VP8 frame header",
        parse=_described_vp8,
        valid=[_VP8_KEY, _VP8_INTER, _VP8_KEY[:6] + bytes(9), b"\x10\0\0" + bytes(9), b"\1"],
        modules=["penstock_codecs.vp8.header"],
    ),
    ParserCase(
        name="VP8 in FLV",
        parse=flv_parse(Vp8Flv()),
        valid=[
            bytes((12,)) + RECORD + _VP8_KEY,
            b"\0" + _VP8_KEY,
            b"\x08" + RECORD[4:] + _VP8_INTER,
            b"\1\1",
        ],
        modules=["penstock_codecs.vp8.flv"],
    ),
    ParserCase(
        name="VP8 in RTP",
        parse=round_trip(Vp8Rtp(), RtpFormat("VP8", 90000), Vp8Config(160, 120), 30),
        valid=[
            framed(
                (b"\x10" + _VP8_KEY, 5),
                (b"\x90\xf0\x81\1\2\3" + _VP8_INTER[:30], 4),
                (b"\x80\x80\5" + _VP8_INTER[30:], 1),
            ),
            framed(
                (b"\x10" + _VP8_KEY, 4),
                (b"\x10" + _VP8_INTER, 4),
                (b"\0abc", 3),
                (b"\x10" + _VP8_INTER, 5),
                (b"\0abc", 5),
            ),
            framed((b"\x10" + _VP8_KEY, 4), (b"\x10" + _VP8_INTER, 0), (b"\x90\xe0", 5)),
        ],
        modules=["penstock_codecs.vp8.rtp"],
        seeds=["gortsplib/pkg/format/rtpvp8/FuzzDecoder"],
    ),
    ParserCase(
        name="VP9 uncompressed header",
        parse=parse_vp9,
        valid=[
            _VP9_KEY,
            _VP9_INTER,
            b"\x88" + bytes(8),
            b"\xa2\x49\x83\x42\x20" + bytes(8),
            b"\xb1\x24\xc1\xa1\xe0" + bytes(8),
            b"\x92\x49\x83\x42\x90" + bytes(8),
            b"\xa2\x49\x83\x42\xe0" + bytes(8),
            b"\xa2\x49\x83\x42\x28" + bytes(8),
            b"\xb9" + bytes(9),
            b"\x82\x49\x83\x42\xe0" + bytes(8),
            b"\x82\x49\x83\x42\x0f\xff\xff\xff" + bytes(8),
        ],
        modules=["penstock_codecs.vp9.header"],
        seeds=["mediacommon/pkg/codecs/vp9/FuzzHeaderUnmarshal"],
    ),
    ParserCase(
        name="VP9 vpcC",
        parse=Vp9Flv().parse_config,
        encode=Vp9Flv().config_record,
        valid=[_VPCC, bytes.fromhex("021fa20101010000")],
        modules=[],
    ),
    ParserCase(
        name="VP9 in FLV",
        parse=flv_parse(Vp9Flv()),
        valid=[b"\x0c" + _VPCC + f for f in (_VP9_KEY, _VP9_INTER)] + [b"\0" + _VP9_KEY],
        modules=["penstock_codecs.vp9.flv"],
    ),
    ParserCase(
        name="VP9 in RTP",
        parse=round_trip(Vp9Rtp(), RtpFormat("VP9", 90000), Vp9Config(width=160, height=120), 30),
        valid=[
            framed(
                (b"\x9e\x81\1\x18" + struct.pack(">HH", 160, 120) + b"\2\0\4\1" + _VP9_KEY, 5),
                (b"\xdc\5\2" + _VP9_INTER, 5),
            ),
            framed(
                (b"\x28\0\1" + _VP9_INTER[:20], 4),
                (b"\x20\0\1" + _VP9_INTER[20:], 0),
                (b"\x24\0\1aa", 0),
                (b"\x2c\2\1abc", 1),
            ),
            framed(
                (b"\x0c" + _VP9_INTER, 4),
                (b"\x08" + _VP9_INTER, 4),
                (b"\x04" + _VP9_INTER, 3),
                (b"\x0c" + _VP9_INTER, 5),
            ),
            framed(
                (b"\x08" + _VP9_INTER, 5),
                (b"\x0c" + _VP9_INTER, 5),
                (b"\x00" + _VP9_INTER, 5),
                (b"\x50\1\1\1\1", 5),
            ),
            framed(*[(b"\x0c" + _VP9_INTER, 0)] * 10, (b"\x0c" + _VP9_INTER, 4)),
            framed(
                (b"\x0a", 1),
                (b"\x0a\x08\2\4", 1),
                (b"\x0a\x08", 1),
                (b"\xa8\1", 1),
                (b"\x2c\2\0" + _VP9_INTER, 3),
            ),
        ],
        modules=["penstock_codecs.vp9.depacketizer", "penstock_codecs.vp9.packetizer"],
        seeds=["gortsplib/pkg/format/rtpvp9/FuzzDecoder"],
    ),
    ParserCase(
        # All that is known is a vpcC, as where a third party's binding makes the tracks: it has no size.
        name="VP9 in RTP of unknown size",
        parse=round_trip(Vp9Rtp(), RtpFormat("VP9", 90000), Vp9Flv().parse_config(_VPCC), 30),
        valid=[framed((b"\x8c\x81\1" + _VP9_KEY, 5), (b"\xcc\1\2" + _VP9_INTER, 5))],
        modules=[],
    ),
    ParserCase(
        name="SDP parameters of AV1, VP8 and VP9",
        parse=sdp_parse((Av1Rtp(), Vp8Rtp(), Vp9Rtp())),
        valid=[
            b"AV1/90000;profile=0",
            b"VP8/90000",
            b"VP9/90000;profile-id=0",
            b"AV1/0",
            b"VP8/-1",
            b"VP9/1099511627776",
        ],
        modules=["penstock_codecs.vp9.rtp"],
    ),
]
