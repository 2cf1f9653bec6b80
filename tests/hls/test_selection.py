"""Which variant and renditions are pulled."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_hls.multivariant_playlist import MediaRendition, MultivariantPlaylist, Variant
from penstock_hls.selection import MAX_AUDIO, select

KNOWN = {"avc1", "mp4a", "opus"}


def chosen(*variants: Variant) -> str:
    return select(MultivariantPlaylist(variants), KNOWN)[0].uri


def test_the_highest_bandwidth_whose_codecs_are_known() -> None:
    low, high = (
        Variant("low", 1000, codecs="avc1.42c01e,mp4a.40.2"),
        Variant("high", 9000, codecs="avc1.64001f"),
    )
    best = Variant("best", 99_000, codecs="avc1.64001f,ac-3")
    odd = Variant("odd", 500_000, codecs="dvh1.05.06,ac-3")
    assert chosen(low, high) == "high"
    assert chosen(low, high, best, odd) == "high"
    assert chosen(best, odd) == "best"
    assert chosen(Variant("untold", 10_000), low) == "untold"
    assert chosen(Variant("first", 1), Variant("second", 1)) == "first"


def test_a_presentation_of_nothing_that_is_known_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match=r"dvh1"):
        chosen(Variant("odd", 1, codecs="dvh1.05.06,ac-3"))


def test_renditions_of_the_variants_group_that_have_playlists() -> None:
    variant = Variant("v", 1, codecs="avc1.42c01e,Opus", audio="a")
    found = [
        MediaRendition("AUDIO", "a", "German", "de", language="de"),
        MediaRendition("AUDIO", "a", "English", "en", language="en", default=True),
        MediaRendition("AUDIO", "a", "in the variant", None),
        MediaRendition("AUDIO", "a", "the variant", "v"),
        MediaRendition("AUDIO", "a", "again", "de"),
        MediaRendition("AUDIO", "b", "another group", "fr"),
        MediaRendition("SUBTITLES", "a", "text", "sub"),
    ]
    _, renditions = select(MultivariantPlaylist((variant,), tuple(found)), KNOWN)
    assert [r.uri for r in renditions] == ["en", "de"]


def test_of_very_many_renditions_some_are_taken() -> None:
    many = tuple(MediaRendition("AUDIO", "a", str(n), f"{n}") for n in range(100))
    _, renditions = select(MultivariantPlaylist((Variant("v", 1, audio="a"),), many), KNOWN)
    assert len(renditions) == MAX_AUDIO
