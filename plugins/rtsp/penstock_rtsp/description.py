"""A stream's SDP, and the tracks of a peer's."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Track
from penstock.registry import Registry
from penstock_formats.rtp import RtpBinding, RtpFormat, first_readable
from penstock_formats.sdp import MediaDescription, SessionDescription, make_origin
from penstock_rtsp.muxer import formats
from penstock_rtsp.url import track_control


def describe(
    registry: Registry, tracks: Iterable[Track], address: str, session_id: int
) -> tuple[SessionDescription, dict[int, str]]:
    """The description of a stream's tracks, and why some are not in it."""
    tracks = tuple(tracks)
    found, left_out = formats(registry, tracks)
    media = [
        MediaDescription(
            kind=track.kind.value,
            port=0,
            proto="RTP/AVP",
            payload_types=(found[track.id][1],),
            rtp=(evolve(found[track.id][0], payload_type=found[track.id][1]),),
            control=track_control(track.id),
        )
        for track in tracks
        if track.id in found
    ]
    v6 = ":" in address
    description = SessionDescription(
        media=tuple(media),
        origin=make_origin(session_id, 1, address),
        name="Penstock",
        connection="IN IP6 ::" if v6 else "IN IP4 0.0.0.0",
        control="*",
        attributes=(("tool", "penstock"), ("range", "npt=now-")),
    )
    return description, left_out


@frozen
class Offered:
    """One track of a peer's description that can be taken."""

    index: int
    media: MediaDescription
    format: RtpFormat
    binding: RtpBinding
    codec: Codec
    config: CodecConfig | None
    group: str | None = None


def offered(registry: Registry, description: SessionDescription) -> tuple[list[Offered], list[str]]:
    """The tracks that some codec here reads, and why the others are left out."""
    found: list[Offered] = []
    left_out: list[str] = []
    for index, media in enumerate(description.media):
        types = ", ".join(map(str, media.payload_types))
        try:
            unnamed = f"RTP payload type {types}" if types else media.proto
            found.append(Offered(index, media, *first_readable(registry, media.rtp, unnamed)))
        except ProtocolViolation as e:
            left_out.append(f"{media.kind}: {e}")
    return found, left_out
