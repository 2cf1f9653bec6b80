"""FLV and Enhanced RTMP v2 tags: what codecs bind to be carried, and the tag syntax."""

from penstock_formats.flv.binding import FLV, FlvBinding, FlvUnit

__all__ = ["FLV", "FlvBinding", "FlvUnit"]
