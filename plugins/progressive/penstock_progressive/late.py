"""A publisher that takes its name with its first track: what turns out to be no such body never had it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.media import Codec, CodecConfig, Track
from penstock.publisher import Publisher
from penstock.session import Session
from penstock.stream import Stream


class LatePublisher:
    """A `TrackWriter` that calls `publish` where there is something to publish."""

    def __init__(self, session: Session, publish: Callable[[], Publisher]) -> None:
        self._session = session
        self._publish = publish
        self._publisher: Publisher | None = None
        self._before = 0
        """Frames of the publishers that the stream had before."""
        self.dropped = 0
        """Frames that could not be used, which are counted as the publisher's at the end."""

    def begin(self) -> Publisher:
        """Publish now, unless that is done."""
        if self._publisher is None:
            self._publisher = self._publish()
            self._before = self._publisher.stream.frames_in
        return self._publisher

    @property
    def stream(self) -> Stream:
        return self.begin().stream

    @property
    def session(self) -> Session:
        return self._session

    @property
    def has_frames(self) -> bool:
        return self._publisher is not None and self._publisher.stream.frames_in > self._before

    def add_track(
        self,
        codec: Codec,
        clock_rate: int,
        config: CodecConfig | None = None,
        *,
        group: str | None = None,
        language: str | None = None,
    ) -> Track:
        return self.begin().add_track(codec, clock_rate, config, group=group, language=language)

    def configure(self, track_id: int, config: CodecConfig) -> None:
        self.begin().configure(track_id, config)

    def tracks_complete(self, order: Sequence[int] = ()) -> None:
        self.begin().tracks_complete(order)

    def write(self, track_id: int, units: tuple[bytes, ...], **times: Any) -> None:
        self.begin().write(track_id, units, **times)

    async def flush(self) -> None:
        """Let the readers have what is due."""
        if self._publisher is not None:
            await self._publisher.flush()

    def close(self, reason: str) -> None:
        """No more frames."""
        if self._publisher is not None:
            self._publisher.dropped += self.dropped
            self._publisher.close(reason)
