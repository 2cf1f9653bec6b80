"""N codecs times M carriers, registered once: capabilities that formats declare and codecs supply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from penstock.errors import PenstockError
from penstock.media import Codec, CodecConfig

T = TypeVar("T")


class RegistryClash(PenstockError):
    """Two plugins registered the same codec or binding."""


@frozen(eq=False)
class Capability(Generic[T]):
    """What one format needs to know of a codec, by name; `T` is the type of the binding that tells it."""

    name: str


@frozen
class VideoInfo:
    """Dimensions in pixels after cropping; `frame_rate` in Hz where the config tells it.

    `transfer` is the code point of the transfer characteristics (ISO/IEC 23091-2), 2 where they are not specified.
    """

    width: int
    height: int
    frame_rate: float | None = None
    transfer: int = 2


@frozen
class AudioInfo:
    """Output sample rate in Hz and number of channels."""

    sample_rate: int
    channels: int


class CodecInfo(Protocol):
    """What the kernel and every carrier may ask of any codec. Each method raises `ProtocolViolation` on a bad config.

    As a base class it says what holds for most: nothing to describe, no reordering, no duration.
    """

    def describe(self, config: CodecConfig) -> VideoInfo | AudioInfo | None:
        """Dimensions or rates, None for data."""
        return None

    def codecs_string(self, config: CodecConfig) -> str:
        """The RFC 6381 ``codecs=`` value, such as ``avc1.64001f``."""
        ...

    def reorder(self, config: CodecConfig) -> int:
        """By how many frames output order may lag behind decoding order (0 for audio)."""
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        """Duration of an audio frame in ticks of the track's clock; None where it is not known, and for video."""
        return None


INFO: Capability[CodecInfo] = Capability("info")


class Registry:
    """Who can do what: codecs by name, and for each (codec, capability) its binding."""

    def __init__(self) -> None:
        self._codecs: dict[str, Codec] = {}
        self._bindings: dict[str, dict[Codec, Any]] = {}

    def add(self, codec: Codec) -> None:
        """Make `codec` known by its name."""
        if self._codecs.setdefault(codec.name, codec) is not codec:
            raise RegistryClash(f"codec {codec.name!r} is registered already")

    def bind(self, codec: Codec, capability: Capability[T], binding: T) -> None:
        """Say what `capability` needs to know of `codec`."""
        bound = self._bindings.setdefault(capability.name, {})
        if codec in bound:
            raise RegistryClash(f"{capability.name} of codec {codec.name!r} is bound already")
        bound[codec] = binding

    def get(self, codec: Codec, capability: Capability[T]) -> T | None:
        """The binding, or None where that carrier cannot take that codec."""
        binding: T | None = self._bindings.get(capability.name, {}).get(codec)
        return binding

    def having(self, capability: Capability[T]) -> Iterator[tuple[Codec, T]]:
        """Every codec that binds `capability`, in the order of registration."""
        return iter(self._bindings.get(capability.name, {}).items())

    def codec(self, name: str) -> Codec | None:
        return self._codecs.get(name)

    @property
    def codecs(self) -> tuple[Codec, ...]:
        return tuple(self._codecs.values())

    def snapshot(self) -> tuple[dict[str, Codec], dict[str, dict[Codec, Any]]]:
        """What is registered now, for `restore`."""
        return dict(self._codecs), {name: dict(bound) for name, bound in self._bindings.items()}

    def restore(self, snapshot: tuple[dict[str, Codec], dict[str, dict[Codec, Any]]]) -> None:
        """Take back all since `snapshot`: what a plugin registered that could not be loaded whole."""
        self._codecs, self._bindings = snapshot
