"""One media section of a session description, with its RTP formats."""

from __future__ import annotations

import enum

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal
from penstock_formats.rtp.binding import RtpFormat
from penstock_formats.sdp.line import parse_bandwidth
from penstock_formats.sdp.static import STATIC

MAX_CLOCK_RATE = 1 << 31
MAX_CHANNELS = 255

_MEDIA = "RFC 8866 5.14"
_RTPMAP = "RFC 8866 6.6"


class Direction(enum.StrEnum):
    """Which way media flows, as seen by the one who wrote the description."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


DIRECTIONS = frozenset(map(str, Direction))


@frozen
class MediaDescription:
    """An ``m=`` section.

    `rtp` are the formats in the order of the ``m=`` line, without those that nothing describes; `formats` is
    what that line lists where `proto` is not RTP. `attributes` are those that have no field here, in order;
    None where an attribute has no value.
    """

    kind: str
    port: int
    proto: str
    payload_types: tuple[int, ...] = ()
    formats: tuple[str, ...] = ()
    rtp: tuple[RtpFormat, ...] = ()
    control: str | None = None
    direction: Direction | None = None
    connection: str | None = None
    bandwidth: tuple[tuple[str, int], ...] = ()
    attributes: tuple[tuple[str, str | None], ...] = ()

    def attribute(self, name: str) -> str | None:
        """The value of the first `a=name:`; an empty string where it has none, None where it is absent."""
        return next((value or "" for key, value in self.attributes if key == name), None)

    def lines(self) -> list[str]:
        """The section as text lines."""
        listed = self.formats or tuple(map(str, self.payload_types))
        lines = [" ".join((f"m={self.kind} {self.port} {self.proto}", *listed))]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"b={kind}:{value}" for kind, value in self.bandwidth]
        for fmt in self.rtp:
            channels = f"/{fmt.channels}" if fmt.channels > 1 else ""
            lines.append(f"a=rtpmap:{fmt.payload_type} {fmt.encoding}/{fmt.clock_rate}{channels}")
            if fmt.fmtp:
                # No space behind it, as browsers write them: there are peers (aiortc) that take it for a part of the next name.
                parameters = ";".join(f"{key}={value}" if value else key for key, value in fmt.fmtp.items())
                lines.append(f"a=fmtp:{fmt.payload_type} {parameters}")
        if self.direction is not None:
            lines.append(f"a={self.direction}")
        lines += [f"a={key}" if value is None else f"a={key}:{value}" for key, value in self.attributes]
        if self.control is not None:
            lines.append(f"a=control:{self.control}")
        return lines


def parse_media(lines: list[tuple[str, str]]) -> MediaDescription:
    """The section of these lines, the first of which is ``m=``."""
    kind, port, proto, listed = _parse_head(lines[0][1])
    rtp = proto.upper().startswith("RTP/") or "/RTP/" in proto.upper()
    payload_types = _payload_types(listed) if rtp else ()
    rtpmap: dict[int, tuple[str, int, int]] = {}
    fmtp: dict[int, dict[str, str]] = {}
    control = connection = direction = None
    bandwidth: list[tuple[str, int]] = []
    attributes: list[tuple[str, str | None]] = []
    for letter, value in lines[1:]:
        if letter == "c":
            connection = value
        elif letter == "b" and (hint := parse_bandwidth(value)):
            bandwidth.append(hint)
        elif letter == "a":
            name, colon, text = value.partition(":")
            if name == "rtpmap" and rtp:
                number, described = _parse_rtpmap(text)
                if rtpmap.setdefault(number, described) != described:
                    raise ProtocolViolation(f"two different rtpmaps of payload type {number}", _RTPMAP)
            elif name == "fmtp" and rtp:
                number, parameters = _parse_fmtp(text)
                fmtp.setdefault(number, {}).update(parameters)
            elif name == "control":
                control = text.strip()
            elif not colon and name in DIRECTIONS:
                direction = Direction(name)
            else:
                attributes.append((name, text if colon else None))
    known: list[RtpFormat] = []
    for number in payload_types:
        if mapped := rtpmap.get(number) or STATIC.get(number):
            known.append(RtpFormat(*mapped, fmtp=fmtp.get(number, {}), payload_type=number))
    return MediaDescription(
        kind, port, proto, payload_types, () if rtp else listed, tuple(known), control, direction, connection,
        tuple(bandwidth), tuple(attributes),
    )  # fmt: skip


def _parse_head(value: str) -> tuple[str, int, str, tuple[str, ...]]:
    words = value.split()
    if len(words) < 4:
        raise ProtocolViolation("m= line of less than four words", _MEDIA)
    port = parse_decimal(words[1].partition("/")[0], 65535, "media port", _MEDIA)
    return words[0].lower(), port, words[2], tuple(words[3:])


def _payload_types(listed: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(parse_decimal(word, 127, "payload type", _MEDIA) for word in listed))


def _parse_rtpmap(text: str) -> tuple[int, tuple[str, int, int]]:
    number, _, rest = text.replace("\t", " ").strip().partition(" ")
    parts = rest.strip().split("/")
    if not 2 <= len(parts) <= 3 or not parts[0].strip():
        raise ProtocolViolation("rtpmap without encoding and clock rate", _RTPMAP)
    payload_type = parse_decimal(number, 127, "payload type", _RTPMAP)
    clock_rate = parse_decimal(parts[1].strip(), MAX_CLOCK_RATE, "clock rate", _RTPMAP)
    channels = 1
    # Some cameras end a line of one channel with "/".
    if len(parts) == 3 and parts[2].strip():
        channels = parse_decimal(parts[2].strip(), MAX_CHANNELS, "number of channels", _RTPMAP)
    if not clock_rate or not channels:
        raise ProtocolViolation("rtpmap of clock rate 0 or no channels", _RTPMAP)
    return payload_type, (parts[0].strip().upper(), clock_rate, channels)


def _parse_fmtp(text: str) -> tuple[int, dict[str, str]]:
    number, _, rest = text.replace("\t", " ").strip().partition(" ")
    payload_type = parse_decimal(number, 127, "payload type", "RFC 8866 6.15")
    parameters: dict[str, str] = {}
    for part in rest.split(";"):
        key, _, value = part.partition("=")
        if key.strip():
            parameters[key.strip().lower()] = value.strip()
    return payload_type, parameters
