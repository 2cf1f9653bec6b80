"""Three ways to be wrong, and which of several errors says most."""

from __future__ import annotations

import pytest

from penstock.errors import Closed, PenstockError, ProtocolViolation, UserError, leading


def test_a_violation_names_its_clause() -> None:
    assert str(ProtocolViolation("too long")) == "too long"
    error = ProtocolViolation("too long", "RFC 6184 5.8", 17)
    assert (str(error), error.reason, error.clause, error.offset) == (
        "too long (RFC 6184 5.8)",
        "too long",
        "RFC 6184 5.8",
        17,
    )


BUG = KeyError("a bug")
VIOLATION = ProtocolViolation("bad")
GONE = OSError("gone")
EXIT = SystemExit(1)


@pytest.mark.parametrize(
    ("errors", "says_most"),
    [
        ([VIOLATION], VIOLATION),
        ([GONE, VIOLATION], GONE),
        ([GONE, VIOLATION, BUG], BUG),
        ([EXIT, VIOLATION], VIOLATION),
        ([EXIT], EXIT),
        ([GONE, BaseExceptionGroup("", [EXIT, BaseExceptionGroup("", [BUG])])], BUG),
    ],
)
def test_a_bug_before_what_a_peer_did_and_that_before_the_rest(
    errors: list[BaseException], says_most: BaseException
) -> None:
    assert leading(BaseExceptionGroup("", errors)) is says_most


def test_all_that_is_raised_on_purpose_has_one_base() -> None:
    assert all(issubclass(kind, PenstockError) for kind in (ProtocolViolation, UserError, Closed))
