"""Who takes gzip (RFC 9110 12.5.3)."""

from __future__ import annotations

import pytest

from penstock_http.coding import takes_gzip


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True), ("gzip, deflate, br, zstd", True), ("br;q=1.0, GZIP;q=0.5", True), ("x-gzip", True), ("*", True),
        ("gzip ; q=0.001", True), ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.000, *", False),
        ("*;q=0", False), ("br", False), ("gzipped", False),
    ],
)  # fmt: skip
def test_by_its_name_or_any_but_not_at_a_weight_of_nothing(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
