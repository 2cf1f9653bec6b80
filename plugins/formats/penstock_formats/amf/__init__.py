"""Action Message Format, versions 0 and 3: the values in FLV script tags and RTMP commands."""

from penstock_formats.amf import amf0, amf3
from penstock_formats.amf.value import MAX_DEPTH, MAX_VALUES, Date, EcmaArray, TypedObject, Value

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Date", "EcmaArray", "TypedObject", "Value", "amf0", "amf3"]
