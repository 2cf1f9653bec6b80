"""Bodies that many ask for, in files in memory: a socket's queue refers to their pages, and nothing is copied (ADR 0023)."""

from __future__ import annotations

import os
import time
from contextlib import suppress

LEAST = 32 << 10
"""Bytes of a body that is worth it."""

MOST = 64 << 20
"""Bytes of all that are kept; each has as many in its file."""

COUNT = 64
"""Files at a time."""

KEPT_SECONDS = 5.0
"""After which a body that nobody asked for is let go: that of a segment is asked for while it is new."""


class _File:
    __slots__ = ("asked", "body", "descriptor")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked = time.monotonic()
        self.descriptor = -1

    def fill(self) -> None:
        """Its bytes in a file; where the system has none, it stays without."""
        with suppress(OSError, AttributeError):
            descriptor = os.memfd_create("penstock")
            try:
                rest = memoryview(self.body)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                os.close(descriptor)
                raise
            self.descriptor = descriptor

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class Bodies:
    """The files of one listener, by their bodies."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def descriptor(self, body: bytes) -> int:
        """That of a file with `body`; -1 for what is small, asked for the first time, or has none."""
        size = len(body)
        if not LEAST <= size <= MOST:
            return -1
        file = self._files.get(id(body))
        if file is not None:
            file.asked = time.monotonic()
            if file.descriptor < 0:
                file.fill()
            return file.descriptor
        self._files[id(body)] = _File(body)
        self._bytes += size
        while self._bytes > MOST or len(self._files) > COUNT:
            self._drop(next(iter(self._files)))
        return -1

    def expire(self, now: float) -> None:
        """Let go of what nobody asked for lately."""
        for key in [key for key, file in self._files.items() if now - file.asked > KEPT_SECONDS]:
            self._drop(key)

    def close(self) -> None:
        for key in tuple(self._files):
            self._drop(key)

    def _drop(self, key: int) -> None:
        file = self._files.pop(key)
        self._bytes -= len(file.body)
        file.close()
