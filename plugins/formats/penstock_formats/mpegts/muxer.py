"""The frames of a stream to a transport stream of one program."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve

from penstock.errors import ProtocolViolation
from penstock.media import NS, CodecConfig, Frame, Kind, Track, to_ticks
from penstock.registry import Registry
from penstock_formats.mpegts.binding import CLOCK_RATE, MPEGTS, MpegTsBinding, TsFormat
from penstock_formats.mpegts.descriptor import Descriptor, language_descriptor
from penstock_formats.mpegts.packet import (
    DISCONTINUITY,
    PCR_FLAG,
    PID_NULL,
    PID_PAT,
    RANDOM_ACCESS,
)
from penstock_formats.mpegts.packetizer import Packetizer
from penstock_formats.mpegts.pat import build_pat
from penstock_formats.mpegts.pes import MASK, build_header
from penstock_formats.mpegts.pmt import Pmt, PmtEntry
from penstock_formats.mpegts.private import PRIVATE, SECTION_TYPES, PrivateConfig, PrivateTs
from penstock_formats.mpegts.section import MAX_TABLE, packed

PROGRAM = 1
PID_MAP = 0x1000
PID_STREAMS = 0x100
"""Where FFmpeg has them, which every receiver has seen."""
MAX_STREAMS = 32

TABLES_NS = 75_000_000
"""After so long the tables are written again with the next frame: with the distance of frames, within 100 ms."""
PCR_NS = 75_000_000
"""After so long without a frame of the stream that has the clock, it is written alone (H.222.0 2.7.2: 100 ms)."""
PCR_LEAD_NS = 125_000_000
"""By how much the clock is behind the times of frames: what a receiver has to even out their arrival (as GStreamer has it)."""
JUMP_NS = NS
"""A step of the clock beyond this is announced as a discontinuity."""

_PRIVATE = PrivateTs()
_CLOCKS = (Kind.VIDEO, Kind.AUDIO, Kind.DATA)
"""Whose frames have the clock: the first of the first kind that is there."""

_Binding = MpegTsBinding | PrivateTs


@define(eq=False)
class _Slot:
    """What is kept of one track; `format` is None where it is left out."""

    track: Track
    pid: int
    packetizer: Packetizer
    config: CodecConfig | None = None
    format: TsFormat | None = None
    binding: _Binding | None = None
    fresh: bool = True
    """Its config has not been sent since it changed."""


class Muxer:
    """Writes each frame as whole packets, the same for all who read them.

    The tables come before each key frame of video, and at least each 100 ms of the stream's time; `tables_every` in
    ns changes that, None leaves it to key frames and `config`. `left_out` says which tracks are not there, and why;
    `dropped` counts frames that could not be written.
    """

    def __init__(
        self, registry: Registry, tracks: Iterable[Track] = (), *, tables_every: int | None = TABLES_NS
    ) -> None:
        self.left_out: dict[int, str] = {}
        self.dropped = 0
        self._registry = registry
        self._every = tables_every
        self._slots: dict[int, _Slot] = {}
        self._used = 0
        self._pat = Packetizer(PID_PAT)
        self._pat_section = packed(build_pat({PROGRAM: PID_MAP}).encode())
        self._map = Packetizer(PID_MAP)
        self._map_section = b""
        self._pmt = Pmt(PID_NULL)
        self._told: Pmt | None = None
        self._version = -1
        self._written: int | None = None
        self._clock: _Slot | None = None
        self._pcr: int | None = None
        for track in tracks:
            self.add(track)

    def add(self, track: Track) -> None:
        """A track, or its new config. One that was not added is when its first frame comes."""
        slot = self._slots.get(track.id)
        if slot is None:
            pid = PID_STREAMS + self._used % (PID_MAP - PID_STREAMS)
            self._used += 1
            slot = self._slots[track.id] = _Slot(track, pid, Packetizer(pid))
        slot.track = track
        if track.config is None or track.config == slot.config:
            return
        slot.config = track.config
        slot.fresh = True
        slot.binding = _PRIVATE if track.codec is PRIVATE else self._registry.get(track.codec, MPEGTS)
        slot.format = None
        try:
            slot.format = self._describe(track, slot.binding)
        except ProtocolViolation as violation:
            self.left_out[track.id] = str(violation)
        else:
            self.left_out.pop(track.id, None)
        self._map_streams()

    @property
    def kinds(self) -> set[Kind]:
        """What there is of sound, picture and data."""
        return {slot.track.kind for slot in self._slots.values() if slot.format is not None}

    def remove(self, track_id: int) -> None:
        """A track that has no more frames."""
        if self._slots.pop(track_id, None) is not None:
            self.left_out.pop(track_id, None)
            self._map_streams()

    def _describe(self, track: Track, binding: _Binding | None) -> TsFormat:
        if binding is None:
            raise ProtocolViolation(f"MPEG-TS cannot carry {track.codec.name}")
        if sum(1 for slot in self._slots.values() if slot.format is not None) >= MAX_STREAMS:
            raise ProtocolViolation(f"more than {MAX_STREAMS} tracks in a program")
        fmt = binding.describe(track)
        if track.codec is PRIVATE:
            return fmt
        return evolve(fmt, descriptors=fmt.descriptors + language_descriptor(track.language))

    def _map_streams(self) -> None:
        """The program map and the stream that has the clock, anew."""
        there = [(slot, slot.format) for slot in self._slots.values() if slot.format is not None]
        clocks = [slot for slot, fmt in there if fmt.stream_type not in SECTION_TYPES]
        self._clock = min(clocks, key=lambda slot: _CLOCKS.index(slot.track.kind), default=None)
        program: dict[Descriptor, None] = {}
        for slot, _ in there:
            if isinstance(slot.config, PrivateConfig):
                program.update(dict.fromkeys(slot.config.program))
        entries = tuple([PmtEntry(slot.pid, fmt.stream_type, fmt.descriptors) for slot, fmt in there])
        self._pmt = Pmt(self._clock.pid if self._clock else PID_NULL, tuple(program), entries)
        self._written = None
        if there and len(self._pmt.section(PROGRAM, 0).encode()) > MAX_TABLE:
            last = there[-1][0]
            last.format = None
            self.left_out[last.track.id] = "its descriptors find no room in the program map"
            self._map_streams()

    def config(self) -> bytes:
        """The tables (PAT and PMT) as packets: what a segment begins with where no key frame of video does."""
        if self._pmt != self._told:
            self._told = self._pmt
            self._version = self._version + 1 & 31
            self._map_section = packed(self._pmt.section(PROGRAM, self._version).encode())
        return self._pat.packets(self._pat_section) + self._map.packets(self._map_section)

    def mux(self, frame: Frame, *more: Frame) -> bytes:
        """The packets of a frame, with tables and clock where they are due; empty where its track is left out.

        `more` are frames of sound that follow it on its track: in one PES packet they take less room.
        """
        track = frame.track
        slot = self._slots.get(track.id)
        if slot is None or slot.track is not track:
            self.add(track)
            slot = self._slots[track.id]
        binding, fmt = slot.binding, slot.format
        if binding is None or fmt is None:
            return b""
        video = track.kind is Kind.VIDEO
        key = video and frame.key
        sections = fmt.stream_type in SECTION_TYPES
        time = frame.dts
        try:
            data = binding.encode(frame, key or slot.fresh)
            if more:
                data = b"".join([data, *(binding.encode(one, False) for one in more)])
            if sections:
                data = packed(data)
            else:
                pts = to_ticks(frame.pts, CLOCK_RATE)
                dts = pts if frame.pts == time else to_ticks(time, CLOCK_RATE)
                data = build_header(fmt.stream_id, len(data), pts, dts, unbounded=video) + data
        except ProtocolViolation:
            self.dropped += 1
            return b""
        slot.fresh = False
        packets = b""
        if key or self._due(time):
            self._written = time
            packets = self.config()
        adaptation = b""
        clock = self._clock
        if slot is clock:
            adaptation = self._adaptation(time, key)
        else:
            if clock and self._pcr is not None and time - PCR_LEAD_NS - self._pcr >= PCR_NS:
                packets += clock.packetizer.adaptation_only(self._adaptation(time, False))
            if key:
                adaptation = bytes((RANDOM_ACCESS,))
        return packets + slot.packetizer.packets(data, adaptation)

    def _due(self, time: int) -> bool:
        """Whether the tables are to be written before a frame with `time`."""
        if self._written is None:
            return True
        return self._every is not None and not -JUMP_NS < time - self._written < self._every

    def _adaptation(self, time: int, key: bool) -> bytes:
        """The fields of an adaptation field with the clock as it is when a frame with the dts `time` is sent."""
        flags = RANDOM_ACCESS if key else 0
        pcr = time - PCR_LEAD_NS
        if self._pcr is not None:
            step = pcr - self._pcr
            if not -JUMP_NS < step < JUMP_NS:
                flags |= DISCONTINUITY
            elif step <= 0:
                # Another stream's frame was ahead of this one: the clock does not go back.
                return bytes((flags,)) if flags else b""
        self._pcr = pcr
        # 2.4.3.5: 33 bits at 90 kHz, six reserved, and nine for the 300 ticks of 27 MHz between.
        base, extension = divmod(to_ticks(pcr, CLOCK_RATE * 300), 300)
        return bytes((flags | PCR_FLAG,)) + ((base & MASK) << 15 | 0x7E00 | extension).to_bytes(6, "big")
