"""Event messages (ISO/IEC 23009-1 5.10.3.3): ID3, SCTE-35 and the like, between fragments."""

from __future__ import annotations

import struct

from attrs import frozen

from penstock_formats.isobmff.box import Box, full_box

UNKNOWN_DURATION = 0xFFFFFFFF


@frozen
class EventMessage:
    """`time` and `duration` in ticks of `timescale`; `relative` where `time` counts from the start of its segment.

    `scheme` and `value` say what `data` is.
    """

    scheme: str
    value: str
    timescale: int
    time: int
    data: bytes
    duration: int = UNKNOWN_DURATION
    id: int = 0
    relative: bool = False

    def build(self) -> bytes:
        """The ``emsg`` box."""
        names = (self.scheme.encode() + b"\0", self.value.encode() + b"\0")
        if self.relative:
            numbers = struct.pack(">IIII", self.timescale, self.time, self.duration, self.id)
            return full_box("emsg", 0, 0, *names, numbers, self.data)
        numbers = struct.pack(">IQII", self.timescale, self.time, self.duration, self.id)
        return full_box("emsg", 1, 0, numbers, *names, self.data)


def parse_event_message(emsg: Box) -> EventMessage:
    """What an ``emsg`` box says. Raises `ProtocolViolation`."""
    fields = emsg.fields
    version, _ = fields.full()
    if version == 0:
        scheme, value = fields.text(), fields.text()
        timescale, time, duration, id = (fields.u(4) for _ in range(4))
    else:
        timescale, time, duration, id = fields.u(4), fields.u(8), fields.u(4), fields.u(4)
        scheme, value = fields.text(), fields.text()
    return EventMessage(scheme, value, timescale, time, fields.rest(), duration, id, version == 0)
