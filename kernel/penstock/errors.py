"""The three ways to be wrong: the peer was, the caller was, or we have a bug (which is any other exception)."""

from __future__ import annotations

from typing import cast


class PenstockError(Exception):
    """Base of all errors that Penstock raises on purpose."""


class ProtocolViolation(PenstockError):
    """The peer sent what its protocol does not allow: the one error that parsers raise on input.

    `reason` names what was wrong; `clause` is the specification's section, such as ``RFC 6184 5.8``;
    `offset` counts the bytes of that peer's stream before the fault, where known.
    """

    def __init__(self, reason: str, clause: str = "", offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.clause = clause
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} ({self.clause})" if self.clause else self.reason


class UserError(PenstockError):
    """A mistake of the operator or the embedding program: one sentence that says what to do."""


class StreamError(PenstockError):
    """A request about a stream that cannot be met; the session is told why."""


class NotFound(StreamError):
    """Nobody publishes that path, and nobody came in time."""


class AlreadyPublished(StreamError):
    """The path has a publisher and may not be taken over."""


class Denied(StreamError):
    """The peer may not do that. `anonymous` is true where it gave no credentials, so that asking for them may help;
    `explained` where a plugin gave a reason that the peer may read.
    """

    def __init__(self, reason: str, *, anonymous: bool = False, explained: bool = False) -> None:
        super().__init__(reason)
        self.anonymous = anonymous
        self.explained = explained


class Full(Denied):
    """There is no room for another reader, whoever that is."""


class Closed(PenstockError):
    """The connection, sink or stream is closed; the argument says why."""


def leading(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of a task group that says most, as itself: a bug before what a peer did, and that before the rest."""
    found = group.subgroup(_is_bug) or group.subgroup(Exception) or group
    error: BaseException = found
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _is_bug(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(
        error, PenstockError | OSError | BaseExceptionGroup
    )
