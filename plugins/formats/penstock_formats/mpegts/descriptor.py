"""Descriptors of programs and of elementary streams (H.222.0 2.6)."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.language import language_code

REGISTRATION = 0x05
LANGUAGE = 0x0A
EXTENSION = 0x7F


@frozen
class Descriptor:
    """One descriptor; `data` has at most 255 bytes."""

    tag: int
    data: bytes


def parse_descriptors(data: bytes) -> tuple[Descriptor, ...]:
    """All descriptors of a loop."""
    found: list[Descriptor] = []
    at = 0
    while at < len(data):
        start = at + 2
        if start > len(data) or start + data[at + 1] > len(data):
            raise ProtocolViolation("a descriptor goes past the end of its loop", "H.222.0 2.6.1")
        at = start + data[at + 1]
        found.append(Descriptor(data[start - 2], data[start:at]))
    return tuple(found)


def encode_descriptors(descriptors: Iterable[Descriptor]) -> bytes:
    return b"".join([bytes((d.tag, len(d.data))) + d.data for d in descriptors])


def registration(descriptors: Iterable[Descriptor]) -> bytes:
    """The format_identifier of the first registration descriptor, empty where there is none."""
    return next((d.data[:4] for d in descriptors if d.tag == REGISTRATION), b"")


def language(descriptors: Iterable[Descriptor]) -> str | None:
    """The first code of the language descriptor (ISO 639-2), None where there is none that is one."""
    code = next((d.data[:3] for d in descriptors if d.tag == LANGUAGE), b"")
    return code.decode("ascii").lower() if len(code) == 3 and code.isalpha() else None


def language_descriptor(tag: str | None) -> tuple[Descriptor, ...]:
    """The descriptor of a language by its tag; none where three letters cannot tell it."""
    code = language_code(tag)
    return () if code is None else (Descriptor(LANGUAGE, code.encode("ascii") + b"\x00"),)
