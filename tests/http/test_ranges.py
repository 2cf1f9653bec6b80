"""Row H4: range and conditional requests of finite bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_http.ranges import parse_range, partial

BODY = bytes(range(100))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-9", range(10)),
        ("bytes=10-", range(10, 100)),
        ("bytes=-5", range(95, 100)),
        ("bytes=-500", range(100)),
        ("bytes=90-500", range(90, 100)),
        ("Bytes = 1 - 2", range(1, 3)),
        ("bytes=0-18446744073709551616", range(100)),
        ("bytes=0-" + "9" * 5000, range(100)),
        # Nothing of it is there.
        ("bytes=-0", range(0)),
        ("bytes=100-", range(0)),
        ("bytes=18446744073709551616-", range(0)),
        ("bytes=" + "9" * 5000 + "-", range(0)),
        # Not one range, and so ignored.
        ("bytes=5-1", None),
        ("bytes=0-1,5-6", None),
        ("bytes=" + ",".join(["0-1"] * 1000), None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-\u0662", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_a_range(value: str, found: range | None) -> None:
    assert parse_range(value, 100) == found


@given(st.text(alphabet="bytes=-0123456789, ", max_size=30), st.integers(0, 1000))
def test_any_range_is_within_the_body(value: str, size: int) -> None:
    found = parse_range(value, size)
    assert found is None or not found or 0 <= found.start < found.stop <= size


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ({}, 200, BODY, None),
        ({"range": "bytes=1-2"}, 206, BODY[1:3], "bytes 1-2/100"),
        ({"range": "bytes=200-"}, 416, b"", "bytes */100"),
        ({"range": "bytes=1-2", "if-range": '"a"'}, 206, BODY[1:3], "bytes 1-2/100"),
        ({"range": "bytes=1-2", "if-range": '"b"'}, 200, BODY, None),
        ({"range": "bytes=1-2", "if-range": "Thu, 26 Nov 2026 21:31:03 GMT"}, 200, BODY, None),
        ({"if-none-match": '"b", W/"a"', "range": "bytes=1-2"}, 304, b"", None),
        ({"if-none-match": "*"}, 304, b"", None),
        ({"if-none-match": '"b"'}, 200, BODY, None),
    ],
)
def test_conditions(headers: dict[str, str], status: int, body: bytes, content_range: str | None) -> None:
    got_status, got, own = partial(headers, BODY, '"a"')
    assert (got_status, bytes(got)) == (status, body)
    assert dict(own).get("content-range") == content_range
    assert dict(own)["etag"] == '"a"'


def test_a_weak_tag_is_no_ground_for_a_part() -> None:
    status, _, _ = partial({"range": "bytes=1-2", "if-range": 'W/"a"'}, BODY, 'W/"a"')
    assert status == 200


@pytest.mark.parametrize(
    ("headers", "status"), [({"range": "bytes=200-"}, 200), ({"if-none-match": "*"}, 304)]
)
def test_a_head_has_conditions_and_no_ranges(headers: dict[str, str], status: int) -> None:
    assert partial(headers, BODY, '"a"', "HEAD")[0] == status
