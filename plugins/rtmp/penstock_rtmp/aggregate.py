"""The aggregate message (RTMP 1.0, 7.1.6): FLV tags in one message."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock_rtmp.chunk import Message
from penstock_rtmp.message import MessageType

MAX_TAGS = 4096
"""Tags in one message: Flash Media Server sends those of a second or less."""

_CLAUSE = "RTMP 7.1.6"
_HEADER = 11
_MEDIA = (MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA, MessageType.DATA_AMF3)


def split_aggregate(message: Message) -> list[Message]:
    """The messages in an aggregate, their times counted from the aggregate's own.

    The back pointer after each tag has no use here and is not looked at; the last may be missing.
    Raises `ProtocolViolation`.
    """
    payload = message.payload
    found: list[Message] = []
    offset: int | None = None
    at = 0
    while at < len(payload):
        if len(found) >= MAX_TAGS:
            raise ProtocolViolation(f"more than {MAX_TAGS} tags in an aggregate", _CLAUSE)
        body = at + _HEADER
        end = body + int.from_bytes(payload[at + 1 : at + 4], "big")
        if end > len(payload):
            raise ProtocolViolation("a tag is longer than its aggregate", _CLAUSE)
        kind = payload[at]
        if kind == MessageType.AGGREGATE:
            raise ProtocolViolation("an aggregate in an aggregate", _CLAUSE)
        timestamp = payload[at + 7] << 24 | int.from_bytes(payload[at + 4 : at + 7], "big")
        if offset is None:
            offset = message.timestamp - timestamp
        if kind in _MEDIA:
            found.append(
                Message(kind, message.stream_id, (timestamp + offset) & 0xFFFFFFFF, payload[body:end])
            )
        at = end + 4
    return found
