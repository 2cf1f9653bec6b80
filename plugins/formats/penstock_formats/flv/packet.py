"""What one FLV tag body holds, legacy or Enhanced RTMP, as values."""

from __future__ import annotations

import enum
from typing import NamedTuple

KEY_FRAME = 1
INTER_FRAME = 2
DISPOSABLE_FRAME = 3
COMMAND_FRAME = 5

AVC = 7
LEGACY_HEVC = 12
"""CodecID that Chinese encoders use for H.265 in the layout of AVC, before Enhanced RTMP had it."""

AAC = 10

COMPOSITION_FOURCCS = frozenset({"avc1", "hvc1", "vvc1"})
"""FourCCs whose coded frames begin with a composition time (Enhanced RTMP v2, ExVideoTagBody)."""


class TagType(enum.IntEnum):
    """What a tag is, by the numbers of FLV E.4.1, which RTMP's messages have too."""

    AUDIO = 8
    VIDEO = 9
    SCRIPT = 18


class PacketType(enum.StrEnum):
    """What a packet is; the numbers on the wire differ between sound, picture and legacy tags."""

    SEQUENCE_START = "sequence start"
    CODED_FRAMES = "coded frames"
    SEQUENCE_END = "sequence end"
    METADATA = "metadata"
    MPEG2TS_SEQUENCE_START = "mpeg2ts sequence start"
    MULTICHANNEL_CONFIG = "multichannel config"
    COMMAND = "command"


class VideoPacket(NamedTuple):
    """One track's part of a video tag.

    `codec` is the CodecID of legacy FLV or a FourCC; `frame_type` is as on the wire (1 is a key frame);
    `composition_time` is in ms, `nanoseconds` is to be added to the tag's timestamp.
    """

    codec: int | str
    type: PacketType
    data: bytes
    frame_type: int = INTER_FRAME
    composition_time: int = 0
    track_id: int = 0
    nanoseconds: int = 0

    @property
    def key(self) -> bool:
        return self.frame_type == KEY_FRAME


class AudioPacket(NamedTuple):
    """One track's part of an audio tag.

    `codec` is the SoundFormat of legacy FLV or a FourCC; `rate` (0 to 3 for 5.5, 11, 22, 44 kHz), `wide` (16
    bits) and `stereo` are the legacy flags, all 0 in Enhanced RTMP.
    """

    codec: int | str
    type: PacketType
    data: bytes
    rate: int = 0
    wide: bool = False
    stereo: bool = False
    track_id: int = 0
    nanoseconds: int = 0

    @property
    def sample_rate(self) -> int:
        """Hz that the legacy flags say; AAC's are always 44100 and mean nothing."""
        return (5512, 11025, 22050, 44100)[self.rate]

    @property
    def channels(self) -> int:
        return 2 if self.stereo else 1
