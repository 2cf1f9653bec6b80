"""SRTP and SRTCP (RFC 3711, RFC 7714) of one peer: through libsrtp, but for what is sent under AES-GCM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pylibsrtp import Error, Policy, Session

from penstock_webrtc.dtls import SrtpKeys
from penstock_webrtc.sealing import Sealer

MAX_PACKET = 1500
"""Bytes that the library takes; larger packets do not fit the path anyway."""
MAX_SOURCES = 64
"""SSRCs of one peer that are known at a time: simulcast of some tracks, each with its retransmissions."""
WINDOW = 1024
"""Packets back from the newest that are still taken: with retransmissions they come out of order by a round trip."""

_library: Any = Policy
"""Its constants come from C, and have no types."""

_PROFILES: dict[str, int] = {
    "SRTP_AEAD_AES_128_GCM": _library.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AEAD_AES_256_GCM": _library.SRTP_PROFILE_AEAD_AES_256_GCM,
    "SRTP_AES128_CM_SHA1_80": _library.SRTP_PROFILE_AES128_CM_SHA1_80,
}


class Srtp:
    """Encrypts what goes to one peer, and opens what comes from it; what is not the peer's, or came before, is None."""

    __slots__ = ("_inward", "_sources", "protect", "protect_rtcp", "repeats", "seal", "source")

    def __init__(self, keys: SrtpKeys) -> None:
        profile = _PROFILES[keys.profile]
        out = Policy(keys.local, _library.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        inward = Policy(keys.remote, _library.SSRC_ANY_INBOUND, srtp_profile=profile)
        inward.window_size = WINDOW
        sending = Session(out)
        self._inward = Session(inward)
        self._sources: dict[bytes, int] = {}
        self.protect: Callable[[bytes], bytes] = sending.protect
        """A whole RTP packet, encrypted; not for sources whose packets `seal` has."""
        gcm = "GCM" in keys.profile
        sealer = Sealer.gcm(keys.local) if gcm else Sealer.whole(sending.protect)
        self.seal, self.source, self.repeats = sealer.seal, sealer.source, sealer.repeats
        self.protect_rtcp: Callable[[bytes], bytes] = sending.protect_rtcp

    def unprotect(self, data: bytes) -> bytes | None:
        """The RTP packet that came in."""
        return self._opened(self._inward.unprotect, data, data[8:12])

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """The RTCP compound that came in."""
        return self._opened(self._inward.unprotect_rtcp, data, data[4:8])

    def _opened(self, work: Callable[[bytes], bytes], data: bytes, ssrc: bytes) -> bytes | None:
        if len(data) > MAX_PACKET:
            return None
        try:
            found = work(data)
        except Error:
            return None
        sources = self._sources
        if ssrc not in sources and len(sources) == MAX_SOURCES:
            # The one with the fewest packets goes, so that a flood of new ones does not drive out those that carry media:
            # how often their numbers have wrapped would be forgotten with them.
            least = min(sources, key=sources.__getitem__)
            del sources[least]
            self._inward.remove_stream(int.from_bytes(least, "big"))
        sources[ssrc] = sources.get(ssrc, 0) + 1
        return found
