"""Frames of H.264 and H.265 to RTP payloads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Generic, TypeVar

from penstock.media import CodecConfig, Frame
from penstock_formats.nal.codec import NalConfig
from penstock_formats.nal.rtp import NalFormat

MIN_PAYLOAD = 64
"""Below this a payload would be mostly headers."""

C = TypeVar("C", bound=NalConfig)

_LENGTH = struct.Struct(">H")


class NalPacketizer(Generic[C]):
    """Frames to payloads; parameter sets and the SEI in front of a picture are aggregated where they fit."""

    def __init__(self, form: NalFormat[C], max_payload: int, config: CodecConfig | None) -> None:
        """`config` is what readers are told beforehand, in SDP."""
        if max_payload < MIN_PAYLOAD:
            raise ValueError(f"RTP payloads of {max_payload} bytes are too small")
        self._form = form
        self._limit = max_payload
        self._is_slice = form.codec.is_slice
        self._config = config

    def packetize(self, frame: Frame) -> list[bytes]:
        """See `Packetizer.packetize`."""
        limit = self._limit
        out: list[bytes] = []
        leading: list[bytes] = []
        config = frame.track.config
        if config is not None and (frame.key or config is not self._config):
            # They may change before any picture (H.264 7.4.1.2.1), such as those that only the next pictures refer to.
            self._config = config
            leading += self._form.codec.config.of(config).sets
        for nal in frame.units:
            if not self._is_slice(nal):
                leading.append(nal)
                continue
            if leading:
                self._aggregate(leading, out)
                leading.clear()
            if len(nal) <= limit:
                out.append(nal)
            else:
                self._fragment(nal, out)
        if leading:
            self._aggregate(leading, out)
        return out

    def _aggregate(self, nals: Sequence[bytes], out: list[bytes]) -> None:
        group: list[bytes] = []
        size = self._form.header_size
        for nal in nals:
            if group and size + 2 + len(nal) > self._limit:
                self._close(group, out)
                group.clear()
                size = self._form.header_size
            group.append(nal)
            size += 2 + len(nal)
        self._close(group, out)

    def _close(self, group: list[bytes], out: list[bytes]) -> None:
        if len(group) > 1:
            pieces = [self._form.aggregate_header(group)]
            for nal in group:
                pieces += (_LENGTH.pack(len(nal)), nal)
            out.append(b"".join(pieces))
        elif len(group[0]) <= self._limit:
            out.append(group[0])
        else:
            self._fragment(group[0], out)

    def _fragment(self, nal: bytes, out: list[bytes]) -> None:
        header, middle, last = self._form.fragment_headers(nal)
        step = self._limit - len(header)
        start = self._form.header_size
        final = len(nal) - step
        while start < final:
            out.append(header + nal[start : start + step])
            start += step
            header = middle
        out.append(last + nal[start:])
