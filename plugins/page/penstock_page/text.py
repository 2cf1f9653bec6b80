"""Figures as people read them; `static/text.js` writes the same ones anew in the browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NAMES = {
    "h264": "H.264",
    "h265": "H.265",
    "aac": "AAC",
    "opus": "Opus",
    "pcma": "G.711 A-law",
    "pcmu": "G.711 µ-law",
}
"""What those who made a codec call it, where that is not its name in capitals."""


def codec(name: str) -> str:
    return NAMES.get(name, name.upper())


def bit_rate(bits_per_second: int) -> str:
    if bits_per_second >= 1_000_000:
        return f"{bits_per_second / 1e6:.1f} Mbit/s"
    return f"{bits_per_second / 1e3:.0f} kbit/s"


def duration(seconds: float) -> str:
    """Such as ``0:07``, ``12:30`` or ``1:02:03``; from two days on in days."""
    whole = int(seconds)
    if whole >= 2 * 86400:
        return f"{whole // 86400} days"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def tracks(summaries: Iterable[dict[str, Any]]) -> str:
    """Such as ``H.264 1280×720 30 fps · AAC 48 kHz stereo``; tracks of data are left out."""
    return " · ".join(_track(t) for t in summaries if t["kind"] != "data")


def _track(track: dict[str, Any]) -> str:
    parts = [str(track["name"])]
    if track.get("width"):
        parts.append(f"{track['width']}×{track['height']}")
    if track.get("frame_rate"):
        parts.append(f"{track['frame_rate']:.4g} fps")
    if track.get("sample_rate"):
        parts.append(f"{track['sample_rate'] / 1000:g} kHz")
        parts.append({1: "mono", 2: "stereo"}.get(track["channels"], f"{track['channels']} channels"))
    return " ".join(parts)
