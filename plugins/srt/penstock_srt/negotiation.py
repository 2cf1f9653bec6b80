"""What two sides agree on in the conclusion of a handshake (draft-sharabayko-srt-01 4.3), whichever of them called."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_srt.connection import Terms
from penstock_srt.extension import LIVE, Extensions, Group, GroupType, Hello, HelloFlag
from penstock_srt.handshake import (
    CONFIG_FLAG,
    HSREQ_FLAG,
    KMREQ_FLAG,
    VERSION,
    Handshake,
    RejectReason,
)
from penstock_srt.key_material import KeyMaterial
from penstock_srt.keyring import Keyring
from penstock_srt.settings import LIBRARY_VERSION, MAX_LATENCY, Settings

MAX_ID = 1 << 30
"""Socket ids are below; groups have this bit."""
_GROUP_TYPES = frozenset(GroupType)


def ask(
    settings: Settings, material: bytes | None, stream_id: bytes, group: Group | None = None
) -> tuple[int, bytes]:
    """The flags and extensions of who begins."""
    config = stream_id or group
    flags = HSREQ_FLAG | (KMREQ_FLAG if material else 0) | (CONFIG_FLAG if config else 0)
    hello = Hello(LIBRARY_VERSION, LIVE, settings.latency, settings.peer_latency)
    extensions = Extensions(request=hello, key_material=material, stream_id=stream_id or None, group=group)
    return flags, extensions.build()


def check(extensions: Extensions, *, groups: bool = False) -> RejectReason | None:
    """Why who asks for that is refused, None where it is not; `groups` is whether links of groups are taken."""
    if extensions.request is None:
        return RejectReason.ROGUE
    if extensions.request.flags & HelloFlag.STREAM:
        return RejectReason.MESSAGE_API
    if extensions.congestion not in (None, b"live"):
        return RejectReason.CONGESTION
    if extensions.filter is not None:
        return RejectReason.FILTER
    if extensions.group is not None and not (groups and extensions.group.type in _GROUP_TYPES):
        return RejectReason.GROUP
    return None


@frozen
class Grant:
    """What who is asked agrees to; delays are in ms, `extensions` and their `flags` are the answer."""

    latency: int
    peer_latency: int
    keys: Keyring | None
    flags: int
    extensions: bytes


def grant(
    settings: Settings,
    extensions: Extensions,
    hello: Hello,
    passphrase: str,
    latency: int | None = None,
    group: Group | None = None,
) -> Grant | RejectReason:
    """The answer to `extensions`, which `check` let pass and whose request is `hello`; `group` is our end of theirs."""
    keys, material = None, extensions.key_material
    if material is not None or passphrase:
        # S5: one side's word is not enough, and nothing goes in the clear that was not meant to.
        if material is None or not passphrase:
            return RejectReason.UNSECURE
        try:
            keys = Keyring.receive(passphrase, KeyMaterial.parse(material))
        except ProtocolViolation:
            return RejectReason.ROGUE
        if keys is None:
            return RejectReason.BAD_SECRET
    own = settings.latency if latency is None else latency
    delays = (
        min(max(own, hello.sender_delay), MAX_LATENCY),
        min(max(settings.peer_latency, hello.receiver_delay), MAX_LATENCY),
    )
    answer = Extensions(response=Hello(LIBRARY_VERSION, LIVE, *delays), key_response=material, group=group)
    flags = HSREQ_FLAG | (KMREQ_FLAG if material else 0) | (CONFIG_FLAG if group else 0)
    return Grant(*delays, keys, flags, answer.build())


def conclude(
    settings: Settings,
    own: Handshake,
    answer: Handshake,
    keys: Keyring | None,
    material: bytes | None,
    start: int,
    peer_start: int,
    group: Group | None = None,
) -> Terms | RejectReason:
    """What came of `answer` to our handshake `own`, by which we join `group`; raises `ProtocolViolation`."""
    answer.check()
    extensions = Extensions.parse(answer.extensions)
    hello = extensions.response
    if answer.version != VERSION or hello is None:
        return RejectReason.ROGUE
    if group is not None and (extensions.group is None or extensions.group.type != group.type):
        return RejectReason.GROUP
    if extensions.key_response != material:
        # A KMRSP of one word says what is wrong with the keys; none, that the other side has no passphrase.
        return RejectReason.UNSECURE
    return Terms(
        own.socket_id,
        answer.socket_id,
        own.initial_sequence,
        answer.initial_sequence,
        max(settings.latency, hello.sender_delay),
        max(settings.peer_latency, hello.receiver_delay),
        min(settings.mtu, answer.mtu),
        answer.window,
        start,
        peer_start,
        keys,
    )
