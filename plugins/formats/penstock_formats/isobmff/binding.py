"""What ISO media files need to know of a codec: its sample entry and its samples, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import Codec, CodecConfig, Frame, Track
from penstock.registry import Capability, Registry
from penstock_formats.isobmff.sample_entry import SampleEntry


@frozen
class IsobmffUnit:
    """A sample in the codec's normal form. `config` is given where the sample changed it in band."""

    units: tuple[bytes, ...]
    key: bool
    config: CodecConfig | None = None


class IsobmffBinding(Protocol):
    """One codec in ISO media files. What takes bytes raises `ProtocolViolation`."""

    @property
    def formats(self) -> tuple[str, ...]:
        """The types of sample entries that this binding reads, such as ``avc1``; several codecs may share one."""
        ...

    @property
    def in_band(self) -> bool:
        """Whether samples can tell of a change of config themselves, so that it needs no new sample entry."""
        ...

    def describe(self, track: Track, in_band: bool = False) -> SampleEntry:
        """The sample entry of a track whose config is known; `in_band` lets samples change the config.

        Raises `ProtocolViolation` where a config cannot be carried.
        """
        ...

    def accept(self, entry: SampleEntry) -> tuple[Codec, CodecConfig | None] | None:
        """Codec and config of a sample entry of one of `formats`, None where it is another codec's.

        The config is None where the first sample has it.
        """
        ...

    def encode(self, frame: Frame, in_band: bool = False) -> bytes:
        """The sample of a frame; `in_band` puts the config into key frames."""
        ...

    def decode(self, data: bytes, key: bool, config: CodecConfig | None) -> IsobmffUnit:
        """A sample, which is not empty; `key` is what the file says: a sync sample."""
        ...


ISOBMFF: Capability[IsobmffBinding] = Capability("isobmff")


def accept(registry: Registry, entry: SampleEntry) -> tuple[Codec, CodecConfig | None, IsobmffBinding]:
    """Codec, config and binding of a sample entry. Raises `ProtocolViolation` where no plugin knows it."""
    for binding in _readers(registry, entry.format):
        found = binding.accept(entry)
        if found is not None:
            return *found, binding
    raise ProtocolViolation(f"no plugin knows the sample entry {entry.format!a}")


def _readers(registry: Registry, format: str) -> Iterator[IsobmffBinding]:
    return (binding for _, binding in registry.having(ISOBMFF) if format in binding.formats)
