"""Frames to the bytes of an FLV file, for a response that never ends."""

from __future__ import annotations

from collections.abc import Hashable

from penstock.feed import Cursor
from penstock.media import Kind
from penstock_formats.flv.file import build_header, build_tag
from penstock_formats.flv.muxer import FlvMuxer
from penstock_formats.flv.packet import TagType


class FlvFileMuxer(FlvMuxer):
    """One buffer for all viewers: times are the stream's own, whenever they joined; every player takes its first as zero."""

    @property
    def key(self) -> Hashable:
        return "flv"

    def wrap(self, type: TagType, time: int, body: bytes) -> bytes:
        return build_tag(type, time, body)

    def preamble(self, cursor: Cursor) -> bytes:
        """The file's header, and what RTMP's readers are told too: onMetaData and the configs at the cursor."""
        kinds = self.kinds
        return build_header(audio=Kind.AUDIO in kinds, video=Kind.VIDEO in kinds) + super().preamble(cursor)
