"""The parsers of H.264 and H.265, their parameter sets, records, samples and RTP payloads."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Kind, Track
from penstock_codecs.h264 import H264, H264Config
from penstock_codecs.h264 import normalize as normalize_h264
from penstock_codecs.h264.config import merge as merge_h264
from penstock_codecs.h264.record import build_record as build_avc
from penstock_codecs.h264.record import parse_record as parse_avc
from penstock_codecs.h264.rtp import H264Rtp
from penstock_codecs.h264.sps import parse_sps as parse_sps_h264
from penstock_codecs.h264.unit import NALS as H264_NALS
from penstock_codecs.h265 import H265, H265Config
from penstock_codecs.h265 import normalize as normalize_h265
from penstock_codecs.h265.config import merge as merge_h265
from penstock_codecs.h265.record import build_record as build_hevc
from penstock_codecs.h265.record import parse_record as parse_hevc
from penstock_codecs.h265.rtp import H265Rtp
from penstock_codecs.h265.sps import parse_sps as parse_sps_h265
from penstock_codecs.h265.unit import NALS as H265_NALS
from penstock_formats.flv import FlvBinding
from penstock_formats.nal import join_annex_b, join_lengths, split_annex_b, split_lengths
from penstock_formats.nal.flv import NalFlv
from penstock_formats.rtp.binding import Depacketizer, RtpFormat
from tests.codecs.h26x import H264_FULL_SPS, H264_LEVEL_1B_SPS, H265_FULL_SPS
from tests.contracts.case import ParserCase

MARKER = 0x80
LOST = 0x40
NEW_TIMESTAMP = 0x20

H264_SPS = [
    b64decode(text)
    for text in (
        "Z0LADNoFBn58BEAAAAMAQAAADIPFCqg=",
        "Z0LAKNoB4AiflwEQAAADABAAAAMDwPGDKg==",
        "Z2QAFazZQUM/JgIgAAADACAAAAZD4oUywA==",
        "Z3oADLbNlBQZ+NwEQAAAAwBAAAAMg8UKZYA=",
        "Z/QADJGbKCgz8bgIgAAAAwCAAAAZMBAAkngAJJ9JBgDxQplg",
    )
] + [H264_FULL_SPS, H264_LEVEL_1B_SPS]
H264_PPS = b"\x68\xef\x83\x9c\xb0"
H265_VPS = b64decode("QAEMAf//AWAAAAMAkAAAAwAAAwB4lZQJ")
H265_SPS = [
    b64decode(text)
    for text in (
        "QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC8BaAgAAB9IAAOpgE",
        "QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA==",
    )
] + [H265_FULL_SPS]
H265_PPS = b64decode("RAHAc8GJ")

H264_RECORDS = [build_avc(H264Config((sps,), (H264_PPS,))) for sps in H264_SPS]
H265_RECORDS = [build_hevc(H265Config((H265_VPS,), (sps,), (H265_PPS,))) for sps in H265_SPS]

H264_UNITS = [
    H264_SPS[0],
    H264_PPS,
    b"\x06\x06\x01\xc0\x80",
    b"\x65\x88" + bytes(range(1, 200)),
    b"\x41\x1a\x10",
]
H264_SEI = [
    b"\x06\x05\xff\x01" + bytes(256) + b"\x06\x01\x84\x80",
    b"\x06\xff\x01\x80",
    b"\x06\x05\xff",
    b"\x06" + b"\x01\x01\x55" * 40 + b"\x80",
]
H265_UNITS = [H265_VPS, H265_SPS[0], H265_PPS, b"\x28\x01\xaf" + bytes(range(1, 200)), b"\x02\x01\x50\x10"]


def _h264_pps(number: int) -> bytes:
    """A picture parameter set of that id, and nothing in it that would be read."""
    bits = f"{number + 1:b}"
    bits = "0" * (len(bits) - 1) + bits + "1"
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return b"\x68" + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\x80"


def _packet(payload: bytes, flags: int) -> bytes:
    """The framing of these cases: flags, 16 bits of length, payload."""
    return bytes((flags,)) + len(payload).to_bytes(2, "big") + payload


def _depacketize(make: Callable[[], Depacketizer]) -> Callable[[bytes], list[Any]]:
    def parse(data: bytes) -> list[Any]:
        depacketizer = make()
        found: list[Any] = []
        position = timestamp = 0
        fault: ProtocolViolation | None = None
        while position + 3 <= len(data):
            flags = data[position]
            start = position + 3
            position = start + int.from_bytes(data[position + 1 : start], "big")
            timestamp += flags & NEW_TIMESTAMP
            try:
                found += depacketizer.push(
                    data[start:position], timestamp, flags & MARKER != 0, flags & LOST != 0
                )
            except ProtocolViolation as violation:
                fault = violation
        try:
            found += depacketizer.flush()
        except ProtocolViolation as violation:
            fault = violation
        if fault is not None and not found:
            raise fault
        return found

    return parse


def _packets(binding: H264Rtp | H265Rtp, frames: list[Frame]) -> bytes:
    out: list[bytes] = []
    packetizer = binding.packetizer(frames[0].track, 64)
    for frame in frames:
        payloads = packetizer.packetize(frame)
        for index, payload in enumerate(payloads):
            last = MARKER if index == len(payloads) - 1 else 0
            out.append(_packet(payload, last | (NEW_TIMESTAMP if index == 0 else 0)))
    return b"".join(out)


def _frames(track: Track, units: list[bytes]) -> list[Frame]:
    return [Frame(track, 0, 0, tuple(units[3:4]), True), Frame(track, 0, 0, tuple(units[4:]), False)]


H264_TRACK = Track(0, H264, 90000, H264Config((H264_SPS[0],), (H264_PPS,)))
H265_TRACK = Track(0, H265, 90000, H265Config((H265_VPS,), (H265_SPS[0],), (H265_PPS,)))

FRAGMENTS = [
    _packet(b"\x5c\x81\x9a", NEW_TIMESTAMP) + _packet(last, 0)
    for last in (b"\x5c\x81\x9a", b"\x41\x9a", b"\x5c\x05\x9a", b"\x5c\x41\x9a")
] + [
    _packet(b"\x5c\x01\x9a", NEW_TIMESTAMP),
    _packet(b"\x5c\x81\x9a", NEW_TIMESTAMP) + _packet(b"\x5c\x01\x9a", 0) * 20_000,
    _packet(b"\x06\x80", NEW_TIMESTAMP) * 1025,
    _packet(b"\x06\x80", NEW_TIMESTAMP) + _packet(b"\x5c\x86\x9a", 0) + _packet(b"\x5c\x46\x9a", 0) * 2,
    _packet(b"\x06\x80", NEW_TIMESTAMP) + _packet(b"\x06\x80", 0) * 1100,
    (_packet(b"\x5c\x86\x9a", 0) + _packet(b"\x5c\x46\x9a", 0)) * 1100,
    _packet(b"\x41" + bytes(65_000), 0) * 400,
    _packet(b"\x41\x9a", NEW_TIMESTAMP | MARKER)
    + _packet(b"\x5c\x81\x1a", 0)
    + _packet(b"\x5c\x41\x1a", MARKER),
]
H264_PACKETS = [
    _packets(H264Rtp(), _frames(H264_TRACK, H264_UNITS)),
    _packet(b"\x00\x00\x00\x01\x41\x9a\x00\x00\x01\x41\x1a", NEW_TIMESTAMP)
    + _packet(b"\x41\x9a", NEW_TIMESTAMP | MARKER)
    + _packet(b"\x41\x1a", MARKER)
    + _packet(b"\x41\x9a", NEW_TIMESTAMP | LOST)
    + _packet(b"\x41\x1a", LOST)
    + _packet(b"\x5c\x81\x9a", NEW_TIMESTAMP | MARKER),
    *FRAGMENTS,
]
H265_PACKETS = [
    _packets(H265Rtp(), _frames(H265_TRACK, H265_UNITS)),
    _packet(b"\x00\x00\x00\x01\x02\x01\xd0\x00\x00\x01\x02\x01\x50", NEW_TIMESTAMP)
    + _packet(b"\x02\x01\xd0", NEW_TIMESTAMP | MARKER)
    + _packet(b"\x02\x01\x50", MARKER),
]


def _sprop_h264(data: bytes) -> Any:
    return H264Rtp().accept(RtpFormat("H264", 90000, fmtp={"sprop-parameter-sets": data.decode("latin-1")}))[
        1
    ]


def _sprop_h265(data: bytes) -> Any:
    return H265Rtp().accept(RtpFormat("H265", 90000, fmtp={"sprop-sps": data.decode("latin-1")}))[1]


def _sample(normalize: Callable[..., Any]) -> Callable[[bytes], Any]:
    return lambda data: normalize(split_lengths(data), None)


def _flv(binding: FlvBinding, config: CodecConfig) -> Callable[[bytes], Any]:
    """A first byte of 0 says that a sequence header follows, otherwise a frame."""

    def parse(data: bytes) -> Any:
        if data[:1] == b"\0":
            return binding.parse_config(data[1:])
        found = binding.decode(data[1:], True, config)
        track = Track(1, Codec("video", Kind.VIDEO), 90_000, found.config or config)
        frame = Frame(track, 0, 0, found.units)
        # What a key frame says of its config after a change of it is no part of its normal form.
        for in_band in (False, True):
            if binding.decode(binding.encode(frame, in_band), True, config).units != found.units:
                raise ValueError("what is encoded here is decoded as something else")
        return found

    return parse


CASES = [
    ParserCase(
        name="h264-sps",
        parse=parse_sps_h264,
        valid=H264_SPS,
        modules=["penstock_codecs.h264.sps", "penstock_codecs.h264.level", "penstock_formats.bits"],
        seeds=[
            "mediacommon/pkg/codecs/h264/FuzzSPSUnmarshal",
            "mediacommon/pkg/codecs/h264/FuzzDTSExtractor",
        ],
    ),
    ParserCase(
        name="h265-sps",
        parse=parse_sps_h265,
        valid=H265_SPS,
        modules=["penstock_codecs.h265.sps", "penstock_codecs.h265.profile", "penstock_formats.bits"],
        seeds=[
            "mediacommon/pkg/codecs/h265/FuzzSPSUnmarshal",
            "mediacommon/pkg/codecs/h265/FuzzPPSUnmarshal",
            "mediacommon/pkg/codecs/h265/FuzzDTSExtractor",
        ],
    ),
    ParserCase(
        name="h264-record",
        parse=parse_avc,
        valid=H264_RECORDS,
        modules=["penstock_codecs.h264.record", "penstock_codecs.h264.config"],
        encode=build_avc,
    ),
    ParserCase(
        name="h265-record",
        parse=parse_hevc,
        valid=H265_RECORDS,
        modules=["penstock_codecs.h265.record", "penstock_codecs.h265.config"],
        encode=build_hevc,
    ),
    ParserCase(
        name="annex-b",
        parse=split_annex_b,
        valid=[
            join_annex_b(H264_UNITS),
            join_annex_b(H265_UNITS),
            bytes(5),
            b"\0\0\1" * 1025,
            join_annex_b([b"\x41"]) + b"\0\0\1",
        ],
        modules=["penstock_formats.nal.syntax"],
        encode=join_annex_b,
        seeds=["mediacommon/pkg/codecs/h264/FuzzAnnexBUnmarshal"],
    ),
    ParserCase(
        name="nal-lengths",
        parse=split_lengths,
        valid=[join_lengths(H264_UNITS), join_lengths(H265_UNITS), bytes(4 * 1025), bytes(4)],
        modules=["penstock_formats.nal.syntax"],
        encode=join_lengths,
        seeds=["mediacommon/pkg/codecs/h264/FuzzAVCCUnmarshal"],
    ),
    ParserCase(
        name="h264-sample",
        parse=_sample(normalize_h264),
        valid=[
            join_lengths(H264_UNITS),
            join_lengths([*H264_SEI, b"\x00", b"\x41\x9a\x10"]),
            join_lengths([b"\0\0\0\1" + H264_SPS[0], H264_PPS + b"\0\0", H264_UNITS[3]]),
            join_lengths([H264_SPS[0] + bytes(9000), H264_UNITS[3]]),
            join_lengths([*H264_SPS, H264_PPS, b"\x68\xff", b"\x68", H264_UNITS[3]]),
            join_lengths([H264_SPS[0], *(_h264_pps(i) for i in range(256)), H264_UNITS[3]]),
        ],
        modules=["penstock_codecs.h264.unit", "penstock_codecs.h264.config", "penstock_formats.nal.codec"],
    ),
    ParserCase(
        name="h265-sample",
        parse=_sample(normalize_h265),
        valid=[
            join_lengths(H265_UNITS),
            join_lengths([H265_VPS[:2], *H265_UNITS]),
            join_lengths([*H265_UNITS[:2], b"\x44", H265_UNITS[3]]),
        ],
        modules=["penstock_codecs.h265.unit", "penstock_codecs.h265.config", "penstock_formats.nal.codec"],
    ),
    ParserCase(
        name="h264-parameter-sets",
        parse=lambda data: (
            merge_h264(None, split_lengths(data)),
            H264Config(tuple(split_lengths(data)), ()).parsed,
        ),
        valid=[
            join_lengths([H264_SPS[0], H264_PPS]),
            b"",
            join_lengths([H264_SPS[0], b"\x41"]),
            bytes((0, 0, 0, 1, 0)),
        ],
        modules=["penstock_codecs.h264.config"],
    ),
    ParserCase(
        name="h265-parameter-sets",
        parse=lambda data: (
            merge_h265(None, split_lengths(data)),
            H265Config((), tuple(split_lengths(data)), ()).parsed,
        ),
        valid=[
            join_lengths([H265_SPS[0], H265_VPS, H265_PPS]),
            b"",
            join_lengths([H265_SPS[0], b"\x02\1"]),
            join_lengths([H265_SPS[0], H265_VPS[:2]]),
        ],
        modules=["penstock_codecs.h265.config"],
    ),
    ParserCase(
        name="h264-flv",
        parse=_flv(NalFlv(H264_NALS, 7, "avc1"), H264Config((H264_SPS[0],), (H264_PPS,))),
        valid=[b"\0" + H264_RECORDS[0], b"\1" + join_lengths(H264_UNITS)],
        modules=["penstock_formats.nal.flv"],
    ),
    ParserCase(
        name="h265-flv",
        parse=_flv(NalFlv(H265_NALS, 12, "hvc1"), H265Config((H265_VPS,), (H265_SPS[0],), (H265_PPS,))),
        valid=[b"\0" + H265_RECORDS[0], b"\1" + join_lengths(H265_UNITS)],
        modules=["penstock_formats.nal.flv"],
    ),
    ParserCase(
        name="h264-rtp",
        parse=_depacketize(lambda: H264Rtp().depacketizer(RtpFormat("H264", 90000))),
        valid=H264_PACKETS,
        modules=["penstock_formats.nal.depacketizer", "penstock_codecs.h264.payload"],
        seeds=["gortsplib/pkg/format/rtph264/FuzzDecoder"],
    ),
    ParserCase(
        name="h265-rtp",
        parse=_depacketize(lambda: H265Rtp().depacketizer(RtpFormat("H265", 90000))),
        valid=H265_PACKETS,
        modules=["penstock_formats.nal.depacketizer", "penstock_codecs.h265.payload"],
        seeds=["gortsplib/pkg/format/rtph265/FuzzDecoder"],
    ),
    ParserCase(
        name="h264-sprop",
        parse=_sprop_h264,
        valid=[b"Z2QADKzZQUGfnwEQAAADABAAAAMDIPFCmWA=,aO+DnLA="],
        modules=["penstock_formats.nal.rtp"],
    ),
    ParserCase(
        name="h265-sprop",
        parse=_sprop_h265,
        valid=[b"QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA=="],
        modules=["penstock_formats.nal.rtp"],
    ),
]
