"""Movie fragments (ISO/IEC 14496-12 8.8): ``moof``, what it says of each track, and its runs of samples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain

from attrs import evolve, frozen

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff.box import HEADER, Box, Fields
from penstock_formats.isobmff.track import SampleDefaults

CLAUSE = "ISO 14496-12 8.8"

MAX_SAMPLES = 1 << 15
"""Samples of one fragment: four seconds of G.711 one by one; ten minutes of pictures, or of sound frames."""

BASE_OFFSET, DESCRIPTION, DURATION, SIZE, FLAGS, BASE_IS_MOOF = 0x1, 0x2, 0x8, 0x10, 0x20, 0x20000
"""Flags of ``tfhd``."""
DATA_OFFSET, FIRST_FLAGS = 0x1, 0x4
EACH_DURATION, EACH_SIZE, EACH_FLAGS, EACH_COMPOSITION = 0x100, 0x200, 0x400, 0x800
"""Flags of ``trun``."""

SYNC, NOT_SYNC = 0x02000000, 0x01010000
"""Sample flags (8.8.3.1): depends on no other sample; depends on others and is no sync sample."""
NOT_SYNC_BIT = 0x10000

_MFHD = struct.Struct(">I4sII")
_TRAF = struct.Struct(">I4s I4sIIII I4sIQ I4sII")
_TFHD_SIZE, _TFDT_SIZE = 24, 20


@frozen
class Run:
    """Samples whose data are one after the other; each column has a number for each sample.

    `data_offset` counts from the base of the track fragment, None where the data follow those of the run before.
    """

    data_offset: int | None
    durations: Sequence[int]
    sizes: Sequence[int]
    flags: Sequence[int]
    composition: Sequence[int]


@frozen
class TrackFragment:
    """What a ``traf`` says; `decode_time` is in ticks, None where it goes on from the fragment before.

    Data offsets count from `base`, a place in the file; where that is None from the start of the ``moof`` if
    `from_moof`, and else from where the data of the track fragment before it ended.
    """

    track_id: int
    description: int
    base: int | None
    from_moof: bool
    decode_time: int | None
    runs: tuple[Run, ...]


def parse_moof(moof: Box, defaults: Callable[[int], SampleDefaults]) -> list[TrackFragment]:
    """The track fragments of a ``moof``; `defaults` gives those of a track id. Raises `ProtocolViolation`."""
    moof.only("mfhd")
    left = MAX_SAMPLES
    fragments: list[TrackFragment] = []
    for child in moof.children:
        if child.type == "traf":
            fragment = _parse_traf(child, defaults, left)
            left -= sum(len(run.sizes) for run in fragment.runs)
            fragments.append(fragment)
    return fragments


def _parse_traf(traf: Box, defaults: Callable[[int], SampleDefaults], most: int) -> TrackFragment:
    fields = traf.only("tfhd").fields
    _, flags = fields.full()
    track_id = fields.u(4)
    found = defaults(track_id)
    base = fields.u(8) if flags & BASE_OFFSET else None
    if flags & DESCRIPTION:
        found = evolve(found, description=fields.u(4))
    if flags & DURATION:
        found = evolve(found, duration=fields.u(4))
    if flags & SIZE:
        found = evolve(found, size=fields.u(4))
    if flags & FLAGS:
        found = evolve(found, flags=fields.u(4))
    decode_time: int | None = None
    runs: list[Run] = []
    for child in traf.children:
        if child.type == "tfdt":
            fields = child.fields
            version, _ = fields.full()
            decode_time = fields.u(8 if version == 1 else 4)
        elif child.type == "trun":
            runs.append(_parse_trun(child.fields, found, most))
            most -= len(runs[-1].sizes)
    from_moof = base is None and flags & BASE_IS_MOOF != 0
    return TrackFragment(track_id, found.description, base, from_moof, decode_time, tuple(runs))


def _parse_trun(fields: Fields, defaults: SampleDefaults, most: int) -> Run:
    _, flags = fields.full()
    count = fields.u(4)
    if count > most:
        raise ProtocolViolation(f"a fragment of more than {MAX_SAMPLES} samples", CLAUSE)
    data_offset = fields.s(4) if flags & DATA_OFFSET else None
    first = fields.u(4) if flags & FIRST_FLAGS else None
    present = [flag for flag in (EACH_DURATION, EACH_SIZE, EACH_FLAGS, EACH_COMPOSITION) if flags & flag]
    width = len(present)
    numbers = struct.unpack(f">{count * width}I", fields.take(count * width * 4))
    columns = {flag: numbers[n::width] for n, flag in enumerate(present)}
    each = columns.get(EACH_FLAGS) or (defaults.flags,) * count
    if first is not None and count:
        each = (first, *each[1:])
    # Version 1 has them signed (8.8.8.3); nobody means an offset of more than 2^31 by version 0.
    composition = columns.get(EACH_COMPOSITION) or (0,) * count
    return Run(
        data_offset,
        columns.get(EACH_DURATION) or (defaults.duration,) * count,
        columns.get(EACH_SIZE) or (defaults.size,) * count,
        each,
        [n - (n >> 31 << 32) for n in composition],
    )


@frozen
class TrackRun:
    """What a muxer writes of one track: its samples' columns in ticks and bytes; `composition` None where all are 0."""

    track_id: int
    decode_time: int
    durations: Sequence[int]
    sizes: Sequence[int]
    keys: Sequence[bool]
    composition: Sequence[int] | None = None


