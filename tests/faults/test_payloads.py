"""Faults of RTP payloads beside a canary: rows P10 to P12 of the list of bad inputs.

Each payload that its format does not allow is dropped and counted, with the frame that it was of; the next frame
arrives as if nothing had been.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from attrs import frozen

from tests.codecs import captures

from .rig import Rig
from .rtsp import AAC, H264, IDR, client, sdp
from .server import MIB
from .source import Source

Part = tuple[bytes, bool]
"""A payload, and whether its packet has the marker."""


def media(kind: str, encoding: str, fmtp: str = "") -> str:
    lines = f"m={kind} 0 RTP/AVP 96\r\na=rtpmap:96 {encoding}\r\n"
    return lines + (f"a=fmtp:96 {fmtp}\r\n" if fmtp else "") + "a=control:trackID=0\r\n"


@frozen
class Format:
    """A track's description, what makes a payload of a whole key frame that bears a text, and payloads by what is
    wrong with them; `counted` are dropped with a count, of `odd` nothing comes either, or what it should.
    """

    media: str
    whole: Callable[[bytes], bytes]
    counted: dict[str, list[Part]]
    odd: dict[str, list[Part]]


def after(head: bytes) -> Callable[[bytes], bytes]:
    """A payload that begins with `head`, whatever follows."""
    return lambda text: head + text + b"x" * 40


def one(payload: bytes) -> list[Part]:
    return [(payload, True)]


def fu(flags: int, body: bytes = b"x" * 100, kind: int = 5) -> bytes:
    return bytes((0x7C, flags | kind)) + body


def stap(*sizes: int) -> bytes:
    return b"\x78" + b"".join(struct.pack(">H", size) + IDR + b"x" * 50 for size in sizes)


H264_FORMAT = Format(
    H264,
    after(IDR),
    {
        "a fragment without a start": [(fu(0), False), (fu(0x40), True)],
        "a start twice": [(fu(0x80), False), (fu(0x80), False), (fu(0x40), True)],
        "start and end": one(fu(0xC0)),
        "a type that changes": [(fu(0x80), False), (fu(0x40, kind=1), True)],
        "another unit inside": [(fu(0x80), False), (IDR + b"x" * 50, True)],
        "a fragment of no header": one(b"\x7c"),
        "an empty payload": one(b""),
        "an aggregate of nothing": one(b"\x78"),
        "an aggregate that ends in a size": one(stap(52) + b"\x00"),
        "an aggregate of an empty unit": one(b"\x78\x00\x00"),
        "an aggregate past its end": one(stap(52, 5000)),
        "an aggregate with another inside": one(b"\x78\x00\x04\x78\x00\x01\x65"),
        "STAP-B": one(b"\x79\x00\x00" + stap(52)[1:]),
        "MTAP16": one(b"\x7a\x00\x00" + bytes(60)),
        "FU-B": one(b"\x7d\x85\x00\x00" + bytes(60)),
        "type 0": one(b"\x60" + bytes(60)),
        "type 31": one(b"\x7f" + bytes(60)),
    },
    {
        "a fragment that never ends": [(fu(0x80), False), (fu(0), True)],
        "an empty fragment": [(fu(0x80), False), (fu(0, b""), False), (fu(0x40), True)],
        "the forbidden bit": one(b"\xe5" + IDR[1:] + b"x" * 50),
        "a byte": one(b"\x65"),
        "zeros": one(b"\x65" + bytes(1000)),
        "start codes": one(b"\x65" + b"\x00\x00\x01" * 400),
        "start codes alone": one(b"\x00\x00\x00\x01" * 300),
        "a byte stream": one(b"\x00\x00\x00\x01\x65\x88" + b"x" * 20 + b"\x00\x00\x01\x67\x00\x00\x01\x68"),
    },
)

H265_SETS = (
    "sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwA8lZgJ;"
    "sprop-sps=QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA==;sprop-pps=RAHBcrRiQA=="
)
H265_IDR = b"\x26\x01\xaf"


def hevc_fu(flags: int, body: bytes = b"x" * 100, kind: int = 19) -> bytes:
    return bytes((0x62, 0x01, flags | kind)) + body


def ap(*sizes: int) -> bytes:
    return b"\x60\x01" + b"".join(struct.pack(">H", size) + H265_IDR + b"x" * 50 for size in sizes)


H265_FORMAT = Format(
    media("video", "H265/90000", H265_SETS),
    after(H265_IDR),
    {
        "a fragment without a start": [(hevc_fu(0), False), (hevc_fu(0x40), True)],
        "a start twice": [(hevc_fu(0x80), False), (hevc_fu(0x80), False)],
        "start and end": one(hevc_fu(0xC0)),
        "a type that changes": [(hevc_fu(0x80), False), (hevc_fu(0x40, kind=1), True)],
        "a fragment of no data": one(hevc_fu(0x80, b"")),
        "an aggregate of nothing": one(b"\x60\x01\x00"),
        "an aggregate past its end": one(ap(53, 5000)),
        "an aggregate with DON": one(b"\x60\x01\x00\x00" + ap(53)[2:]),
        "PACI": one(b"\x64\x01" + bytes(60)),
        "a header of one byte": one(b"\x26"),
        "an empty payload": one(b""),
    },
    {
        "a fragment that never ends": [(hevc_fu(0x80), False), (hevc_fu(0), True)],
        "a fragment with DON": [(hevc_fu(0x80, b"\x00\x00" + b"x" * 50), False), (hevc_fu(0x40), True)],
        "type 47": one(b"\x5e\x01" + bytes(60)),
        "temporal id 0": one(b"\x26\x00" + bytes(60)),
        "another layer": one(b"\x27\xf9\xaf" + b"x" * 60),
    },
)


def au(bits: int, *headers: int, data: bytes = b"x" * 40) -> bytes:
    return struct.pack(">H", bits) + b"".join(struct.pack(">H", h) for h in headers) + data


GENERIC = "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190"
AAC_FORMAT = Format(
    AAC.replace("97", "96").replace("trackID=1", "trackID=0"),
    lambda text: au(16, (len(text) + 40) << 3, data=text + b"x" * 40),
    {
        "headers of no bits": one(au(0, 40 << 3)),
        "headers past the end": one(au(0xFFFF, 40 << 3)),
        "a unit of no bytes": one(au(16, 0)),
        "a thousand units": one(au(16_000, *[8 << 3] * 1000, data=b"x" * 40)),
        "a thousand units of no bytes": one(au(16_000, *[0] * 1000)),
        "units past the end": one(au(32, 20 << 3, 30 << 3)),
        "interleaved units": one(au(32, 20 << 3, 20 << 3 | 1)),
        "a fragment of another size": [(au(16, 200 << 3), False), (au(16, 300 << 3), True)],
        "a unit in a fragmented one": [(au(16, 200 << 3), False), (au(16, 40 << 3), True)],
        "a fragment of nothing": one(au(16, 200 << 3, data=b"")),
        "an empty payload": one(b""),
        "a byte": one(b"\x00"),
        "headers alone": one(b"\x00\x10"),
    },
    {
        "a unit of 8191 bytes that never comes": [(au(16, 0xFFF8), False)] * 20,
        "headers of odd bits": one(au(17, 40 << 3, 40 << 3)),
        "a first index": one(au(16, 40 << 3 | 7)),
    },
)

OPUS_FORMAT = Format(
    media("audio", "opus/48000/2", "sprop-stereo=1"),
    after(b"\x7c"),
    {
        "an empty payload": one(b""),
        "code 3 of no frames": one(b"\x7f\x00" + b"x" * 40),
        "code 3 without its count": one(b"\x7f"),
        "code 3 of 63 frames of 20 ms": one(b"\x7f\x3f" + b"x" * 100),
        "120 ms and more": one(b"\x1b\x03" + b"x" * 40),
    },
    {
        "code 3 of 48 frames of 2.5 ms": one(b"\xe3\x30" + b"x" * 100),
        "code 2 of lengths past the end": one(b"\x7e\xff\xff\xff"),
        "a table of contents alone": one(b"\x7c"),
        "padding past the end": one(b"\x7f\x41\xff\xff\xff"),
    },
)

LATM_FORMAT = Format(
    media("audio", "MP4A-LATM/48000/2", "cpresent=0;config=400023203fc0"),
    lambda text: bytes((len(text) + 40,)) + text + b"x" * 40,
    {
        "a unit past the end": one(b"\xff\xff\x80" + b"x" * 40),
        "a length that never ends": one(b"\xff" * 1000),
        "a megabyte that never ends": [(b"\x80" * 60_000, False)] * 20,
    },
    {"a unit of no bytes": one(b"\x00"), "a unit that never ends": [(b"\x80" * 100, False)] * 20},
)

VP8_KEY = b"\x10" + b"\x10\x02\x00\x9d\x01\x2a\xa0\x00\x78\x00"
VP8_FORMAT = Format(
    media("video", "VP8/90000"),
    after(VP8_KEY),
    {
        "an empty payload": one(b""),
        "a descriptor alone": one(b"\x10"),
        "an extension that is not there": one(b"\x90"),
        "a picture id that is not there": one(b"\x90\x80"),
        "all extensions and no payload": one(b"\x90\xf0\x80\x01\x02\x03"),
        "a frame inside another": [(VP8_KEY + b"x" * 40, False), (VP8_KEY + b"x" * 40, True)],
        "no start code": one(b"\x10\x10\x02\x00" + bytes(40)),
        "a key frame cut": one(VP8_KEY[:8]),
        "a picture of no size": one(VP8_KEY[:7] + bytes(40)),
        "a frame of two bytes": one(b"\x10\x11\x02"),
        "no beginning": one(b"\x00" + b"x" * 40),
    },
    {"never ending": [(VP8_KEY + b"x" * 40, False), (b"\x00" + b"x" * 1000, False)]},
)

VP9_KEY = captures.flv_bodies("vp9", 5)[1][0][:30]
VP9_FORMAT = Format(
    media("video", "VP9/90000"),
    after(b"\x0c" + VP9_KEY),
    {
        "an empty payload": one(b""),
        "a descriptor alone": one(b"\x0c"),
        "a picture id that is not there": one(b"\x8c"),
        "references without end": one(b"\xdc\x01\x01\x01\x01\x00"),
        "a structure that is not there": one(b"\x0e\xf8"),
        "a structure of 255 pictures": one(b"\x0e\x08\xff" + b"\xff" * 200),
        "no sync code": one(b"\x0c\x82\x00\x00\x00\x00\x00\x00\x00"),
        "a frame that begins inside another": [(b"\x08" + VP9_KEY, False), (b"\x0c" + VP9_KEY, True)],
        "a picture that ends inside a frame": one(b"\x08" + VP9_KEY),
        "nine layers": [(bytes((0x2C, n << 1 & 0x0E, 0)) + VP9_KEY, n == 8) for n in range(9)],
        "no beginning": one(b"\x04" + b"x" * 40),
    },
    {"never ending": [(b"\x08" + VP9_KEY, False), (b"\x00" + b"x" * 1000, False)]},
)

AV1_HEADER = next(p for p, _, _ in captures.rtp("ffmpeg-av1"))
AV1_SEQUENCE = AV1_HEADER[2 : 2 + AV1_HEADER[1]]
AV1_KEY = b"\x30\x10"
AV1_FORMAT = Format(
    media("video", "AV1/90000"),
    after(b"\x28" + bytes((len(AV1_SEQUENCE),)) + AV1_SEQUENCE + AV1_KEY),
    {
        "an empty payload": one(b""),
        "a header alone": one(b"\x10"),
        "a length of ten bytes": one(b"\x00" + b"\xff" * 10 + b"\x01" + b"x" * 40),
        "a length past the end": one(b"\x00\x7f" + AV1_KEY),
        "a length of 0": one(b"\x00\x00" + AV1_KEY),
        "fewer elements than W": one(b"\x30\x02" + AV1_KEY),
        "continued, and begins a sequence": one(b"\x98" + AV1_KEY),
        "continues what nobody began": one(b"\x90" + AV1_KEY + b"x" * 40),
        "begun and not continued": [(b"\x50" + AV1_KEY, False), (b"\x10" + AV1_KEY, True)],
        "a unit that ends inside an OBU": one(b"\x50" + AV1_KEY),
        "a sequence header cut": one(b"\x18" + AV1_SEQUENCE[:3]),
    },
    {
        "a temporal delimiter alone": one(b"\x10\x12"),
        "a tile list": one(b"\x10\x40" + b"x" * 40),
        "a reserved OBU": one(b"\x10\x48" + b"x" * 40),
    },
)

FORMATS = {
    "P10_h264": H264_FORMAT,
    "P10_h265": H265_FORMAT,
    "P11_aac": AAC_FORMAT,
    "P11_opus": OPUS_FORMAT,
    "P11_latm": LATM_FORMAT,
    "P12_vp8": VP8_FORMAT,
    "P12_vp9": VP9_FORMAT,
    "P12_av1": AV1_FORMAT,
}


@pytest.mark.parametrize("name", FORMATS)
def test_P10_to_P12_payloads_of_no_sense_cost_their_frame_only(faults: Rig, name: str) -> None:
    form = FORMATS[name]
    with faults.watched(rss=4 * MIB), Source(faults, form.media, whole=form.whole) as source:
        source.goes_on()
        for what, parts in (form.counted | form.odd).items():
            for payload, marker in parts:
                source.payload(payload, marker=marker)
            # A frame may end with the next one's first packet.
            source.timestamp += 3600
            try:
                source.goes_on()
            except (AssertionError, OSError) as error:
                error.add_note(what)
                raise
        bad = source.leave().get("bad_packets", 0)
        assert isinstance(bad, int)
        assert bad >= len(form.counted)


@pytest.mark.parametrize("name", ["P10_h264", "P10_h265"])
def test_P10_unit_that_never_ends_is_bounded(faults: Rig, name: str) -> None:
    """8 MiB of one picture and no more, in large fragments and in very many small ones."""
    form = FORMATS[name]
    fragment = fu if name == "P10_h264" else hevc_fu
    with faults.watched(rss=24 * MIB), Source(faults, form.media, whole=form.whole) as source:
        source.goes_on()
        for size, count in ((50_000, 800), (1, 40_000)):
            source.payload(fragment(0x80), marker=False)
            body = fragment(0, b"x" * size)
            for _ in range(count):
                source.payload(body, marker=False)
            source.timestamp += 3600
            source.goes_on()


def test_P11_units_without_headers(faults: Rig) -> None:
    """A size of 0 bits is allowed where units have one size, or fill their packet: nothing is divided by it."""
    for fmtp in (
        "sizelength=0;indexlength=0",
        "sizelength=0;constantsize=20",
        "constantsize=65535;indexlength=3",
    ):
        track = media("audio", "mpeg4-generic/48000/2", f"mode=AAC-hbr;{fmtp};config=1190")
        with faults.watched(), client(faults) as peer:
            if peer.announce(track).status != 200:
                continue
            with Source(faults, track, whole=after(b"")) as source:
                source.frame()
                for size in (0, 1, 2, 3, 19, 20, 21, 40, 60_000):
                    source.payload(bytes(size))
                    source.payload(b"\xff" * size)
                source.frame()
                assert source.client.ask("OPTIONS").status == 200


def test_P12_jpeg_is_left_out(faults: Rig) -> None:
    """No plugin reads it, so that there is no payload of its to be wrong."""
    with faults.watched(), client(faults) as peer:
        reply = peer.ask(
            "ANNOUNCE", "", "Content-Type: application/sdp", body=sdp("m=video 0 RTP/AVP 26\r\n")
        )
        assert reply.status == 415
