"""Flipbook, a video codec that nobody else has: a frame is one unit, which only its decoder understands.

RTP carries it as ``X-FLIPBOOK/90000``: a byte of flags, then a part of the unit.
"""

from attrs import frozen

import penstock
from penstock_formats.rtp import RTP, AccessUnit, Depacketizer, RtpFormat

FLIPBOOK = penstock.Codec("flipbook", penstock.Kind.VIDEO)
FIRST, LAST, KEY = 0x80, 0x40, 0x20
MAX_UNIT = 4 << 20


@frozen
class FlipbookConfig(penstock.CodecConfig):
    width: int
    height: int


class FlipbookInfo(penstock.CodecInfo):
    def describe(self, config: penstock.CodecConfig) -> penstock.VideoInfo:
        size = FlipbookConfig.of(config)
        return penstock.VideoInfo(size.width, size.height)

    def codecs_string(self, config: penstock.CodecConfig) -> str:
        return FLIPBOOK.name


@frozen
class FlipbookPacketizer:
    size: int

    def packetize(self, frame: penstock.Frame) -> list[bytes]:
        unit, key = frame.units[0], KEY if frame.key else 0
        parts = [unit[at : at + self.size] for at in range(0, len(unit), self.size)]
        last = len(parts) - 1
        return [bytes((key | FIRST * (n == 0) | LAST * (n == last),)) + part for n, part in enumerate(parts)]


class FlipbookDepacketizer(Depacketizer):
    def __init__(self) -> None:
        self._unit = bytearray()
        self._whole = False

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        flags = payload[0] if payload else 0
        if flags & FIRST or lost:
            self._unit, self._whole = bytearray(), bool(flags & FIRST)
        if len(payload) < 2 or len(self._unit) > MAX_UNIT:
            self._whole = False
            raise penstock.ProtocolViolation("a Flipbook packet is empty, or its unit too long")
        self._unit += payload[1:] if self._whole else b""
        whole = self._whole and flags & LAST
        return [AccessUnit(timestamp, (bytes(self._unit),), key=bool(flags & KEY))] if whole else []


class FlipbookRtp:
    encodings = ("X-FLIPBOOK",)
    marks_last = True

    def describe(self, track: penstock.Track) -> RtpFormat:
        config = FlipbookConfig.of(track.config)
        return RtpFormat(
            "X-FLIPBOOK", 90_000, fmtp={"width": str(config.width), "height": str(config.height)}
        )

    def accept(self, fmt: RtpFormat) -> tuple[penstock.Codec, penstock.CodecConfig]:
        return FLIPBOOK, FlipbookConfig(fmt.number("width"), fmt.number("height"))

    def packetizer(self, track: penstock.Track, max_payload: int) -> FlipbookPacketizer:
        return FlipbookPacketizer(max_payload - 1)

    def depacketizer(self, fmt: RtpFormat) -> FlipbookDepacketizer:
        return FlipbookDepacketizer()


class FlipbookPlugin(penstock.Plugin):
    name, version = "flipbook", "1.0.0"

    @penstock.hookimpl
    def register(self, registry: penstock.Registry) -> None:
        registry.add(FLIPBOOK)
        registry.bind(FLIPBOOK, penstock.INFO, FlipbookInfo())
        registry.bind(FLIPBOOK, RTP, FlipbookRtp())


plugin = FlipbookPlugin()
