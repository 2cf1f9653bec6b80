"""What both ends of a connection do alike: handshake, messages, acknowledgements, pings."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from penstock.errors import ProtocolViolation
from penstock_formats.flv.metadata import sanitise_metadata
from penstock_rtmp.aggregate import split_aggregate
from penstock_rtmp.chunk import DEFAULT_CHUNK_SIZE, ChunkReader, Message
from penstock_rtmp.event import Metadata, Script
from penstock_rtmp.handshake import ClientHandshake, ServerHandshake
from penstock_rtmp.message import (
    MAX_AMF,
    Acknowledgement,
    Command,
    Control,
    Data,
    MessageType,
    SetPeerBandwidth,
    UserControl,
    WindowAckSize,
    encode_command,
    encode_control,
    encode_user_control,
    parse,
)
from penstock_rtmp.state import ConnectionState

MAX_PONGS = 8
"""Answered pings between two takings of what is to be sent; more are a flood."""
MAX_SCRIPTS = 32
"""Data messages beyond the number of media messages: metadata sent over and over is left out."""
WINDOW = 2_500_000
"""Bytes between acknowledgements, as FFmpeg and Flash Media Server have it."""

# Looked at for each message: an enum's member is a look-up by itself.
MEDIA = (int(MessageType.VIDEO), int(MessageType.AUDIO))
_DATA_TYPES = (MessageType.DATA, MessageType.DATA_AMF3)

E = TypeVar("E")


class Link(Generic[E]):
    """Base of `ServerConnection` and `ClientConnection`.

    Give it what was read (`receive_data`), ask for events until there is none (`next_event`, which raises
    `ProtocolViolation`), send `data_to_send()` after that, also after a violation, where it is the reply.
    """

    __slots__ = (
        "_acknowledged",
        "_asked",
        "_early",
        "_events",
        "_handshake",
        "_out",
        "_pongs",
        "_reader",
        "_received",
        "_scripts",
        "_window",
        "chunk_size",
        "ignored",
        "peer_acknowledged",
        "state",
    )

    def __init__(self, handshake: ServerHandshake | ClientHandshake) -> None:
        self._handshake: ServerHandshake | ClientHandshake | None = handshake
        self._early = b""
        self._asked = False
        """Whether a command has come since nothing waited for an answer: nothing else can ask for one."""
        self._events: list[E | Message | Metadata | Script] = []
        self._out = handshake.data_to_send()
        self._reader = ChunkReader()
        self._received = 0
        self._acknowledged = 0
        self._window = WINDOW
        self._pongs = 0
        self._scripts = MAX_SCRIPTS
        self.chunk_size = DEFAULT_CHUNK_SIZE
        """The chunk size of what we send."""
        self.ignored = 0
        """Messages that were for no stream, or too many."""
        self.peer_acknowledged = 0
        """Bytes that the peer says it has received, modulo 2**32."""
        self.state = ConnectionState.HANDSHAKE

    def receive_data(self, data: bytes) -> None:
        """Add what the peer sent. Call `next_event` until it gives None before reading more."""
        if self.state is ConnectionState.CLOSED:
            return
        self._received += len(data)
        if self._handshake is not None:
            self._early += data
        else:
            self._reader.receive_data(data)

    def data_to_send(self) -> bytes:
        """What is to be sent now; it is given out once."""
        out, self._out = self._out, b""
        self._pongs = 0
        return out

    def next_event(self) -> E | Message | Metadata | Script | None:
        """The next event, or None where more bytes or a decision are needed.

        Raises `ProtocolViolation`, once; the connection is closed then.
        """
        if self._events:
            return self._events.pop(0)
        if self.state is ConnectionState.CLOSED:
            return None
        try:
            if self._handshake is not None and self._early:
                self._shake(self._handshake)
            while self._handshake is None and not self._events and not (self._asked and self.deciding):
                message = self._reader.next_message()
                if message is None:
                    break
                kind = message.type
                if kind in MEDIA and self._carries(message.stream_id):
                    if self._scripts < MAX_SCRIPTS:
                        self._scripts += 1
                    return message
                self._receive(message)
        except ProtocolViolation:
            self.state = ConnectionState.CLOSED
            raise
        if self._events:
            return self._events.pop(0)
        if self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self._out += encode_control(MessageType.ACKNOWLEDGEMENT, self._received & 0xFFFFFFFF)
        return None

    @property
    def deciding(self) -> bool:
        """Whether an event waits for the session's answer; until then nothing is looked at."""
        return False

    def awaited(self) -> int:
        """Bytes that are surely of the chunk that is to come whole next: they may be given at once."""
        return self._reader.awaited

    @property
    def pending(self) -> int:
        """Bytes held."""
        return self._reader.pending + len(self._early)

    def close(self) -> None:
        """Take no more notice of the peer."""
        self.state = ConnectionState.CLOSED

    def _shake(self, handshake: ServerHandshake | ClientHandshake) -> None:
        early, self._early = self._early, b""
        try:
            handshake.receive_data(early)
        finally:
            self._out += handshake.data_to_send()
        if handshake.done:
            self._handshake = None
            self.state = ConnectionState.OPEN
            self._reader.receive_data(handshake.rest())
            self._opened()

    def _opened(self) -> None:
        """The handshake is done."""

    def _carries(self, stream_id: int) -> bool:
        """Whether media may come on that message stream."""
        raise NotImplementedError

    def _command(self, command: Command) -> None:
        raise NotImplementedError

    def _user_control(self, control: UserControl) -> None:
        """A user control event that is not a ping."""

    def _bandwidth(self, limit: SetPeerBandwidth) -> None:
        """The peer limits us."""

    def _receive(self, message: Message) -> None:
        kind = message.type
        if kind in MEDIA:
            if self._carries(message.stream_id):
                self._events.append(message)
            else:
                self.ignored += 1
        elif kind == MessageType.AGGREGATE:
            if self._carries(message.stream_id):
                for part in split_aggregate(message):
                    self._receive(part)
            else:
                self.ignored += 1
        elif kind in _DATA_TYPES:
            # Not parsed where nobody wants it, and never a reason to end a stream for being long.
            if self._carries(message.stream_id) and len(message.payload) <= MAX_AMF and self._scripts:
                self._scripts -= 1
                self._parsed(message)
            else:
                self.ignored += 1
        else:
            self._parsed(message)

    def _parsed(self, message: Message) -> None:
        match parse(message):
            case Command() as command:
                self._command(command)
            case Data() as data:
                self._script(data)
            case Acknowledgement(sequence):
                self.peer_acknowledged = sequence
            case WindowAckSize(size):
                self._window = size or self._window
            case SetPeerBandwidth() as limit:
                self._bandwidth(limit)
            case UserControl(Control.PING_REQUEST, value):
                if self._pongs < MAX_PONGS:
                    self._pongs += 1
                    self._out += encode_user_control(Control.PING_RESPONSE, value)
            case UserControl() as control:
                self._user_control(control)
            case None:
                self.ignored += 1

    def _script(self, data: Data) -> None:
        match data.values:
            case ("@setDataFrame", "onMetaData", dict(), *_):
                self._events.append(Metadata(data.stream_id, sanitise_metadata(data.values[2])))
            case ("onMetaData", dict(), *_):
                self._events.append(Metadata(data.stream_id, sanitise_metadata(data.values[1])))
            case ("@clearDataFrame", "onMetaData", *_):
                self._events.append(Metadata(data.stream_id, {}))
            case ("@setDataFrame", str() as name, *values) | (str() as name, *values):
                self._events.append(Script(data.stream_id, data.timestamp, name, tuple(values)))
            case _:
                self.ignored += 1

    def _send(
        self, name: str, transaction: float, *arguments: Any, stream_id: int = 0, object: Any = None
    ) -> None:
        self._out += encode_command(Command(name, transaction, object, arguments, stream_id), self.chunk_size)

    def ping(self, time_ms: int) -> None:
        """Ask for a sign of life."""
        self._out += encode_user_control(Control.PING_REQUEST, time_ms & 0xFFFFFFFF)
