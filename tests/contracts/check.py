"""The contract itself, with errors that ``python -O`` does not strip."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.errors import ProtocolViolation
from tests.contracts.case import ParserCase


class BrokenContract(Exception):
    """A parser did not do what every parser owes."""


def check(case: ParserCase, data: bytes) -> bool:
    """Parse `data` or see it refused with `ProtocolViolation`; what is encoded parses back. True where accepted."""
    try:
        parsed = case.parse(data)
    except ProtocolViolation as violation:
        if not violation.reason:
            raise BrokenContract(f"{case.name}: a violation without a reason") from violation
        return False
    if case.encode is not None:
        encoded = case.encode(parsed)
        try:
            again = case.parse(encoded)
        except ProtocolViolation as violation:
            raise BrokenContract(f"{case.name}: refuses its own {encoded!r} of {parsed!r}") from violation
        if again != parsed:
            raise BrokenContract(f"{case.name}: {parsed!r} came back as {again!r} from {encoded!r}")
    return True


def check_split(case: ParserCase, data: bytes, cuts: list[int]) -> None:
    """The same events come out of `data` in one piece and cut at `cuts` (offsets in order)."""
    if case.feed is None:
        return
    whole, split = case.feed([data]), case.feed(pieces(data, cuts))
    if whole != split:
        raise BrokenContract(f"{case.name}: cut at {cuts[:20]}, {data!r} gives {split!r} and not {whole!r}")


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`data` cut at the offsets `cuts`; equal offsets make empty pieces."""
    start = 0
    for cut in [*cuts, len(data)]:
        yield data[start:cut]
        start = cut
