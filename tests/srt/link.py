"""Two ends of SRT over a link of its own time, that loses, holds up, doubles and damages datagrams."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from random import Random

from attrs import define, field

from penstock_srt.connection import Closed, Connection, Received, Terms
from penstock_srt.keyring import Keyring
from penstock_srt.sequence import MASK
from penstock_srt.settings import MS, Settings

LEFT = ("192.0.2.1", 9000)
RIGHT = ("192.0.2.2", 9000)


@define
class Weather:
    """What befalls datagrams: shares of them, and times in ms."""

    loss: float = 0.0
    duplicate: float = 0.0
    damage: float = 0.0
    delay: float = 20.0
    jitter: float = 0.0
    burst: float = 0.0
    """Mean length of losses in a row; 0 for each by itself."""


class Link:
    """Carries datagrams; the time is `now`, in ns."""

    def __init__(self, weather: Weather, random: Random, now: int = 10**12) -> None:
        self.weather = weather
        self.random = random
        self.now = now
        self.carried = 0
        self._heap: list[tuple[int, int, int, bytes]] = []
        self._count = 0
        self._bad = [False, False]

    def put(self, to: int, datagrams: Iterable[bytes]) -> None:
        """Send to end 0 or 1."""
        weather, random = self.weather, self.random
        for data in datagrams:
            self.carried += 1
            if self._lost(to):
                continue
            for _ in range(1 + (random.random() < weather.duplicate)):
                due = self.now + int((weather.delay + random.random() * weather.jitter) * MS)
                if data and random.random() < weather.damage:
                    at = random.randrange(len(data))
                    data = data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
                self._count += 1
                heapq.heappush(self._heap, (due, self._count, to, data))

    def _lost(self, to: int) -> bool:
        weather, random = self.weather, self.random
        if weather.burst <= 1:
            return random.random() < weather.loss
        leave = 1 / weather.burst
        enter = leave * weather.loss / (1 - weather.loss)
        bad = random.random() >= leave if self._bad[to] else random.random() < enter
        self._bad[to] = bad
        return bad

    @property
    def next_arrival(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def arrived(self) -> list[list[bytes]]:
        """What has come to each end by now."""
        found: list[list[bytes]] = [[], []]
        while self._heap and self._heap[0][0] <= self.now:
            _, _, to, data = heapq.heappop(self._heap)
            found[to].append(data)
        return found


@define
class End:
    """What one end got."""

    connection: Connection
    received: list[bytes] = field(factory=list[bytes])
    times: list[int] = field(factory=list[int])
    dropped: int = 0
    closed: str = ""


class Pair:
    """Two connections that know each other, at the ends of `link`."""

    def __init__(
        self,
        link: Link,
        settings: Settings,
        sequence: int = 1000,
        stamp: int = 0,
        keys: tuple[Keyring, Keyring] | None = None,
    ) -> None:
        """`stamp` is what both ends' time stamps are now, in us."""
        self.link = link
        now, one_way = link.now, int(link.weather.delay * MS)
        start = now - stamp * 1000

        def end(id: int, peer_id: int, own: int, peer: int, ring: Keyring | None) -> End:
            terms = Terms(
                id,
                peer_id,
                own & MASK,
                peer & MASK,
                settings.latency,
                settings.latency,
                settings.mtu,
                settings.window,
                start,
                start + one_way,
                ring,
            )
            return End(Connection(terms, settings, (LEFT, RIGHT)[id - 1], b"", link.random, now))

        self.turns = 0
        """How often an end was served."""
        rings = keys or (None, None)
        self.ends = (
            end(1, 2, sequence, sequence + 7, rings[0]),
            end(2, 1, sequence + 7, sequence, rings[1]),
        )

    def send(self, by: int, payloads: list[bytes]) -> None:
        self.link.put(1 - by, self.ends[by].connection.send(payloads, self.link.now))

    def close(self, by: int) -> None:
        self.ends[by].connection.close("done")
        self._serve(by, [])

    def run(self, ms: float) -> None:
        """Let time pass: each end is served when something came, and when it asked to be."""
        link, until = self.link, self.link.now + int(ms * MS)
        while True:
            times = [link.next_arrival, *(end.connection.next_timeout() for end in self.ends)]
            soonest = min((t for t in times if t is not None), default=until)
            if soonest >= until:
                break
            link.now = max(link.now, soonest)
            for n, datagrams in enumerate(link.arrived()):
                self._serve(n, datagrams)
        link.now = until

    def _serve(self, n: int, datagrams: list[bytes]) -> None:
        end, now = self.ends[n], self.link.now
        connection = end.connection
        self.turns += 1
        if datagrams:
            connection.receive_datagrams(datagrams, now)
        timeout = connection.next_timeout()
        if timeout is not None and timeout <= now:
            connection.handle_timeout(now)
        self.link.put(1 - n, connection.datagrams_to_send(now))
        timeout = connection.next_timeout()
        if timeout is not None and timeout <= now:
            raise AssertionError("what was due was done, and is due again")
        while (event := connection.next_event()) is not None:
            match event:
                case Received(payloads, dropped):
                    end.received += payloads
                    end.times += [now] * len(payloads)
                    end.dropped += dropped
                case Closed(reason):
                    end.closed = reason
