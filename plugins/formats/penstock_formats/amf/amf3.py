"""AMF3 (Adobe's "AMF 3 Specification", 2013), decoded and encoded.

Vectors become lists, a dictionary the list of its keys and values in turn, an array with named members an
`EcmaArray` whose dense part is under "0", "1" and so on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.amf.value import Budget, Date, EcmaArray, TypedObject, Value

CLAUSE = "AMF3 3"
MAX_INTEGER = (1 << 28) - 1
MAX_NAME = 0x3FFF
"""Characters of a member's name: in UTF-8 they fit into what AMF0 has for a name."""

_F64 = struct.Struct(">d")
_U32 = struct.Struct(">I")
_I32 = struct.Struct(">i")


def decode(data: bytes) -> list[Any]:
    """All values in `data`, with one set of reference tables. Raises `ProtocolViolation`."""
    reader = _Reader(data, 0, Budget(CLAUSE))
    values: list[Any] = []
    while reader.at < len(data):
        values.append(reader.value())
    return values


def decode_one(data: bytes, at: int, budget: Budget) -> tuple[Any, int]:
    """The value at `at`, and where the next one begins. Raises `ProtocolViolation`."""
    reader = _Reader(data, at, budget)
    return reader.value(), reader.at


def encode(*values: Value | Mapping[str, Any]) -> bytes:
    """`values` one after the other, without references; integers beyond 29 bits become doubles."""
    out = bytearray()
    for value in values:
        _put(out, value)
    return bytes(out)


@frozen
class _Traits:
    class_name: str
    members: tuple[str, ...]
    dynamic: bool


class _Reader:
    __slots__ = ("_budget", "_strings", "_traits", "at", "data")

    def __init__(self, data: bytes, at: int, budget: Budget) -> None:
        self.data = data
        self.at = at
        self._budget = budget
        self._strings: list[str] = []
        self._traits: list[_Traits] = []

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise ProtocolViolation("AMF3 value is truncated", CLAUSE)
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def _u29(self) -> int:
        value = 0
        for _ in range(3):
            byte = self._take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        return value << 8 | self._take(1)[0]

    def _count(self, count: int, size: int = 1) -> int:
        if count * size > len(self.data) - self.at:
            raise ProtocolViolation("AMF3 count is beyond the message", CLAUSE)
        return count

    def _string(self) -> str:
        header = self._u29()
        if not header & 1:
            if header >> 1 >= len(self._strings):
                raise ProtocolViolation("AMF3 reference to a string that was not sent", "AMF3 1.3.2")
            return self._strings[header >> 1]
        text = self._take(header >> 1).decode("utf-8", "surrogateescape")
        if text:
            self._strings.append(text)
        return text

    def _name(self) -> str:
        name = self._string()
        if len(name) > MAX_NAME:
            raise ProtocolViolation("AMF3 name is too long", CLAUSE)
        return name

    def value(self) -> Any:
        marker = self._take(1)[0]
        self._budget.spend()
        match marker:
            case 0x00 | 0x01:
                return None
            case 0x02:
                return False
            case 0x03:
                return True
            case 0x04:
                number = self._u29()
                return number - (1 << 29) if number > MAX_INTEGER else number
            case 0x05:
                return _F64.unpack(self._take(8))[0]
            case 0x06:
                return self._string()
            case 0x07 | 0x08 | 0x09 | 0x0A | 0x0B | 0x0C | 0x0D | 0x0E | 0x0F | 0x10 | 0x11:
                header = self._u29()
                if not header & 1:
                    return self._budget.refer(header >> 1)
                return self._object(marker, header >> 1)
            case _:
                raise ProtocolViolation(f"AMF3 type marker {marker:#04x} is not a value", CLAUSE)

    def _object(self, marker: int, header: int) -> Any:
        simple: Any
        match marker:
            case 0x07 | 0x0B:
                simple = self._take(header).decode("utf-8", "surrogateescape")
            case 0x08:
                simple = Date(_F64.unpack(self._take(8))[0])
            case 0x0C:
                simple = self._take(header)
            case 0x09:
                return self._array(header)
            case 0x0A:
                return self._instance(header)
            case 0x11:
                return self._dictionary(header)
            case _:
                return self._vector(marker, header)
        self._budget.share(simple)
        return simple

    def _array(self, header: int) -> Any:
        named = EcmaArray()
        dense: list[Any] = []
        key = self._name()
        self._budget.enter(named if key else dense)
        while key:
            named[key] = self.value()
            key = self._name()
        for index in range(self._count(header)):
            if named:
                named[str(index)] = self.value()
            else:
                dense.append(self.value())
        self._budget.leave()
        return named or dense

    def _instance(self, header: int) -> Any:
        traits = self._read_traits(header)
        into: dict[str, Any] = TypedObject(traits.class_name) if traits.class_name else {}
        self._budget.enter(into)
        for name in traits.members:
            into[name] = self.value()
        if traits.dynamic:
            while key := self._name():
                into[key] = self.value()
        self._budget.leave()
        return into

    def _read_traits(self, header: int) -> _Traits:
        if not header & 1:
            if header >> 1 >= len(self._traits):
                raise ProtocolViolation("AMF3 reference to traits that were not sent", "AMF3 3.12")
            return self._traits[header >> 1]
        if header & 2:
            raise ProtocolViolation("AMF3 externalizable objects can't be read", "AMF3 3.12")
        class_name = self._name()
        members = tuple([self._name() for _ in range(self._count(header >> 3))])
        self._budget.spend(len(members))
        traits = _Traits(class_name, members, bool(header & 4))
        self._traits.append(traits)
        return traits

    def _vector(self, marker: int, count: int) -> list[Any]:
        self._take(1)  # AMF3 3.15: whether its length is fixed
        into: list[Any] = []
        if marker == 0x10:
            self._string()
        self._budget.enter(into)
        match marker:
            case 0x0D | 0x0E:
                pattern = "i" if marker == 0x0D else "I"
                self._budget.spend(self._count(count, 4))
                numbers = struct.unpack(f">{count}{pattern}", self._take(4 * count))
                into += [n if -MAX_INTEGER - 1 <= n <= MAX_INTEGER else float(n) for n in numbers]
            case 0x0F:
                self._budget.spend(self._count(count, 8))
                into += struct.unpack(f">{count}d", self._take(8 * count))
            case _:
                for _ in range(self._count(count)):
                    into.append(self.value())
        self._budget.leave()
        return into

    def _dictionary(self, count: int) -> list[Any]:
        self._take(1)  # AMF3 3.16: whether its keys are weak
        into: list[Any] = []
        self._budget.enter(into)
        for _ in range(self._count(count, 2)):
            into += [self.value(), self.value()]
        self._budget.leave()
        return into


