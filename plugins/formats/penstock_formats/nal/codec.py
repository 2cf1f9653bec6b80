"""What tells the codecs that are made of NAL units apart, and what they do alike with it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import field, frozen

from penstock.media import CodecConfig
from penstock_formats.nal.display import Display
from penstock_formats.nal.syntax import trim_parameter_set


class Role(enum.Enum):
    """What a NAL unit is to its access unit."""

    SLICE = enum.auto()
    KEY_SLICE = enum.auto()
    SEI = enum.auto()
    KEY_SEI = enum.auto()
    """It says that decoding may start here."""
    PARAMETER_SET = enum.auto()
    STRIPPED = enum.auto()
    """No part of the normal form."""


class PictureSet(Protocol):
    """What a sequence parameter set says of its pictures, whatever the codec; in pixels after cropping."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def display(self) -> Display: ...


@frozen
class NalConfig(CodecConfig):
    """The config of a codec whose parameter sets are NAL units, with their header.

    `nal_length` is the size of the lengths in the sender's samples; it is not compared.
    """

    nal_length: int = field(default=4, eq=False, kw_only=True)

    @property
    def sets(self) -> tuple[bytes, ...]:
        """All parameter sets, each behind those that it refers to."""
        raise NotImplementedError

    @property
    def parsed(self) -> PictureSet:
        """The first sequence parameter set; raises `ProtocolViolation`."""
        raise NotImplementedError


C = TypeVar("C", bound=NalConfig)
C_contra = TypeVar("C_contra", bound=NalConfig, contravariant=True)


class BuildRecord(Protocol[C_contra]):
    """Writes a decoder configuration record; `in_band` says in it that samples may have further parameter sets."""

    def __call__(self, config: C_contra, *, in_band: bool = False) -> bytes: ...


@frozen(eq=False)
class NalCodec(Generic[C]):
    """One codec that is made of NAL units.

    `role` is asked of a whole NAL unit, not empty; `is_slice` and `begins` of one or of its first bytes: is it of a
    picture, does an access unit surely begin with it? `merge` gives the config after parameter sets came in, None
    where they change nothing. `parse_record` and `build_record` are of the decoder configuration record (ISO
    14496-15). All but `role`, `is_slice` and `begins` raise `ProtocolViolation`.
    """

    config: type[C]
    role: Callable[[bytes], Role]
    is_slice: Callable[[bytes], bool]
    begins: Callable[[bytes], bool]
    merge: Callable[[C | None, Iterable[bytes]], C | None]
    parse_record: Callable[[bytes], C]
    build_record: BuildRecord[C]

    def normalize(
        self, nals: Iterable[bytes], previous: C | None
    ) -> tuple[tuple[bytes, ...], bool, C | None]:
        """The NAL units of one access unit in normal form, whether it is key, and its config where that changed.

        Raises `ProtocolViolation` for parameter sets that cannot be parsed.
        """
        units: list[bytes] = []
        sets: list[bytes] = []
        picture = key = False
        for raw in nals:
            # H.264 7.4.1: a NAL unit does not end in zeros; FFmpeg takes the one before the next start code along.
            nal = raw.rstrip(b"\x00")
            role = self.role(nal) if nal else Role.STRIPPED
            if role is Role.STRIPPED:
                continue
            if role is Role.PARAMETER_SET:
                sets.append(nal)
                continue
            units.append(nal)
            if role is Role.SLICE:
                picture = True
            elif role is Role.KEY_SLICE:
                picture = key = True
            elif role is Role.KEY_SEI:
                key = True
        config = self.merge(previous, sets) if sets else None
        if not picture:
            return (), False, config
        return tuple(units), key, config


def merge_sets(
    known: Sequence[Sequence[bytes]], sets: Iterable[bytes], identify: Callable[[bytes], tuple[int, int]]
) -> list[tuple[bytes, ...]] | None:
    """`known` (a sequence for each kind of parameter set) after `sets` came in, None where they change nothing.

    A set replaces the one of the same id in its place, new ones come last. `identify` gives the kind (an index into
    `known`) and the id of a set, and raises `ProtocolViolation`, as this does where a set is too large.
    """
    fresh = [trim_parameter_set(nal) for nal in sets]
    if all(any(nal in nals for nals in known) for nal in fresh):
        return None
    merged: list[dict[int, bytes]] = [{} for _ in known]
    for nal in [nal for nals in known for nal in nals] + fresh:
        kind, number = identify(nal)
        merged[kind][number] = nal
    result = [tuple(nals.values()) for nals in merged]
    return None if result == [tuple(nals) for nals in known] else result
