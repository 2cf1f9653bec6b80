"""Brands of a file or a segment: ``ftyp`` and ``styp`` (ISO/IEC 14496-12 4.3 and 8.16.2)."""

from __future__ import annotations

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import Box, box

MAX_BRANDS = 64
"""Compatible brands: writers name about a dozen."""


@frozen
class Brands:
    """The brand that fits best, its version, and all that the file is compatible with."""

    major: str
    compatible: tuple[str, ...] = ()
    minor: int = 0

    def build(self, type: str = "ftyp") -> bytes:
        """The box, ``ftyp`` or ``styp``."""
        names = (name.encode("latin-1") for name in self.compatible)
        return box(type, self.major.encode("latin-1"), self.minor.to_bytes(4, "big"), *names)


SEGMENT = Brands("msdh", ("msdh", "msix"))
"""A media segment of DASH (8.16.2, ISO/IEC 23009-1 6.3.4.2)."""


def parse_brands(ftyp: Box) -> Brands:
    """What ``ftyp`` or ``styp`` says. Raises `ProtocolViolation`."""
    fields = ftyp.fields
    major, minor = fields.take(4).decode("latin-1"), fields.u(4)
    if fields.left > 4 * MAX_BRANDS:
        raise ProtocolViolation(f"more than {MAX_BRANDS} brands", "ISO 14496-12 4.3.2")
    # What is left over at the end is nothing that a brand fits into.
    names = tuple(fields.take(4).decode("latin-1") for _ in range(fields.left // 4))
    return Brands(major, names, minor)
