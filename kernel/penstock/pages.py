"""Bytes that many sockets are to send, in pages that they share: nothing is copied for each, as `send` does."""

from __future__ import annotations

import os
import sys

AVAILABLE = sys.platform == "linux"


class Pages:
    """A file in memory for one buffer at a time: `put`, `os.sendfile` from `fd` to any number of sockets, `drop`.

    A socket refers to the pages until its peer has acknowledged them. `drop` takes them out of the file and leaves them as
    they are, so that the next buffer has pages of its own.
    """

    __slots__ = ("_full", "fd")

    def __init__(self) -> None:
        self.fd = -1
        self._full = False

    def put(self, data: bytes) -> bool:
        """Write `data`, unless it is there; whether it could be."""
        if self._full:
            return True
        if not AVAILABLE:
            return False
        try:
            if self.fd < 0:
                self.fd = os.memfd_create("penstock")
            self._full = os.pwrite(self.fd, data, 0) == len(data)
        except OSError:
            # No descriptor or memory is left, or the system has no such call.
            return False
        return self._full

    def drop(self) -> None:
        """Forget what was put."""
        if self._full:
            self._full = False
            os.ftruncate(self.fd, 0)

    def close(self) -> None:
        """Give back the descriptor; the next `put` takes another one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd, self._full = -1, False
