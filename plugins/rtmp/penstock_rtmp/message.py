"""Messages by their type: protocol control, user control, commands and data (RTMP 1.0, 5.4 and 7.1)."""

from __future__ import annotations

import enum
import struct
from typing import Any

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.amf import amf0
from penstock_rtmp.chunk import CSID_COMMAND, CSID_CONTROL, CSID_DATA, Message, encode_message

MAX_AMF = 64 * 1024
"""Bytes of one command or data message: real ones have less than 2000."""


class MessageType(enum.IntEnum):
    """RTMP 5.4 and 7.1; the numbers that are not here are ignored."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_ACK_SIZE = 5
    SET_PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


class Control(enum.IntEnum):
    """User control events (RTMP 7.1.7)."""

    STREAM_BEGIN = 0
    STREAM_EOF = 1
    STREAM_DRY = 2
    SET_BUFFER_LENGTH = 3
    STREAM_IS_RECORDED = 4
    PING_REQUEST = 6
    PING_RESPONSE = 7


@frozen
class Acknowledgement:
    """The peer has received `sequence` bytes, modulo 2**32."""

    sequence: int


@frozen
class WindowAckSize:
    """The peer wants an acknowledgement each `size` bytes."""

    size: int


@frozen
class SetPeerBandwidth:
    """The peer limits what we may send unacknowledged; `limit` is 0 hard, 1 soft, 2 dynamic."""

    size: int
    limit: int


@frozen
class UserControl:
    """A user control event: `value` is a message stream or a ping's ms, `extra` a buffer length in ms."""

    event: int
    value: int
    extra: int = 0


@frozen
class Command:
    """A remote call or its answer; `object` and `arguments` are AMF values."""

    name: str
    transaction: float
    object: Any = None
    arguments: tuple[Any, ...] = ()
    stream_id: int = 0


@frozen
class Data:
    """AMF values on a message stream, such as metadata."""

    values: tuple[Any, ...]
    stream_id: int
    timestamp: int


Parsed = Acknowledgement | WindowAckSize | SetPeerBandwidth | UserControl | Command | Data
_LENGTHS = {3: 4, 4: 2, 5: 4, 6: 5}
_U32 = struct.Struct(">I")
_EVENTS = frozenset(map(int, Control))


def parse(message: Message) -> Parsed | None:
    """What `message` says; None for the types that this module does not know, media among them.

    Raises `ProtocolViolation`.
    """
    payload = message.payload
    match message.type:
        case 3 | 4 | 5 | 6:
            return _control(message.type, payload)
        case 15 | 17:
            # AMF0 after a zero byte, which some encoders leave out; the marker 0x11 switches to AMF3.
            return _amf(message, payload[1:] if payload.startswith(b"\0") else payload)
        case 18 | 20:
            return _amf(message, payload)
        case _:
            return None


def _control(kind: int, payload: bytes) -> Parsed | None:
    if len(payload) < _LENGTHS[kind]:
        raise ProtocolViolation("protocol control message is truncated", "RTMP 5.4")
    match kind:
        case 3:
            return Acknowledgement(_U32.unpack_from(payload)[0])
        case 5:
            return WindowAckSize(_U32.unpack_from(payload)[0])
        case 6:
            return SetPeerBandwidth(_U32.unpack_from(payload)[0], payload[4])
        case _:
            return _user_control(payload)


def _user_control(payload: bytes) -> UserControl | None:
    event = int.from_bytes(payload[:2], "big")
    if event not in _EVENTS:
        return None
    size = 10 if event == Control.SET_BUFFER_LENGTH else 6
    if len(payload) < size:
        raise ProtocolViolation("user control message is truncated", "RTMP 7.1.7")
    return UserControl(event, _U32.unpack_from(payload, 2)[0], int.from_bytes(payload[6:size], "big"))


def _amf(message: Message, payload: bytes) -> Command | Data:
    if len(payload) > MAX_AMF:
        raise ProtocolViolation(f"command or data message is longer than {MAX_AMF} bytes", "RTMP 7.1")
    values = amf0.decode(payload)
    if message.type in (MessageType.DATA, MessageType.DATA_AMF3):
        return Data(tuple(values), message.stream_id, message.timestamp)
    match values:
        case [str(name)]:
            return Command(name, 0.0)  # FFmpeg as a server sends onFCPublish so
        case [str(name), float() | int() as transaction, *rest] if not isinstance(transaction, bool):
            return Command(
                name, float(transaction), rest[0] if rest else None, tuple(rest[1:]), message.stream_id
            )
        case _:
            raise ProtocolViolation("command without name, or with a wrong transaction id", "RTMP 7.2.1")


def encode_control(type: int, value: int, extra: bytes = b"") -> bytes:
    """A protocol control message with one 32-bit value."""
    return encode_message(CSID_CONTROL, 0, type, 0, _U32.pack(value) + extra)


def encode_user_control(event: int, value: int, extra: int | None = None) -> bytes:
    """A user control message; `extra` is the buffer length that SetBufferLength has."""
    payload = event.to_bytes(2, "big") + _U32.pack(value) + (b"" if extra is None else _U32.pack(extra))
    return encode_message(CSID_CONTROL, 0, MessageType.USER_CONTROL, 0, payload)


def encode_command(command: Command, chunk_size: int) -> bytes:
    """A command in AMF0."""
    payload = amf0.encode(command.name, command.transaction, command.object, *command.arguments)
    return encode_message(CSID_COMMAND, 0, MessageType.COMMAND, command.stream_id, payload, chunk_size)


def encode_data(data: Data, chunk_size: int) -> bytes:
    """A data message in AMF0."""
    payload = amf0.encode(*data.values)
    return encode_message(CSID_DATA, data.timestamp, MessageType.DATA, data.stream_id, payload, chunk_size)
