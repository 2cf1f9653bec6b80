"""What of an offer is taken: for each media section one track and one coding, from what the registry has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from penstock.alternatives import Alternatives
from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Kind, Track
from penstock.registry import Registry
from penstock_formats.rtp import RTP, NegotiatedBinding, RtpBinding, RtpFormat, first_readable
from penstock_formats.transport_cc import EXTENSION
from penstock_webrtc.offer import Offer, OfferedMedia


@frozen
class Played:
    """A section in which the peer gets `track`; `format` is as the peer offered it."""

    media: OfferedMedia
    format: RtpFormat
    track: Track
    binding: RtpBinding
    described: RtpFormat

    @property
    def retransmission(self) -> int | None:
        return self.media.retransmission(self.format.payload_type)

    def fits(self, track: Track) -> bool:
        """Whether the peer takes another track of that codec in its place."""
        try:
            described = self.binding.describe(track)
            return _fit(self.binding, self.format, described, track) > 0
        except ProtocolViolation:
            return False


@frozen
class Recorded:
    """A section in which the peer sends."""

    media: OfferedMedia
    format: RtpFormat
    binding: RtpBinding
    codec: Codec
    config: CodecConfig | None
    layer: str | None = None
    """Of simulcast (RFC 8853): the RTP stream id of one of its layers."""

    @property
    def group(self) -> str | None:
        """What its layers are alternatives in."""
        return None if self.layer is None else f"simulcast {self.media.mid}"

    @property
    def retransmission(self) -> int | None:
        return self.media.retransmission(self.format.payload_type)


def choose_played(
    registry: Registry, offer: Offer, tracks: Iterable[Track]
) -> tuple[list[Played], dict[int, str]]:
    """A track for each section that receives its kind, and why the other tracks are left out, by their ids."""
    free = [media for media in offer.media if media.receives]
    found: list[Played] = []
    left_out: dict[int, str] = {}
    tracks = tuple(tracks)
    alternatives = Alternatives(registry, tracks)
    for track in tracks:
        if track.kind is Kind.DATA:
            continue
        if reason := alternatives.reason(track):
            left_out[track.id] = reason
            continue
        played, reason = _play(registry, free, track)
        if played is None:
            left_out[track.id] = reason
            continue
        free.remove(played.media)
        found.append(played)
    return found, left_out


def layers_of(played: Played, tracks: Iterable[Track]) -> list[Track]:
    """The tracks of which the peer may get any in that section, as its link allows: none where it cannot tell of that.

    Some of them may not have come yet. Other languages, and what is not a picture, are no matter of bandwidth.
    """
    track, media = played.track, played.media
    told = media.wants(played.format.payload_type, "transport-cc") and media.extension(EXTENSION) is not None
    if track.group is None or track.kind is not Kind.VIDEO or not told:
        return []
    alike = track.group, track.codec, track.language
    return [
        t for t in tracks if (t.group, t.codec, t.language) == alike and (t.config is None or played.fits(t))
    ]


def takes(registry: Registry, offer: Offer, track: Track) -> bool:
    """Whether the peer can have that track, apart from what else it gets."""
    return _play(registry, [media for media in offer.media if media.receives], track)[0] is not None


def _play(registry: Registry, free: Sequence[OfferedMedia], track: Track) -> tuple[Played | None, str]:
    binding = registry.get(track.codec, RTP)
    if binding is None:
        return None, f"RTP cannot carry {track.codec.name}"
    if track.config is None:
        return None, "its config never came"
    sections = [media for media in free if media.kind == track.kind]
    if not sections:
        return None, f"the peer asks for no more {track.kind}"
    try:
        described = binding.describe(track)
        best: tuple[int, OfferedMedia, RtpFormat] | None = None
        for media in sections:
            for offered in media.formats:
                fit = _fit(binding, offered, described, track)
                if fit and (best is None or fit > best[0]):
                    best = fit, media, offered
    except ProtocolViolation as e:
        return None, str(e)
    if best is None:
        names = dict.fromkeys(f.encoding for media in sections for f in media.formats)
        return (
            None,
            f"the peer does not play {described.encoding} as it is here, but {', '.join(names) or 'nothing'}",
        )
    return Played(best[1], best[2], track, binding, described), ""


def _fit(binding: RtpBinding, offered: RtpFormat, described: RtpFormat, track: Track) -> int:
    ours = described.encoding, described.clock_rate, described.channels
    if (offered.encoding, offered.clock_rate, offered.channels) != ours:
        return 0
    return binding.fit(offered, track) if isinstance(binding, NegotiatedBinding) else 1


def choose_recorded(registry: Registry, offer: Offer) -> tuple[list[Recorded], list[str]]:
    """The first coding that somebody here reads of each section that sends, once for each of its layers, and why others that
    are to be sent cannot be had.
    """
    found: list[Recorded] = []
    left_out: list[str] = []
    for media in offer.media:
        if media.unusable:
            left_out.append(f"{media.kind}: it is not bundled RTP over DTLS with RTCP on the same port")
        if not media.sends:
            continue
        try:
            what = first_readable(registry, media.formats, "a coding of it")
            found += [Recorded(media, *what, layer) for layer in media.layers or (None,)]
        except ProtocolViolation as e:
            left_out.append(f"{media.kind}: {e}")
    return found, left_out
