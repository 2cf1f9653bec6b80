"""The answer to an offer (RFC 8829 5.3): what is taken of each section, and how to reach us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from penstock_formats.rtp import RtpFormat
from penstock_formats.sdp import Direction, MediaDescription, SessionDescription, make_origin
from penstock_webrtc.candidate import Candidate
from penstock_webrtc.offer import Offer, OfferedMedia
from penstock_webrtc.transport import Transport

CNAME = "penstock"
ICE_OPTIONS = "trickle ice2"
"""Candidates may come later (RFC 8840 4.1.1), and ICE is that of RFC 8445 (its section 10)."""

Attributes = Sequence[tuple[str, str | None]]


@frozen
class Section:
    """One media section that is taken. `attributes` are what is said of our own packets, or of the extensions that are used."""

    format: RtpFormat
    retransmission: int | None
    direction: Direction
    feedback: tuple[str, ...]
    attributes: tuple[tuple[str, str | None], ...] = ()
    sprop: Mapping[str, str] = field(factory=dict[str, str])
    """Parameters that only declare what is sent, such as ``sprop-stereo``."""


def sources(ssrc: int, retransmission: int | None, kind: str) -> Attributes:
    """What is said of the packets that we send (RFC 5576, RFC 4588 8.3, RFC 8830)."""
    ssrcs = [ssrc] if retransmission is None else [ssrc, retransmission]
    group = [("ssrc-group", f"FID {ssrc} {retransmission}")] if retransmission is not None else []
    return [
        ("msid", f"{CNAME} {kind}"),
        *group,
        *((("ssrc", f"{number} cname:{CNAME}")) for number in ssrcs),
        *((("ssrc", f"{number} msid:{CNAME} {kind}")) for number in ssrcs),
    ]


def simulcast(layers: Sequence[str]) -> Attributes:
    """That all `layers` are taken (RFC 8853 5.3)."""
    if not layers:
        return []
    return [*(("rid", f"{layer} recv") for layer in layers), ("simulcast", f"recv {';'.join(layers)}")]


def build_answer(
    offer: Offer,
    sections: Mapping[str, Section],
    transport: Transport,
    candidates: Sequence[Candidate],
    session_id: int,
) -> SessionDescription:
    """The answer with `sections` by their identification; all others are refused."""
    media = [
        _taken(m, sections[m.mid], transport, candidates) if m.mid in sections else _refused(m)
        for m in offer.media
    ]
    bundled = " ".join(m.mid for m in offer.media if m.mid in sections)
    return SessionDescription(
        media=tuple(media),
        origin=make_origin(session_id, 1),
        attributes=(
            ("group", f"BUNDLE {bundled}"),
            ("extmap-allow-mixed", None),
            ("msid-semantic", "WMS *"),
            ("ice-lite", None),
            ("ice-options", ICE_OPTIONS),
        ),
    )


def _taken(
    media: OfferedMedia, section: Section, transport: Transport, candidates: Sequence[Candidate]
) -> MediaDescription:
    number = section.format.payload_type or 0
    rtp = [evolve(section.format, fmtp={**section.format.fmtp, **section.sprop})]
    numbers = [number]
    if section.retransmission is not None:
        rtp.append(
            RtpFormat(
                "RTX",
                section.format.clock_rate,
                fmtp={"apt": str(number)},
                payload_type=section.retransmission,
            )
        )
        numbers.append(section.retransmission)
    return MediaDescription(
        kind=media.kind,
        port=9,
        proto=media.description.proto,
        payload_types=tuple(numbers),
        rtp=tuple(_spelt(f) for f in rtp),
        connection="IN IP4 0.0.0.0",
        direction=section.direction,
        attributes=(
            ("mid", media.mid),
            *transport.attributes(),
            ("rtcp-mux", None),
            # RFC 9725 4.4.1 has it in answers, its like in RFC 8858 4.3 has not: who offers it knows the former.
            *[("rtcp-mux-only", None)][: media.description.attribute("rtcp-mux-only") is not None],
            ("rtcp-rsize", None),
            *(("rtcp-fb", f"{number} {what}") for what in section.feedback if media.wants(number, what)),
            *section.attributes,
            *(("candidate", candidate.build()) for candidate in candidates),
            ("end-of-candidates", None),
        ),
    )


def _spelt(fmt: RtpFormat) -> RtpFormat:
    """Encoding names are compared without case (RFC 8866 6.6), but there are peers that do not know that of rtx."""
    return evolve(
        fmt, encoding=fmt.encoding.lower() if fmt.encoding in ("RTX", "OPUS", "MULTIOPUS") else fmt.encoding
    )


def _refused(media: OfferedMedia) -> MediaDescription:
    """RFC 3264 6: a port of 0, and the formats of the offer."""
    d = media.description
    return MediaDescription(
        kind=d.kind,
        port=0,
        proto=d.proto,
        payload_types=d.payload_types[:1] if not d.formats else (),
        formats=d.formats,
        connection="IN IP4 0.0.0.0",
        direction=Direction.INACTIVE,
        attributes=(("mid", media.mid),),
    )
