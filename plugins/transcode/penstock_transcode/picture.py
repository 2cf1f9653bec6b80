"""Pictures of any codec to H.264 that every browser shows, by FFmpeg's libraries; no event loop, so that any thread may do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from attrs import frozen
from av.codec.codec import Codec as Coding
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from penstock.errors import ProtocolViolation
from penstock.media import NS, Codec, CodecConfig, Epoch, Event, Frame, Track
from penstock.registry import Registry
from penstock_formats.flv import FLV, FlvBinding
from penstock_formats.mpegts import MPEGTS
from penstock_formats.mpegts.binding import PesReader, TsFormat
from penstock_transcode.decoders import PICTURES

KEY_NS = 2 * NS
"""The longest that key frames are apart: who comes begins with the last one."""
LATE_NS = NS // 2
"""A picture that is so late is decoded, as others refer to it, and not encoded: what is shown moves less smoothly, and no
delay grows."""
FORMATS = ("yuv420p", "yuvj420p")
"""What Constrained Baseline has: 8 bits, 4:2:0; all else is converted."""
UNTOLD = 2
"""Of colours (ISO/IEC 23091-2)."""
OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "crf": "23", "forced-idr": "1"}
"""Each picture comes out as it goes in, and none refers to a later one. x264's Baseline is Constrained Baseline."""
ENDLESS = 1 << 14
"""Pictures between two key frames that x264 makes by itself: these are asked for by time."""
STREAM_TYPE = 0x1B
"""H.264 in H.222.0 table 2-34: its byte stream is what encoders give."""


@frozen
class Shape:
    """What an encoder is opened for: even sizes in pixels, colours by ISO/IEC 23091-2, and the width to height of a pixel."""

    width: int
    height: int
    format: str = FORMATS[0]
    primaries: int = UNTOLD
    transfer: int = UNTOLD
    matrix: int = UNTOLD
    range: int = 0
    aspect: Fraction | None = None

    @classmethod
    def sized(cls, width: int, height: int) -> Shape:
        """Of a picture that nothing else is known of."""
        return cls(width & ~1, height & ~1)

    @classmethod
    def of(cls, picture: VideoFrame, aspect: Fraction | None) -> Shape:
        return cls(
            picture.width & ~1,
            picture.height & ~1,
            picture.format.name if picture.format.name in FORMATS else FORMATS[0],
            picture.color_primaries,
            picture.color_trc,
            picture.colorspace,
            picture.color_range,
            aspect or None,
        )


@frozen
class PictureEncoding:
    """How x264 is used: quality is constant as long as that takes no more than `bit_rate`; `rate` is in pictures a second."""

    bit_rate: int
    rate: Fraction
    threads: int

    def open(self, shape: Shape) -> Any:
        # PyAV types packets by a stream, which there is none of here.
        context = Coding("libx264", "w").create("video")
        context.width, context.height, context.pix_fmt = shape.width, shape.height, shape.format
        context.time_base, context.framerate = 1 / self.rate, self.rate
        context.gop_size, context.thread_count = ENDLESS, self.threads
        context.color_primaries, context.color_trc = shape.primaries, shape.transfer
        context.colorspace, context.color_range = shape.matrix, shape.range
        if shape.aspect is not None:
            context.sample_aspect_ratio = shape.aspect
        context.options = {**OPTIONS, "maxrate": str(self.bit_rate), "bufsize": str(self.bit_rate)}
        context.open()
        return context

    def config(self, registry: Registry, codec: Codec, shape: Shape) -> CodecConfig | None:
        """What decoders of the result must know; None where no plugin reads that codec."""
        units = _reader(registry, codec).push(_first(self, shape), 0, 0, False)
        return units[0].config if units else None


@lru_cache(maxsize=64)
def _first(encoding: PictureEncoding, shape: Shape) -> bytes:
    """A picture as that encoder makes it, with its parameter sets; made once for all streams that are alike."""
    packets = encoding.open(shape).encode(VideoFrame(shape.width, shape.height, shape.format))
    return b"".join(map(bytes, packets))


def _reader(registry: Registry, codec: Codec) -> PesReader:
    binding = registry.get(codec, MPEGTS)
    if binding is None:
        raise ProtocolViolation(f"nothing is known of {codec.name}")
    return binding.reader(TsFormat(STREAM_TYPE))


class CodedPicture(NamedTuple):
    """One picture of the result; `pts` in ns on the stream's clock, `config` where it changed."""

    units: tuple[bytes, ...]
    pts: int
    key: bool
    config: CodecConfig | None


