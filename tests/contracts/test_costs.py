"""Parsers take linear time, little of it, and keep little: what a peer sends must not cost more than it is worth."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import pytest

from penstock.errors import ProtocolViolation
from tests.contracts.case import CORPORA, ParserCase, seed_files
from tests.contracts.check import pieces
from tests.contracts.source import ROOT
from tests.contracts.table import CASES

AIM = 0.05
"""Seconds that any seed may take."""
NOISE = 20
"""A shared machine may stand still for a second; a parser that hangs does so for longer."""
GROWTH = 12.0
"""Four times the input may take so many times as long: twice may take three times. Quadratic would be 16."""
LARGEST = 1 << 18
MEASURABLE = 0.001

each_parser = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))


def seconds(run: Callable[[bytes], Any], data: bytes, runs: int = 1) -> float:
    """Of processor time, and the least of several runs: what else the machine does only ever adds."""
    least = float("inf")
    for _ in range(runs):
        start = time.thread_time()
        try:
            run(data)
        except ProtocolViolation:
            pass
        least = min(least, time.thread_time() - start)
    return least


@each_parser
def test_seeds_take_little_time(case: ParserCase) -> None:
    for data in [*case.valid, *seed_files(case)]:
        taken = seconds(case.parse, data)
        assert min(taken, seconds(case.parse, data) if taken > AIM else taken) < NOISE * AIM, data


def grows(run: Callable[[bytes], Any], of_size: Callable[[int], bytes]) -> float:
    """How many times as long `run` takes for four times the input, at a size where that can be measured."""
    size = 1024
    while size < LARGEST and seconds(run, of_size(size)) < MEASURABLE:
        size *= 4
    if seconds(run, of_size(size), 2) < MEASURABLE / 10:
        return 1.0  # refused or skipped at once, whatever the size
    growth = float("inf")
    for runs in (2, 4, 8):
        growth = min(growth, seconds(run, of_size(size * 4), runs) / seconds(run, of_size(size), runs))
        if growth < GROWTH:
            break
    return growth


def repeated(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def pathological(case: ParserCase) -> Iterator[Callable[[int], bytes]]:
    for pattern in (b"\0", b"\xff", b"\0\0\1", b"a", b'"', b"=", *sorted(case.valid, key=len)[-3:]):
        if pattern:
            yield partial(repeated, pattern)
    for valid in sorted(case.valid, key=len)[-2:]:
        yield partial(followed, valid, b"\0")
        yield partial(followed, valid[:-1], b"a")


def followed(start: bytes, filling: bytes, size: int) -> bytes:
    return start + filling * size


@each_parser
def test_time_is_linear(case: ParserCase) -> None:
    for of_size in pathological(case):
        assert grows(case.parse, of_size) < GROWTH, of_size(64)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.feed], ids=lambda case: case.name.replace(" ", "-")
)
def test_time_is_linear_in_small_pieces(case: ParserCase) -> None:
    """What is pending must not be gone through again with each piece that comes."""
    feed = case.feed
    assert feed is not None
    for of_size in pathological(case):
        growth = grows(lambda data: feed(pieces(data, list(range(0, len(data), 61)))), of_size)
        assert growth < GROWTH, of_size(64)


def held(root: object) -> int:
    """Bytes of all text and binary data that `root` keeps, through whatever holds them."""
    seen: set[int] = set()
    todo = [root]
    total = 0
    while todo:
        found = todo.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):
            continue
        seen.add(id(found))
        if isinstance(found, bytes | bytearray | str | memoryview):
            total += len(found)  # pyright: ignore[reportUnknownArgumentType]
        else:
            todo += gc.get_referents(found)
    return total


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.fresh], ids=lambda case: case.name.replace(" ", "-")
)
def test_pending_bytes_stay_under_a_limit(case: ParserCase) -> None:
    """An endless message of any kind is refused, or passed on, before it fills the memory."""
    fresh = case.fresh
    assert fresh is not None
    valid = sorted(case.valid, key=len)
    starts = sorted(
        {b"", *(data[:size] for data in (valid[0], valid[-1]) for size in (12, len(data) // 2, len(data)))}
    )
    for start in starts:
        for filling in (b"\0", b"\xff", b"a", b"A: b\r\n"):
            parser, take = fresh()
            before = last = held(parser)
            try:
                take(start)
                for n in range(case.limit // 65536 + 20):
                    take(filling * (65536 // len(filling)))
                    if n % 8 == 3:
                        kept = held(parser)
                        assert kept - before <= case.limit, (start[:80], filling)
                        if kept <= last:
                            break  # of the last half megabyte nothing stayed: nothing will of the next
                        last = kept
            except ProtocolViolation:
                assert held(parser) - before <= case.limit + len(start), (start[:80], filling)


def test_what_is_held_is_seen() -> None:
    class Keeper:
        __slots__ = ("kept",)

        def __init__(self) -> None:
            self.kept = {"a": [bytearray(1000)]}

    assert 1000 <= held(Keeper()) < 1100


def test_quadratic_time_is_seen() -> None:
    def slow(data: bytes) -> None:
        while data:
            data = data[1:]

    assert grows(slow, bytes) > 4.5, "copying the rest of the input for each byte must show"


def test_the_contract_holds_without_asserts() -> None:
    """``python -O`` strips asserts: a parser that leans on one would read on."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "tests.contracts.replay"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > (500 if CORPORA.is_dir() else 300)
