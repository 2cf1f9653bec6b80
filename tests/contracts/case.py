"""What the contract test needs to know of one parser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

CORPORA = Path(os.environ.get("PENSTOCK_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))
"""Seeds of other projects' fuzzers; the tests that read them skip where the folder is absent."""


@frozen
class ParserCase:
    """One parser under the contract of every parser.

    `parse` takes any bytes and returns what they mean, or raises `ProtocolViolation`; for an incremental parser
    `feed` takes the pieces of one input and returns all events as comparable values: how input is split must not
    change them (a violation counts as a last event). `valid` are whole valid messages, to be cut, flipped and
    spliced. `encode` gives back bytes for what `parse` returned, so that parse(encode(parse(x))) == parse(x).
    `modules` are the dotted names of the modules whose branches it must reach; `seeds` are folders below CORPORA.
    `fresh` makes an incremental parser and the function that gives it a piece and takes out all events; it may never
    hold more than `limit` bytes.
    """

    name: str
    parse: Callable[[bytes], Any]
    valid: Sequence[bytes]
    modules: Sequence[str]
    feed: Callable[[Iterable[bytes]], list[Any]] | None = None
    encode: Callable[[Any], bytes] | None = None
    seeds: Sequence[str] = ()
    fresh: Callable[[], tuple[object, Callable[[bytes], object]]] | None = None
    limit: int = 1 << 20


def seed_files(case: ParserCase) -> list[bytes]:
    """The bytes of every seed of `case`; empty where the corpora are absent."""
    found: list[bytes] = []
    for folder in case.seeds:
        found += [
            p.read_bytes()
            for p in sorted((CORPORA / folder).glob("*"))
            if p.is_file() and p.suffix != ".json"
        ]
    return found
