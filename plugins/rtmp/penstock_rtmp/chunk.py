"""The chunk stream: messages cut into chunks and put together again (RTMP 1.0, 5.3).

`ChunkReader.next_message` returns a message, returns None for need-more, or raises `ProtocolViolation`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from penstock.errors import ProtocolViolation

DEFAULT_CHUNK_SIZE = 128
MAX_CHUNK_SIZE = 65_536
"""What players take; larger ones only delay the messages between them."""
MAX_MESSAGE = 10 * 1024 * 1024
"""A key frame of 8K at the highest rates is a third of that."""
MAX_PARTIALS = 64
MAX_PARTIAL_BYTES = 2 * MAX_MESSAGE
MAX_CHUNK_STREAMS = 256
"""Chunk streams with state: encoders use 2 to 8."""

CSID_CONTROL = 2
CSID_COMMAND = 3
CSID_AUDIO = 4
CSID_DATA = 5
CSID_VIDEO = 6

SET_CHUNK_SIZE = 1
ABORT = 2

CLAUSE = "RTMP 5.3.1"
EXTENDED = 0xFFFFFF
_HEADER_SIZES = (11, 7, 3, 0)
_BATCH = 256
"""Chunks of one message that are put together in one step."""

_U32 = struct.Struct(">I")


class Message(NamedTuple):
    """A message as the chunk stream carries it; `timestamp` is in ms and wraps at 2**32."""

    type: int
    stream_id: int
    timestamp: int
    payload: bytes


class _ChunkStream:
    """What the next header of one chunk stream may leave out, and its message so far."""

    __slots__ = ("extended", "field", "left", "length", "partial", "stream_id", "timestamp", "type")

    def __init__(self) -> None:
        self.timestamp = 0
        self.field = 0
        self.extended = False
        self.length = 0
        self.type = 0
        self.stream_id = 0
        self.partial: bytearray | None = None
        self.left = 0


class ChunkReader:
    """Bytes in, messages out; Set Chunk Size and Abort take effect here and do not come out."""

    __slots__ = ("_buffer", "_chunk_size", "_need", "_partial_bytes", "_partials", "_position", "_streams")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._need = 1
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._streams: dict[int, _ChunkStream] = {}
        self._partials = 0
        self._partial_bytes = 0

    @property
    def pending(self) -> int:
        """Bytes held: those not looked at and those of unfinished messages."""
        return len(self._buffer) - self._position + self._partial_bytes

    @property
    def awaited(self) -> int:
        """Bytes without which no chunk is whole."""
        return self._need - len(self._buffer) + self._position

    def receive_data(self, data: bytes) -> None:
        """Add what the peer sent; call `next_message` until it gives None before adding more."""
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next whole message, or None. Raises `ProtocolViolation`."""
        while len(self._buffer) - self._position >= self._need:
            before = self._position
            message = self._chunk()
            if message is not None:
                if message.type not in (SET_CHUNK_SIZE, ABORT):
                    return message
                self._control(message)
            elif self._position == before:
                break
        return None

    def _control(self, message: Message) -> None:
        if len(message.payload) < 4:
            raise ProtocolViolation("protocol control message is truncated", "RTMP 5.4")
        value = _U32.unpack_from(message.payload)[0]
        if message.type == SET_CHUNK_SIZE:
            if not 1 <= value <= MAX_CHUNK_SIZE:
                raise ProtocolViolation(f"chunk size {value} is not 1 to {MAX_CHUNK_SIZE}", "RTMP 5.4.1")
            self._chunk_size = value
        elif stream := self._streams.get(value):
            self._drop(stream)

    def _drop(self, stream: _ChunkStream) -> None:
        if stream.partial is not None:
            self._partials -= 1
            self._partial_bytes -= len(stream.partial)
            stream.partial = None

    def _chunk(self) -> Message | None:
        """Take one chunk, or several of one message; where there is no whole one, only set `_need`."""
        buffer, at = self._buffer, self._position
        have = len(buffer) - at
        first = buffer[at]
        fmt, csid, size = first >> 6, first & 0x3F, 1
        if csid < 2:
            size = 2 + csid
            if have < size:
                return self._wait(size)
            csid = 64 + buffer[at + 1] + (buffer[at + 2] << 8 if size == 3 else 0)
        stream = self._streams.get(csid)
        if stream is None:
            # librtmp begins with type 1: the stream id it leaves out is 0.
            if fmt > 1:
                raise ProtocolViolation(f"chunk stream {csid} begins with a type {fmt} chunk", "RTMP 5.3.1.2")
            if len(self._streams) >= MAX_CHUNK_STREAMS:
                raise ProtocolViolation(f"more than {MAX_CHUNK_STREAMS} chunk streams", CLAUSE)
            stream = _ChunkStream()
        if fmt == 3:
            return self._short(stream, at, size, have)
        return self._full(stream, csid, fmt, at + size, have - size, size)

    def _wait(self, need: int) -> Message | None:
        self._need = need
        return None

    def _full(
        self, stream: _ChunkStream, csid: int, fmt: int, at: int, have: int, basic: int
    ) -> Message | None:
        """A chunk of type 0, 1 or 2: it begins a message."""
        buffer = self._buffer
        size = _HEADER_SIZES[fmt]
        if have < size:
            return self._wait(basic + size)
        field = int.from_bytes(buffer[at : at + 3], "big")
        length = stream.length if fmt == 2 else int.from_bytes(buffer[at + 3 : at + 6], "big")
        if length > MAX_MESSAGE:
            raise ProtocolViolation(f"message of {length} bytes is longer than {MAX_MESSAGE}", CLAUSE)
        extended = field == EXTENDED
        if extended:
            if have < size + 4:
                return self._wait(basic + size + 4)
            field = _U32.unpack_from(buffer, at + size)[0]
        header = size + 4 if extended else size
        part = min(length, self._chunk_size)
        if have < header + part:
            return self._wait(basic + header + part)
        if fmt < 2:
            stream.length = length
            stream.type = buffer[at + 6]
        if fmt == 0:
            stream.stream_id = int.from_bytes(buffer[at + 7 : at + 11], "little")
            stream.timestamp = field
        else:
            stream.timestamp = (stream.timestamp + field) & 0xFFFFFFFF
        stream.field = field
        stream.extended = extended
        self._streams[csid] = stream
        at += header
        if part < length or stream.partial is not None:
            return self._begin(stream, at, part)
        # As `_begin` does it where the message is whole, which most are.
        self._position = end = at + part
        self._need = 1
        return Message(stream.type, stream.stream_id, stream.timestamp, bytes(memoryview(buffer)[at:end]))

    def _short(self, stream: _ChunkStream, at: int, basic: int, have: int) -> Message | None:
        """A chunk of type 3: it goes on with a message, or begins one like the last."""
        begins = stream.partial is None
        part = min(stream.length if begins else stream.left, self._chunk_size)
        header = basic
        if stream.extended:
            repeated = self._repeats(stream, at + basic, begins, part)
            if repeated is None:
                return self._wait(have + 1)
            header += 4 * repeated
        if have < header + part:
            return self._wait(header + part)
        if begins:
            # RTMP 5.3.1.2.4: after a type 0 chunk the delta is that chunk's timestamp; FFmpeg relies on it.
            stream.timestamp = (stream.timestamp + stream.field) & 0xFFFFFFFF
            return self._begin(stream, at + header, part)
        return self._append(stream, at, header, part)

    def _repeats(self, stream: _ChunkStream, at: int, begins: bool, part: int) -> bool | None:
        """Whether a type 3 chunk has the extended timestamp, which some leave out; None: can't tell yet."""
        here = bytes(self._buffer[at : at + 4])
        stamp = (stream.timestamp + stream.field) & 0xFFFFFFFF if begins else stream.timestamp
        for expected in (_U32.pack(stream.field), _U32.pack(stamp)):
            if here == expected:
                return True
            if expected.startswith(here) and len(here) < 4:
                return None
        return False

    def _begin(self, stream: _ChunkStream, at: int, part: int) -> Message | None:
        self._drop(stream)
        end = at + part
        self._position = end
        self._need = 1
        if part == stream.length:
            payload = bytes(memoryview(self._buffer)[at:end])
            return Message(stream.type, stream.stream_id, stream.timestamp, payload)
        if self._partials >= MAX_PARTIALS:
            raise ProtocolViolation(f"more than {MAX_PARTIALS} unfinished messages", CLAUSE)
        self._partials += 1
        stream.partial = self._buffer[at:end]
        stream.left = stream.length - part
        self._grown(part)
        return None

    def _grown(self, size: int) -> None:
        self._partial_bytes += size
        if self._partial_bytes > MAX_PARTIAL_BYTES:
            raise ProtocolViolation(f"more than {MAX_PARTIAL_BYTES} bytes in unfinished messages", CLAUSE)

    def _append(self, stream: _ChunkStream, at: int, header: int, part: int) -> Message | None:
        partial = stream.partial
        if partial is None:
            return None
        buffer, size = self._buffer, self._chunk_size
        stride = header + size
        # FFmpeg sends chunks of 128 bytes: take all that follow under the same header in one step.
        count = min(stream.left // size, (len(buffer) - at) // stride, _BATCH)
        # Where an extended timestamp is left out, each chunk must be looked at for it.
        if count > 1 and (not stream.extended or header > 4):
            block = buffer[at : at + count * stride]
            head = block[:header]
            if all(block[i::stride] == head[i : i + 1] * count for i in range(header)):
                for i in range(header):
                    # each pass shortens the stride by one, and what is left of the header moves to the front
                    del block[:: stride - i]
                return self._grow(stream, partial, block, at + count * stride)
        return self._grow(stream, partial, buffer[at + header : at + header + part], at + header + part)

    def _grow(self, stream: _ChunkStream, partial: bytearray, block: bytearray, end: int) -> Message | None:
        self._position = end
        self._need = 1
        partial += block
        stream.left -= len(block)
        self._grown(len(block))
        if stream.left:
            return None
        self._drop(stream)
        return Message(stream.type, stream.stream_id, stream.timestamp, bytes(partial))


def encode_message(
    csid: int, timestamp: int, type: int, stream_id: int, payload: bytes, chunk_size: int = DEFAULT_CHUNK_SIZE
) -> bytes:
    """A whole message in chunks, of type 0 first and type 3 then: it depends on nothing that was sent before.

    So the same bytes serve readers that join at any point. The extended timestamp is repeated in each chunk,
    as FFmpeg and librtmp expect. `timestamp` is taken modulo 2**32.
    """
    timestamp &= 0xFFFFFFFF
    size = len(payload)
    extra = b"" if timestamp < EXTENDED else _U32.pack(timestamp)
    field = EXTENDED if extra else timestamp
    if csid < 64:
        header = (csid << 56 | field << 32 | size << 8 | type).to_bytes(8, "big")
    else:
        header = _basic(0, csid) + (field << 32 | size << 8 | type).to_bytes(7, "big")
    header += stream_id.to_bytes(4, "little")
    if size <= chunk_size:
        return header + extra + payload
    separator = _basic(3, csid) + extra
    pieces = [payload[at : at + chunk_size] for at in range(0, size, chunk_size)]
    return header + extra + separator.join(pieces)


def _basic(fmt: int, csid: int) -> bytes:
    """RTMP 5.3.1.1: the basic header in its shortest form."""
    if csid < 64:
        return bytes((fmt << 6 | csid,))
    if csid < 320:
        return bytes((fmt << 6, csid - 64))
    return bytes((fmt << 6 | 1, csid - 64 & 0xFF, csid - 64 >> 8))
