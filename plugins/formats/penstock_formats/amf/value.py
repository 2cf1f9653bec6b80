"""What AMF carries, as plain Python values, and the limits both versions share.

Undefined and unsupported become None, XML becomes a string, time zones are dropped. Strings are decoded with
``surrogateescape``, so that their bytes are kept: do not print or store them before they are cleaned.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from penstock.errors import ProtocolViolation

MAX_DEPTH = 24
"""Nesting of objects; real ones have 3 levels, and Python's own recursion limit is far above."""

MAX_VALUES = 16_384
"""Values in one decoding, references counted as often as they are used: keeps one message below 50 ms."""


@frozen
class Date:
    """Milliseconds since 1970, UTC; any double, also NaN."""

    milliseconds: float


class EcmaArray(dict[str, Any]):
    """An associative array: an object, but for its marker."""


class TypedObject(dict[str, Any]):
    """An object of a class that the peer named; never looked up, never instantiated."""

    __slots__ = ("class_name",)

    def __init__(self, class_name: str, values: dict[str, Any] | None = None) -> None:
        super().__init__(values or {})
        self.class_name = class_name


Value = None | bool | int | float | str | bytes | Date | list[Any] | dict[str, Any]
"""Any AMF value; the members of lists and dicts are again values."""


@define
class _Shared:
    """An object that a later reference may name, with what a reference to it adds."""

    value: Any
    height: int = 1
    values: int = 1
    open: bool = True


@define
class Budget:
    """Depth and number of values of one decoding, and the objects that it can refer to."""

    clause: str
    objects: list[_Shared] = field(factory=list[_Shared])
    stack: list[_Shared] = field(factory=list[_Shared])
    spent: int = 0

    def begin(self, clause: str) -> Budget:
        """The budget of a part that has references of its own, but not a depth and number of its own."""
        return Budget(clause, stack=self.stack, spent=self.spent)

    def finish(self, part: Budget) -> None:
        """Take back what `part` has spent."""
        self.spent = part.spent

    def spend(self, values: int = 1) -> None:
        """Count values. Raises `ProtocolViolation` over the limit."""
        self.spent += values
        if self.spent > MAX_VALUES:
            raise ProtocolViolation(f"more than {MAX_VALUES} AMF values in a message", self.clause)

    def enter(self, value: Any) -> None:
        """Begin an object; its members follow until `leave`."""
        if len(self.stack) >= MAX_DEPTH:
            raise ProtocolViolation(f"AMF values nested deeper than {MAX_DEPTH}", self.clause)
        shared = _Shared(value, values=self.spent)
        self.objects.append(shared)
        self.stack.append(shared)

    def leave(self) -> None:
        """End the object begun last."""
        shared = self.stack.pop()
        shared.open = False
        shared.values = self.spent - shared.values + 1
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, shared.height + 1)

    def refer(self, index: int) -> Any:
        """The object that a reference names; refused while that object is open, for that would be a cycle."""
        if index >= len(self.objects):
            raise ProtocolViolation("AMF reference to an object that was not sent", self.clause)
        shared = self.objects[index]
        if shared.open:
            raise ProtocolViolation("AMF reference to an enclosing object", self.clause)
        # Shared objects are walked once for each use: chains of them must not grow without bounds.
        if len(self.stack) + shared.height > MAX_DEPTH:
            raise ProtocolViolation(f"AMF values nested deeper than {MAX_DEPTH}", self.clause)
        self.spend(shared.values)
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, shared.height + 1)
        return shared.value

    def share(self, value: Any) -> None:
        """Add a finished value without members (a date, a byte array)."""
        self.objects.append(_Shared(value, open=False))
