"""Which of a presentation's variants and renditions are taken."""

from __future__ import annotations

from collections.abc import Container

from penstock.errors import ProtocolViolation
from penstock_hls.multivariant_playlist import MediaRendition, MultivariantPlaylist, Variant

MAX_AUDIO = 8
"""Renditions of sound that are taken; each is fetched all the time."""


def select(playlist: MultivariantPlaylist, known: Container[str]) -> tuple[Variant, list[MediaRendition]]:
    """The variant of the highest bandwidth whose codecs are all `known` (by the first part of their names in lower case,
    such as ``avc1``), else of which some are, and the renditions of sound that go with it and have playlists of their own.

    Raises `ProtocolViolation` where no plugin knows any codec.
    """
    ranked = [(_share(variant, known), variant.bandwidth, -n) for n, variant in enumerate(playlist.variants)]
    share, _, number = max(ranked)
    if not share:
        codecs = sorted({variant.codecs or "" for variant in playlist.variants})
        raise ProtocolViolation(f"no plugin knows the codecs of any variant: {', '.join(codecs)[:200]}")
    variant = playlist.variants[-number]
    renditions: dict[str, MediaRendition] = {}
    for rendition in sorted(playlist.renditions, key=lambda r: not r.default):
        uri = rendition.uri
        if rendition.type == "AUDIO" and rendition.group == variant.audio and uri and uri != variant.uri:
            renditions.setdefault(uri, rendition)
    return variant, list(renditions.values())[:MAX_AUDIO]


def _share(variant: Variant, known: Container[str]) -> int:
    """2 where all codecs are known, or none is told, 1 where some are."""
    if not variant.codecs:
        return 2
    names = [name.strip().partition(".")[0].lower() for name in variant.codecs.split(",")]
    found = [name in known for name in names]
    return all(found) + any(found)
