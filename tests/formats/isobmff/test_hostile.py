"""Files made to harm whoever reads them: row 121 (F3) of the bad inputs, and what else a count or an offset may claim.

Each is refused with `ProtocolViolation` or read for what is in it, at once, and takes no more memory than it has bytes
(and what a fragment may have).
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest

from penstock.errors import ProtocolViolation
from penstock_formats.isobmff import Demuxer, Movie, Sample
from penstock_formats.isobmff.box import box, full_box
from penstock_formats.isobmff.demuxer import MAX_BOX, MAX_FRAGMENT
from penstock_formats.isobmff.fragment import MAX_SAMPLES
from tests.contracts.cases_isobmff import part, rows, table, trun
from tests.formats.isobmff.captures import received

SECONDS = 0.05
BYTES = (1 << 20) + 40 * MAX_SAMPLES
"""With what a column of constants takes for as many samples as a fragment may claim."""
SAMPLE_BYTES = 300
"""What one sample of the few ten thousand that a fragment may have takes while it is pending."""

INIT = part("ffmpeg5-h264-aac", "moov")


def demuxed(data: bytes) -> list[object]:
    """Events, with a violation as the last of them; within the time and memory that any input may take."""
    demuxer, events = Demuxer(), list[object]()
    tracemalloc.start()
    try:
        began = time.process_time()
        demuxer.receive_data(data)
        try:
            while (event := demuxer.next_event()) is not None:
                events.append(event)
        except ProtocolViolation as violation:
            events.append(violation)
        taken = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    samples = sum(isinstance(event, Sample) for event in events)
    assert peak <= BYTES + 3 * len(data) + SAMPLE_BYTES * samples
    # Tracing takes several times as long; a count that is believed takes minutes.
    assert taken < 40 * SECONDS
    return events


def refused(data: bytes) -> str:
    last = demuxed(data)[-1]
    assert isinstance(last, ProtocolViolation), last
    return str(last)


@pytest.mark.parametrize("type", [b"moov", b"moof", b"mdat", b"emsg", b"prft"])
@pytest.mark.parametrize(
    "size",
    [
        (0).to_bytes(4, "big"),
        (7).to_bytes(4, "big"),
        (0xFFFFFFFF).to_bytes(4, "big"),
    ],
)
def test_f3_box_sizes(type: bytes, size: bytes) -> None:
    if type == b"mdat" and size[0]:
        # Media data that no fragment claims are passed over as they come.
        assert [
            event for event in demuxed(INIT + size + type + bytes(100)) if isinstance(event, Sample)
        ] == []
    else:
        refused(INIT + size + type + bytes(100))


@pytest.mark.parametrize("size", [1, 15, MAX_BOX + 1, 1 << 63, (1 << 64) - 1])
def test_f3_large_box_sizes(size: int) -> None:
    refused(INIT + b"\0\0\0\1moof" + size.to_bytes(8, "big") + bytes(100))


@pytest.mark.parametrize("size", [16, 1 << 63, (1 << 64) - 1])
def test_f3_a_box_that_is_skipped_may_be_of_any_size(size: int) -> None:
    events = demuxed(INIT + b"\0\0\0\1skip" + size.to_bytes(8, "big") + bytes(1000))
    assert [type(event) for event in events] in ([Movie], [Movie, ProtocolViolation])


@pytest.mark.parametrize("type", ["moov", "moof", "trak", "udta", "free"])
def test_f3_nested_a_thousand_deep(type: str) -> None:
    nested = b""
    for _ in range(1000):
        nested = box(type, nested)
    assert len(demuxed(INIT + nested)) == (2 if type in ("moov", "moof") else 1)
    inside = demuxed(box("moov", INIT[8:], nested))
    assert isinstance(inside[0], ProtocolViolation if type == "trak" else Movie)


def sizes(count: int, size: int = 0) -> bytes:
    return full_box("stsz", 0, 0, struct.pack(">II", size, count))


TIMES, CHUNKS = rows("stts", 0xFFFFFFFF, 1, columns=2), rows("stsc", 1, 0xFFFFFFFF, 1, columns=3)


def test_f3_a_table_of_4294967295_sizes() -> None:
    refused(table(TIMES, rows("stco", 900), CHUNKS, sizes=sizes(0xFFFFFFFF)))


@pytest.mark.parametrize("size", [1, 65, 0x7FFFFFFF])
def test_f3_a_table_of_4294967295_samples_of_one_size(size: int) -> None:
    """No table has to be there: what the data hold is what comes out."""
    moov = table(TIMES, rows("stco", 900), CHUNKS, sizes=sizes(0xFFFFFFFF, size))
    data = moov + box("free", bytes(900 - len(moov) - 16)) + box("mdat", bytes(4000))
    got = [event for event in demuxed(data) if isinstance(event, Sample)]
    assert sum(len(sample.data) for sample in got) <= 4000


@pytest.mark.parametrize("name", ["stts", "stsc", "stco", "ctts", "stss"])
def test_f3_a_table_of_more_rows_than_it_has(name: str) -> None:
    tables = {"stts": TIMES, "stsc": CHUNKS, "stco": rows("stco", 900), "ctts": b"", "stss": b""}
    tables[name] = full_box(name, 0, 0, b"\xff\xff\xff\xff" + bytes(24))
    refused(table(*tables.values(), handler=b"vide", sizes=sizes(5, 1)))


@pytest.mark.parametrize("flags", [0, 0x100, 0x200, 0xF00])
def test_f3_a_run_of_4294967295_samples(flags: int) -> None:
    refused(INIT + trun(flags, 0xFFFFFFFF, bytes(64), 0x10, b"\0\0\0\1") + box("mdat", bytes(64)))


def test_f3_as_many_samples_as_a_fragment_may_have() -> None:
    fragment = trun(1, MAX_SAMPLES, struct.pack(">i", 0), 0x20010, b"\0\0\0\1")
    offset = struct.pack(">i", len(fragment) + 8)
    fragment = trun(1, MAX_SAMPLES, offset, 0x20010, b"\0\0\0\1")
    events = demuxed(INIT + fragment + box("mdat", bytes(MAX_SAMPLES)))
    assert sum(isinstance(event, Sample) for event in events) == MAX_SAMPLES
    refused(INIT + trun(0, MAX_SAMPLES + 1, b"", 0x10, b"\0\0\0\1"))


def test_f3_many_runs_share_the_bound_of_one_fragment() -> None:
    run = full_box("trun", 0, 0, (MAX_SAMPLES // 2).to_bytes(4, "big"))
    traf = box("traf", full_box("tfhd", 0, 0, b"\0\0\0\1"), run)
    moof = box("moof", full_box("mfhd", 0, 0, bytes(4)), traf * 3)
    assert str(MAX_SAMPLES) in refused(INIT + moof)


def test_f3_samples_that_all_lie_on_the_same_bytes() -> None:
    """A fragment of a few KB whose samples are a megabyte each: what comes out may not be more than went in."""
    size, count = 1 << 20, 1000
    traf = box(
        "traf",
        full_box("tfhd", 0, 0x20010, b"\0\0\0\1", size.to_bytes(4, "big")),
        *(full_box("trun", 0, 1, struct.pack(">Ii", 1, 100_000)) for _ in range(count)),
    )
    moof = box("moof", full_box("mfhd", 0, 0, bytes(4)), traf)
    assert size * count > MAX_FRAGMENT
    refused(INIT + moof + box("mdat", bytes(1000)))


def test_f3_chunks_that_all_lie_on_the_same_bytes() -> None:
    moov = table(
        rows("stts", 100, 1, columns=2),
        rows("stco", *[2000] * 100),
        rows("stsc", 1, 1, 1, columns=3),
        handler=b"vide",
        sizes=sizes(100, 500),
    )
    data = moov + box("free", bytes(2000 - len(moov) - 16)) + box("mdat", bytes(600))
    assert "overlap" in refused(data)


@pytest.mark.parametrize("offset", [-(1 << 31), -1, 0x7FFFFFFF])
def test_f3_composition_offsets(offset: int) -> None:
    """Signed in any version; decode times are lowered so that a frame is never shown before it is decoded."""
    for version in (0, 1):
        fragment = trun(0xA01, 2, struct.pack(">iIiIi", 0, 2, offset, 2, 0), 0x20000, version=version)
        at = struct.pack(">i", len(fragment) + 8)
        fragment = fragment.replace(struct.pack(">iIi", 0, 2, offset), at + struct.pack(">Ii", 2, offset))
        got = [e for e in demuxed(INIT + fragment + box("mdat", b"abcd")) if isinstance(e, Sample)]
        assert [sample.pts for sample in got] == [9 + offset, 9]
        assert all(sample.dts <= sample.pts for sample in got)
        assert got[0].dts == 9 + min(offset, 0)


def test_f3_negative_offsets_in_tables() -> None:
    moov = table(
        rows("stts", 2, 5, columns=2), rows("stco", 900), rows("stsc", 1, 2, 1, columns=3),
        rows("ctts", 1, 0, 1, -5, columns=2, code="i"), handler=b"vide", sizes=sizes(2, 3),
    )  # fmt: skip
    data = moov + box("free", bytes(900 - len(moov) - 16)) + box("mdat", b"abcdef")
    got = [event for event in demuxed(data) if isinstance(event, Sample)]
    shift = got[0].track.shift
    assert [(s.dts - shift, s.pts - shift, s.data) for s in got] == [(-5, 0, b"abc"), (0, 0, b"def")]


def test_f3_a_fragment_without_its_header() -> None:
    head = full_box("mfhd", 0, 0, bytes(4))
    run = full_box("trun", 0, 0, bytes(4))
    assert "tfhd" in refused(INIT + box("moof", head, box("traf", run)))
    assert "mfhd" in refused(INIT + box("moof", box("traf", run)))
    assert "movie" in refused(box("moof", head))


def edits(*entries: tuple[int, int], count: int | None = None) -> bytes:
    """A movie whose tracks have these edits: duration and media time."""
    body = b"".join(struct.pack(">Iii", *entry, 1 << 16) for entry in entries)
    elst = full_box("elst", 0, 0, (len(entries) if count is None else count).to_bytes(4, "big"), body)
    at = INIT.index(b"mdia") - 4
    trak = INIT.index(b"trak") - 4
    size = int.from_bytes(INIT[trak : trak + 4], "big")
    edts = box("edts", elst)
    whole = INIT[:trak] + (size + len(edts)).to_bytes(4, "big") + INIT[trak + 4 : at] + edts + INIT[at:]
    return len(whole).to_bytes(4, "big") + whole[4:]


def test_f3_edit_lists() -> None:
    """Empty time first, then the first edit of media; a list that repeats is not followed."""
    cases: list[tuple[bytes, int]] = [
        (edits((500, -1), (0, 640)), 6400 - 640),
        (edits(*[(10, 640)] * 1000), -640),
        (edits(*[(1000, -1)] * 1000), 0),
        (edits((0xFFFFFFFF, -1), (0, -2)), round(0xFFFFFFFF * 12.8) + 2),
        (edits(count=0), 0),
    ]
    for moov, shift in cases:
        movie = demuxed(moov)[0]
        assert isinstance(movie, Movie)
        assert movie.tracks[0].shift == shift
    refused(edits((500, -1), count=0xFFFFFFFF))


@pytest.mark.parametrize(
    "old_new",
    [(b"mvhd", 12), (b"mdhd", 12)],
    ids=["movie", "track"],
)
def test_f3_a_timescale_of_zero(old_new: tuple[bytes, int]) -> None:
    type, at = old_new
    place = INIT.index(type) + 4 + at
    assert "timescale" in refused(INIT[:place] + bytes(4) + INIT[place + 4 :])


@pytest.mark.parametrize("made", [lambda: INIT, lambda: table(sizes=sizes(0))])
def test_f3_the_largest_times_come_through(made: Callable[[], bytes]) -> None:
    """A decode time of 2^64 - 1 is placed on the stream's clock as any other start."""
    traf = box(
        "traf",
        full_box("tfhd", 0, 0x20038, struct.pack(">IIII", 1, 0xFFFFFFFF, 4, 0)),
        full_box("tfdt", 1, 0, b"\xff" * 8),
        full_box("trun", 0, 1, struct.pack(">Ii", 2, 112)),
    )
    moof = box("moof", full_box("mfhd", 0, 0, bytes(4)), traf)
    _, frames = received(made() + moof + box("mdat", b"\0\0\0\0\0\0\0\0"))
    assert all(0 <= frame.dts < 1 << 63 for frame in frames)
