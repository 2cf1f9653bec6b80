"""The rows of the list of bad inputs that this project answers for, and the tests that each has.

A test is of the rows that its name begins with: ``test_T2_T3_...`` is of two, ``test_A1_to_A6_...`` of six.
``python -m tests.faults.rows`` prints the table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROWS = {
    "G1": "connect and send nothing",
    "G2": "one byte at a time for ever",
    "G3": "a session in segments of one byte",
    "G4": "pipelined messages",
    "G5": "another protocol on the port",
    "G6": "RST and FIN at every offset",
    "G7": "10,000 connects in two seconds",
    "G8": "connections beyond the caps",
    "G9": "a peer that stops reading during the handshake",
    "G10": "PROXY headers",
    "R1": "C0 of another version",
    "R2": "C1 cut, C2 that echoes nothing, wrong digests",
    "R3": "chunk sizes",
    "R4": "a message length that is announced and never sent",
    "R5": "thousands of partial messages",
    "R6": "a fresh chunk stream without its header",
    "R7": "a new message inside an unfinished one",
    "R8": "forms of the chunk stream id",
    "R9": "extended timestamps",
    "R10": "timestamps that wrap and jump",
    "R11": "odd protocol control messages",
    "R12": "aggregates",
    "R13": "commands out of order and number",
    "R14": "odd transactions and arguments",
    "R15": "media for no stream",
    "R16": "cut tags, unknown codecs",
    "R17": "AVC config records",
    "R18": "user control floods",
    "R19": "RTMP through HTTP",
    "A1": "values nested very deep",
    "A2": "counts beyond the bytes",
    "A3": "long and odd strings",
    "A4": "references",
    "A5": "objects without end, duplicate keys",
    "A6": "typed and externalizable objects",
    "A7": "numbers that cannot be",
    "A8": "large and frequent metadata",
    "A9": "FLV tags",
    "T1": "an endless request line",
    "T2": "odd lines",
    "T3": "very many and repeated headers",
    "T4": "Content-Length",
    "T5": "CSeq",
    "T6": "interleaved frames that are none",
    "T7": "media from a player",
    "T8": "requests out of order",
    "T9": "ports and destinations of others",
    "T10": "Transport lists",
    "T11": "Range",
    "T12": "session ids",
    "T13": "Digest",
    "T14": "one canonical path",
    "T15": "the HTTP tunnel",
    "T16": "descriptions that do not match",
    "T17": "ports are given back",
    "T18": "keep-alive stops",
    "D1": "very long descriptions",
    "D2": "missing and misplaced lines",
    "D3": "rtpmap",
    "D4": "fmtp",
    "D5": "control URLs",
    "D6": "ICE candidates",
    "D7": "ICE credentials, fingerprints, BUNDLE",
    "D8": "simulcast and header extensions",
    "P1": "cut RTP packets",
    "P2": "RTP header extensions",
    "P3": "jumps of the sequence number",
    "P4": "RTP timestamps",
    "P5": "thousands of SSRCs",
    "P6": "sender reports of impossible times",
    "P7": "RTCP compounds",
    "P8": "floods of NACK, PLI and FIR",
    "P9": "REMB and TWCC",
    "P10": "H.264 and H.265 payloads",
    "P11": "AAC and Opus payloads",
    "P12": "VP8, VP9, AV1 and JPEG payloads",
    "P13": "RTP from a stranger",
    "B1": "sequence parameter sets",
    "B2": "NAL units and their framing",
    "B3": "AAC configs",
    "B4": "no key frame, no parameter sets, a size that changes always",
    "S1": "datagrams that are no SRT",
    "S2": "inductions",
    "S3": "conclusions",
    "S4": "extensions of handshakes",
    "S5": "key material and passphrases",
    "S6": "stream ids",
    "S7": "data out of sequence",
    "S8": "reports about what was never sent",
    "S9": "10,000 half handshakes",
    "S10": "a shutdown from elsewhere",
    "S11": "keep-alives stop",
    "S12": "groups and rendezvous",
    "M1": "MPEG-TS that loses its sync",
    "M2": "program tables that cannot be",
    "M3": "lengths and times of PES packets",
    "M4": "pictures without end, half of all packets lost",
    "W1": "messages of STUN that are none",
    "W2": "checks without the password",
    "W3": "storms of roles and nominations, consent that runs out",
    "W4": "DTLS before a check has passed",
    "W5": "fragments of handshakes",
    "W6": "lost flights, odd certificates and alerts",
    "W7": "another certificate, and data that is not encrypted",
    "W8": "packets that SRTP does not open",
    "W9": "datagrams of no range",
    "W10": "SCTP",
    "W11": "offers, patches and deletions that are refused, offers without end",
    "W12": "data channels",
    "H1": "path tricks",
    "H2": "names that are markup",
    "H3": "blocked reloads of playlists",
    "H4": "odd ranges, conditions, lengths and chunks",
    "H5": "clients that read very slowly",
    "H6": "sources over HTTP: playlists that are no good, and what leads elsewhere",
    "H7": "other origins, hosts and credentials",
    "N1": "TURN towards other peers",
    "N2": "ChannelData that is none, and allocations of others",
    "N3": "a flood of requests without credentials",
    "X1": "a second publisher",
    "X2": "random names",
    "X3": "hours of one kind of track",
    "X4": "readers that never read, storms of joins",
}

WITHOUT: dict[str, str] = {}
"""Rows without a test, and why."""

_PART = re.compile(r"([A-Z])(\d+)(?:_to_([A-Z])(\d+))?_")


def rows_of(name: str) -> list[str]:
    """The rows that a test of this name is of."""
    found: list[str] = []
    at = len("test_")
    while match := _PART.match(name, at):
        letter, first, _, last = match.groups()
        found += [f"{letter}{n}" for n in range(int(first), int(last or first) + 1)]
        at = match.end()
    return found


def tests() -> Iterator[tuple[str, list[str]]]:
    """Each test of this folder, as ``file::name``, and its rows."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.name}::{node.name}", rows_of(node.name)


@cache
def table() -> dict[str, list[str]]:
    """Row to its tests."""
    found: dict[str, list[str]] = {row: [] for row in ROWS}
    for test, rows in tests():
        for row in rows:
            found.setdefault(row, []).append(test)
    return found


if __name__ == "__main__":
    for row, names in table().items():
        print(f"{row:<4} {ROWS.get(row, '')}: {WITHOUT.get(row) or ', '.join(names)}")
