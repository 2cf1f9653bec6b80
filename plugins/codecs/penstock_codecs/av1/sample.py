"""A temporal unit in low-overhead format (AV1-ISOBMFF 2.4), as ISO media files and FLV carry it."""

from __future__ import annotations

from penstock.errors import ProtocolViolation
from penstock.media import Frame
from penstock_codecs.av1.obu import is_key, sort, split, with_size
from penstock_codecs.av1.sequence import Av1Config


def build_sample(frame: Frame) -> bytes:
    """The OBUs of `frame` with size fields; a key frame has its sequence header first."""
    data = b"".join(map(with_size, frame.units))
    if not frame.key:
        return data
    # AV1-ISOBMFF 2.4: a sync sample has a sequence header before its first frame.
    header = Av1Config.of(frame.track.config).sequence_header
    return with_size(header) + data if header else data


def parse_sample(data: bytes, config: Av1Config) -> tuple[tuple[bytes, ...], bool, Av1Config | None]:
    """The units of a sample, whether it is key, and the config where the sample changed it.

    Raises `ProtocolViolation`.
    """
    units, header = sort(split(data))
    if not units:
        raise ProtocolViolation("an AV1 sample without a frame", "AV1-ISOBMFF 2.4")
    changed: Av1Config | None = None
    if header is not None and header != config.sequence_header:
        changed = Av1Config.parse(header)
    return units, is_key(units, (changed or config).reduced), changed
