"""RTP (RFC 3550): what codecs bind to be carried, packets, and reordering."""

from penstock_formats.rtp.binding import (
    RTP,
    AccessUnit,
    Depacketizer,
    NegotiatedBinding,
    Packetizer,
    RtpBinding,
    RtpFormat,
    SampledPacketizer,
    first_readable,
    rtp_reader,
)

__all__ = [
    "RTP",
    "AccessUnit",
    "Depacketizer",
    "NegotiatedBinding",
    "Packetizer",
    "RtpBinding",
    "RtpFormat",
    "SampledPacketizer",
    "first_readable",
    "rtp_reader",
]
