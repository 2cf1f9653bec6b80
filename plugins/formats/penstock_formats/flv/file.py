"""FLV files (FLV 10.1 annex E.2 to E.4): a header, then tags without end; split anywhere, as an HTTP body is.

`Demuxer.next_event` returns an event, returns None for need-more, or raises `ProtocolViolation`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from penstock.errors import ProtocolViolation
from penstock_formats.amf import amf0
from penstock_formats.flv.metadata import Json, sanitise_metadata
from penstock_formats.flv.packet import TagType

SIGNATURE = b"FLV\x01"
HEADER = 9
MAX_HEADER = 1024
"""Where the tags may begin at most: everybody writes 9."""
TAG_HEADER = 11
BACK_POINTER = 4
"""PreviousTagSize, before each tag and after the last. Nobody needs it to read forwards, and some write 0: it is passed over."""
MAX_TAG = 10 * 1024 * 1024
"""Bytes of a tag's body: what an RTMP message may have, too."""
MAX_SCRIPT = 1 << 20
"""Bytes of script data that are read: the index of key frames of a long recording is some 100 KB."""

_AUDIO_FLAG, _VIDEO_FLAG = 4, 1
_FILTER = 0x20
_AMF3 = 15


class FileHeader(NamedTuple):
    """What the file says that it has; live encoders often say both, whatever comes."""

    audio: bool
    video: bool


class FlvTag(NamedTuple):
    """One audio or video tag; `timestamp` is in ms and wraps at 2**32."""

    type: TagType
    timestamp: int
    body: bytes


class ScriptTag(NamedTuple):
    """Script data: `metadata` where it is onMetaData, made harmless; else its name and values, as they came."""

    timestamp: int
    metadata: dict[str, Json] | None
    name: str
    values: tuple[Any, ...]


FileEvent = FileHeader | FlvTag | ScriptTag


class Demuxer:
    """Bytes of a file in, its header and tags out. Script data that nobody can read are left out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._begun = False

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._at:
            # Once for all tags of a piece: taking each off the front would move the rest each time.
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next_event(self) -> FileEvent | None:
        """The next event, None where more bytes are needed. Raises `ProtocolViolation`."""
        if not self._begun:
            return self._header()
        buffer = self._buffer
        while True:
            start = self._at + BACK_POINTER
            if len(buffer) < start + 4:
                return None
            first, size = buffer[start], int.from_bytes(buffer[start + 1 : start + 4], "big")
            # The two highest bits are reserved.
            kind = first & 0x1F
            if first & _FILTER:
                raise ProtocolViolation("the tags are encrypted", "FLV E.4.1")
            if kind not in (TagType.AUDIO, TagType.VIDEO, TagType.SCRIPT, _AMF3):
                raise ProtocolViolation(f"tag type {kind}", "FLV E.4.1")
            if size > MAX_TAG:
                raise ProtocolViolation(f"a tag of {size} bytes", "FLV E.4.1")
            end = start + TAG_HEADER + size
            if len(buffer) < end:
                return None
            self._at = end
            # The highest byte of the time comes last.
            time = buffer[start + 7] << 24 | int.from_bytes(buffer[start + 4 : start + 7], "big")
            body = bytes(memoryview(buffer)[start + TAG_HEADER : end])
            if kind in (TagType.AUDIO, TagType.VIDEO):
                return FlvTag(TagType(kind), time, body)
            if kind == TagType.SCRIPT and (script := parse_script(time, body)) is not None:
                return script

    def _header(self) -> FileHeader | None:
        buffer = self._buffer
        head = bytes(buffer[: len(SIGNATURE)])
        if not SIGNATURE.startswith(head):
            raise ProtocolViolation("not an FLV file: it begins otherwise", "FLV E.2")
        if len(buffer) < HEADER:
            return None
        start = int.from_bytes(buffer[5:HEADER], "big")
        if not HEADER <= start <= MAX_HEADER:
            raise ProtocolViolation(f"a header of {start} bytes", "FLV E.2")
        if len(buffer) < start:
            return None
        self._begun = True
        self._at = start
        return FileHeader(bool(buffer[4] & _AUDIO_FLAG), bool(buffer[4] & _VIDEO_FLAG))


def parse_script(timestamp: int, body: bytes) -> ScriptTag | None:
    """Script data; None for what is of no use to anybody: a hiccup there is no reason to end a stream."""
    if len(body) > MAX_SCRIPT:
        return None
    try:
        values = amf0.decode(body)
    except ProtocolViolation:
        return None
    match values:
        case ["@setDataFrame", "onMetaData", dict(), *_]:
            return ScriptTag(timestamp, sanitise_metadata(values[2]), "onMetaData", ())
        case ["onMetaData", dict(), *_]:
            return ScriptTag(timestamp, sanitise_metadata(values[1]), "onMetaData", ())
        case [str() as name, *others]:
            return ScriptTag(timestamp, None, name, tuple(others))
        case _:
            return None


def build_header(*, audio: bool, video: bool) -> bytes:
    """A file's header, with the PreviousTagSize that is before the first tag."""
    flags = (_AUDIO_FLAG if audio else 0) | (_VIDEO_FLAG if video else 0)
    return SIGNATURE + bytes((flags,)) + HEADER.to_bytes(4, "big") + bytes(BACK_POINTER)


def build_tag(type: TagType, timestamp: int, body: bytes) -> bytes:
    """A tag with the PreviousTagSize behind it; `timestamp` is taken modulo 2**32."""
    size = len(body)
    time = timestamp & 0xFFFFFFFF
    low = (time & 0xFFFFFF) << 32 | time >> 24 << 24
    # Type, size, time in its odd order, and the stream's id, which is 0.
    head = (type << 80 | size << 56 | low).to_bytes(TAG_HEADER, "big")
    return head + body + (TAG_HEADER + size).to_bytes(BACK_POINTER, "big")
