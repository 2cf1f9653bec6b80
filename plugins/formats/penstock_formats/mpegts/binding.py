"""What MPEG-TS needs to know of a codec: how the program map tells it, and what its PES packets hold."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from penstock.media import Codec, CodecConfig, Frame, Track
from penstock.registry import Capability, Registry
from penstock_formats.mpegts.descriptor import Descriptor
from penstock_formats.mpegts.pes import PRIVATE_1

CLOCK_RATE = 90_000
"""Of PTS and DTS, in Hz."""


@frozen
class TsFormat:
    """How the program map tells an elementary stream; `stream_id` is that of the PES packets written for it."""

    stream_type: int
    descriptors: tuple[Descriptor, ...] = ()
    stream_id: int = PRIVATE_1


@frozen
class TsUnit:
    """One frame in the codec's normal form; times in ns. `config` is given where it changed: in force from here on.

    `dts` is None where it is not known, as in a carrier that has none.
    """

    pts: int
    dts: int | None
    units: tuple[bytes, ...]
    key: bool = True
    config: CodecConfig | None = None


class PesReader(Protocol):
    """One elementary stream's PES packets, in order, to frames; pending bytes stay below a named limit."""

    def push(self, data: bytes, pts: int | None, dts: int | None, lost: bool) -> list[TsUnit]:
        """Take what one PES packet holds, and its times in ns where it has them; `lost` says that data is missing before.

        Raises `ProtocolViolation` for what the codec's carriage does not allow; what was pending is then dropped,
        and the next call may go on.
        """
        ...


class MpegTsBinding(Protocol):
    """One codec in MPEG-TS."""

    def accepts(self, fmt: TsFormat) -> bool:
        """Whether an elementary stream that the program map tells so is of this codec."""
        ...

    def reader(self, fmt: TsFormat) -> PesReader:
        """A reader for one that it accepts. Raises `ProtocolViolation` for descriptors that cannot be used."""
        ...

    def describe(self, track: Track) -> TsFormat:
        """How `track`, which has its config, is told. Raises `ProtocolViolation` where MPEG-TS cannot carry that config."""
        ...

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        """The access unit as PES packets hold it; several may follow each other in one, where it is sound.

        `fresh` asks for the config in band, where the codec has it there: at key frames, and where it changed.
        Raises `ProtocolViolation` for a frame that the carriage does not allow.
        """
        ...


MPEGTS: Capability[MpegTsBinding] = Capability("mpegts")


def mpegts_reader(registry: Registry, fmt: TsFormat) -> tuple[Codec, MpegTsBinding] | None:
    """The codec of an elementary stream and its binding, None where no plugin knows it."""
    return next(
        ((codec, binding) for codec, binding in registry.having(MPEGTS) if binding.accepts(fmt)), None
    )
