"""An FLV body to frames."""

from __future__ import annotations

from penstock.publisher import TrackWriter
from penstock.server import Server
from penstock_formats.flv.file import Demuxer, FlvTag, ScriptTag
from penstock_formats.flv.ingest import Ingest


class FlvIngest:
    """What one publisher sends as an FLV file. After each `receive`, call its `flush`."""

    def __init__(self, publisher: TrackWriter, server: Server) -> None:
        self._demuxer = Demuxer()
        self._ingest = Ingest(publisher, server)

    def receive(self, data: bytes) -> None:
        """Take the next bytes. Raises `ProtocolViolation` for what cannot be read."""
        demuxer, ingest = self._demuxer, self._ingest
        demuxer.receive_data(data)
        while (event := demuxer.next_event()) is not None:
            if type(event) is FlvTag:
                ingest.media(event.type, event.timestamp, event.body)
            elif type(event) is ScriptTag:
                if event.metadata is not None:
                    ingest.metadata(event.metadata)
                else:
                    ingest.script(event.timestamp, event.name, event.values)

    def end(self) -> None:
        """A tag that was cut off is lost; nothing else waits."""
