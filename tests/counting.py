"""A socket that counts how often it is read, for the tests of ports."""

from __future__ import annotations

import socket
from typing import Any


class Counting(socket.socket):
    """Counts how often it was read until nothing was left."""

    readings = 0

    def recvfrom(self, *arguments: Any) -> Any:
        try:
            return super().recvfrom(*arguments)
        except BlockingIOError:
            self.readings += 1
            raise
