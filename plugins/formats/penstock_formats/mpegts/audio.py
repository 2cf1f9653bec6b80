"""Sound whose frames begin anywhere in PES packets, each with a header that has its size: ADTS, LOAS, MPEG audio."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import CodecConfig, to_ns
from penstock_formats.mpegts.binding import TsUnit


@frozen
class AudioFrame:
    """What one frame holds: access units of `samples` at `rate` each."""

    units: tuple[bytes, ...]
    samples: int
    rate: int
    config: CodecConfig


class AudioSyntax(Protocol):
    """One way to frame sound."""

    @property
    def sync(self) -> int:
        """The first byte of each frame."""
        ...

    @property
    def header_size(self) -> int:
        """Bytes that `size` looks at."""
        ...

    def size(self, data: bytes, at: int) -> int | None:
        """Bytes of the frame that begins at `at`, None where none does."""
        ...

    def parse(self, frame: bytes) -> AudioFrame | None:
        """What a whole frame holds; None where it cannot be told yet. Raises `ProtocolViolation`."""
        ...


class AudioReader:
    """`PesReader` of framed sound. Less than one frame is pending between two PES packets.

    A PES packet's time is that of the first frame that begins in it; the others follow on the grid of samples.
    """

    def __init__(self, syntax: AudioSyntax) -> None:
        self._syntax = syntax
        self._pending = b""
        self._synced = False
        self._base: int | None = None
        self._samples = 0
        self._rate = 1
        self._told: CodecConfig | None = None

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        if lost:
            self._drop()
        begin = len(self._pending)
        data = self._pending + data
        found: list[TsUnit] = []
        at, end = 0, len(data)
        try:
            while end - at >= self._syntax.header_size:
                size = self._syntax.size(data, at)
                if size is None or not (self._synced or self._confirmed(data, at + size)):
                    self._synced = False
                    at = self._next(data, at + 1)
                    continue
                if at + size > end:
                    break
                self._synced = True
                if at >= begin and pts is not None:
                    self._base, self._samples, pts = pts, 0, None
                self._add(data[at : at + size], found)
                at += size
        except ProtocolViolation:
            self._drop()
            raise
        self._pending = data[at:]
        return found

    def _confirmed(self, data: bytes, at: int) -> bool:
        """Whether another frame begins at `at`, as far as the data goes."""
        return len(data) - at < self._syntax.header_size or self._syntax.size(data, at) is not None

    def _next(self, data: bytes, at: int) -> int:
        found = data.find(self._syntax.sync, at)
        return found if found >= 0 else len(data)

    def _add(self, data: bytes, found: list[TsUnit]) -> None:
        frame = self._syntax.parse(data)
        if frame is None or self._base is None:
            return
        if frame.rate != self._rate:
            self._base += to_ns(self._samples, self._rate)
            self._samples, self._rate = 0, frame.rate
        for unit in frame.units:
            time = self._base + to_ns(self._samples, frame.rate)
            self._samples += frame.samples
            config = None if frame.config == self._told else frame.config
            self._told = frame.config
            found.append(TsUnit(time, time, (unit,), config=config))

    def _drop(self) -> None:
        self._pending = b""
        self._synced = False
        self._base = None
