"""Stream paths: one canonical form, whatever the spelling, and nothing else gets through."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolViolation
from penstock.path import MAX_BYTES, RESERVED_FIRST, RESERVED_LAST, StreamPath


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("live/stream", "live/stream"),
        ("/live/stream", "live/stream"),
        ("live/stream/", "live/stream"),
        ("live/stream?token=x/../y", "live/stream"),
        ("Live/Stream", "Live/Stream"),
        ("live/a%20b", "live/a b"),
        ("live/%2525", "live/%25"),
        ("live/a%2Fb", "live/a/b"),
        ("live/a%3Fb", "live/a?b"),
        ("cafe\u0301", "caf\u00e9"),
        ("caf%C3%A9", "caf\u00e9"),
        ("a%zz", "a%zz"),
        ("...", "..."),
        ("a.", "a."),
        ("live/api", "live/api"),
        ("publish/x", "publish/x"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_one_form(text: str, path: str) -> None:
    assert StreamPath.parse(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "//", "?x", "a//b", "//a", "a//", "/a//", ".", "..", "a/./b", "a/../b", "%2e%2e", "a/%2e%2e/b", "%2Fa%2F%2Fb",
        "a\0b", "a%00b", "a%0d%0ab", "a\nb", "a\x1b[1mb", "a%7Fb", "a\u202eb", "a\u200bb", "a\u2028b", "a\ud800b", "%ff", "%C3",
        "a\u0085b",
        *sorted(RESERVED_FIRST), *(f"{name}/x" for name in sorted(RESERVED_FIRST)), "%61pi/v1",
        *sorted(RESERVED_LAST), *(f"live/x/{name}" for name in sorted(RESERVED_LAST)), "live/x/%77hip", "live/x/whip?y",
    ],
)  # fmt: skip
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ProtocolViolation, match="path"):
        StreamPath.parse(text)


def test_lengths_are_counted_in_bytes_of_the_canonical_form() -> None:
    assert StreamPath.parse("x" * MAX_BYTES)
    assert StreamPath.parse("/" + "x" * MAX_BYTES + "/?" + "y" * 10_000)
    assert StreamPath.parse("%41" * MAX_BYTES)
    # 127 letters of two bytes each, one byte more than two hundred fifty-four is what fits.
    assert StreamPath.parse("\u00e9" * 127)
    for text in ("x" * (MAX_BYTES + 1), "\u00e9" * 128, "e\u0301" * 128):
        with pytest.raises(ProtocolViolation, match="longer than 255 bytes"):
            StreamPath.parse(text)


@given(st.text())
def test_the_canonical_form_is_its_own(text: str) -> None:
    """Whatever is let in: it can be spelt so that it comes out again, and a second look changes nothing."""
    try:
        path = StreamPath.parse(text)
    except ProtocolViolation:
        return
    assert 1 <= len(path.encode()) <= MAX_BYTES
    assert unicodedata.is_normalized("NFC", path)
    segments = path.split("/")
    assert not {"", ".", ".."} & set(segments)
    assert segments[0] not in RESERVED_FIRST
    assert segments[-1] not in RESERVED_LAST
    assert path.isprintable() or any(unicodedata.category(c) in ("Zs", "Co", "Cn") for c in path)
    assert StreamPath.parse(quote(path)) == path


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="/?%"),
            min_size=1,
            max_size=20,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_names_that_people_give_are_let_in(segments: list[str]) -> None:
    text = "/".join(segments)
    wanted = unicodedata.normalize("NFC", text)
    reserved = segments[0] in RESERVED_FIRST or segments[-1] in RESERVED_LAST
    if not reserved and not {".", ".."} & set(wanted.split("/")) and len(wanted.encode()) <= MAX_BYTES:
        assert StreamPath.parse(text) == wanted
