"""The files that the pages are made of: read once, compressed once, under a version that changes with any of them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Self

from attrs import frozen

from penstock_page.vendor import VENDORED

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@frozen
class Asset:
    """One file as it is sent. `packed` is None where compression does not make it smaller."""

    body: bytes
    packed: bytes | None
    content_type: str
    tag: str
    """A strong entity tag of the plain body, without quotes (RFC 9110 8.8.3); the compressed one has another."""

    @classmethod
    def of(cls, name: str, body: bytes) -> Self:
        # Level 6 and no time stamp: all of them in a few hundredths of a second, the same bytes at each start.
        packed = gzip.compress(body, 6, mtime=0)
        return cls(
            body,
            packed if len(packed) < len(body) else None,
            TYPES[name.rpartition(".")[2]],
            sha256(body).hexdigest()[:20],
        )


@frozen
class Assets:
    """All of them by name; `version` is part of their URLs, so that a browser may keep them for ever."""

    named: Mapping[str, Asset]
    version: str

    @classmethod
    @cache
    def load(cls) -> Self:
        named = {name: Asset.of(name, body) for name, body in _contents()}
        together = "\n".join(f"{name} {asset.tag}" for name, asset in sorted(named.items()))
        return cls(named, sha256(together.encode()).hexdigest()[:12])


def template(name: str) -> str:
    """The text of a page, with ``$names`` to be filled in."""
    return (files("penstock_page") / "templates" / name).read_text("utf-8")


def _contents() -> Iterator[tuple[str, bytes]]:
    package = files("penstock_page")
    for file in _files(package / "static"):
        yield file.name, file.read_bytes()
    for library in VENDORED:
        yield library.script, (package / "vendor" / library.name / library.script).read_bytes()


def _files(folder: Traversable) -> Iterator[Traversable]:
    return (entry for entry in folder.iterdir() if entry.name.rpartition(".")[2] in TYPES)
