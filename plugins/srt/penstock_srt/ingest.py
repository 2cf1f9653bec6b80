"""A publisher's payloads to frames."""

from __future__ import annotations

from penstock.publisher import Publisher
from penstock.server import Server
from penstock_formats import mpegts


class Ingest:
    """What one peer sends, which is one transport stream."""

    def __init__(self, publisher: Publisher, server: Server) -> None:
        self.publisher = publisher
        self._ingest = mpegts.Ingest(publisher, server)

    def receive(self, payloads: list[bytes], dropped: int) -> Publisher | None:
        """Take payloads in order; what was dropped on the way shows in the stream's own counters.

        Raises `ProtocolViolation` where there is no MPEG-TS.
        """
        if self.publisher.closed:
            return None
        # Joined, since what the demuxer costs is in good part per call.
        self._ingest.receive(b"".join(payloads))
        return self.publisher

    async def finish(self) -> None:
        """Nothing follows: what waits for more comes out."""
        if not self.publisher.closed:
            self._ingest.end()
            await self.publisher.flush()
