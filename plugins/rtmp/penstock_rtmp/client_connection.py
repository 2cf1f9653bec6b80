"""The client's end of one connection, without I/O: to pull a stream or to push one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.flv.metadata import sanitise_text
from penstock_rtmp.capability import (
    CAN_FORWARD,
    MODEX,
    MULTITRACK,
    NANO_OFFSET,
    announce,
    as_object,
    read_caps,
    read_fourccs,
)
from penstock_rtmp.event import ClientEvent, Connected, Ended, Playing, Publishing, Rejected
from penstock_rtmp.handshake import ClientHandshake
from penstock_rtmp.link import WINDOW, Link
from penstock_rtmp.message import (
    Command,
    Control,
    Data,
    MessageType,
    SetPeerBandwidth,
    UserControl,
    encode_control,
    encode_data,
    encode_user_control,
)
from penstock_rtmp.state import ConnectionState

PUSH_CHUNK_SIZE = 60_000
"""Below 65536, which some servers take for an error."""
BUFFER_MS = 3000
FLASH_VERSION = "FMLE/3.0 (compatible; Penstock)"
PLAYER_VERSION = "LNX 9,0,124,2"

_CONNECT, _RELEASE, _FC_PUBLISH, _CREATE, _PUBLISH, _PLAY = 1.0, 2.0, 3.0, 4.0, 5.0, 0.0
_ENDS = frozenset({"NetStream.Play.Stop", "NetStream.Play.Complete", "NetStream.Play.UnpublishNotify"})


@frozen
class Target:
    """What to ask the server for; `tc_url` has no stream name, `video` and `audio` are FourCCs."""

    app: str
    tc_url: str
    name: str
    publish: bool = False
    video: Iterable[str] = ()
    audio: Iterable[str] = ()


class ClientConnection(Link[ClientEvent]):
    """A connection to a server; after the handshake it asks by itself for what `target` says."""

    __slots__ = ("_target", "stream_id")

    def __init__(self, target: Target, random: bytes, time_ms: int) -> None:
        """`random` has at least `handshake.RANDOM_SIZE` bytes."""
        super().__init__(ClientHandshake(random, time_ms))
        self._target = target
        self.stream_id = 0
        """The message stream, 0 until the server gave one."""

    def send_metadata(self, values: dict[str, Any]) -> None:
        """Send onMetaData to a server that is pushed to."""
        data = Data(("@setDataFrame", "onMetaData", values), self.stream_id, 0)
        self._out += encode_data(data, self.chunk_size)

    def finish(self) -> None:
        """End the stream in order; close after sending."""
        if self.stream_id:
            if self._target.publish:
                self._send("FCUnpublish", 6.0, self._target.name)
            self._send("deleteStream", 7.0, float(self.stream_id))
        self.close()

    def _opened(self) -> None:
        self.state = ConnectionState.CONNECTING
        target = self._target
        given: dict[str, Any] = {"app": target.app}
        if target.publish:
            self._out += encode_control(MessageType.SET_CHUNK_SIZE, PUSH_CHUNK_SIZE)
            self.chunk_size = PUSH_CHUNK_SIZE
            given |= {"type": "nonprivate", "flashVer": FLASH_VERSION, "tcUrl": target.tc_url}
        else:
            given |= {"flashVer": PLAYER_VERSION, "tcUrl": target.tc_url, "fpad": False, "capabilities": 15}
            given |= {"audioCodecs": 4071, "videoCodecs": 252, "videoFunction": 1}
        given |= announce(target.video, target.audio, CAN_FORWARD, MULTITRACK | MODEX | NANO_OFFSET)
        self._send("connect", _CONNECT, object=given)

    def _carries(self, stream_id: int) -> bool:
        # Some servers send media before they say that they play, or metadata on stream 0.
        return self.stream_id != 0 and not self._target.publish and stream_id in (self.stream_id, 0)

    def _bandwidth(self, limit: SetPeerBandwidth) -> None:
        if limit.size:
            self._out += encode_control(MessageType.WINDOW_ACK_SIZE, limit.size)

    def _user_control(self, control: UserControl) -> None:
        if control.event == Control.STREAM_EOF and control.value == self.stream_id and self.stream_id:
            self._events.append(Ended("StreamEOF"))

    def _command(self, command: Command) -> None:
        match command.name:
            case "_result" if command.transaction == _CONNECT and self.state is ConnectionState.CONNECTING:
                self._connected(command)
            case "_result" if command.transaction == _CREATE and self.state is ConnectionState.CONNECTED:
                self._created(command)
            case "_error" if command.transaction in (_CONNECT, _CREATE, _PUBLISH):
                self._reject(_information(command))
            case "onStatus":
                self._on_status(_information(command))
            case _:
                self.ignored += 1

    def _connected(self, command: Command) -> None:
        self.state = ConnectionState.CONNECTED
        given = as_object(command.object)
        given = given | _information(command)
        self._events.append(Connected(read_fourccs(given), read_caps(given)))
        if self._target.publish:
            self._send("releaseStream", _RELEASE, self._target.name)
            self._send("FCPublish", _FC_PUBLISH, self._target.name)
        else:
            self._out += encode_control(MessageType.WINDOW_ACK_SIZE, WINDOW)
        self._send("createStream", _CREATE)

    def _created(self, command: Command) -> None:
        number: Any = command.arguments[0] if command.arguments else None
        if not isinstance(number, float) or not math.isfinite(number) or not 1 <= number < 1 << 32:
            raise ProtocolViolation("createStream gave no stream", "RTMP 7.2.1.3")
        if self.stream_id:
            self.ignored += 1
            return
        self.stream_id = int(number)
        name = self._target.name
        if self._target.publish:
            self._send("publish", _PUBLISH, name, "live", stream_id=self.stream_id)
        else:
            self._send("play", _PLAY, name, -2000.0, stream_id=self.stream_id)
            self._out += encode_user_control(Control.SET_BUFFER_LENGTH, self.stream_id, BUFFER_MS)

    def _on_status(self, information: dict[str, Any]) -> None:
        code = _text(information.get("code"))
        if information.get("level") == "error":
            self._reject(information)
        elif code == "NetStream.Publish.Start":
            self._events.append(Publishing(self.stream_id))
        elif code == "NetStream.Play.Start":
            self._events.append(Playing(self.stream_id))
        elif code in _ENDS:
            self._events.append(Ended(code))
        else:
            self.ignored += 1

    def _reject(self, information: dict[str, Any]) -> None:
        self._events.append(Rejected(_text(information.get("code")), _text(information.get("description"))))


def _information(command: Command) -> dict[str, Any]:
    """The first object in an answer's arguments, or the command object where there is no other."""
    for value in (*command.arguments, command.object):
        if found := as_object(value):
            return found
    return {}


def _text(value: Any) -> str:
    return sanitise_text(value) if isinstance(value, str) else ""
