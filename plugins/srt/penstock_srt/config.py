"""The table ``[srt]``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from attrs import Attribute, frozen

from penstock.errors import ProtocolViolation
from penstock.hooks import option
from penstock.settings import backlog_option, is_listen, start_option, within
from penstock_srt.stream_id import StreamId
from penstock_srt.url import KEY_LENGTHS, MAX_LATENCY, MAX_PASSPHRASE, MIN_PASSPHRASE


def missing_library() -> str:
    """What has to be installed before a passphrase can be used; empty where nothing has."""
    return "" if find_spec("cryptography") else "needs the package cryptography: pip install 'penstock[srt]'"


def _is_passphrase(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    if value and not MIN_PASSPHRASE <= len(value.encode()) <= MAX_PASSPHRASE:
        # Never show it.
        raise ValueError(f"must have {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes")
    if value and (missing := missing_library()):
        raise ValueError(missing)


def _is_stream_id(_instance: Any, _attribute: Attribute[Any], value: str) -> None:
    if not value:
        return
    try:
        found = StreamId.parse(value.encode())
    except ProtocolViolation as violation:
        raise ValueError(f"cannot be read: {violation}") from None
    if found.path is None:
        raise ValueError(f"must name a path, such as '#!::r=live/livestream,m=publish', not {value!r}")


@frozen
class SrtConfig:
    """SRT."""

    listen: str = option(":9000", "Address and UDP port of SRT; empty: none.", validator=is_listen)
    latency: int = option(
        120,
        "Milliseconds for which what comes in waits for what was lost on the way; of both peers' the larger counts. "
        "Four round trips are usual.",
        validator=within(0, MAX_LATENCY),
    )
    passphrase: str = option(
        "",
        "Passphrase of all streams that have none of their own (streams.*.secret, or a plugin's); empty: no encryption.",
        validator=_is_passphrase,
    )
    pbkeylen: Literal[16, 24, 32] = option(
        KEY_LENGTHS[0], "Bytes of the AES key where we choose it: 16, 24 or 32."
    )
    default_mode: Literal["read", "publish"] = option(
        "read", 'What callers want who do not say it in their stream id: "read" or "publish".'
    )
    default_streamid: str = option(
        "#!::r=live/livestream,m=publish",
        "Stream id of callers who have none, or whose one has no path; empty: they are refused.",
        validator=_is_stream_id,
    )
    start: Literal["key", "live"] = start_option()
    max_backlog_seconds: float | None = backlog_option()
