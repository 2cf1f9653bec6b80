"""Handshake extensions (draft-sharabayko-srt-01 3.2.1.1 to 3.2.1.4)."""

from __future__ import annotations

import enum
import struct

from attrs import field, frozen

from penstock.errors import ProtocolViolation

CLAUSE = "draft-sharabayko-srt-01 3.2.1.1"
MAX_EXTENSIONS = 16
"""Blocks of one handshake; libsrt sends at most six."""

_BLOCK = struct.Struct(">2H")
_HELLO = struct.Struct(">2I2H")
_GROUP = struct.Struct(">I2BH")


class ExtensionType(enum.IntEnum):
    """Types of blocks."""

    HSREQ = 1
    HSRSP = 2
    KMREQ = 3
    KMRSP = 4
    STREAM_ID = 5
    CONGESTION = 6
    FILTER = 7
    GROUP = 8


_TYPES = frozenset(ExtensionType)


class HelloFlag(enum.IntFlag):
    """Flags of HSREQ and HSRSP (3.2.1.1.1)."""

    TSBPD_SENDER = 1
    TSBPD_RECEIVER = 2
    CRYPT = 4
    TOO_LATE_DROP = 8
    PERIODIC_NAK = 16
    RETRANSMIT_FLAG = 32
    STREAM = 64
    PACKET_FILTER = 128


LIVE = (
    HelloFlag.TSBPD_SENDER
    | HelloFlag.TSBPD_RECEIVER
    | HelloFlag.CRYPT
    | HelloFlag.TOO_LATE_DROP
    | HelloFlag.PERIODIC_NAK
    | HelloFlag.RETRANSMIT_FLAG
)
"""What live mode does, and says."""


@frozen
class Hello:
    """HSREQ or HSRSP: the library's version (1.5.4 is 0x010504) and delays in ms.

    `receiver_delay` is the latency of what its sender receives, `sender_delay` of what its sender sends.
    """

    version: int
    flags: int
    receiver_delay: int
    sender_delay: int

    @classmethod
    def parse(cls, body: bytes) -> Hello:
        """The hello of an extension's body; raises `ProtocolViolation`."""
        if len(body) < _HELLO.size:
            raise ProtocolViolation(f"HSREQ of {len(body)} bytes", CLAUSE)
        return cls(*_HELLO.unpack_from(body))

    def build(self) -> bytes:
        """The body on the wire."""
        return _HELLO.pack(self.version, self.flags, self.receiver_delay, self.sender_delay)


class GroupType(enum.IntEnum):
    """How a group uses its links: all at once, or the best one."""

    BROADCAST = 1
    BACKUP = 2


@frozen
class Group:
    """Membership of a bonding group (3.2.1.4): which of the sender's groups, of what type, with what priority."""

    id: int
    type: int
    flags: int
    weight: int

    @classmethod
    def parse(cls, body: bytes) -> Group:
        """The membership of an extension's body; raises `ProtocolViolation`."""
        if len(body) < _GROUP.size:
            raise ProtocolViolation(
                f"group membership of {len(body)} bytes", "draft-sharabayko-srt-01 3.2.1.4"
            )
        made = cls(*_GROUP.unpack_from(body))
        if not made.id:
            raise ProtocolViolation("group id 0", "draft-sharabayko-srt-01 3.2.1.4")
        return made

    def build(self) -> bytes:
        """The body on the wire."""
        return _GROUP.pack(self.id, self.type, self.flags, self.weight)


@frozen
class Extensions:
    """What the extensions of one handshake say; None where it has no such block.

    `stream_id`, `congestion` and `filter` are text as it was sent, which is UTF-8 or not; `key_material` and
    `key_response` are bodies of KMREQ and KMRSP; `unknown` are the types that nobody knows.
    """

    request: Hello | None = None
    response: Hello | None = None
    key_material: bytes | None = None
    key_response: bytes | None = None
    stream_id: bytes | None = None
    congestion: bytes | None = None
    filter: bytes | None = None
    group: Group | None = None
    unknown: tuple[int, ...] = field(default=(), eq=False)

    @classmethod
    def parse(cls, data: bytes) -> Extensions:
        """What follows a handshake's fixed part; raises `ProtocolViolation`."""
        found: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            if at + _BLOCK.size > len(data):
                raise ProtocolViolation("handshake extension without its header", CLAUSE)
            kind, words = _BLOCK.unpack_from(data, at)
            at += _BLOCK.size
            end = at + 4 * words
            if end > len(data) or not words:
                raise ProtocolViolation("handshake extension is empty or longer than its packet", CLAUSE)
            if kind in found or len(found) == MAX_EXTENSIONS:
                raise ProtocolViolation("handshake extension given twice, or too many", CLAUSE)
            found[kind] = data[at:end]
            at = end
        return cls._of(found)

    @classmethod
    def _of(cls, found: dict[int, bytes]) -> Extensions:
        def hello(kind: ExtensionType) -> Hello | None:
            return Hello.parse(found[kind]) if kind in found else None

        def text(kind: ExtensionType) -> bytes | None:
            return _decode_words(found[kind]) or None if kind in found else None

        group = found.get(ExtensionType.GROUP)
        return cls(
            hello(ExtensionType.HSREQ),
            hello(ExtensionType.HSRSP),
            found.get(ExtensionType.KMREQ),
            found.get(ExtensionType.KMRSP),
            text(ExtensionType.STREAM_ID),
            text(ExtensionType.CONGESTION),
            text(ExtensionType.FILTER),
            Group.parse(group) if group is not None else None,
            tuple(kind for kind in found if kind not in _TYPES),
        )

    def build(self) -> bytes:
        """All blocks on the wire, in libsrt's order; unknown ones are not sent on."""
        bodies = (
            (ExtensionType.HSREQ, self.request and self.request.build()),
            (ExtensionType.HSRSP, self.response and self.response.build()),
            (ExtensionType.KMREQ, self.key_material),
            (ExtensionType.KMRSP, self.key_response),
            (ExtensionType.STREAM_ID, self.stream_id and _encode_words(self.stream_id)),
            (ExtensionType.CONGESTION, self.congestion and _encode_words(self.congestion)),
            (ExtensionType.FILTER, self.filter and _encode_words(self.filter)),
            (ExtensionType.GROUP, self.group and self.group.build()),
        )
        return b"".join(_BLOCK.pack(kind, len(body) // 4) + body for kind, body in bodies if body)


def _decode_words(body: bytes) -> bytes:
    """Text, whose bytes are turned round in each word of four and filled up with zeros (3.2.1.3)."""
    return b"".join(body[i : i + 4][::-1] for i in range(0, len(body), 4)).rstrip(b"\0")


def _encode_words(text: bytes) -> bytes:
    return b"".join(text[i : i + 4].ljust(4, b"\0")[::-1] for i in range(0, len(text), 4))
