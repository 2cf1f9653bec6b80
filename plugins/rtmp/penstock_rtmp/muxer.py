"""Frames to RTMP messages, the same bytes for every reader that takes the same FourCCs on the same message stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from penstock.media import Track
from penstock.registry import Registry
from penstock_formats.flv.muxer import FlvMuxer
from penstock_formats.flv.packet import TagType
from penstock_rtmp.chunk import CSID_AUDIO, CSID_DATA, CSID_VIDEO, encode_message

_CSIDS = {TagType.AUDIO: CSID_AUDIO, TagType.VIDEO: CSID_VIDEO, TagType.SCRIPT: CSID_DATA}


class RtmpMuxer(FlvMuxer):
    """Muxer of one message stream."""

    carrier = "RTMP"

    def __init__(
        self,
        registry: Registry,
        tracks: Iterable[Track],
        *,
        stream_id: int,
        chunk_size: int,
        fourccs: frozenset[str] | None = None,
        multitrack: bool = False,
    ) -> None:
        super().__init__(registry, tracks, fourccs=fourccs, multitrack=multitrack)
        self._stream_id = stream_id
        self._chunk_size = chunk_size

    @property
    def key(self) -> Hashable:
        return ("rtmp", self._stream_id, self._chunk_size, self._fourccs, self._multitrack)

    def wrap(self, type: TagType, time: int, body: bytes) -> bytes:
        return encode_message(_CSIDS[type], time, type, self._stream_id, body, self._chunk_size)
