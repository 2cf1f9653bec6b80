"""Tracks of one group are alternatives: which of them readers get that do not choose (docs/adr/0028)."""

from __future__ import annotations

from collections.abc import Container, Iterable

from penstock.media import Track
from penstock.registry import INFO, Registry, VideoInfo


class Alternatives:
    """For a muxer whose readers take one track of a group.

    Of each group among `tracks` it is the one whose id is in `chosen`; else the largest picture of those whose config is
    known, or the first. Of a group that comes later it is the first.
    """

    def __init__(self, registry: Registry, tracks: Iterable[Track], chosen: Container[int] = ()) -> None:
        self._ids: dict[str, int] = {}
        best: dict[str, tuple[bool, bool, int]] = {}
        for track in tracks:
            if track.group is None:
                continue
            worth = track.id in chosen, track.config is not None, _pixels(registry, track)
            if track.group not in best or worth > best[track.group]:
                best[track.group] = worth
                self._ids[track.group] = track.id

    def reason(self, track: Track) -> str:
        """Why `track` is left out; empty where it is not."""
        if track.group is None or self._ids.setdefault(track.group, track.id) == track.id:
            return ""
        return "another of its group is played"


def _pixels(registry: Registry, track: Track) -> int:
    info = registry.get(track.codec, INFO)
    if info is None or track.config is None:
        return 0
    described = info.describe(track.config)
    return described.width * described.height if isinstance(described, VideoInfo) else 0