def build_moof(sequence: int, runs: Sequence[TrackRun]) -> bytes:
    """The ``moof`` of samples that are in one ``mdat`` right after it, track by track, and the header of that."""
    trafs = [_traf(run) for run in runs]
    size = HEADER + _MFHD.size + sum(len(head) + 4 + len(table) for head, table in trafs)
    offset = size + HEADER
    pieces = [_header(size, b"moof"), _MFHD.pack(_MFHD.size, b"mfhd", 0, sequence & 0xFFFFFFFF)]
    for run, (head, table) in zip(runs, trafs, strict=True):
        pieces += (head, offset.to_bytes(4, "big"), table)
        offset += sum(run.sizes)
    pieces.append(_header(offset - size, b"mdat"))
    return b"".join(pieces)


def _header(size: int, type: bytes) -> bytes:
    return size.to_bytes(4, "big") + type


def _traf(run: TrackRun) -> tuple[bytes, bytes]:
    """A ``traf`` before and after the data offset of its ``trun``."""
    durations, keys = run.durations, run.keys
    count = len(run.sizes)
    flags = DATA_OFFSET | EACH_SIZE
    columns: list[Sequence[int]] = [run.sizes]
    duration = durations[0]
    if durations.count(duration) != count:
        flags |= EACH_DURATION
        columns.insert(0, durations)
    default = SYNC if keys[-1] else NOT_SYNC
    first = b""
    differ = keys.count(keys[-1]) != count
    if differ and keys[0] and not any(keys[1:]):
        flags |= FIRST_FLAGS
        first = SYNC.to_bytes(4, "big")
    elif differ:
        flags |= EACH_FLAGS
        columns.append([SYNC if key else NOT_SYNC for key in keys])
    version = 0
    if run.composition is not None:
        version = 1
        flags |= EACH_COMPOSITION
        columns.append([n & 0xFFFFFFFF for n in run.composition])
    width = len(columns)
    numbers = columns[0] if width == 1 else [*chain.from_iterable(zip(*columns, strict=True))]
    table = first + struct.pack(f">{count * width}I", *numbers)
    trun = HEADER + 12 + len(table)
    return (
        _TRAF.pack(
            HEADER + _TFHD_SIZE + _TFDT_SIZE + trun,
            b"traf",
            _TFHD_SIZE,
            b"tfhd",
            BASE_IS_MOOF | DURATION | FLAGS,
            run.track_id,
            duration,
            default,
            _TFDT_SIZE,
            b"tfdt",
            1 << 24,
            run.decode_time,
            trun,
            b"trun",
            version << 24 | flags,
            count,
        ),
        table,
    )
