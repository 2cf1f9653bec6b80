"""FLV and Enhanced RTMP v2 tags: what codecs bind to be carried, and the tag syntax."""

from penstock_formats.flv.binding import FLV, FlvBinding, FlvUnit
from penstock_formats.flv.build import audio_header, build_audio, build_video, video_header
from penstock_formats.flv.packet import AudioPacket, PacketType, VideoPacket
from penstock_formats.flv.tag import parse_audio, parse_video

__all__ = [
    "FLV",
    "AudioPacket",
    "FlvBinding",
    "FlvUnit",
    "PacketType",
    "VideoPacket",
    "audio_header",
    "build_audio",
    "build_video",
    "parse_audio",
    "parse_video",
    "video_header",
]
