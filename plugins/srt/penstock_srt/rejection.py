"""Why an application refuses a caller: the codes of SRT's access control guidelines (``srtcore/access_control.h``)."""

from __future__ import annotations

from enum import IntEnum

from penstock.errors import ProtocolViolation


class Rejection(IntEnum):
    """Sent in the handshake as its type; callers show the number, and libsrt's own tools a sentence."""

    BAD_REQUEST = 1400
    """The stream id cannot be read."""
    UNAUTHORIZED = 1401
    """Credentials or a passphrase are asked for."""
    OVERLOAD = 1402
    """There is no room for another connection."""
    FORBIDDEN = 1403
    """Credentials were given, and do not do."""
    NOT_FOUND = 1404
    """Nobody publishes that path."""
    BAD_MODE = 1405
    """Neither publishing nor playing is asked for."""
    UNACCEPTABLE = 1406
    """The stream has nothing that MPEG-TS carries."""
    CONFLICT = 1409
    """The path has a publisher."""
    INTERNAL = 1500
    """A fault of the server's own."""
    DOWN = 1503
    """The server stops."""


class Refused(ProtocolViolation):
    """What is asked for cannot be; `code` is what the caller is told."""

    def __init__(self, code: Rejection, reason: str, clause: str = "") -> None:
        super().__init__(reason, clause)
        self.code = code
