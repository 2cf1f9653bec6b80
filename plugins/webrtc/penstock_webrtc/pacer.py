"""Lets out a little at a time what a link that is narrow, or not known yet, would not take at once (docs/adr/0034)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import anyio

from penstock.sink import Spawn

FACTOR = 2.5
"""So many times the rate of the media goes to a viewer: what libwebrtc's pacer does."""
MOST_SECONDS = 0.2
"""Nothing waits for longer: what comes late is shown late."""
NARROW_SECONDS = 1.0
"""The same where a queue stands in front of the link, in which it would wait as well."""
STEP_SECONDS = 0.01
BURST = 16
"""Packets that every link takes at once: the queues of routers are made for that."""


class Pacer:
    """What waits for one peer, in order. `send` takes it when it is due; `rate` tells bits a second of the media, and `bound`
    those that may be sent where a queue stands in front of the link, else None.
    """

    def __init__(
        self,
        send: Callable[[Sequence[bytes]], None],
        rate: Callable[[], float],
        bound: Callable[[], float | None],
        spawn: Spawn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._rate = rate
        self._bound = bound
        self._spawn = spawn
        self._clock = clock
        self._waiting: deque[bytes] = deque()
        self._octets = 0
        self._pace = self._allowed = self._at = 0.0
        self._running = False

    @property
    def waits(self) -> bool:
        """Whether something has not gone out yet, so that nothing may overtake it."""
        return bool(self._waiting)

    @property
    def following(self) -> Iterable[bytes]:
        """All of that, in order."""
        return self._waiting

    def put(self, packets: Sequence[bytes]) -> None:
        """They go out after those that wait."""
        waiting, bound = self._waiting, self._bound()
        if not waiting:
            if bound is None and len(packets) <= BURST:
                self._send(packets)
                return
            self._at, self._allowed = self._clock() - STEP_SECONDS, 0.0
        waiting.extend(packets)
        self._octets += sum(map(len, packets))
        if bound is None:
            self._pace = max(FACTOR * self._rate() / 8, self._octets / MOST_SECONDS)
        else:
            self._pace = max(bound / 8, self._octets / NARROW_SECONDS)
        self.release()
        if not self._running and waiting:
            self._running = True
            self._spawn(self._run)

    def clear(self, ssrc: int | None = None) -> None:
        """Let go of what waits, or of the media of that sender among it."""
        name = ssrc.to_bytes(4, "big") if ssrc is not None else b""
        self._waiting = deque(packet for packet in self._waiting if name and packet[8:12] != name)
        self._octets = sum(map(len, self._waiting))

    def release(self) -> None:
        """Send what is due."""
        now, waiting = self._clock(), self._waiting
        self._allowed += self._pace * (now - self._at)
        self._at = now
        due: list[bytes] = []
        while waiting and self._allowed > 0:
            due.append(waiting.popleft())
            self._allowed -= len(due[-1])
        self._octets -= sum(map(len, due))
        self._send(due)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await anyio.sleep(STEP_SECONDS)
                self.release()
        finally:
            self._running = False
