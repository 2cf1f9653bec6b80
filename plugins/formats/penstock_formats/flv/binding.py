"""What FLV and RTMP need to know of a codec: its legacy number, its FourCC, its config record and its frames."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from penstock.media import CodecConfig, Frame
from penstock.registry import Capability


class FlvUnit(NamedTuple):
    """A coded frame out of an FLV tag, in the codec's normal form. `config` is given where the frame changed it in band."""

    units: tuple[bytes, ...]
    key: bool
    config: CodecConfig | None = None


class FlvBinding(Protocol):
    """One codec in FLV. All methods that take bytes raise `ProtocolViolation`."""

    @property
    def legacy_id(self) -> int | None:
        """CodecID (video) or SoundFormat (audio) of legacy FLV, None where only Enhanced RTMP carries it."""
        ...

    @property
    def fourcc(self) -> str | None:
        """FourCC of Enhanced RTMP, such as ``hvc1``; None where only legacy FLV carries it."""
        ...

    @property
    def has_composition_time(self) -> bool:
        """Whether coded frames carry a composition time (pts - dts): AVC, HEVC."""
        ...

    def config_record(self, config: CodecConfig) -> bytes | None:
        """The body of the sequence header (AVCDecoderConfigurationRecord, AudioSpecificConfig ...), None where there is none."""
        ...

    def parse_config(self, record: bytes) -> CodecConfig:
        """The config in a sequence header's body."""
        ...

    def implied_config(self, data: bytes, sample_rate: int, channels: int) -> CodecConfig | None:
        """The config of a codec that has no sequence header (G.711, MP3, VP8), from its first frame and the tag's flags.

        Without `data` the first frame is still to come, and onMetaData has told rate and channels; None where that is
        not enough to know.
        """
        ...

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        """The coded data of a tag; `in_band` asks for the config before it, where the codec's frames can have that."""
        ...

    def decode(self, data: bytes, key: bool, config: CodecConfig) -> FlvUnit:
        """A tag's coded data; `key` is the tag's frame type."""
        ...


FLV: Capability[FlvBinding] = Capability("flv")
