"""Languages by RFC 5646 and ISO 639-2, as carriers have them."""

from __future__ import annotations

import pytest

from penstock_formats.language import language_code, language_tag


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("eng", "en"), ("deu", "de"), ("ger", "de"), ("FRE", "fr"), ("en", "en"), ("de-CH", "de-CH"), ("zho-Hant", "zh-Hant"),
        ("fil", "fil"), ("und", None), ("", None), (None, None), ("a_b", None), ("en,de", None), ("ninecharsx", None),
    ],
)  # fmt: skip
def test_rfc_5646_2_2_1_a_tag_has_the_shortest_code(said: str | None, tag: str | None) -> None:
    assert language_tag(said) == tag


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "eng"),
        ("de", "deu"),
        ("fil", "fil"),
        ("eng", "eng"),
        ("de-CH", None),
        ("xx", None),
        (None, None),
    ],
)
def test_three_letters_for_carriers_that_have_no_others(tag: str | None, code: str | None) -> None:
    assert language_code(tag) == code
    if code is not None:
        assert language_tag(code) == language_tag(tag)
