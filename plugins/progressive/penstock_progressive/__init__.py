"""FLV, MPEG-TS and fragmented MP4 as one long response over HTTP or WebSocket, and as the body of a POST or PUT."""
