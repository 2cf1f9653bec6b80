"""Sound of one codec to sound of another, by FFmpeg's libraries; no event loop, so that it may run in any thread."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from attrs import frozen
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.codec import Codec
from av.error import FFmpegError
from av.packet import Packet

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, Frame, Track, to_ns
from penstock.registry import INFO, AudioInfo, Registry
from penstock_formats.flv import FLV, FlvBinding
from penstock_transcode.decoders import SOUND
from penstock_transcode.timeline import Timeline


@frozen
class Encoding:
    """How an encoder of FFmpeg is used: `samples` are the format that it takes."""

    encoder: str
    samples: str
    bit_rate: int
    options: dict[str, str]
    rate: int = 48_000

    def open(self, channels: int) -> AudioCodecContext:
        context = Codec(self.encoder, "w").create("audio")
        context.sample_rate, context.format, context.bit_rate = self.rate, self.samples, self.bit_rate
        context.layout, context.options = _layout(channels), dict(self.options)
        context.time_base = Fraction(1, self.rate)
        context.open()
        return context

    def config(self, binding: FlvBinding, channels: int) -> CodecConfig:
        """What decoders of the result must know."""
        return binding.parse_config(bytes(self.open(channels).extradata or b""))


def _layout(channels: int) -> str:
    return "mono" if channels == 1 else "stereo"


class Coded(NamedTuple):
    """One frame of the result; times in ns on the stream's clock."""

    data: bytes
    pts: int
    duration: int


class Sound:
    """One track on its way to another codec. What cannot be decoded is left out, and what follows keeps its time."""

    def __init__(self, registry: Registry, encoding: Encoding, channels: int) -> None:
        self._registry = registry
        self._encoding = encoding
        # PyAV types packets by a stream, which there is none of here.
        self._encoder: Any = encoding.open(channels)
        self._channels = channels
        self._config: CodecConfig | None = None
        self._decoder: Any = None
        self._binding: FlvBinding | None = None
        self._resampler: AudioResampler | None = None
        self._shape: tuple[object, ...] = ()
        self._timeline = Timeline(encoding.rate)
        self._taken = 0
        """Samples that were given to the resampler it has now, at their own rate; `_from` is the number of its first."""
        self._from = 0
        self._given = 0
        """Samples that were given to the encoder."""

    def transcode(self, frames: Iterable[Frame]) -> list[Coded]:
        """What comes out by these frames of the source."""
        found: list[Coded] = []
        for frame in frames:
            if frame.track.config != self._config:
                self._configure(frame.track)
            for decoded in self._played(frame):
                for resampled in self._resample(decoded, frame.pts):
                    resampled.pts = self._given
                    self._given += resampled.samples
                    found += [self._coded(packet) for packet in self._encoder.encode(resampled)]
        return found

    def _configure(self, track: Track) -> None:
        self._config = track.config
        self._binding = binding = self._registry.get(track.codec, FLV)
        info = self._registry.get(track.codec, INFO)
        if track.config is None or binding is None or info is None:
            raise ProtocolViolation(f"nothing is known of {track.codec.name}")
        decoder = Codec(SOUND[track.codec.name], "r").create("audio")
        described = info.describe(track.config)
        if isinstance(described, AudioInfo):
            decoder.sample_rate, decoder.layout = described.sample_rate, _layout(described.channels)
        extradata = binding.config_record(track.config)
        if extradata:
            decoder.extradata = extradata
        self._decoder = decoder

    def _played(self, frame: Frame) -> list[AudioFrame]:
        if self._decoder is None or self._binding is None:
            return []
        try:
            return list(self._decoder.decode(Packet(self._binding.encode(frame))))
        except FFmpegError:
            return []

    def _resample(self, decoded: AudioFrame, pts: int) -> list[AudioFrame]:
        rate, shape = decoded.sample_rate, (decoded.format.name, decoded.layout.name, decoded.sample_rate)
        if self._resampler is None or shape != self._shape:
            encoding = self._encoding
            self._resampler = AudioResampler(
                encoding.samples, _layout(self._channels), encoding.rate, self._encoder.frame_size
            )
            self._shape, self._taken, self._from = shape, 0, self._given
        self._timeline.take(pts, self._from + round(self._taken * self._encoding.rate / rate))
        self._taken += decoded.samples
        decoded.pts = None
        return self._resampler.resample(decoded)

    def _coded(self, packet: Any) -> Coded:
        number = packet.pts if packet.pts is not None else self._given
        return Coded(
            bytes(packet), self._timeline.at(number), to_ns(self._encoder.frame_size, self._encoding.rate)
        )
