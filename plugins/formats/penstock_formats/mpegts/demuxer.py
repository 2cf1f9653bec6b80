"""A transport stream to the frames of one program."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator

from attrs import define, evolve, frozen

from penstock.clock import Unwrapper
from penstock.errors import ProtocolViolation
from penstock.media import Kind, to_ns
from penstock.registry import Registry
from penstock_formats.mpegts.alignment import STRIDES, Alignment
from penstock_formats.mpegts.binding import (
    CLOCK_RATE,
    MpegTsBinding,
    PesReader,
    TsFormat,
    TsUnit,
    mpegts_reader,
)
from penstock_formats.mpegts.channel import Channel, PesChannel, SectionChannel
from penstock_formats.mpegts.descriptor import Descriptor, language
from penstock_formats.mpegts.event import Fault, Program, StreamConfig, TsEvent, TsFrame, TsStream
from penstock_formats.mpegts.packet import BODY, PID_FIRST, PID_NULL, PID_PAT, SIZE
from penstock_formats.mpegts.pat import parse_pat
from penstock_formats.mpegts.pes import MASK, PLAIN, PRIVATE_1, parse_header
from penstock_formats.mpegts.pmt import TABLE_ID as PMT_TABLE
from penstock_formats.mpegts.pmt import Pmt
from penstock_formats.mpegts.private import PRIVATE, SECTION_TYPES, PrivateConfig, PrivateReader
from penstock_formats.mpegts.section import Section

MAX_PES = 8 << 20
"""Bytes of one PES packet: what an access unit may have in RTP, too."""
MAX_AUDIO_PES = 1 << 20
"""Bytes of one of sound, which by rights has a length below 64 KiB; some senders leave it out."""
MAX_PENDING = 5 * MAX_PES
"""Bytes of all PES packets that are unfinished at once: four of video without a length, and what has one."""

MAX_STREAMS = 32
"""Elementary streams of a program; a publisher has as many tracks."""

MAX_REORDER = 10 * CLOCK_RATE
"""How far a PTS may be ahead of its DTS (H.222.0 2.4.2.6: no data stays longer in the decoder, but for still pictures)."""

_PACKETS = {stride: struct.Struct(f">I{BODY}s{stride - SIZE}x") for stride in STRIDES}


@frozen
class _Elementary:
    """One stream of the program, and how it is read; `program` are the program's descriptors."""

    stream: TsStream
    binding: MpegTsBinding | None
    program: tuple[Descriptor, ...]

    def reader(self, stream_id: int) -> PesReader:
        fmt = evolve(self.stream.format, stream_id=stream_id)
        if self.binding is None:
            return PrivateReader(PrivateConfig(fmt, self.program))
        return self.binding.reader(fmt)


@define
class _Input:
    """What is kept of one stream while its packets come in; times in ticks without wraps."""

    reader: PesReader
    last: int | None = None
    has_dts: bool = False
    lacks_dts: bool = False
    """Its pictures are not in the order of their times, and none has a DTS: what GStreamer makes of Matroska."""


