"""What RTP needs to know of a codec: its SDP description and its payload format, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from attrs import field, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock.registry import Capability, Registry


def _fmtp(value: Mapping[str, str]) -> Mapping[str, str]:
    return dict(value)


@frozen
class RtpFormat:
    """One ``a=rtpmap`` with its ``a=fmtp``. `encoding` is upper case; `fmtp` keys are lower case, in order."""

    encoding: str
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = field(factory=dict[str, str], converter=_fmtp)
    payload_type: int | None = None
    """The static payload type of RFC 3551, or the one that the SDP gave; None lets the sender choose a dynamic one."""

    def number(self, name: str, most: int = 0xFFFF) -> int:
        """A parameter that is a decimal number up to `most`. Raises `ProtocolViolation` where it is not, or missing."""
        text = self.fmtp.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
            raise ProtocolViolation(f"{self.encoding} needs {name}, a number up to {most}")
        return int(text)


class AccessUnit(NamedTuple):
    """What a depacketizer puts together: one frame in the codec's normal form. A tuple, because many are made.

    `timestamp` is in unwrapped RTP ticks. `config` is given where it changed: it is in force from this unit on.
    """

    timestamp: int
    units: tuple[bytes, ...]
    key: bool = True
    config: CodecConfig | None = None


class Packetizer(Protocol):
    """One track's frames to RTP payloads."""

    def packetize(self, frame: Frame) -> list[bytes]:
        """Payloads of at most the given size; all of one fragmented unit are of equal size but the last.

        Key frames of video carry their parameter sets in band.
        """
        ...


@runtime_checkable
class SampledPacketizer(Packetizer, Protocol):
    """One whose payloads are samples, not fragments of a coded frame: each plays where the one before ended."""

    def ticks(self, payload: bytes) -> int:
        """How long a payload plays, in RTP ticks."""
        ...


class Depacketizer(Protocol):
    """One track's RTP payloads, in order, to access units; pending bytes stay below a named limit."""

    def push(self, payload: bytes, timestamp: int, marker: bool, lost: bool) -> list[AccessUnit]:
        """Take one payload; `timestamp` is unwrapped; `lost` says that packets are missing right before it.

        Raises `ProtocolViolation` for a payload that its RFC does not allow; what was pending is then dropped,
        and the next call may go on.
        """
        ...

    def flush(self) -> list[AccessUnit]:
        """The unit that was complete but for its marker, at the end of the stream."""
        return []


class RtpBinding(Protocol):
    """The payload format of one codec."""

    @property
    def encodings(self) -> tuple[str, ...]:
        """The rtpmap encoding names that this binding reads, upper case."""
        ...

    @property
    def marks_last(self) -> bool:
        """Whether the last packet of a frame has the marker bit."""
        ...

    def describe(self, track: Track) -> RtpFormat:
        """The SDP description of `track`, with its config out of band where the RFC has that."""
        ...

    def accept(self, fmt: RtpFormat) -> tuple[Codec, CodecConfig | None]:
        """Codec and config of an SDP description; config is None where it comes in band.

        Raises `ProtocolViolation` for parameters that cannot be used.
        """
        ...

    def packetizer(self, track: Track, max_payload: int) -> Packetizer: ...

    def depacketizer(self, fmt: RtpFormat) -> Depacketizer: ...


@runtime_checkable
class NegotiatedBinding(RtpBinding, Protocol):
    """One whose receivers do not all take the same: its parameters say which (RFC 3264 6.1)."""

    def fit(self, offered: RtpFormat, track: Track) -> int:
        """How well who offers to receive `offered` is served with `track`: 0 not at all, more is better."""
        ...


RTP: Capability[RtpBinding] = Capability("rtp")


def rtp_reader(registry: Registry, encoding: str) -> RtpBinding:
    """The binding that reads an rtpmap encoding name. Raises `ProtocolViolation` where there is none."""
    for _, binding in registry.having(RTP):
        if encoding.upper() in binding.encodings:
            return binding
    raise ProtocolViolation(f"no plugin knows the RTP encoding {encoding}")


def first_readable(
    registry: Registry, formats: Sequence[RtpFormat], otherwise: str
) -> tuple[RtpFormat, RtpBinding, Codec, CodecConfig | None]:
    """The first of a section's formats that some codec here reads, with what reads it, its codec and its config.

    Raises `ProtocolViolation`, which says why there is none; `otherwise` is what the section has where it has no format.
    """
    refusal = ProtocolViolation(f"no plugin knows {', '.join(f.encoding for f in formats) or otherwise}")
    for fmt in formats:
        try:
            reader = rtp_reader(registry, fmt.encoding)
        except ProtocolViolation:
            continue
        try:
            return fmt, reader, *reader.accept(fmt)
        except ProtocolViolation as e:
            refusal = e
    raise refusal
