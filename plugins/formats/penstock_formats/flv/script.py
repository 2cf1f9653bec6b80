"""Data messages as a track: onMetaData is its config, everything else its frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from penstock.media import Codec, CodecConfig, Kind
from penstock.registry import INFO, CodecInfo, Registry

SCRIPT = Codec("amf0", Kind.DATA, incidental=True)
"""AMF0 data messages; a frame has one unit, the body of the message."""


@frozen
class ScriptConfig(CodecConfig):
    """The publisher's onMetaData."""

    metadata: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)


class ScriptInfo(CodecInfo):
    """Nothing to tell of data messages."""

    def describe(self, config: CodecConfig) -> None:
        return None

    def codecs_string(self, config: CodecConfig) -> str:
        return ""

    def reorder(self, config: CodecConfig) -> int:
        return 0

    def samples(self, units: tuple[bytes, ...], config: CodecConfig) -> int | None:
        return None


def register_script(registry: Registry) -> None:
    """Make data messages known, for each plugin that carries them; there may be several."""
    registry.add(SCRIPT)
    if registry.get(SCRIPT, INFO) is None:
        registry.bind(SCRIPT, INFO, ScriptInfo())
