"""A peer's offer (RFC 8829, RFC 9725 4.4): its media sections, as far as they matter to WHIP and WHEP."""

from __future__ import annotations

import re

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.decimal import parse_decimal
from penstock_formats.rtp import RtpFormat
from penstock_formats.sdp import Direction, MediaDescription, SessionDescription
from penstock_webrtc.transport import Transport, bundle

MAX_EXTENSIONS = 64
MAX_FEEDBACK = 512
"""Lines of one media section: browsers send up to 20 extensions and 60 kinds of feedback."""

MAX_LAYERS = 4
"""Of one simulcast: browsers send three."""

# RFC 8852 3.3, and no longer than a header extension of one byte takes.
_RID = re.compile(r"[A-Za-z0-9]{1,16}")
_RECEIVES = (Direction.SENDRECV, Direction.RECVONLY)
_SENDS = (Direction.SENDRECV, Direction.SENDONLY)
KINDS = ("audio", "video")


@frozen
class OfferedMedia:
    """One ``m=`` section. `feedback` are (payload type or None for all, what) of ``a=rtcp-fb``; `extensions` ids by URI."""

    description: MediaDescription
    mid: str
    direction: Direction
    feedback: tuple[tuple[int | None, str], ...]
    extensions: tuple[tuple[str, int], ...]
    layers: tuple[str, ...] = ()
    """The RTP stream ids of its simulcast, as it sends them (RFC 8853)."""
    bundled: bool = True
    """Whether it shares the transport of all (RFC 9725 4.4.1): what is outside would need one of its own."""

    @property
    def kind(self) -> str:
        return self.description.kind

    @property
    def meant(self) -> bool:
        """Whether the peer wants it, and has not itself refused it."""
        d = self.description
        return d.port != 0 or d.attribute("bundle-only") is not None

    @property
    def usable(self) -> bool:
        """Whether it is media over SRTP that was not refused, with its reports on the same port."""
        d = self.description
        return (
            self.meant
            and self.bundled
            and d.proto.upper().endswith("/TLS/RTP/SAVPF")
            and d.attribute("rtcp-mux") is not None
        )

    @property
    def receives(self) -> bool:
        return self.usable and self.direction in _RECEIVES

    @property
    def sends(self) -> bool:
        return self.usable and self.direction in _SENDS

    @property
    def unusable(self) -> bool:
        """Whether it is sound or a picture that the peer means to send, and that cannot be had as it offers it."""
        return self.meant and not self.usable and self.direction in _SENDS and self.kind in KINDS

    @property
    def formats(self) -> list[RtpFormat]:
        """The codings, without what only protects or repeats others."""
        return [f for f in self.description.rtp if f.encoding not in _HELPERS]

    def retransmission(self, payload_type: int | None) -> int | None:
        """The payload type that repeats packets of another (RFC 4588 8.6), None where there is none."""
        wanted = str(payload_type)
        found = (f for f in self.description.rtp if f.encoding == "RTX" and f.fmtp.get("apt") == wanted)
        return next((f.payload_type for f in found), None)

    def wants(self, payload_type: int | None, what: str) -> bool:
        """Whether the peer knows a kind of feedback, such as ``nack pli``."""
        return any(number in (None, payload_type) and text == what for number, text in self.feedback)

    def extension(self, uri: str) -> int | None:
        """The id of a header extension in the one-byte form (RFC 8285 4.2)."""
        return next((number for name, number in self.extensions if name == uri and 1 <= number <= 14), None)


_HELPERS = frozenset({"RTX", "RED", "ULPFEC", "FLEXFEC-03", "CN", "TELEPHONE-EVENT"})


@frozen
class Offer:
    """All sections, and the transport of those that take part: with BUNDLE there is one."""

    session: SessionDescription
    media: tuple[OfferedMedia, ...]
    transport: Transport

    @classmethod
    def parse(cls, data: bytes) -> Offer:
        """The offer that a request has as its body. Raises `ProtocolViolation`."""
        session = SessionDescription.parse(data)
        if not session.media:
            raise ProtocolViolation("the offer has no media", "RFC 9725 4.4")
        group = bundle(session)
        media: list[OfferedMedia] = []
        seen: set[str] = set()
        for number, section in enumerate(session.media):
            found = _read(session, section, str(number))
            if found.mid in seen:
                raise ProtocolViolation("two media sections of one identification", "RFC 9143 7")
            seen.add(found.mid)
            media.append(found)
        first = next((m for m in media if not group or m.mid == group[0]), media[0])
        transport = Transport.read(session, first.description)
        if group:
            media = [evolve(m, bundled=m.mid in group) for m in media]
        return cls(session, tuple(media), transport)


def _read(session: SessionDescription, section: MediaDescription, number: str) -> OfferedMedia:
    feedback: list[tuple[int | None, str]] = []
    extensions: list[tuple[str, int]] = []
    for key, value in section.attributes:
        if key == "rtcp-fb" and value:
            kind, _, what = value.partition(" ")
            of = None if kind == "*" else parse_decimal(kind, 127, "payload type", "RFC 4585 4.2")
            feedback.append((of, " ".join(what.split())))
        elif key == "extmap" and value:
            head, _, uri = value.partition(" ")
            identifier = parse_decimal(head.partition("/")[0], 4350, "extension id", "RFC 8285 5")
            extensions.append((uri.split(" ")[0], identifier))
    if len(feedback) > MAX_FEEDBACK or len(extensions) > MAX_EXTENSIONS:
        raise ProtocolViolation(
            "more header extensions or kinds of feedback than anybody has", "RFC 8829 5.2"
        )
    return OfferedMedia(
        section,
        section.attribute("mid") or number,
        section.direction or session.direction or Direction.SENDRECV,
        tuple(feedback),
        tuple(extensions),
        _layers(section),
    )


def _layers(section: MediaDescription) -> tuple[str, ...]:
    """Of ``a=simulcast`` the first alternative of each layer that is sent, as far as ``a=rid`` declares it."""
    rids = {
        value.split(" ")[0]
        for key, value in section.attributes
        if key == "rid" and value and value.split(" ")[1:2] == ["send"]
    }
    words = (section.attribute("simulcast") or "").split()
    sent = next((b for a, b in zip(words[::2], words[1::2], strict=False) if a == "send"), "")
    # RFC 8853 5.1: ";" between layers, "," between alternatives of one, "~" before what is paused at first.
    layers = dict.fromkeys(layer.split(",")[0].removeprefix("~") for layer in sent.split(";"))
    known = tuple(layer for layer in layers if layer in rids and _RID.fullmatch(layer))
    return known[:MAX_LAYERS] if len(known) > 1 else ()
