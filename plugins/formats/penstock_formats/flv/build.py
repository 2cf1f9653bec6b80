"""Audio and video tag bodies, built: headers for the muxer, whole bodies for packets."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_formats.flv.packet import (
    AAC,
    AVC,
    COMPOSITION_FOURCCS,
    INTER_FRAME,
    KEY_FRAME,
    LEGACY_HEVC,
    AudioPacket,
    PacketType,
    VideoPacket,
)
from penstock_formats.flv.tag import EX_AUDIO, EX_VIDEO, MANY_CODECS, ONE_TRACK

_VIDEO_NUMBERS = {
    PacketType.SEQUENCE_START: 0,
    PacketType.CODED_FRAMES: 1,
    PacketType.SEQUENCE_END: 2,
    PacketType.METADATA: 4,
    PacketType.MPEG2TS_SEQUENCE_START: 5,
}
_AUDIO_NUMBERS = {
    PacketType.SEQUENCE_START: 0,
    PacketType.CODED_FRAMES: 1,
    PacketType.SEQUENCE_END: 2,
    PacketType.MULTICHANNEL_CONFIG: 4,
}
_CODED_FRAMES_X = 3
_VIDEO_MULTITRACK, _AUDIO_MULTITRACK, _MODIFIER = 6, 5, 7
_MANY_TRACKS = 1
_LEGACY_NUMBERS = {PacketType.SEQUENCE_START: 0, PacketType.CODED_FRAMES: 1, PacketType.SEQUENCE_END: 2}


def video_header(
    codec: int | str,
    type: PacketType,
    *,
    key: bool = False,
    composition_time: int = 0,
    track_id: int = 0,
) -> bytes:
    """What comes before the coded data of one track in a video tag; `composition_time` is in ms."""
    return _video_header(codec, type, KEY_FRAME if key else INTER_FRAME, composition_time, track_id)


def audio_header(
    codec: int | str,
    type: PacketType,
    *,
    rate: int = 3,
    wide: bool = True,
    stereo: bool = True,
    track_id: int = 0,
) -> bytes:
    """What comes before the coded data of one track in an audio tag; the flags are those of legacy FLV."""
    if isinstance(codec, int):
        flags = codec << 4 | rate << 2 | wide << 1 | stereo
        return bytes((flags, _LEGACY_NUMBERS[type])) if codec == AAC else bytes((flags,))
    number = _AUDIO_NUMBERS[type]
    if track_id:
        return (
            bytes((EX_AUDIO << 4 | _AUDIO_MULTITRACK, ONE_TRACK << 4 | number))
            + codec.encode()
            + bytes((track_id,))
        )
    return bytes((EX_AUDIO << 4 | number,)) + codec.encode()


def _video_header(codec: int | str, type: PacketType, frame_type: int, offset: int, track_id: int) -> bytes:
    if isinstance(codec, int):
        first = bytes((frame_type << 4 | codec,))
        if codec not in (AVC, LEGACY_HEVC) or type is PacketType.COMMAND:
            return first
        return first + bytes((_LEGACY_NUMBERS[type],)) + offset.to_bytes(3, "big", signed=True)
    if type is PacketType.COMMAND:
        return bytes((EX_VIDEO | frame_type << 4,))
    number, time = _video_number(codec, type, offset)
    if track_id:
        head = bytes((EX_VIDEO | frame_type << 4 | _VIDEO_MULTITRACK, ONE_TRACK << 4 | number))
        return head + codec.encode() + bytes((track_id,)) + time
    return bytes((EX_VIDEO | frame_type << 4 | number,)) + codec.encode() + time


def _video_number(codec: str, type: PacketType, offset: int) -> tuple[int, bytes]:
    if type is PacketType.CODED_FRAMES and codec in COMPOSITION_FOURCCS:
        return (1, offset.to_bytes(3, "big", signed=True)) if offset else (_CODED_FRAMES_X, b"")
    return _VIDEO_NUMBERS[type], b""


def build_video(packets: Sequence[VideoPacket]) -> bytes:
    """The tag body that has `packets`; all of one packet type, frame type and `nanoseconds`."""
    if not packets:
        return b""
    one = packets[0]
    if len(packets) == 1:
        head = _video_header(one.codec, one.type, one.frame_type, one.composition_time, one.track_id)
        return _modified(head, EX_VIDEO | one.frame_type << 4, one.nanoseconds) + one.data
    many = any(p.composition_time for p in packets)
    number = _VIDEO_NUMBERS[one.type]
    if one.type is PacketType.CODED_FRAMES and not many:
        number = _CODED_FRAMES_X
    parts: list[tuple[str, int, bytes]] = []
    for packet in packets:
        codec = str(packet.codec)
        timed = many and codec in COMPOSITION_FOURCCS
        time = packet.composition_time.to_bytes(3, "big", signed=True) if timed else b""
        parts.append((codec, packet.track_id, time + packet.data))
    head = bytes((EX_VIDEO | one.frame_type << 4 | _VIDEO_MULTITRACK,))
    return _modified(head, EX_VIDEO | one.frame_type << 4, one.nanoseconds) + _multitrack(number, parts)


def build_audio(packets: Sequence[AudioPacket]) -> bytes:
    """The tag body that has `packets`; all of one packet type and `nanoseconds`."""
    if not packets:
        return b""
    one = packets[0]
    if len(packets) == 1:
        head = audio_header(
            one.codec, one.type, rate=one.rate, wide=one.wide, stereo=one.stereo, track_id=one.track_id
        )
        return _modified(head, EX_AUDIO << 4, one.nanoseconds) + one.data
    parts = [(str(p.codec), p.track_id, p.data) for p in packets]
    head = bytes((EX_AUDIO << 4 | _AUDIO_MULTITRACK,))
    return _modified(head, EX_AUDIO << 4, one.nanoseconds) + _multitrack(_AUDIO_NUMBERS[one.type], parts)


def _modified(head: bytes, flags: int, nanoseconds: int) -> bytes:
    """`head` with TimestampOffsetNano before its packet type, where there is one to send."""
    if not nanoseconds:
        return head
    # The modifier takes the place of the packet type, which comes after it.
    return (
        bytes((flags | _MODIFIER, 2)) + nanoseconds.to_bytes(3, "big") + bytes((head[0] & 0x0F,)) + head[1:]
    )


def _multitrack(number: int, parts: Sequence[tuple[str, int, bytes]]) -> bytes:
    alike = len({codec for codec, _, _ in parts}) == 1
    layout = _MANY_TRACKS if alike else MANY_CODECS
    out = [bytes((layout << 4 | number,)), parts[0][0].encode() if alike else b""]
    for codec, track_id, data in parts:
        out += [b"" if alike else codec.encode(), bytes((track_id,)), len(data).to_bytes(3, "big"), data]
    return b"".join(out)
