"""Audio and video tag bodies: FLV 10.1 annex E.4 and Enhanced RTMP v2, parsed."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.flv.packet import (
    AAC,
    AVC,
    COMMAND_FRAME,
    COMPOSITION_FOURCCS,
    LEGACY_HEVC,
    AudioPacket,
    PacketType,
    VideoPacket,
)

VIDEO_CLAUSE = "E-RTMP v2 Enhanced Video"
AUDIO_CLAUSE = "E-RTMP v2 Enhanced Audio"
MAX_TRACKS = 32
"""Tracks in one multitrack tag: encoders send up to 6."""
MAX_MODIFIERS = 8
"""ModEx packets before one tag: one kind is defined."""

EX_VIDEO = 0x80
EX_AUDIO = 9

ONE_TRACK = 0
MANY_CODECS = 2

MULTITRACK = -1
MODIFIER = -2
CODED_FRAMES_X = -3

VIDEO_TYPES: dict[int, PacketType | int] = {
    0: PacketType.SEQUENCE_START,
    1: PacketType.CODED_FRAMES,
    2: PacketType.SEQUENCE_END,
    3: CODED_FRAMES_X,
    4: PacketType.METADATA,
    5: PacketType.MPEG2TS_SEQUENCE_START,
    6: MULTITRACK,
    7: MODIFIER,
}
AUDIO_TYPES: dict[int, PacketType | int] = {
    0: PacketType.SEQUENCE_START,
    1: PacketType.CODED_FRAMES,
    2: PacketType.SEQUENCE_END,  # FFmpeg sends it, though v2 reserves the number
    4: PacketType.MULTICHANNEL_CONFIG,
    5: MULTITRACK,
    7: MODIFIER,
}
_LEGACY_TYPES = (PacketType.SEQUENCE_START, PacketType.CODED_FRAMES, PacketType.SEQUENCE_END)


def parse_video(body: bytes) -> list[VideoPacket]:
    """The packets of a video tag, one for each track; none for an empty tag, which some encoders send.

    Raises `ProtocolViolation`.
    """
    if not body:
        return []
    first = body[0]
    if first & EX_VIDEO:
        return _ex_video(body)
    frame_type, codec = first >> 4, first & 0x0F
    if frame_type == COMMAND_FRAME:
        return [VideoPacket(codec, PacketType.COMMAND, body[1:], frame_type)]
    if codec not in (AVC, LEGACY_HEVC):
        return [VideoPacket(codec, PacketType.CODED_FRAMES, body[1:], frame_type)]
    if len(body) < 5:
        raise ProtocolViolation("AVC video tag is truncated", "FLV E.4.3.1")
    if body[1] > 2:
        raise ProtocolViolation(f"AVC packet type {body[1]} is unknown", "FLV E.4.3.1")
    kind = _LEGACY_TYPES[body[1]]
    offset = int.from_bytes(body[2:5], "big", signed=True) if kind is PacketType.CODED_FRAMES else 0
    return [VideoPacket(codec, kind, body[5:], frame_type, offset)]


def parse_audio(body: bytes) -> list[AudioPacket]:
    """The packets of an audio tag, one for each track; none for an empty tag.

    Raises `ProtocolViolation`.
    """
    if not body:
        return []
    first = body[0]
    codec = first >> 4
    if codec == EX_AUDIO:
        return _ex_audio(body)
    rate, wide, stereo = first >> 2 & 3, bool(first & 2), bool(first & 1)
    if codec != AAC:
        return [AudioPacket(codec, PacketType.CODED_FRAMES, body[1:], rate, wide, stereo)]
    if len(body) < 2:
        raise ProtocolViolation("AAC audio tag is truncated", "FLV E.4.2.1")
    if body[1] > 1:
        raise ProtocolViolation(f"AAC packet type {body[1]} is unknown", "FLV E.4.2.1")
    return [AudioPacket(codec, _LEGACY_TYPES[body[1]], body[2:], rate, wide, stereo)]


@frozen
class _Header:
    """The packet type that all tracks of a tag have, and (id, FourCC, body) of each."""

    type: PacketType | int
    tracks: list[tuple[int, str, bytes]]


def _ex_video(body: bytes) -> list[VideoPacket]:
    frame_type = body[0] >> 4 & 7
    at, number, nanoseconds = _modifiers(body, VIDEO_TYPES, VIDEO_CLAUSE)
    if frame_type == COMMAND_FRAME and VIDEO_TYPES.get(number) is not PacketType.METADATA:
        # No FourCC follows: the command is the whole body.
        return [VideoPacket("", PacketType.COMMAND, body[at : at + 1], frame_type, nanoseconds=nanoseconds)]
    header = _tracks(body, at, number, VIDEO_TYPES, VIDEO_CLAUSE)
    packets: list[VideoPacket] = []
    for track_id, fourcc, data in header.tracks:
        kind, offset = header.type, 0
        if kind is PacketType.CODED_FRAMES and fourcc in COMPOSITION_FOURCCS:
            if len(data) < 3:
                raise ProtocolViolation("composition time is truncated", VIDEO_CLAUSE)
            offset, data = _signed24(data, 0), data[3:]
        # CodedFramesX leaves out a composition time of zero: the same to all who read it
        real = kind if isinstance(kind, PacketType) else PacketType.CODED_FRAMES
        packets.append(VideoPacket(fourcc, real, data, frame_type, offset, track_id, nanoseconds))
    return packets


def _ex_audio(body: bytes) -> list[AudioPacket]:
    at, number, nanoseconds = _modifiers(body, AUDIO_TYPES, AUDIO_CLAUSE)
    header = _tracks(body, at, number, AUDIO_TYPES, AUDIO_CLAUSE)
    kind = header.type if isinstance(header.type, PacketType) else PacketType.CODED_FRAMES
    return [
        AudioPacket(fourcc, kind, data, track_id=track_id, nanoseconds=nanoseconds)
        for track_id, fourcc, data in header.tracks
    ]


def _signed24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "big", signed=True)


def _take(body: bytes, at: int, size: int, clause: str) -> tuple[bytes, int]:
    if at + size > len(body):
        raise ProtocolViolation("enhanced tag is truncated", clause)
    return body[at : at + size], at + size


def _modifiers(body: bytes, types: dict[int, PacketType | int], clause: str) -> tuple[int, int, int]:
    """Where the header goes on after ModEx packets, the packet type, and the nanoseconds that they gave."""
    at, number, nanoseconds = 1, body[0] & 0x0F, 0
    for _ in range(MAX_MODIFIERS):
        if types.get(number) != MODIFIER:
            return at, number, nanoseconds
        size, at = _take(body, at, 1, clause)
        length = size[0] + 1
        if length == 256:
            size, at = _take(body, at, 2, clause)
            length = int.from_bytes(size, "big") + 1
        data, at = _take(body, at, length, clause)
        kinds, at = _take(body, at, 1, clause)
        number = kinds[0] & 0x0F
        if kinds[0] >> 4 == 0 and length >= 3:
            nanoseconds = min(
                int.from_bytes(data[:3], "big"), 999_999
            )  # less than a millisecond, by definition
    raise ProtocolViolation(f"more than {MAX_MODIFIERS} modifiers before a tag", clause)


def _tracks(body: bytes, at: int, number: int, types: dict[int, PacketType | int], clause: str) -> _Header:
    kind = types.get(number)
    if kind is None:
        raise ProtocolViolation(f"packet type {number} is reserved", clause)
    if kind != MULTITRACK:
        name, at = _take(body, at, 4, clause)
        return _Header(kind, [(0, _fourcc(name), body[at:])])
    byte, at = _take(body, at, 1, clause)
    layout, kind = byte[0] >> 4, types.get(byte[0] & 0x0F)
    if kind is None or kind in (MULTITRACK, MODIFIER):
        raise ProtocolViolation(f"packet type {byte[0] & 0x0F} in a multitrack tag", clause)
    if layout > MANY_CODECS:
        raise ProtocolViolation(f"multitrack type {layout} is reserved", clause)
    fourcc = ""
    if layout != MANY_CODECS:
        name, at = _take(body, at, 4, clause)
        fourcc = _fourcc(name)
    tracks: list[tuple[int, str, bytes]] = []
    while at < len(body) or not tracks:
        if layout == MANY_CODECS:
            name, at = _take(body, at, 4, clause)
            fourcc = _fourcc(name)
        track, at = _take(body, at, 1, clause)
        length = len(body) - at
        if layout != ONE_TRACK:
            size, at = _take(body, at, 3, clause)
            length = int.from_bytes(size, "big")
        data, at = _take(body, at, length, clause)
        tracks.append((track[0], fourcc, data))
        if len(tracks) > MAX_TRACKS:
            raise ProtocolViolation(f"more than {MAX_TRACKS} tracks in a tag", clause)
        if layout == ONE_TRACK:
            break
    return _Header(kind, tracks)


def _fourcc(name: bytes) -> str:
    if not name.isascii():
        raise ProtocolViolation("FourCC is not ASCII", "E-RTMP v2")
    return name.decode("ascii")
