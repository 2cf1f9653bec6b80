"""What the log says of an offender: one line, escaped, short, with peer, protocol and reason (E1)."""

from __future__ import annotations

import json
import time
from typing import Any

from .server import FaultServer

MAX_LINE = 1024
LOG_LIMIT = 5.0


def lines_of(server: FaultServer, address: str) -> list[dict[str, Any]]:
    """The lines about a peer, checked for shape."""
    found: list[dict[str, Any]] = []
    for raw in server.raw_log():
        if not raw.startswith(b"{") or address.encode() not in raw:
            continue
        line = json.loads(raw)
        if line.get("peer") == address:
            found.append(line)
            check(raw)
    return found


def check(raw: bytes) -> None:
    """A log line is one line of printable text, of at most 1 KiB."""
    text = raw.decode()
    assert len(raw) <= MAX_LINE, f"a log line of {len(raw)} bytes: {text[:200]}"
    assert text.isprintable(), f"a log line with control characters: {text!r}"


ENDS = (
    "session closed",
    "source failed",
    "push failed",
    "protocol violation",
    "connection closed",
    "connection refused",
)
"""What the line of a session's end is called; others tell of what went before."""


def one_line(server: FaultServer, address: str) -> dict[str, Any]:
    """The one line that a session's end leaves; waits for it."""
    deadline = time.monotonic() + LOG_LIMIT
    while not (found := [line for line in lines_of(server, address) if line["event"] in ENDS]):
        assert time.monotonic() < deadline, f"no log line of {address}"
        time.sleep(0.02)
    assert len(found) == 1, f"more than one line of {address}: {found}"
    line = found[0]
    assert line["protocol"].split("-")[0].rstrip("s") in ("rtmp", "rtsp", "srt", "http", "webrtc", "w"), line
    assert line["reason"], line
    return line


def bugs(lines: list[bytes]) -> list[str]:
    """Lines that tell of an error of the server's own; empty where all is well."""
    return [
        raw.decode(errors="replace")[:2000]
        for raw in lines
        if b'"level": "error"' in raw or b"Traceback" in raw or b'"exception"' in raw
    ]
