"""NAL units as H.264 and H.265 carry them: their syntax, and what carriers share between the two codecs."""

from penstock_formats.nal.codec import NalCodec, NalConfig
from penstock_formats.nal.syntax import (
    MAX_NALS,
    MAX_PARAMETER_SET,
    join_annex_b,
    join_lengths,
    split_annex_b,
    split_lengths,
    trim_parameter_set,
    unescape,
)

__all__ = [
    "MAX_NALS",
    "MAX_PARAMETER_SET",
    "NalCodec",
    "NalConfig",
    "join_annex_b",
    "join_lengths",
    "split_annex_b",
    "split_lengths",
    "trim_parameter_set",
    "unescape",
]
