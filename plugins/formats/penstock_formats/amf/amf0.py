"""AMF0 (Adobe's "AMF 0 Specification", 2007), decoded and encoded."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from penstock.errors import ProtocolViolation
from penstock_formats.amf import amf3
from penstock_formats.amf.value import Budget, Date, EcmaArray, TypedObject, Value

CLAUSE = "AMF0 2"

NUMBER = 0x00
BOOLEAN = 0x01
STRING = 0x02
OBJECT = 0x03
NULL = 0x05
UNDEFINED = 0x06
REFERENCE = 0x07
ECMA_ARRAY = 0x08
OBJECT_END = 0x09
STRICT_ARRAY = 0x0A
DATE = 0x0B
LONG_STRING = 0x0C
UNSUPPORTED = 0x0D
XML = 0x0F
TYPED_OBJECT = 0x10
AVMPLUS = 0x11

_F64 = struct.Struct(">d")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_END = b"\x00\x00\x09"


def decode(data: bytes) -> list[Any]:
    """All values in `data`. Raises `ProtocolViolation`."""
    reader = _Reader(data)
    values: list[Any] = []
    while reader.at < len(data):
        values.append(reader.value())
    return values


def encode(*values: Value | Mapping[str, Any]) -> bytes:
    """`values` one after the other; int and float are numbers, dicts are objects, no reference is made."""
    out = bytearray()
    for value in values:
        _put(out, value)
    return bytes(out)


class _Reader:
    __slots__ = ("_budget", "at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._budget = Budget(CLAUSE)

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise ProtocolViolation("AMF0 value is truncated", CLAUSE)
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def _string(self, size: int) -> str:
        return self._take(size).decode("utf-8", "surrogateescape")

    def _key(self) -> str:
        return self._string(_U16.unpack(self._take(2))[0])

    def value(self) -> Any:
        marker = self._take(1)[0]
        self._budget.spend()
        match marker:
            case 0x00:
                return _F64.unpack(self._take(8))[0]
            case 0x01:
                return self._take(1) != b"\x00"
            case 0x02:
                return self._string(_U16.unpack(self._take(2))[0])
            case 0x03:
                return self._members({}, ends=True)
            case 0x05 | 0x06 | 0x0D:
                return None
            case 0x07:
                return self._budget.refer(_U16.unpack(self._take(2))[0])
            case 0x08:
                self._take(4)  # AMF0 2.10: the count is a hint; encoders are known to write 0
                return self._members(EcmaArray(), ends=False)
            case 0x0A:
                return self._strict_array()
            case 0x0B:
                date = Date(_F64.unpack(self._take(8))[0])
                self._take(2)  # AMF0 2.13: the time zone is reserved
                return date
            case 0x0C | 0x0F:
                return self._string(_U32.unpack(self._take(4))[0])
            case 0x10:
                return self._members(TypedObject(self._key()), ends=True)
            case 0x11:
                part = self._budget.begin(amf3.CLAUSE)
                value, self.at = amf3.decode_one(self.data, self.at, part)
                self._budget.finish(part)
                return value
            case _:
                raise ProtocolViolation(f"AMF0 type marker {marker:#04x} is not a value", CLAUSE)

    def _members(self, into: dict[str, Any], *, ends: bool) -> dict[str, Any]:
        self._budget.enter(into)
        data = self.data
        while True:
            if data.startswith(_END, self.at):
                self.at += 3
                break
            if not ends and self.at == len(data):
                break  # some encoders leave out the end of an ECMA array that ends the message
            key = self._key()
            into[key] = self.value()
        self._budget.leave()
        return into

    def _strict_array(self) -> list[Any]:
        count = _U32.unpack(self._take(4))[0]
        if count > len(self.data) - self.at:
            raise ProtocolViolation("AMF0 array has more elements than bytes", "AMF0 2.12")
        into: list[Any] = []
        self._budget.enter(into)
        for _ in range(count):
            into.append(self.value())
        self._budget.leave()
        return into


def _put(out: bytearray, value: Any) -> None:
    match value:
        case None:
            out.append(NULL)
        case bool():
            out += b"\x01\x01" if value else b"\x01\x00"
        case int() | float():
            out.append(NUMBER)
            out += _F64.pack(value)
        case str():
            raw = value.encode("utf-8", "surrogateescape")
            if len(raw) > 0xFFFF:
                out.append(LONG_STRING)
                out += _U32.pack(len(raw))
            else:
                out.append(STRING)
                out += _U16.pack(len(raw))
            out += raw
        case Date():
            out.append(DATE)
            out += _F64.pack(value.milliseconds) + b"\0\0"
        case TypedObject():
            out.append(TYPED_OBJECT)
            _put_key(out, value.class_name)
            _put_members(out, value)
        case EcmaArray():
            out.append(ECMA_ARRAY)
            out += _U32.pack(len(value))
            _put_members(out, value)
        case Mapping():
            out.append(OBJECT)
            _put_members(out, value)  # pyright: ignore[reportUnknownArgumentType]
        case list() | tuple():
            out.append(STRICT_ARRAY)
            out += _U32.pack(len(value))  # pyright: ignore[reportUnknownArgumentType]
            for each in value:  # pyright: ignore[reportUnknownVariableType]
                _put(out, each)
        case _:
            # AMF0 has no byte array and the like: those go the way of AMF0 3.1
            out.append(AVMPLUS)
            out += amf3.encode(value)


def _put_key(out: bytearray, key: str) -> None:
    raw = key.encode("utf-8", "surrogateescape")
    out += _U16.pack(len(raw)) + raw


def _put_members(out: bytearray, members: Mapping[str, Any]) -> None:
    for key, value in members.items():
        _put_key(out, key)
        _put(out, value)
    out += _END
