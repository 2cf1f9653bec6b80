"""Statistics of a connection, by libsrt's names and units (docs/API/statistics.md of libsrt)."""

from __future__ import annotations

from attrs import define, fields


@define
class Statistics:
    """Names begin with their unit: ``pkt`` packets, ``byte`` payload bytes with header, ``ms``, ``mbps`` Mbit/s.

    Those of the second group are as they are now, all others are totals since the connection began.
    `pktRcvBelated` are packets that came when they had been given up, or came before; `mbpsBandwidth` is the most that
    was received in one acknowledgement's interval, by us or (where we send) by the peer: at least that much fits.
    """

    pktSent: int = 0
    byteSent: int = 0
    pktRecv: int = 0
    byteRecv: int = 0
    pktSndLoss: int = 0
    pktRcvLoss: int = 0
    pktRetrans: int = 0
    pktRcvRetrans: int = 0
    pktSndDrop: int = 0
    pktRcvDrop: int = 0
    pktRcvBelated: int = 0
    pktRcvUndecrypt: int = 0
    pktRcvDiscarded: int = 0
    """Data packets far off the sequence, or for which the buffer has no room."""
    pktMalformed: int = 0
    """Packets that are none, for somebody else, or of no sense."""
    pktSentACK: int = 0
    pktRecvACK: int = 0
    pktSentNAK: int = 0
    pktRecvNAK: int = 0

    msRTT: float = 0.0
    msRTTVariance: float = 0.0
    pktFlightSize: int = 0
    pktFlowWindow: int = 0
    pktSndBuf: int = 0
    msSndBuf: float = 0.0
    pktRcvBuf: int = 0
    msRcvBuf: float = 0.0
    msRcvTsbPdDelay: float = 0.0
    msSndTsbPdDelay: float = 0.0
    msDrift: float = 0.0
    mbpsSendRate: float = 0.0
    mbpsRecvRate: float = 0.0
    mbpsBandwidth: float = 0.0

    def add(self, other: Statistics) -> None:
        """Have counts and rates of another connection in it; what there is one of remains this one's."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


NAMES = tuple(attribute.name for attribute in fields(Statistics))
_SHARED = {"pktFlowWindow", "pktRcvBuf"}
_ADDED = tuple(name for name in NAMES if not name.startswith("ms") and name not in _SHARED)
