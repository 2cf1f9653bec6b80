"""What the two ends tell each other of Enhanced RTMP in `connect` (Enhanced RTMP v2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CAN_DECODE, CAN_ENCODE, CAN_FORWARD = 1, 2, 4
RECONNECT, MULTITRACK, MODEX, NANO_OFFSET = 1, 2, 4, 8
MAX_FOURCCS = 64

_VIDEO, _AUDIO, _LIST, _CAPS = "videoFourCcInfoMap", "audioFourCcInfoMap", "fourCcList", "capsEx"


def read_fourccs(properties: Mapping[str, Any]) -> dict[str, int]:
    """The FourCCs that a peer knows (``*`` for any), with what it can do; v1 has names only."""
    found: dict[str, int] = {}
    listed: Any = properties.get(_LIST)
    if isinstance(listed, list):
        for name in listed[:MAX_FOURCCS]:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(name, str):
                found[name] = CAN_DECODE | CAN_FORWARD
    for key in (_VIDEO, _AUDIO):
        for name, mask in list(as_object(properties.get(key)).items())[:MAX_FOURCCS]:
            found[name] = small_int(mask)
    return found


def read_caps(properties: Mapping[str, Any]) -> int:
    """The capsEx bits of a peer, 0 where it has none."""
    return small_int(properties.get(_CAPS))


def as_object(value: Any) -> dict[str, Any]:
    """`value` where it is an AMF object, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def small_int(value: Any) -> int:
    """`value` where it is a whole number of 0 to 2**31 - 1, else 0."""
    if isinstance(value, int | float) and 0 <= value < 1 << 31 and value == int(value):
        return int(value)
    return 0


def is_enhanced(properties: Mapping[str, Any]) -> bool:
    """Whether a peer announced any of Enhanced RTMP."""
    return any(key in properties for key in (_VIDEO, _AUDIO, _LIST, _CAPS))


def announce(video: Iterable[str], audio: Iterable[str], mask: int, caps: int) -> dict[str, Any]:
    """The properties that announce FourCCs and caps."""
    video, audio = list(video), list(audio)
    return {
        _LIST: [*video, *audio],
        _VIDEO: dict.fromkeys(video, mask),
        _AUDIO: dict.fromkeys(audio, mask),
        _CAPS: caps,
    }
