"""RTSP as text and RTP as packets, written so that whatever is wrong can be said."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from attrs import define

from penstock_formats.rtp.packet import RtpPacket

from .canary_program import PPS, SPS
from .peer import Peer
from .rig import Rig

SSRC = 0xFA017
ASC = "1190"
H264 = (
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets="
    f"{base64.b64encode(SPS).decode()},{base64.b64encode(PPS).decode()}\r\na=control:trackID=0\r\n"
)
AAC = (
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 profile-level-id=1;mode=AAC-hbr;"
    f"sizelength=13;indexlength=3;indexdeltalength=3;config={ASC}\r\na=control:trackID=1\r\n"
)
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
IDR = b"\x65\x88"
SLICE = b"\x41\x9a"

_names = itertools.count()


def sdp(*media: str, session: str = "") -> bytes:
    """A description of `media`, each with its lines."""
    head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=faults\r\n" + session + "t=0 0\r\n"
    return (head + "".join(media)).encode()


def request(method: str, url: str, *lines: str, body: bytes = b"", cseq: int | str = 1) -> bytes:
    """A request with the header `lines`; Content-Length is that of `body`."""
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {url} RTSP/1.0", f"CSeq: {cseq}", *lines, *length, "", ""]).encode() + body


def interleaved(channel: int, data: bytes) -> bytes:
    return b"$" + struct.pack(">BH", channel, len(data)) + data


def rtp(
    sequence: int, timestamp: int, payload: bytes, *, ssrc: int = SSRC, kind: int = 96, marker: bool = True
) -> bytes:
    return RtpPacket(kind, marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, payload).encode()


def sender_report(ntp: int, rtp_time: int, *, ssrc: int = SSRC) -> bytes:
    return struct.pack(">BBHIQIII", 0x80, 200, 6, ssrc, ntp, rtp_time & 0xFFFFFFFF, 1, 1)


def digest(user: str, password: str, realm: str, nonce: str, method: str, url: str, /, **fields: str) -> str:
    """An Authorization line of RFC 2617 without qop; `fields` replace or add."""
    ha1 = hashlib.md5(f"{user}:{realm}:{password}".encode()).hexdigest()
    ha2 = hashlib.md5(f"{method}:{fields.get('uri', url)}".encode()).hexdigest()
    response = hashlib.md5(f"{ha1}:{nonce}:{ha2}".encode()).hexdigest()
    values = {"username": user, "realm": realm, "nonce": nonce, "uri": url, "response": response} | fields
    return "Authorization: Digest " + ", ".join(f'{k}="{v}"' for k, v in values.items())


@define
class Reply:
    """What the server answered."""

    status: int
    head: str
    body: bytes

    def header(self, name: str) -> str:
        found = re.search(rf"^{name}: *(.*)\r$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""


class Client:
    """A peer that speaks RTSP about one path. Interleaved frames that come between are kept in `frames`."""

    def __init__(self, peer: Peer, path: str = "") -> None:
        self.peer = peer
        self.path = path or f"faults/t{next(_names)}"
        self.url = f"rtsp://127.0.0.1/{self.path}"
        self.session = ""
        self.frames: list[bytes] = []
        self.sockets: list[socket.socket] = []
        self._cseq = 0
        self._buffer = b""

    def __enter__(self) -> Client:
        self.peer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self.sockets:
            sock.close()
        self.peer.__exit__(kind, error, trace)

    def ask(
        self, method: str, url: str = "", *lines: str, body: bytes = b"", session: str | None = None
    ) -> Reply:
        """Send a request and read its reply. Raises `ConnectionError` where the server closes instead."""
        self._cseq += 1
        session = self.session if session is None else session
        also = [f"Session: {session}"] if session else []
        url = url if "://" in url or url == "*" else self.url + url
        self.peer.send(request(method, url, *also, *lines, body=body, cseq=self._cseq))
        reply = self.reply()
        self.session = reply.header("Session").partition(";")[0] or self.session
        return reply

    def reply(self) -> Reply:
        """The next reply."""
        while True:
            while self._buffer[:1] == b"$":
                head = self._need(4)
                frame = self._need(4 + int.from_bytes(head[2:4], "big"))
                self.frames.append(frame)
                self._buffer = self._buffer[len(frame) :]
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            self._more()
        text = self._buffer[: end + 2].decode()
        length = re.search(r"^content-length: *(\d+)", text, re.IGNORECASE | re.MULTILINE)
        whole = self._need(end + 4 + (int(length[1]) if length else 0))
        self._buffer = self._buffer[len(whole) :]
        return Reply(int(text.split(" ")[1]), text, whole[end + 4 :])

    def _need(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        return self._buffer[:size]

    def _more(self) -> None:
        data = self.peer.read()
        if not data:
            raise ConnectionError("the server closed")
        self._buffer += data

    def frame(self, seconds: float = 5.0) -> bytes:
        """The next interleaved frame."""
        self.peer.sock.settimeout(seconds)
        while not self.frames:
            while not self._buffer:
                self._more()
            assert self._buffer[:1] == b"$", self._buffer[:200]
            frame = self._need(4 + int.from_bytes(self._need(4)[2:4], "big"))
            self.frames.append(frame)
            self._buffer = self._buffer[len(frame) :]
        return self.frames.pop(0)

    # -- whole sessions -------------------------------------------------------

    def announce(self, *media: str) -> Reply:
        return self.ask("ANNOUNCE", "", "Content-Type: application/sdp", body=sdp(*media))

    def udp(self) -> tuple[socket.socket, socket.socket]:
        """Two sockets at the peer's own address, on adjacent ports."""
        host = self.peer.sock.getsockname()[0]
        while True:
            pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
            try:
                pair[0].bind((host, 0))
                pair[1].bind((host, pair[0].getsockname()[1] + 1))
            except (OSError, OverflowError):
                for sock in pair:
                    sock.close()
                continue
            for sock in pair:
                sock.settimeout(5)
            self.sockets += pair
            return pair[0], pair[1]

    def setup_udp(self, url: str) -> tuple[socket.socket, socket.socket, Reply]:
        media, control = self.udp()
        first, second = media.getsockname()[1], control.getsockname()[1]
        return (
            media,
            control,
            self.ask("SETUP", url, f"Transport: RTP/AVP;unicast;client_port={first}-{second}"),
        )

    def record(self, *media: str) -> Client:
        """Publish `media` over TCP, each on the next pair of channels."""
        assert self.announce(*media).status == 200
        for number, one in enumerate(media):
            control = re.search(r"a=control:(\S+)", one)
            assert control is not None
            transport = (
                f"Transport: RTP/AVP/TCP;unicast;interleaved={2 * number}-{2 * number + 1};mode=record"
            )
            assert self.ask("SETUP", "/" + control[1], transport).status == 200
        assert self.ask("RECORD").status == 200
        return self

    def record_udp(self, *media: str) -> list[tuple[socket.socket, socket.socket]]:
        """Publish `media` over UDP; the sockets of each, to send from."""
        assert self.announce(*media).status == 200
        pairs: list[tuple[socket.socket, socket.socket]] = []
        for one in media:
            control = re.search(r"a=control:(\S+)", one)
            assert control is not None
            rtp_socket, rtcp_socket, reply = self.setup_udp("/" + control[1])
            assert reply.status == 200, reply.head
            pairs.append((rtp_socket, rtcp_socket))
        assert self.ask("RECORD").status == 200
        return pairs

    def play(self, transport: str = TCP) -> Client:
        """Play the first track over TCP."""
        described = self.ask("DESCRIBE")
        assert described.status == 200, described.head
        control = re.findall(r"a=control:(trackID=\d+)", described.body.decode())[0]
        assert self.ask("SETUP", "/" + control, "Transport: " + transport).status == 200
        assert self.ask("PLAY").status == 200
        return self

    def picture(self, number: int, marker: bytes = b"x", *, key: bool = True, **options: Any) -> None:
        """Send one picture on channel 0."""
        payload = (IDR if key else SLICE) + marker + b"x" * 40
        self.peer.send(interleaved(0, rtp(number, number * 3600, payload, **options)))


def client(faults: Rig, path: str = "") -> Client:
    return Client(faults.peer("rtsp"), path)


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `check` comes true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
