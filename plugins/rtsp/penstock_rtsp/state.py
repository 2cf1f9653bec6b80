"""The states of a session and what is allowed in each (RFC 2326 A.2)."""

from __future__ import annotations

import enum

from penstock.errors import PenstockError


class State(enum.Enum):
    """RFC 2326's Init, Ready, Playing and Recording; ANNOUNCE and SETUP lead to different ones."""

    INIT = "init"
    ANNOUNCED = "announced"
    READY = "ready"
    READY_TO_RECORD = "ready to record"
    PLAYING = "playing"
    RECORDING = "recording"
    CLOSED = "closed"


METHODS = (
    "OPTIONS", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "RECORD", "PAUSE", "TEARDOWN", "GET_PARAMETER",
    "SET_PARAMETER",
)  # fmt: skip
"""What the server knows, as its Public header says."""

_ANYWHERE = ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER")
_READING = (*_ANYWHERE, "DESCRIBE")

TABLE: dict[State, dict[str, State]] = {
    State.INIT: {
        **dict.fromkeys(_READING, State.INIT),
        "ANNOUNCE": State.ANNOUNCED,
        "SETUP": State.READY,
        # Some clients tear down what they never set up.
        "TEARDOWN": State.CLOSED,
    },
    State.ANNOUNCED: {
        **dict.fromkeys(_ANYWHERE, State.ANNOUNCED),
        "SETUP": State.READY_TO_RECORD,
        "TEARDOWN": State.CLOSED,
    },
    State.READY: {
        **dict.fromkeys(_READING, State.READY),
        "SETUP": State.READY,
        "PLAY": State.PLAYING,
        "PAUSE": State.READY,
        "TEARDOWN": State.CLOSED,
    },
    State.READY_TO_RECORD: {
        **dict.fromkeys(_ANYWHERE, State.READY_TO_RECORD),
        "SETUP": State.READY_TO_RECORD,
        "RECORD": State.RECORDING,
        "PAUSE": State.READY_TO_RECORD,
        "TEARDOWN": State.CLOSED,
    },
    State.PLAYING: {
        **dict.fromkeys(_READING, State.PLAYING),
        # Some clients repeat PLAY as a keep-alive, or after a seek.
        "PLAY": State.PLAYING,
        "PAUSE": State.READY,
        "TEARDOWN": State.CLOSED,
    },
    State.RECORDING: {
        **dict.fromkeys(_ANYWHERE, State.RECORDING),
        "RECORD": State.RECORDING,
        "PAUSE": State.READY_TO_RECORD,
        "TEARDOWN": State.CLOSED,
    },
    State.CLOSED: {},
}
"""What follows each allowed method once it has succeeded."""


class WrongState(PenstockError):
    """The method is not valid in this state: status 455."""


class StateMachine:
    """One session's state."""

    def __init__(self) -> None:
        self.state = State.INIT

    def expect(self, method: str) -> None:
        """Raise `WrongState` where `method` is not allowed now."""
        if method not in TABLE[self.state]:
            raise WrongState(f"{method} is not valid in state {self.state.value}")

    def advance(self, method: str) -> None:
        """`method` has succeeded."""
        self.expect(method)
        self.state = TABLE[self.state][method]

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods of an Allow header."""
        return tuple(method for method in METHODS if method in TABLE[self.state])
