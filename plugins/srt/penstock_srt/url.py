"""``srt://`` URLs, as libsrt's own tools write them: where to, in which mode, and with what settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from urllib.parse import unquote

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.path import StreamPath
from penstock_srt.cipher import Mode as Cipher
from penstock_srt.extension import GroupType

DEFAULT_PORT = 9000
MAX_LATENCY = 65_535
"""Milliseconds; the handshake has sixteen bits for them (draft-sharabayko-srt-01 3.2.1.1)."""
MIN_PASSPHRASE, MAX_PASSPHRASE = 10, 79
"""Bytes that libsrt takes (HAICRYPT_SECRET_MAX_SZ)."""
KEY_LENGTHS = (16, 24, 32)

IGNORED = frozenset(
    {
        # What FFmpeg, GStreamer and libsrt's tools have in such URLs, and a live stream of MPEG-TS does without.
        "pkt_size", "payload_size", "transtype", "messageapi", "smoother", "congestion", "tsbpd", "tsbpdmode",
        "tlpktdrop", "nakreport", "listen_timeout", "timeout", "rw_timeout", "linger", "iptos", "ipttl", "ipv6only",
        "mss", "ffs", "fc", "sndbuf", "rcvbuf", "send_buffer_size", "recv_buffer_size", "maxbw", "inputbw", "mininputbw",
        "oheadbw", "lossmaxttl", "minversion", "snddropdelay", "bindtodevice", "retransmitalgo", "packetfilter",
        "drifttracer", "peeridletimeo", "kmrefreshrate", "kmpreannounce", "blocking", "wait-for-connection",
        "localaddr", "localport", "auto-reconnect",
    }
)  # fmt: skip
"""Words of other programs that mean nothing here, and do no harm."""

_AUTHORITY = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]*))?", re.ASCII)


class Mode(Enum):
    """Who calls."""

    CALLER = "caller"
    LISTENER = "listener"
    RENDEZVOUS = "rendezvous"


@frozen
class SrtUrl:
    """What a URL says; `latency` is in ms, None where it is not said.

    `stream_id` is as it is to be sent; where only a path is given, `path` has it.
    """

    host: str
    port: int
    mode: Mode = Mode.CALLER
    stream_id: str = ""
    path: StreamPath | None = None
    passphrase: str = ""
    key_length: int = 16
    latency: int | None = None
    connect_timeout: int | None = None
    """Milliseconds."""
    cipher: Cipher = Cipher.CTR
    adapter: str = ""
    """Our own address, for a rendezvous."""
    group: GroupType | None = None
    nodes: tuple[tuple[str, int], ...] = ()
    """More hosts and ports of the same listener: what is sent goes to all at once, or to the first that answers."""

    @classmethod
    def parse(cls, url: str) -> SrtUrl:
        """Raises `ProtocolViolation` for what is no such URL, or has what is not known."""
        scheme, separator, rest = url.partition("://")
        if scheme.lower() != "srt" or not separator:
            raise ProtocolViolation("the URL does not begin with srt://")
        # Stream ids begin with #!:: and are seldom percent-encoded: no part of the URL is a fragment.
        place, _, query = rest.partition("?")
        authority, _, path = place.partition("/")
        host, port = _place(authority.rpartition("@")[2])
        host = "" if host == "*" else host
        values = _values(query)
        mode = _mode(values, host)
        return cls(
            host,
            port,
            mode,
            values.get("streamid", ""),
            StreamPath.parse(path) if path else None,
            _passphrase(values.get("passphrase", "")),
            _key_length(values.get("pbkeylen", "")),
            _taken(values, ("latency", "rcvlatency", "peerlatency"), 0, MAX_LATENCY),
            _taken(values, ("conntimeo", "connect_timeout"), 1, 600_000),
            _cipher(values.get("cryptomode", "")),
            values.get("adapter", ""),
            *_group(values, mode),
        )


_OTHER_NAMES = {"srt_streamid": "streamid"}
_KNOWN = frozenset(
    {
        "streamid", "mode", "passphrase", "pbkeylen", "latency", "rcvlatency", "peerlatency", "conntimeo",
        "connect_timeout", "cryptomode", "adapter", "grouptype", "nodes",
    }
)  # fmt: skip


def _values(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&"):
        word, _, value = part.partition("=")
        key = _OTHER_NAMES.get(word, word)
        if not key or key in IGNORED:
            continue
        if key not in _KNOWN:
            # One that is misspelt must not pass: passphrase, above all.
            raise ProtocolViolation(f"the URL's {key!r} is not known")
        found[key] = unquote(value)
    return found


def _mode(values: Mapping[str, str], host: str) -> Mode:
    text = values.get("mode", "")
    if not text:
        # As srt-live-transmit: without a host there is nobody to call.
        return Mode.CALLER if host else Mode.LISTENER
    named: dict[str, Mode] = {mode.value: mode for mode in Mode} | {
        "client": Mode.CALLER,
        "server": Mode.LISTENER,
    }
    if text not in named:
        raise ProtocolViolation(f"mode={text}: write caller, listener or rendezvous")
    if named[text] is not Mode.LISTENER and not host:
        raise ProtocolViolation("the URL has no host")
    return named[text]


def _cipher(text: str) -> Cipher:
    """By libsrt's numbers: 0 leaves it to us, 1 is AES-CTR, 2 AES-GCM."""
    named = {"": Cipher.CTR, "0": Cipher.CTR, "1": Cipher.CTR, "2": Cipher.GCM}
    if text not in named:
        raise ProtocolViolation(f"cryptomode={text}: write 1 (AES-CTR) or 2 (AES-GCM)")
    return named[text]


def _place(text: str) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ProtocolViolation("the URL's host cannot be read")
    port = _number("port", match["port"], 1, 65_535) if match["port"] else DEFAULT_PORT
    return match["six"] or unquote(match["host"] or ""), port


def _group(values: Mapping[str, str], mode: Mode) -> tuple[GroupType | None, tuple[tuple[str, int], ...]]:
    """The type of a bonding group and its further nodes, as libsrt's tests spell them."""
    text, nodes = values.get("grouptype", ""), values.get("nodes", "")
    if not text and not nodes:
        return None, ()
    named = {type.name.lower(): type for type in GroupType}
    if text not in named or mode is not Mode.CALLER:
        raise ProtocolViolation("nodes need grouptype=broadcast or grouptype=backup, and a caller")
    return named[text], tuple(_place(node) for node in nodes.split(",") if node)


def _number(what: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        raise ProtocolViolation(f"the URL's {what} must be {low} to {high}, not {text!r}")
    return int(text)


def _taken(values: Mapping[str, str], names: tuple[str, ...], low: int, high: int) -> int | None:
    """The largest of what `names` have: the side that wants more latency has its way."""
    found = [_number(name, values[name], low, high) for name in names if values.get(name)]
    return max(found, default=None)


def _passphrase(text: str) -> str:
    if text and not MIN_PASSPHRASE <= len(text.encode(errors="replace")) <= MAX_PASSPHRASE:
        raise ProtocolViolation(f"the URL's passphrase must have {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes")
    return text


def _key_length(text: str) -> int:
    if text in ("", "0"):
        return KEY_LENGTHS[0]
    length = _number("pbkeylen", text, 0, KEY_LENGTHS[-1])
    if length not in KEY_LENGTHS:
        raise ProtocolViolation(f"the URL's pbkeylen must be 16, 24 or 32, not {text}")
    return length
