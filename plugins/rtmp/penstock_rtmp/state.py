"""The states of a connection and of its message streams, and which command is allowed in which."""

from __future__ import annotations

import enum


class ConnectionState(enum.Enum):
    """From the first byte to the last."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class StreamState(enum.Enum):
    """A message stream; the two `ASKED` states wait for the session's decision."""

    IDLE = "idle"
    PUBLISH_ASKED = "publish asked"
    PUBLISHING = "publishing"
    PLAY_ASKED = "play asked"
    PLAYING = "playing"


class Action(enum.Enum):
    """What moves a message stream on."""

    PUBLISH = "publish"
    PLAY = "play"
    ACCEPT = "accept"
    REJECT = "reject"
    CLOSE = "close"


TRANSITIONS: dict[tuple[StreamState, Action], StreamState] = {
    (StreamState.IDLE, Action.PUBLISH): StreamState.PUBLISH_ASKED,
    (StreamState.IDLE, Action.PLAY): StreamState.PLAY_ASKED,
    (StreamState.PUBLISH_ASKED, Action.ACCEPT): StreamState.PUBLISHING,
    (StreamState.PUBLISH_ASKED, Action.REJECT): StreamState.IDLE,
    (StreamState.PLAY_ASKED, Action.ACCEPT): StreamState.PLAYING,
    (StreamState.PLAY_ASKED, Action.REJECT): StreamState.IDLE,
    (StreamState.PUBLISHING, Action.REJECT): StreamState.IDLE,
    (StreamState.PLAYING, Action.REJECT): StreamState.IDLE,
    (StreamState.IDLE, Action.CLOSE): StreamState.IDLE,
    (StreamState.PUBLISHING, Action.CLOSE): StreamState.IDLE,
    (StreamState.PLAYING, Action.CLOSE): StreamState.IDLE,
}
"""Everything else is an error of who asked for it."""
