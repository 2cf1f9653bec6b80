"""HLS and Low-Latency HLS (RFC 8216bis)."""
