"""The header lines of a message: in order, names of any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.errors import ProtocolViolation


class Headers:
    """An immutable list of (name, value); look-up ignores the case of names."""

    __slots__ = ("_index", "_lines")

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self._lines = tuple(lines)
        self._index: dict[str, str] = {}
        for name, value in self._lines:
            self._index.setdefault(name.lower(), value)

    def get(self, name: str) -> str | None:
        """The first value of `name`."""
        return self._index.get(name.lower())

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of `name`, in order."""
        key = name.lower()
        return tuple(value for line, value in self._lines if line.lower() == key)

    def single(self, name: str) -> str | None:
        """The value of `name`; raises `ProtocolViolation` where there are several that differ."""
        values = set(self.all(name))
        if len(values) > 1:
            raise ProtocolViolation(f"several different {name} headers", "RFC 2326 12")
        return values.pop() if values else None

    def with_lines(self, *lines: tuple[str, str]) -> Headers:
        """These headers and more; a name that is there already is replaced."""
        new = {name.lower() for name, _ in lines}
        return Headers([line for line in self._lines if line[0].lower() not in new] + list(lines))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._lines == other._lines

    def __hash__(self) -> int:
        return hash(self._lines)

    def __repr__(self) -> str:
        return f"Headers({list(self._lines)!r})"
