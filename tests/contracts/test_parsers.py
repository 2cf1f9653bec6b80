"""What every parser owes, run over every parser: see `check` for the contract and `table` for who is under it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.case import CORPORA, ParserCase, seed_files
from tests.contracts.check import BrokenContract, check, check_split
from tests.contracts.damage import budget, cuts, damaged
from tests.contracts.table import CASES

each_parser = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
each_incremental = pytest.mark.parametrize(
    "case", [case for case in CASES if case.feed], ids=lambda case: case.name.replace(" ", "-")
)


@each_parser
def test_valid_messages_are_accepted_and_come_back(case: ParserCase) -> None:
    accepted = [check(case, data) for data in case.valid]
    assert any(accepted), "not one of the valid messages is accepted"


@each_parser
def test_any_bytes_are_parsed_or_refused(case: ParserCase) -> None:
    @budget(40)
    @given(st.binary(max_size=80))
    def property_(data: bytes) -> None:
        check(case, data)

    property_()


@each_parser
def test_damaged_messages_are_parsed_or_refused(case: ParserCase) -> None:
    @budget(100)
    @given(damaged(case.valid))
    def property_(data: bytes) -> None:
        check(case, data)

    property_()


@each_parser
def test_truncated_messages_are_parsed_or_refused(case: ParserCase) -> None:
    for data in case.valid:
        for end in range(min(len(data), 120)):
            check(case, data[:end])


@each_incremental
def test_how_input_is_split_never_changes_what_comes_out(case: ParserCase) -> None:
    @budget(60)
    @given(st.data())
    def property_(drawn: st.DataObject) -> None:
        data = drawn.draw(st.sampled_from(list(case.valid)) | damaged(case.valid) | st.binary(max_size=80))
        check_split(case, data, drawn.draw(cuts(len(data))))

    property_()


@each_parser
def test_seeds_of_other_projects_are_parsed_or_refused(case: ParserCase) -> None:
    if not case.seeds:
        return
    if not CORPORA.is_dir():
        pytest.skip(f"no seeds: {CORPORA} is absent")
    missing = [folder for folder in case.seeds if not (CORPORA / folder).is_dir()]
    assert not missing, f"no such folder of seeds: {missing}"
    for data in seed_files(case):
        check(case, data)
        check_split(case, data, list(range(len(data))))


def test_a_broken_contract_is_seen() -> None:
    """The contract can fail: parsers that break one promise each."""

    def careless(data: bytes) -> int:
        return data[3]

    def lossy(data: bytes) -> bytes:
        return data[1:]

    def by_piece(given: Iterable[bytes]) -> list[bytes]:
        return list(given)

    with pytest.raises(IndexError):
        check(ParserCase("careless", careless, [b"abcd"], []), b"abc")
    with pytest.raises(BrokenContract):
        check(ParserCase("lossy", lossy, [b"ab"], [], encode=bytes), b"ab")
    with pytest.raises(BrokenContract):
        check_split(ParserCase("by piece", lossy, [b"ab"], [], feed=by_piece), b"ab", [1])
