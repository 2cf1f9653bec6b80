"""How many frames the decoded picture buffer holds at each level of H.264 (table A-1)."""

from __future__ import annotations

MAX_DPB_MBS = {
    9: 396, 10: 396, 11: 900, 12: 2376, 13: 2376,
    20: 2376, 21: 4752, 22: 8100,
    30: 8100, 31: 18000, 32: 20480,
    40: 32768, 41: 32768, 42: 34816,
    50: 110400, 51: 184320, 52: 184320,
    60: 696320, 61: 696320, 62: 696320,
}  # fmt: skip
"""MaxDpbMbs by level_idc; 9 is level 1b in the High profiles."""

MAX_FRAMES = 16


def max_dpb_frames(profile: int, constraints: int, level: int, frame_mbs: int) -> int:
    """MaxDpbFrames (A.3.1 h) of frames with `frame_mbs` macroblocks; 16 at an unknown level."""
    if level == 11 and profile in (66, 77, 88) and constraints & 0x10:
        level = 9
    mbs = MAX_DPB_MBS.get(level)
    return MAX_FRAMES if mbs is None else min(mbs // frame_mbs, MAX_FRAMES)
