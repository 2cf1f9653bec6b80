"""H.265 (ITU-T H.265, HEVC).

Normal form: the units of a frame are NAL units of the base layer without start codes and trailing zeros,
coded slice segments (types 0 to 31) and SEI (types 39 and 40) only. Access unit delimiters, filler, ends of
sequence and bitstream, parameter sets and the units of further layers are stripped. A change of parameter
sets is a change of the track's config, in force from that access unit on. An access unit without a slice
segment is no frame.

A frame is *key* where it has an IRAP picture (types 16 to 21: BLA, IDR, CRA). The RASL pictures after a CRA
do not decode when decoding starts there; decoders leave them out. Gradual refresh gives no key frames.
"""

from __future__ import annotations

from penstock_codecs.h265.config import H265, H265Config
from penstock_codecs.h265.plugin import H265Plugin, plugin
from penstock_codecs.h265.unit import normalize

__all__ = ["H265", "H265Config", "H265Plugin", "normalize", "plugin"]
