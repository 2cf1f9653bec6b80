"""Stream ids: what a caller wants, in every spelling that users of other servers have.

1. ``#!::r=live/stream,m=publish,u=user,s=password``: the standard's (access control guidelines), as MediaMTX, SRS and
   ZLMediaKit read it.
2. ``publish:live/stream:user:password:query`` and ``read:``, ``request:``, ``subscribe:``, ``play:``: MediaMTX, Monibuca.
3. ``host:9000/live/stream,role=publisher`` or ``role=player``: smart_rtmpd.
4. ``live/stream``: SRS, OvenMediaEngine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from penstock.errors import ProtocolViolation
from penstock.hooks import Action
from penstock.path import StreamPath
from penstock_srt.rejection import Refused, Rejection

MAX_BYTES = 512
"""What the handshake's extension has room for (draft-sharabayko-srt-01 3.2.1.3)."""

_CLAUSE = "SRT access control guidelines"
_STANDARD = "#!::"
_NESTED = "#!:"
_MODES: Mapping[str, Action] = {"request": "read", "publish": "publish"}
_ACTIONS: Mapping[str, Action] = {
    "publish": "publish",
    "read": "read",
    "request": "read",
    "subscribe": "read",
    "play": "read",
}
_ROLES: Mapping[str, Action] = {"publisher": "publish", "player": "read"}
_FEEDBACK = "#feedbackplay"
"""What a vendor's encoders end their stream ids with, which means nothing to a server."""
_HOST = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[^\[\]/:=]+):[0-9]{1,5}"  # with a port
    r"|\[[0-9A-Fa-f:.]+\]|[0-9]{1,3}(\.[0-9]{1,3}){3}|localhost",
    re.ASCII,
)


@frozen
class StreamId:
    """What is asked for; `path` and `action` are None where they are not said."""

    path: StreamPath | None = None
    action: Action | None = None
    user: str = ""
    password: str | None = None
    query: Mapping[str, str] = field(factory=dict[str, str])

    @classmethod
    def parse(cls, data: bytes) -> StreamId:
        """Raises `Refused` for what cannot be read."""
        if len(data) > MAX_BYTES:
            raise Refused(Rejection.BAD_REQUEST, f"a stream id of more than {MAX_BYTES} bytes", _CLAUSE)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Refused(Rejection.BAD_REQUEST, "the stream id is not UTF-8", _CLAUSE) from None
        text = text.removesuffix(_FEEDBACK)
        if text.startswith(_STANDARD):
            return _standard(text.removeprefix(_STANDARD))
        if text.startswith(_NESTED):
            raise Refused(
                Rejection.BAD_REQUEST,
                "stream ids of nested keys are not known: write #!::r=...,m=...",
                _CLAUSE,
            )
        word, colon, rest = text.partition(":")
        if colon and word in _ACTIONS:
            return _action(_ACTIONS[word], rest)
        return _plain(text)


def standard(path: StreamPath, action: Action) -> str:
    """The stream id that asks for `path` in the standard's spelling."""
    name = path.replace("%", "%25").replace("?", "%3F").replace(",", "%2C")
    return f"{_STANDARD}r={name},m={'publish' if action == 'publish' else 'request'}"


def _path(text: str) -> StreamPath:
    try:
        return StreamPath.parse(text)
    except ProtocolViolation as violation:
        raise Refused(Rejection.BAD_REQUEST, violation.reason, violation.clause) from None


def _pairs(parts: Iterable[str]) -> dict[str, str]:
    """``key=value`` of each part."""
    found: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise Refused(Rejection.BAD_REQUEST, f"{part!r} in the stream id is no key=value", _CLAUSE)
        if key in found:
            raise Refused(Rejection.BAD_REQUEST, f"the stream id has {key!r} twice", _CLAUSE)
        found[key] = value
    return found


def _standard(text: str) -> StreamId:
    # SRS: a question mark counts as a comma, so that ?secret=... may follow the path.
    pairs = _pairs(part for part in re.split("[,?]", text) if part)
    mode, kind, host = pairs.pop("m", ""), pairs.pop("t", "stream"), pairs.pop("h", "")
    if kind != "stream":
        raise Refused(Rejection.BAD_MODE, f"t={kind}: only streams are served", _CLAUSE)
    if mode and mode not in _MODES:
        raise Refused(Rejection.BAD_MODE, f"m={mode}: write m=publish or m=request", _CLAUSE)
    resource = pairs.pop("r", None)
    if resource is None and "/" in host:
        resource = _without_vhost(host)
    return StreamId(
        # The host is where the caller looked for us; there is one server behind all names.
        None if resource is None else _path(resource),
        _MODES.get(mode),
        pairs.pop("u", ""),
        pairs.pop("s", None),
        pairs,
    )


def _without_vhost(text: str) -> str:
    """SRS's old spelling has the path in ``h``, after a vhost where there are three parts or more."""
    return text.split("/", 1)[1] if text.count("/") > 1 else text


def _action(action: Action, text: str) -> StreamId:
    """MediaMTX: the path, then user and password, then a query, or any of these pairs."""
    path, *more = text.split(":")
    if len(more) > 3:
        raise Refused(
            Rejection.BAD_REQUEST, "a stream id of this kind is action:path[:user:password][:query]", _CLAUSE
        )
    path, _, asked = path.partition("?")
    user, password = more[:2] if len(more) > 1 else ("", None)
    query = _query(asked) | (_query(more[-1]) if len(more) in (1, 3) else {})
    return StreamId(_path(path), action, user, password, query)


def _query(text: str) -> dict[str, str]:
    """A URL's query; of a name that comes twice the last counts, as in a URL."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return {name: value for name, _, value in pairs}


def _plain(text: str) -> StreamId:
    path, *parts = text.split(",")
    pairs = _pairs(parts)
    role = pairs.pop("role", "")
    if role and role not in _ROLES:
        raise Refused(Rejection.BAD_MODE, f"role={role}: write role=publisher or role=player", _CLAUSE)
    path, _, asked = path.partition("?")
    scheme, slashes, rest = path.partition("://")
    path = rest.partition("/")[2] if slashes and scheme == "srt" else _without_host(path)
    found = StreamId(action=_ROLES.get(role), query=_query(asked) | pairs)
    return found if path in ("", "/") else evolve(found, path=_path(path))


def _without_host(text: str) -> str:
    """smart_rtmpd's URLs have its host in front: it is one where it has a port, or is an address."""
    host, _, rest = text.partition("/")
    return rest if _HOST.fullmatch(host) else text
