"""penstock with one fault built in, as a program: FAULT SERVE-ARGUMENTS...; the comparison must see each of
them.

The faults live here, not in the product: `Publisher.write` is wrapped before the server starts.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

FAULTS = ("drop", "late", "swap", "sound", "flip")
"""Drop one picture, move its pts by 40 ms, write one track's frame as another's, shift all sound by 60 ms,
flip one bit.
"""
NO_RETRANSMISSION = "no-retransmission"
"""A fault of SRT alone: what is reported as lost is not sent again."""
AT = 90
"""Which picture is hurt: after the players have joined, before the clip ends."""
MS = 1_000_000

Write = Callable[..., Any]


def sabotaged(write: Write, fault: str) -> Write:
    """`write` with one fault: its arguments are (publisher, track_id, units, *, pts, dts, ...)."""
    counts: Counter[tuple[int, int]] = Counter()
    held: dict[int, tuple[bytes, ...]] = {}

    def wrapped(self: Any, track_id: int, units: tuple[bytes, ...], **times: Any) -> Any:
        number = counts[id(self), track_id]
        counts[id(self), track_id] += 1
        # The protocol plugins may number tracks as they like; which is sound shows in the track's kind.
        sound = is_sound(self, track_id)
        hurt = number == AT and not sound
        if fault == "drop" and hurt:
            return None
        if fault == "late" and hurt:
            times["pts"] += 40 * MS
        if fault == "flip" and hurt:
            units = (*units[:-1], units[-1][:-1] + bytes([units[-1][-1] ^ 1]))
        if fault == "sound" and sound:
            times["pts"] += 60 * MS
            if times.get("dts") is not None:
                times["dts"] += 60 * MS
        if fault == "swap":
            held[track_id] = units
            other = next((u for t, u in held.items() if t != track_id), None)
            if hurt and other is not None:
                units = other
        return write(self, track_id, units, **times)

    return wrapped


def is_sound(publisher: Any, track_id: int) -> bool:
    """Whether a track of the publisher's stream is audio."""
    return any(track.id == track_id and track.kind == "audio" for track in publisher.stream.tracks)


def main(fault: str, arguments: list[str]) -> None:
    from penstock import cli, publisher

    if fault == NO_RETRANSMISSION:
        from penstock_srt.sender import Sender

        Sender.retransmissions = lambda self, now: []  # type: ignore[method-assign]
        raise SystemExit(cli.main(arguments))
    if fault not in FAULTS:
        raise SystemExit(f"no such fault: {fault}; there are {', '.join(FAULTS)}")
    publisher.Publisher.write = sabotaged(publisher.Publisher.write, fault)  # type: ignore[method-assign]
    raise SystemExit(cli.main(arguments))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
