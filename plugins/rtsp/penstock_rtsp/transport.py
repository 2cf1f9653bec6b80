"""The Transport header (RFC 2326 12.39): how media travels."""

from __future__ import annotations

import enum
import re

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal
from penstock_rtsp.parameter import split_list, split_parameters, unquote

MAX_ALTERNATIVES = 32
"""Transports of one header; clients offer up to three."""
MAX_PARAMETERS = 32
FIRST_CLIENT_PORT = 1024
"""Ports below belong to services such as DNS, which must not be made to answer to media (row T9)."""

_CLAUSE = "RFC 2326 12.39"
_HOST = re.compile(r"[0-9A-Za-z.:%_\[\]-]{1,255}")
_PROFILES = {"RTP/AVP": "AVP", "RTP/AVPF": "AVPF", "RTP/SAVP": "SAVP", "RTP/SAVPF": "SAVPF"}


class Lower(enum.StrEnum):
    """What carries the packets."""

    UDP = "UDP"
    TCP = "TCP"


class Mode(enum.StrEnum):
    """Which way media flows, as seen by the client: `PLAY` receives, `RECORD` sends."""

    PLAY = "PLAY"
    RECORD = "RECORD"


Pair = tuple[int, int]


@frozen
class Transport:
    """One alternative. Pairs are the numbers for RTP and RTCP; `profile` is AVP, AVPF, SAVP or SAVPF."""

    lower: Lower = Lower.UDP
    profile: str = "AVP"
    multicast: bool = False
    mode: Mode | None = None
    client_port: Pair | None = None
    server_port: Pair | None = None
    port: Pair | None = None
    interleaved: Pair | None = None
    ssrc: int | None = None
    source: str | None = None
    destination: str | None = None
    ttl: int | None = None

    def build(self) -> str:
        """The header's value."""
        parts = [f"RTP/{self.profile}" + ("/TCP" if self.lower is Lower.TCP else "")]
        parts.append("multicast" if self.multicast else "unicast")
        for name, text in (("destination", self.destination), ("source", self.source)):
            if text is not None:
                parts.append(f"{name}={text}")
        for name, pair in (
            ("port", self.port),
            ("client_port", self.client_port),
            ("server_port", self.server_port),
            ("interleaved", self.interleaved),
        ):
            if pair is not None:
                parts.append(f"{name}={pair[0]}-{pair[1]}")
        if self.ttl is not None:
            parts.append(f"ttl={self.ttl}")
        if self.ssrc is not None:
            parts.append(f"ssrc={self.ssrc:08X}")
        if self.mode is not None:
            parts.append(f"mode={self.mode.lower()}")
        return ";".join(parts)


def parse_transports(value: str) -> tuple[Transport, ...]:
    """The alternatives in the peer's order, without those of protocols that are not RTP (so perhaps none).

    Raises `ProtocolViolation` for values that are out of range.
    """
    parts = split_list(value)
    if len(parts) > MAX_ALTERNATIVES:
        raise ProtocolViolation(f"more than {MAX_ALTERNATIVES} transports", _CLAUSE)
    return tuple(found for part in parts if (found := _parse_one(part)))


def _parse_one(text: str) -> Transport | None:
    spec, *parameters = split_parameters(text)
    if len(parameters) > MAX_PARAMETERS:
        raise ProtocolViolation(f"more than {MAX_PARAMETERS} transport parameters", _CLAUSE)
    words = spec.upper().split("/")
    profile = _PROFILES.get("/".join(words[:2]))
    lower = words[2] if len(words) > 2 else "UDP"
    if profile is None or len(words) > 3 or lower not in ("UDP", "TCP"):
        return None
    values: dict[str, str] = {}
    for parameter in parameters:
        key, _, text = parameter.partition("=")
        values.setdefault(key.strip().lower(), unquote(text))
    ttl = values.get("ttl")
    return Transport(
        lower=Lower(lower),
        profile=profile,
        multicast="multicast" in values and "unicast" not in values,
        mode=_mode(values.get("mode")),
        client_port=_client_ports(values.get("client_port")),
        server_port=_pair(values.get("server_port"), 65535, "server_port"),
        port=_pair(values.get("port"), 65535, "port"),
        interleaved=_pair(values.get("interleaved"), 255, "interleaved channel"),
        ssrc=_ssrc(values.get("ssrc")),
        source=_host(values.get("source")),
        destination=_host(values.get("destination")),
        ttl=None if ttl is None else parse_decimal(ttl, 255, "ttl", _CLAUSE),
    )


def _pair(text: str | None, maximum: int, what: str) -> Pair | None:
    if text is None:
        return None
    first_text, dash, second_text = text.partition("-")
    first = parse_decimal(first_text.strip(), maximum, what, _CLAUSE)
    # A single number stands for itself and the next one.
    second = parse_decimal(second_text.strip(), maximum, what, _CLAUSE) if dash else first + 1
    if not first <= second <= maximum:
        raise ProtocolViolation(f"{what} range is reversed or has no room for RTCP", _CLAUSE)
    return first, second


def _client_ports(text: str | None) -> Pair | None:
    pair = _pair(text, 65535, "client_port")
    if pair is not None and pair[0] < FIRST_CLIENT_PORT:
        raise ProtocolViolation(f"client_port is below {FIRST_CLIENT_PORT}", _CLAUSE)
    return pair


def _host(text: str | None) -> str | None:
    if not text:
        return None
    if not _HOST.fullmatch(text):
        raise ProtocolViolation("transport address is no host", _CLAUSE)
    return text


def _mode(text: str | None) -> Mode | None:
    if text is None:
        return None
    # "receive" is what QuickTime and older FFmpeg say when they publish.
    words = {word.strip() for word in text.upper().split(",")}
    if words & {"RECORD", "RECEIVE"}:
        return Mode.RECORD
    if "PLAY" in words:
        return Mode.PLAY
    raise ProtocolViolation("transport mode is neither play nor record", _CLAUSE)


def _ssrc(text: str | None) -> int | None:
    # Only a hint, which some cameras write in decimal or with blanks: what is not hexadecimal is left out.
    if text is None or not 1 <= len(text) <= 8 or not all(c in "0123456789abcdefABCDEF" for c in text):
        return None
    return int(text, 16)
