"""H.264 (ITU-T H.264, AVC).

Normal form: the units of a frame are NAL units without start codes and trailing zeros, coded slices (types
1 to 5) and SEI (type 6) only. Access unit delimiters, filler, ends of sequence and stream, parameter sets
and the extension layers of SVC and MVC (types 14, 15, 19 to 21) are stripped. A change of parameter sets is
a change of the track's config, in force from that access unit on. An access unit without a slice is no
frame.

A frame is *key* where it has an IDR slice, or a recovery point SEI with a recovery_frame_cnt of 0: with
that an encoder of open GOPs marks the I-frames from which on all is exact. Frames that precede it in output
order may then not decode, as with a CRA picture of H.265. A recovery point further ahead (gradual refresh)
is not key, since what is shown until then is broken.
"""

from __future__ import annotations

from penstock_codecs.h264.config import H264, H264Config
from penstock_codecs.h264.plugin import H264Plugin, plugin
from penstock_codecs.h264.unit import normalize

__all__ = ["H264", "H264Config", "H264Plugin", "normalize", "plugin"]