def _put_u29(out: bytearray, value: int) -> None:
    if value > 0x1FFFFF:
        out += bytes((value >> 22 | 0x80, value >> 15 & 0x7F | 0x80, value >> 8 & 0x7F | 0x80, value & 0xFF))
        return
    for shift in (14, 7):
        if value >> shift:
            out.append(value >> shift & 0x7F | 0x80)
    out.append(value & 0x7F)


def _put_string(out: bytearray, text: str) -> None:
    raw = text.encode("utf-8", "surrogateescape")
    _put_u29(out, len(raw) << 1 | 1)
    out += raw


def _put(out: bytearray, value: Any) -> None:
    match value:
        case None:
            out.append(0x01)
        case bool():
            out.append(0x03 if value else 0x02)
        case int() if -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            out.append(0x04)
            _put_u29(out, value & 0x1FFFFFFF)
        case int() | float():
            out.append(0x05)
            out += _F64.pack(value)
        case str():
            out.append(0x06)
            _put_string(out, value)
        case bytes():
            out.append(0x0C)
            _put_u29(out, len(value) << 1 | 1)
            out += value
        case Date():
            out += b"\x08\x01" + _F64.pack(value.milliseconds)
        case list() | tuple():
            out.append(0x09)
            _put_u29(out, len(value) << 1 | 1)  # pyright: ignore[reportUnknownArgumentType]
            out.append(0x01)
            for each in value:  # pyright: ignore[reportUnknownVariableType]
                _put(out, each)
        case EcmaArray():
            out += b"\x09\x01"
            for key, each in value.items():
                _put_string(out, key)
                _put(out, each)
            out.append(0x01)
        case Mapping():
            _put_object(out, value)  # pyright: ignore[reportUnknownArgumentType]
        case _:
            raise TypeError(f"AMF has no {type(value).__name__}")


def _put_object(out: bytearray, value: Mapping[str, Any]) -> None:
    # Sealed members with traits of their own: unlike dynamic ones their names may be empty.
    out.append(0x0A)
    _put_u29(out, len(value) << 4 | 3)
    _put_string(out, value.class_name if isinstance(value, TypedObject) else "")
    for key in value:
        _put_string(out, key)
    for each in value.values():
        _put(out, each)
