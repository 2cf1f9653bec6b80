"""How much later a viewer that loses packets is to show pictures, in virtual time."""

from __future__ import annotations

from penstock_formats.rtp.packet import RtpPacket, extension_elements
from penstock_webrtc.playout import HELD_NS, MOST, Playout

MS = 1_000_000


def told(playout: Playout, now: int) -> int | None:
    """Milliseconds, as a receiver reads them."""
    found = playout.extension(now)
    if not found:
        return None
    packet = RtpPacket.parse(b"\x90\x60" + bytes(10) + found + b"payload")
    assert packet.payload == b"payload"
    assert packet.extension is not None
    ((number, value),) = extension_elements(packet.extension)
    assert number == 5
    least, most = int.from_bytes(value, "big") >> 12, int.from_bytes(value, "big") & 0xFFF
    assert most == 1000
    return 10 * least


def test_it_is_as_late_as_what_was_sent_again() -> None:
    playout = Playout(5)
    assert told(playout, 1) is None
    playout.repeated(83 * MS, 1000 * MS)
    assert told(playout, 1001 * MS) == 90
    playout.repeated(200 * MS, 2000 * MS)
    playout.repeated(40 * MS, 3000 * MS)
    assert told(playout, 3000 * MS) == 210
    playout.repeated(5000 * MS, 4000 * MS)
    assert told(playout, 4000 * MS) == 10 * MOST


def test_who_loses_nothing_any_more_is_told_so_and_then_nothing() -> None:
    playout = Playout(5)
    playout.repeated(200 * MS, 0)
    assert told(playout, HELD_NS) == 210
    assert told(playout, HELD_NS + 1) == 0
    assert told(playout, 2 * HELD_NS + 1) is None
    playout.repeated(40 * MS, 3 * HELD_NS)
    assert told(playout, 3 * HELD_NS) == 50
