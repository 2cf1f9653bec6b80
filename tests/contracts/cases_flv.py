"""FLV files under the contract of every parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from penstock.errors import ProtocolViolation
from penstock_formats.amf import amf0
from penstock_formats.flv.file import (
    Demuxer,
    FileHeader,
    FlvTag,
    ScriptTag,
    build_header,
    build_tag,
    parse_script,
)
from penstock_formats.flv.packet import TagType
from tests.contracts.case import ParserCase

DATA = Path(__file__).parents[1] / "data" / "codecs"


def _events(pieces: Iterable[bytes]) -> list[Any]:
    """All events; a violation, which ends the file, is the last."""
    demuxer = Demuxer()
    found: list[Any] = []
    try:
        for piece in pieces:
            demuxer.receive_data(piece)
            while (event := demuxer.next_event()) is not None:
                found.append(event)
    except ProtocolViolation as violation:
        found.append(str(violation))
    return found


def _parse(data: bytes) -> list[Any]:
    found = _events([data])
    if found and isinstance(found[-1], str):
        raise ProtocolViolation(found[-1])
    return found


def _fresh() -> tuple[object, Callable[[bytes], object]]:
    demuxer = Demuxer()

    def take(data: bytes) -> None:
        demuxer.receive_data(data)
        while demuxer.next_event() is not None:
            pass

    return demuxer, take


def _build(events: list[Any]) -> bytes:
    out: list[bytes] = []
    for event in events:
        match event:
            case FileHeader(audio, video):
                out.append(build_header(audio=audio, video=video))
            case FlvTag(type, time, body):
                out.append(build_tag(type, time, body))
            case ScriptTag(time, None, name, values):
                out.append(build_tag(TagType.SCRIPT, time, amf0.encode(name, *values)))
            case ScriptTag(time, metadata, _, _):
                out.append(build_tag(TagType.SCRIPT, time, amf0.encode("onMetaData", metadata)))
            case _:
                raise AssertionError(event)
    return b"".join(out)


def _tag(type: int, body: bytes, time: int = 0) -> bytes:
    return bytes((type,)) + build_tag(TagType.AUDIO, time, body)[1:]


HEAD = build_header(audio=True, video=True)
METADATA = amf0.encode("onMetaData", {"width": 640.0, "title": "t"})
FILES = [
    *((DATA / f"{name}.flv").read_bytes()[:4000] for name in ("aac", "av1", "pcma")),
    HEAD
    + _tag(18, METADATA)
    + _tag(18, amf0.encode("@setDataFrame", "onMetaData", {"width": 8.0}))
    + _tag(18, amf0.encode("onCuePoint", 1.0), 0x1FFFFFF)
    + _tag(9, b"\x17\0\0\0\0abc", 0xFFFFFFFF)
    + _tag(8, b"")
    + _tag(15, b"amf3")
    + _tag(18, amf0.encode(1.0))
    + _tag(18, b"\xff")
    + _tag(0xC9, b"\x27\1\0\0\0abc", 40),
    HEAD[:8] + b"\x0c" + bytes(3) + HEAD[9:] + _tag(8, b"\xaf\1a"),
    HEAD[:7] + b"\x09\x09" + HEAD[9:],
    HEAD[:8] + b"\x08" + HEAD[9:],
    HEAD + _tag(0x29, b"encrypted"),
    HEAD + _tag(7, b"what"),
    HEAD + b"\x09\xff\xff\xff" + bytes(20),
    b"GET / HTTP/1.1",
]

CASES = [
    ParserCase(
        "flv file",
        _parse,
        FILES,
        ["penstock_formats.flv.file"],
        feed=_events,
        encode=_build,
        fresh=_fresh,
        # All of one tag may be pending, and the buffer of a bytearray that grows is up to an eighth larger.
        limit=12 << 20,
    ),
    ParserCase(
        "flv script data",
        lambda body: parse_script(0, body),
        [METADATA, amf0.encode("onCuePoint", 1.0), amf0.encode(1.0), b"\xff", bytes((1 << 20) + 1)],
        ["penstock_formats.flv.file"],
    ),
]