class Pictures:
    """One track on its way to H.264. What cannot be decoded is left out, and what follows keeps its time."""

    def __init__(
        self,
        registry: Registry,
        codec: Codec,
        encoding: PictureEncoding,
        clock: Callable[[], int],
    ) -> None:
        """`clock` is that of `Frame.arrival`."""
        self.left_out = 0
        """Pictures that came since and of which nothing was made, because there was no time."""
        self._registry = registry
        self._encoding = encoding
        self._reader = _reader(registry, codec)
        self._clock = clock
        self._begun = clock()
        self._config: CodecConfig | None = None
        self._decoder: Any = None
        self._binding: FlvBinding | None = None
        self._encoder: Any = None
        self._shape: Shape | None = None
        self._first: int | None = None
        """The time of the key frame that decoding began with, None before that."""
        self._key_wanted = True
        self._last_key = 0
        self._given = 0
        """Pictures that were given to the encoder."""

    def request_key_frame(self) -> None:
        """The next picture is to be a key frame."""
        self._key_wanted = True

    def caught_up(self) -> None:
        """All is decoded that was there to begin with: what came meanwhile is late for that, and not for a slow machine."""
        self._begun = self._clock()

    def current(self, events: Sequence[Event]) -> Sequence[Event]:
        """What is worth its time of what waits: where that is late already, all from its last key frame on."""
        last = next((n for n in range(len(events) - 1, 0, -1) if _is_key(events[n])), 0)
        before = [event for event in events[:last] if isinstance(event, Frame)]
        if not before or not self._is_late(before[0]):
            return events
        self._begin()
        self.left_out += sum(frame.arrival > self._begun for frame in before)
        return events[last:]

    def transcode(self, events: Sequence[Event], more: bool) -> list[CodedPicture]:
        """What comes out by these events of the source; `more` tells that others wait behind them."""
        found: list[CodedPicture] = []
        for number, event in enumerate(events):
            if isinstance(event, Epoch):
                found += self._drained()
            if not isinstance(event, Frame):
                continue
            if event.track.config != self._config:
                found += self._drained()
                self._configure(event.track)
            if self._first is None:
                if not event.key:
                    continue
                self._first = event.pts
            # Where nothing else is there, even an old one is news.
            late = self._is_late(event) and (more or number + 1 < len(events))
            if late and event.arrival > self._begun:
                self.left_out += 1
            for picture in self._decoded(event, late):
                if not late:
                    found += self._coded(picture)
        return found

    def _is_late(self, frame: Frame) -> bool:
        return self._clock() - frame.arrival > LATE_NS

    def _begin(self) -> None:
        """What follows has nothing to do with what was."""
        self._config = self._decoder = self._first = None

    def _drained(self) -> list[CodedPicture]:
        """The last pictures of what was: a decoder keeps some back, to bring them into order."""
        found: list[CodedPicture] = []
        if self._decoder is not None and self._first is not None:
            for picture in self._pictures(self._decoder, None):
                found += self._coded(picture)
        self._begin()
        return found

    def _configure(self, track: Track) -> None:
        self._binding = binding = self._registry.get(track.codec, FLV)
        if track.config is None or binding is None:
            raise ProtocolViolation(f"nothing is known of {track.codec.name}")
        decoder = Coding(PICTURES[track.codec.name], "r").create("video")
        decoder.thread_count = 1
        record = binding.config_record(track.config)
        if record:
            decoder.extradata = record
        self._config, self._decoder = track.config, decoder

    def _decoded(self, frame: Frame, late: bool) -> Iterable[VideoFrame]:
        decoder, binding = self._decoder, self._binding
        if decoder is None or binding is None:
            return ()
        # What no other picture refers to is not even decoded, where it is not going to be shown.
        decoder.skip_frame = "NONREF" if late else "DEFAULT"
        packet = Packet(binding.encode(frame))
        packet.pts, packet.dts, packet.time_base = frame.pts, frame.dts, Fraction(1, NS)
        return self._pictures(decoder, packet)

    def _pictures(self, decoder: Any, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            decoded: list[VideoFrame] = decoder.decode(packet)
        except FFmpegError:
            return []
        # Pictures shown before the first key frame refer to what is not there.
        return [p for p in decoded if p.pts is not None and p.pts >= (self._first or 0)]

    def _coded(self, picture: VideoFrame) -> list[CodedPicture]:
        decoder, pts = self._decoder, picture.pts
        if decoder is None or pts is None:
            return []
        shape = Shape.of(picture, decoder.sample_aspect_ratio)
        if self._encoder is None or shape != self._shape:
            self._encoder, self._shape, self._key_wanted = self._encoding.open(shape), shape, True
        if (picture.width, picture.height, picture.format.name) != (shape.width, shape.height, shape.format):
            picture = picture.reformat(shape.width, shape.height, shape.format)
        key = self._key_wanted or pts - self._last_key >= KEY_NS
        # The decoder's own types would be taken for wishes.
        picture.pict_type = PictureType.I if key else PictureType.NONE
        picture.pts, picture.time_base = self._given, 1 / self._encoding.rate
        self._given += 1
        if key:
            self._key_wanted, self._last_key = False, pts
        data = b"".join(map(bytes, self._encoder.encode(picture)))
        return [CodedPicture(u.units, pts, u.key, u.config) for u in self._reader.push(data, 0, 0, False)]


def _is_key(event: Event) -> bool:
    return isinstance(event, Frame) and event.key
