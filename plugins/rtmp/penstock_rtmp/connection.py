"""The server's end of one connection, without I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from penstock.errors import ProtocolViolation
from penstock_rtmp.capability import (
    CAN_FORWARD,
    MODEX,
    MULTITRACK,
    NANO_OFFSET,
    announce,
    as_object,
    is_enhanced,
    read_caps,
    read_fourccs,
)
from penstock_rtmp.event import BufferLength, Connect, Pause, Play, Publish, ServerEvent, StreamClosed
from penstock_rtmp.handshake import ServerHandshake
from penstock_rtmp.link import WINDOW, Link
from penstock_rtmp.message import (
    Command,
    Control,
    Data,
    MessageType,
    UserControl,
    encode_control,
    encode_data,
    encode_user_control,
)
from penstock_rtmp.state import TRANSITIONS, Action, ConnectionState, StreamState

MAX_STREAMS = 32
MAX_COMPLAINTS = 64
"""Refused commands before the connection is ended."""
OUT_CHUNK_SIZE = 65_536
"""One chunk for most frames; Flash takes no larger one."""
CAPS = MULTITRACK | MODEX | NANO_OFFSET


class ServerConnection(Link[ServerEvent]):
    """A client's connection. See `Link` for how bytes come and go; answers are given by the methods below."""

    __slots__ = ("_complaints", "_connect", "_names", "_transaction", "enhanced", "streams")

    def __init__(self, random: bytes, time_ms: int) -> None:
        """`random` has at least `handshake.RANDOM_SIZE` bytes."""
        super().__init__(ServerHandshake(random, time_ms))
        self.streams: dict[int, StreamState] = {}
        """The state of each message stream."""
        self.enhanced = False
        """Whether the client announced Enhanced RTMP."""
        self._names: dict[int, str] = {}
        self._transaction = 1.0
        self._complaints = 0
        self._connect: Any = 0

    @property
    def deciding(self) -> bool:
        if self._asked:
            self._asked = self.state is ConnectionState.CONNECTING or any(
                s is StreamState.PUBLISH_ASKED or s is StreamState.PLAY_ASKED for s in self.streams.values()
            )
        return self._asked

    def accept_connect(self, video: Iterable[str] = (), audio: Iterable[str] = ()) -> None:
        """Let the client in; `video` and `audio` are the FourCCs that can be forwarded."""
        if self.state is not ConnectionState.CONNECTING:
            raise RuntimeError("no connect is waiting")
        self.state = ConnectionState.CONNECTED
        self._out += encode_control(MessageType.WINDOW_ACK_SIZE, WINDOW)
        self._out += encode_control(MessageType.SET_PEER_BANDWIDTH, WINDOW, b"\x02")
        self._out += encode_control(MessageType.SET_CHUNK_SIZE, OUT_CHUNK_SIZE)
        self.chunk_size = OUT_CHUNK_SIZE
        properties: dict[str, Any] = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31}
        information = _status("status", "NetConnection.Connect.Success", "Connection succeeded.")
        information["objectEncoding"] = self._connect
        if self.enhanced:
            # Clients look for these in either of the two objects.
            extra = announce(video, audio, CAN_FORWARD, CAPS)
            properties |= extra
            information |= extra
        self._send("_result", self._transaction, information, object=properties)

    def reject_connect(self, description: str, code: str = "NetConnection.Connect.Rejected") -> None:
        """Refuse the client, who is told why; close after sending."""
        if self.state is not ConnectionState.CONNECTING:
            raise RuntimeError("no connect is waiting")
        self.state = ConnectionState.CLOSED
        self._send("_error", self._transaction, _status("error", code, description))
        self._send("close", 0.0)

    def accept_publish(self, stream_id: int) -> None:
        """Let the client send."""
        self._move(stream_id, Action.ACCEPT)
        self._out += encode_user_control(Control.STREAM_BEGIN, stream_id)
        self._status(stream_id, "status", "NetStream.Publish.Start", "Start publishing.")

    def reject_publish(
        self, stream_id: int, description: str, code: str = "NetStream.Publish.BadName"
    ) -> None:
        """Refuse to take, or to go on taking, what the client sends."""
        self._move(stream_id, Action.REJECT)
        self._status(stream_id, "error", code, description)

    def accept_play(self, stream_id: int) -> None:
        """Tell the player that it will get the stream; metadata and media follow, made by the caller."""
        self._move(stream_id, Action.ACCEPT)
        self._out += encode_user_control(Control.STREAM_BEGIN, stream_id)
        name = self._names.get(stream_id, "")
        self._status(stream_id, "status", "NetStream.Play.Reset", "Playing and resetting.", details=name)
        self._status(stream_id, "status", "NetStream.Play.Start", "Started playing.", details=name)
        self.send_data(stream_id, 0, "|RtmpSampleAccess", True, True)

    def reject_play(
        self, stream_id: int, description: str, code: str = "NetStream.Play.StreamNotFound"
    ) -> None:
        """Refuse to play, or to go on playing."""
        self._move(stream_id, Action.REJECT)
        self._status(stream_id, "error", code, description)

    def end_play(self, stream_id: int, description: str) -> None:
        """Tell a player that the stream has ended in order."""
        self._move(stream_id, Action.CLOSE)
        self._out += encode_user_control(Control.STREAM_EOF, stream_id)
        self._status(stream_id, "status", "NetStream.Play.UnpublishNotify", description)
        self._status(stream_id, "status", "NetStream.Play.Stop", description)

    def send_data(self, stream_id: int, timestamp: int, *values: Any) -> None:
        """Send a data message, such as onMetaData."""
        self._out += encode_data(Data(values, stream_id, timestamp), self.chunk_size)

    def request_reconnect(self, description: str, tc_url: str | None = None) -> None:
        """Ask a client that announced it to come back, there or to another server (Enhanced RTMP v2)."""
        information = _status("status", "NetConnection.Connect.ReconnectRequest", description)
        if tc_url is not None:
            information["tcUrl"] = tc_url
        self._send("onStatus", 0.0, information)

    def _carries(self, stream_id: int) -> bool:
        return self.streams.get(stream_id) is StreamState.PUBLISHING

    def _user_control(self, control: UserControl) -> None:
        if control.event == Control.SET_BUFFER_LENGTH:
            self._events.append(BufferLength(control.value, control.extra))

    def _command(self, command: Command) -> None:
        self._asked = True
        if self.state is ConnectionState.OPEN:
            if command.name != "connect":
                raise ProtocolViolation(f"{command.name[:32]!r} before connect", "RTMP 7.2.1.1")
            self._connected(command)
            return
        match command.name:
            case "connect":
                raise ProtocolViolation("connect twice", "RTMP 7.2.1.1")
            case "createStream":
                self._create_stream(command)
            case "publish":
                self._publish(command)
            case "play":
                self._play(command)
            case "deleteStream":
                self._delete_stream(command)
            case "closeStream":
                self._close_stream(command.stream_id)
            case "pause" | "pauseRaw":
                self._pause(command)
            case "releaseStream" | "initStream" | "_checkbw" | "checkBandwidth":
                self._result(command)
            case "getStreamLength":
                self._result(command, 0.0)
            case "FCPublish" | "FCUnpublish" | "FCSubscribe":
                self._flash(command)
            case "receiveAudio" | "receiveVideo" | "seek" | "_result" | "_error" | "onStatus":
                self.ignored += 1
            case _:
                self._complain(command, "NetConnection.Call.Failed", f"{command.name[:32]!r} is not known.")

    def _connected(self, command: Command) -> None:
        given = as_object(command.object)
        app, _, query = _text(given.get("app")).partition("?")
        tc_url = _text(given.get("tcUrl"))
        if not query:
            query = tc_url.partition("?")[2]
        encoding: Any = given.get("objectEncoding")
        self._connect = 3 if encoding == 3 else 0
        self._transaction = command.transaction
        self.enhanced = is_enhanced(given)
        self.state = ConnectionState.CONNECTING
        self._events.append(Connect(app, tc_url, query, given, read_fourccs(given), read_caps(given)))

    def _create_stream(self, command: Command) -> None:
        if len(self.streams) >= MAX_STREAMS:
            self._complain(command, "NetConnection.Call.Failed", f"At most {MAX_STREAMS} streams.")
            return
        stream_id = next(i for i in range(1, MAX_STREAMS + 1) if i not in self.streams)
        self.streams[stream_id] = StreamState.IDLE
        self._result(command, float(stream_id))

    def _publish(self, command: Command) -> None:
        name, mode = _argument(command, 0), _argument(command, 1)
        if self._ask(command, Action.PUBLISH, "NetStream.Publish.BadConnection"):
            self._names[command.stream_id] = _text(name)
            known = mode if mode in ("record", "append") else "live"
            self._events.append(Publish(command.stream_id, _text(name), known))

    def _play(self, command: Command) -> None:
        name, start, duration, reset = (_argument(command, i) for i in range(4))
        if self._ask(command, Action.PLAY, "NetStream.Play.Failed"):
            self._names[command.stream_id] = _text(name)
            times = _number(start, -2.0), _number(duration, -1.0)
            self._events.append(Play(command.stream_id, _text(name), *times, reset is not False))

    def _ask(self, command: Command, action: Action, code: str) -> bool:
        state = self.streams.get(command.stream_id)
        if state is None:
            self._complain(command, code, f"There is no stream {command.stream_id}.")
        elif (state, action) not in TRANSITIONS:
            self._complain(command, code, f"Stream {command.stream_id} is in use.")
        else:
            self.streams[command.stream_id] = TRANSITIONS[state, action]
            return True
        return False

    def _delete_stream(self, command: Command) -> None:
        number = _number(_argument(command, 0), 0.0)
        if number in self.streams:
            self._close_stream(int(number))
            del self.streams[int(number)]
        else:
            self.ignored += 1

    def _close_stream(self, stream_id: int) -> None:
        state = self.streams.get(stream_id, StreamState.IDLE)
        self._names.pop(stream_id, None)
        if state is not StreamState.IDLE:
            self._move(stream_id, Action.CLOSE)
            self._events.append(StreamClosed(stream_id))

    def _pause(self, command: Command) -> None:
        if self.streams.get(command.stream_id) is not StreamState.PLAYING:
            self.ignored += 1
            return
        paused = _argument(command, 0) is True
        self._events.append(Pause(command.stream_id, paused, _number(_argument(command, 1), 0.0)))
        what = ("NetStream.Pause.Notify", "Paused.") if paused else ("NetStream.Unpause.Notify", "Unpaused.")
        self._status(command.stream_id, "status", *what)

    def _flash(self, command: Command) -> None:
        """Commands of Flash Media Live Encoder, which waits for an answer of that name."""
        name = _text(_argument(command, 0))
        if command.name == "FCUnpublish":
            for stream_id, known in list(self._names.items()):
                if known == name and self.streams.get(stream_id) is StreamState.PUBLISHING:
                    self._close_stream(stream_id)
        code = {"FCPublish": "NetStream.Publish.Start", "FCUnpublish": "NetStream.Unpublish.Success"}
        information = _status("status", code.get(command.name, "NetStream.Play.Start"), "")
        self._send("on" + command.name, 0.0, information)
        self._result(command)

    def _result(self, command: Command, *values: Any) -> None:
        if command.transaction:
            self._send("_result", command.transaction, *(values or (None,)))

    def _complain(self, command: Command, code: str, description: str) -> None:
        self._complaints += 1
        if self._complaints > MAX_COMPLAINTS:
            raise ProtocolViolation(f"more than {MAX_COMPLAINTS} commands that can't be met", "RTMP 7.2")
        if code.startswith("NetStream"):
            self._status(command.stream_id, "error", code, description)
        elif command.transaction:
            self._send("_error", command.transaction, _status("error", code, description))

    def _move(self, stream_id: int, action: Action) -> None:
        state = self.streams.get(stream_id)
        if state is None or (state, action) not in TRANSITIONS:
            raise RuntimeError(f"can't {action.value} message stream {stream_id}: it is {state}")
        self.streams[stream_id] = TRANSITIONS[state, action]

    def _status(self, stream_id: int, level: str, code: str, description: str, **more: str) -> None:
        self._send("onStatus", 0.0, _status(level, code, description) | more, stream_id=stream_id)


def _status(level: str, code: str, description: str) -> dict[str, Any]:
    return {"level": level, "code": code, "description": description}


def _argument(command: Command, index: int) -> Any:
    return command.arguments[index] if index < len(command.arguments) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, default: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return default