class Demuxer:
    """Reads the first program of a transport stream, or the one with the number `program`.

    Packets of 188, 192 and 204 bytes are told apart. What is damaged is left out, with a `Fault` event; only where
    there is no MPEG-TS at all, `receive_data` raises `ProtocolViolation`.
    """

    def __init__(self, registry: Registry, program: int | None = None) -> None:
        self._registry = registry
        self._wanted = program
        self._number: int | None = None
        self._map_pid = PID_NULL
        self._tables: dict[int, bytes] = {}
        self._alignment = Alignment()
        self._channels: dict[int, Channel] = {PID_PAT: SectionChannel(PID_PAT, self, self._pat)}
        self._streams: dict[int, _Elementary] = {}
        self._inputs: dict[int, _Input] = {}
        self._events: deque[TsEvent] = deque()
        self._clock = Unwrapper(33)
        self._now: int | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the stream, of any number."""
        self._take(self._alignment.push(data))

    def end(self) -> None:
        """The stream is over: frames that only the next packet would have ended come out."""
        self._take(self._alignment.push(b"", final=True))
        for channel in self._channels.values():
            channel.end()

    def start_segment(self) -> None:
        """What comes next is another file of the same program, such as a segment of HLS, whose counters may begin anew."""
        self.end()
        self._alignment = Alignment()
        for channel in self._channels.values():
            channel.restart()

    def next_event(self) -> TsEvent | None:
        """The next event, None where more data is needed."""
        return self._events.popleft() if self._events else None

    def _take(self, runs: Iterator[tuple[bytes, int]]) -> None:
        channels = self._channels
        # A frame's packets mostly follow each other: what is kept of the last channel stays in local variables.
        channel: Channel = channels[PID_PAT]
        for packets, stride in runs:
            expected, left, append = channel.expected, channel.left, channel.parts.append
            for header, body in _PACKETS[stride].iter_unpack(packets):
                if header == expected:
                    append(body)
                    expected = header + 1 if header & 15 != 15 else header - 15
                    left -= BODY
                    if left > 0:
                        continue
                    channel.expected = expected
                    channel.finish()
                else:
                    found = channels.get(header >> 8 & 0x1FFF)
                    if found is None:
                        continue
                    channel.expected, channel.left = expected, left
                    channel = found
                    try:
                        channel.take(header, body)
                    except ProtocolViolation as violation:
                        self.fault(channel.pid, violation)
                expected, left, append = channel.expected, channel.left, channel.parts.append
            channel.expected, channel.left = expected, left

    def fault(self, pid: int, violation: ProtocolViolation) -> None:
        """See `Owner`."""
        self._events.append(Fault(pid, violation))

    def reserve(self, size: int) -> bool:
        """See `Owner`."""
        held = sum([c.reserved for c in self._channels.values() if isinstance(c, PesChannel)])
        return held + size <= MAX_PENDING

    def packet(self, pid: int, data: bytes, lost: bool) -> None:
        """See `Owner`."""
        try:
            header = parse_header(data)
            entry = self._streams[pid]
            if header.stream_id in PLAIN and entry.binding is not None:
                return
            source = self._input(pid, header.stream_id)
            pts, dts = self._times(pid, source, header.pts, header.dts)
            if pts is None and entry.binding is None:
                # Data need not have a time (KLV in private_stream_1): it belongs where the program is.
                pts = dts = self._now
            units = source.reader.push(data[header.size :], pts, dts, lost)
        except ProtocolViolation as violation:
            self.fault(pid, violation)
        else:
            for unit in units:
                self._deliver(pid, unit)

    def _input(self, pid: int, stream_id: int) -> _Input:
        source = self._inputs.get(pid)
        if source is None:
            source = self._inputs[pid] = _Input(self._streams[pid].reader(stream_id))
        return source

    def _deliver(self, pid: int, unit: TsUnit) -> None:
        if unit.config is not None:
            self._events.append(StreamConfig(pid, unit.config))
        self._events.append(TsFrame(pid, unit.pts, unit.dts, unit.units, unit.key))

    def _times(
        self, pid: int, source: _Input, pts: int | None, dts: int | None
    ) -> tuple[int | None, int | None]:
        """The times of a PES packet in ns, over all wraps."""
        if pts is None:
            return None, None
        ahead = pts - dts & MASK if dts is not None else 0
        if ahead > MAX_REORDER:
            self.fault(pid, ProtocolViolation("PTS and DTS do not belong together", "H.222.0 2.4.3.7"))
            self._now = to_ns(self._clock.unwrap(pts), CLOCK_RATE)
            return self._now, None
        ticks = self._clock.unwrap(pts if dts is None else dts)
        self._now = time = to_ns(ticks, CLOCK_RATE)
        if dts is not None:
            source.has_dts, source.lacks_dts = True, False
            return to_ns(ticks + ahead, CLOCK_RATE), time
        # 2.4.3.7: without a DTS it is the same as the PTS.
        if not source.has_dts and source.last is not None and 0 < source.last - ticks < MAX_REORDER:
            source.lacks_dts = True
        source.last = ticks
        return time, None if source.lacks_dts else time

    def _section(self, pid: int, data: bytes) -> None:
        """A section of a stream that no plugin knows; it has no time, and belongs where the program is."""
        for unit in self._input(pid, PRIVATE_1).reader.push(data, self._now, self._now, False):
            self._deliver(pid, unit)

    def _pat(self, pid: int, data: bytes) -> None:
        if self._tables.get(pid) == data:
            return
        section = Section.parse(data)
        programs = parse_pat(section)
        if not section.current:
            return
        self._tables[pid] = data
        number = self._number if self._wanted is None else self._wanted
        if number not in programs:
            if self._wanted is not None or section.number or not programs:
                # It may be in another section of the table.
                return
            number = next(iter(programs))
        if number != self._number or programs[number] != self._map_pid:
            self._leave(set(self._streams))
            self._channels.pop(self._map_pid, None)
            self._number, self._map_pid = number, programs[number]
            self._tables.pop(self._map_pid, None)
            self._channels[self._map_pid] = SectionChannel(self._map_pid, self, self._pmt)

    def _pmt(self, pid: int, data: bytes) -> None:
        if self._tables.get(pid) == data or data[0] != PMT_TABLE:
            return
        section = Section.parse(data)
        if not section.current or section.extension != self._number:
            return
        pmt = Pmt.parse(section)
        self._tables[pid] = data
        before = [entry.stream for entry in self._streams.values()]
        found = self._elementary(pmt)
        self._leave({pid for pid, entry in self._streams.items() if found.get(pid) != entry})
        for number, entry in found.items():
            if number not in self._streams:
                self._channels[number] = self._channel(entry.stream)
        self._streams = found
        streams = [entry.stream for entry in found.values()]
        if streams != before:
            self._events.append(Program(tuple(streams)))

    def _elementary(self, pmt: Pmt) -> dict[int, _Elementary]:
        """The streams of a program map that can be read."""
        found: dict[int, _Elementary] = {}
        for entry in pmt.entries:
            if entry.pid in found or entry.pid == self._map_pid or not PID_FIRST <= entry.pid < PID_NULL:
                self.fault(entry.pid, ProtocolViolation(f"PID {entry.pid} is not free", "H.222.0 table 2-3"))
            elif len(found) >= MAX_STREAMS:
                self.fault(entry.pid, ProtocolViolation(f"a program of more than {MAX_STREAMS} streams"))
            else:
                fmt = TsFormat(entry.stream_type, entry.descriptors)
                known = mpegts_reader(self._registry, fmt)
                codec, binding = known or (PRIVATE, None)
                stream = TsStream(entry.pid, codec, fmt, language(entry.descriptors))
                program = pmt.descriptors if binding is None else ()
                found[entry.pid] = _Elementary(stream, binding, program)
        return found

    def _channel(self, stream: TsStream) -> Channel:
        if stream.codec is PRIVATE and stream.format.stream_type in SECTION_TYPES:
            return SectionChannel(stream.pid, self, self._section)
        audio = stream.codec.kind is Kind.AUDIO
        return PesChannel(stream.pid, self, MAX_AUDIO_PES if audio else MAX_PES, goes_on=not audio)

    def _leave(self, pids: set[int]) -> None:
        """These streams are no more, or are others from now on."""
        for pid in pids:
            self._channels.pop(pid).end()
            self._streams.pop(pid)
            self._inputs.pop(pid, None)
            self._tables.pop(pid, None)
