"""No row of the list of bad inputs is without a test, and no test is of a row that is not in the list."""

from __future__ import annotations

import pytest

from .rows import ROWS, WITHOUT, rows_of, table


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_test_or_a_reason(row: str) -> None:
    assert bool(table()[row]) != (row in WITHOUT)


def test_no_test_is_of_a_row_that_is_not_listed() -> None:
    assert table().keys() == ROWS.keys()
    assert ROWS.keys() >= WITHOUT.keys()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("test_T2_T3_lines", ["T2", "T3"]),
        ("test_A9_to_A11_x", ["A9", "A10", "A11"]),
        ("test_rows_of_T1_", []),
        ("test_G10_proxy", ["G10"]),
    ],
)
def test_rows_are_read_from_names(name: str, rows: list[str]) -> None:
    assert rows_of(name) == rows
