"""The registry: who can do what, registered once, and taken back whole."""

from __future__ import annotations

import pytest

from penstock.media import Codec, CodecConfig, Kind
from penstock.registry import INFO, Capability, CodecInfo, Registry, RegistryClash
from tests.kernel.stage import AUDIO, VIDEO, Number

CARRIER: Capability[str] = Capability("carrier")
OTHER: Capability[int] = Capability("other")


def test_bindings_by_codec_and_capability() -> None:
    registry = Registry()
    for codec in (VIDEO, AUDIO):
        registry.add(codec)
        registry.add(codec)  # the same once more is no clash
    registry.bind(VIDEO, CARRIER, "video")
    registry.bind(AUDIO, CARRIER, "audio")
    registry.bind(AUDIO, OTHER, 5)
    assert (registry.get(VIDEO, CARRIER), registry.get(AUDIO, OTHER)) == ("video", 5)
    assert registry.get(VIDEO, OTHER) is None
    assert list(registry.having(CARRIER)) == [(VIDEO, "video"), (AUDIO, "audio")]
    assert list(registry.having(Capability[str]("unknown"))) == []
    assert (registry.codec("test-video"), registry.codec("none")) == (VIDEO, None)
    assert registry.codecs == (VIDEO, AUDIO)


def test_clashes() -> None:
    registry = Registry()
    registry.add(VIDEO)
    with pytest.raises(RegistryClash, match="codec 'test-video' is registered already"):
        registry.add(Codec("test-video", Kind.AUDIO))
    registry.bind(VIDEO, CARRIER, "one")
    with pytest.raises(RegistryClash, match="carrier of codec 'test-video' is bound already"):
        registry.bind(VIDEO, CARRIER, "two")
    assert registry.get(VIDEO, CARRIER) == "one"


def test_what_was_registered_since_is_taken_back() -> None:
    registry = Registry()
    registry.add(VIDEO)
    registry.bind(VIDEO, CARRIER, "one")
    before = registry.snapshot()
    registry.add(AUDIO)
    registry.bind(AUDIO, CARRIER, "two")
    registry.bind(VIDEO, OTHER, 1)
    registry.restore(before)
    assert registry.codecs == (VIDEO,)
    assert list(registry.having(CARRIER)) == [(VIDEO, "one")]
    assert registry.get(VIDEO, OTHER) is None


def test_what_holds_for_most_codecs() -> None:
    class Named(CodecInfo):
        def codecs_string(self, config: CodecConfig) -> str:
            return "named"

    info, config = Named(), Number()
    assert (info.describe(config), info.reorder(config), info.samples((b"x",), config)) == (None, 0, None)
    registry = Registry()
    registry.bind(AUDIO, INFO, info)
    assert registry.get(AUDIO, INFO) is info
    assert Number.of(config) is config
    with pytest.raises(TypeError, match="not a Number: None"):
        Number.of(None)
