"""DTLS 1.2 through OpenSSL, in memory: datagrams in, datagrams out, and keys for SRTP at the end (RFC 5764).

OpenSSL sees one datagram at a time, since what lies in its buffer has no borders any more; what it writes is cut at
the borders of records.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from OpenSSL import SSL

MTU = 1200
"""Bytes of a datagram of ours: what libwebrtc takes for safe on every path."""
MAX_HANDSHAKE_BYTES = 64 << 10
"""What a peer may send before the handshake is done: certificates have a few KB, and each flight comes some times."""
MAX_DATAGRAM = 65_536

_DTLS_1_2 = 0xFEFD
_RECORD_HEADER = 13
_EXPORTER = b"EXTRACTOR-dtls_srtp"
_PROFILES = {
    # RFC 5764 4.1.2, RFC 7714 14.2: the bytes of key and salt, in order of preference.
    b"SRTP_AEAD_AES_128_GCM": (16, 12),
    b"SRTP_AEAD_AES_256_GCM": (32, 12),
    b"SRTP_AES128_CM_SHA1_80": (16, 14),
}
HASHES: dict[str, Callable[[], HashAlgorithm]] = {"sha-256": SHA256, "sha-384": SHA384, "sha-512": SHA512}
"""RFC 8122 5: of the hashes of fingerprints those that are still safe."""

Fingerprint = tuple[str, bytes]
"""The name of a hash, and a certificate's."""


@frozen
class SrtpKeys:
    """What both sides have after the handshake: each key with its salt behind it."""

    profile: str
    local: bytes
    remote: bytes


@frozen(eq=False)
class Identity:
    """Our certificate, the same for all peers of a server."""

    context: SSL.Context
    fingerprint: Fingerprint

    @classmethod
    def of(cls, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> Identity:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_tlsext_use_srtp(b":".join(_PROFILES))
        # Certificates of WebRTC are their own proof: the fingerprint in the SDP says whose they are (RFC 8827 6.5).
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _any_certificate)
        return cls(context, ("sha-256", certificate.fingerprint(SHA256())))


def _any_certificate(
    _connection: SSL.Connection, _certificate: object, _error: int, _depth: int, _ok: int
) -> bool:
    return True


class Dtls:
    """One handshake, and what follows. `fingerprints` are those that the peer's SDP has of its certificate."""

    def __init__(self, identity: Identity, fingerprints: Iterable[Fingerprint], *, client: bool) -> None:
        self.keys: SrtpKeys | None = None
        """Once the handshake is done."""
        self.failure = ""
        """Why it came to nothing, or that the peer ended it."""
        self._fingerprints = tuple(fingerprints)
        self._client = client
        self._taken = 0
        self._connection = SSL.Connection(identity.context, None)
        self._connection.set_ciphertext_mtu(MTU)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def start(self) -> None:
        """Say hello, as the client; the server waits for that."""
        if self._client:
            self._advance()

    def take(self, data: bytes) -> None:
        """A datagram of the peer."""
        if self.failure:
            return
        self._taken += len(data)
        if self.keys is None and self._taken > MAX_HANDSHAKE_BYTES:
            self.failure = f"the DTLS handshake took more than {MAX_HANDSHAKE_BYTES} bytes"
            return
        self._connection.bio_write(data)
        if self.keys is None:
            self._advance()
        if self.keys is not None:
            self._drain()

    @property
    def timeout(self) -> float | None:
        """Seconds until `handle_timeout` is due; None while nothing is to be sent again."""
        if self.failure or self.keys is not None:
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timeout(self) -> None:
        """Send the last flight again, where it is time."""
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as e:
            self.failure = _reason(e)

    def datagrams(self) -> Sequence[bytes]:
        """What is to be sent now."""
        found: list[bytes] = []
        while True:
            try:
                data = self._connection.bio_read(MAX_DATAGRAM)
            except SSL.WantReadError:
                return found
            found += _datagrams(data)

    def close(self) -> None:
        """Say goodbye, where there was a handshake."""
        if self.keys is not None and not self.failure:
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass
            self.failure = "closed"

    def _advance(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as e:
            self.failure = _reason(e)
            return
        self._finish()

    def _finish(self) -> None:
        connection = self._connection
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not any(
            hmac.compare_digest(certificate.fingerprint(HASHES[name]()), value)
            for name, value in self._fingerprints
            if name in HASHES
        ):
            self.failure = "the peer's certificate is not the one of its SDP"
            return
        profile = connection.get_selected_srtp_profile()
        if profile not in _PROFILES:
            # RFC 5764 4.1.1: without a common profile the handshake succeeds all the same.
            self.failure = "no SRTP profile in common"
            return
        key, salt = _PROFILES[profile]
        material = connection.export_keying_material(_EXPORTER, 2 * (key + salt))
        # RFC 5764 4.2: the client's key, the server's, then their salts.
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        ours, theirs = (client, server) if self._client else (server, client)
        self.keys = SrtpKeys(profile.decode(), ours, theirs)

    def _drain(self) -> None:
        """Read what came after the handshake: no data is expected, but the peer's goodbye is."""
        try:
            while self._connection.recv(MAX_DATAGRAM):
                pass
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self.failure = "the peer left"
        except SSL.Error as e:
            self.failure = _reason(e)


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words for what went wrong first."""
    match error.args:
        case ([(*_, str(words)), *_],) if words:
            return f"DTLS failed: {words}"
        case _:
            return f"DTLS failed: {type(error).__name__}"


def _datagrams(data: bytes) -> list[bytes]:
    """Whole records, as many to a datagram as there is room for."""
    found: list[bytes] = []
    start = at = 0
    while at + _RECORD_HEADER <= len(data):
        end = at + _RECORD_HEADER + int.from_bytes(data[at + 11 : at + 13], "big")
        if end - start > MTU and at > start:
            found.append(data[start:at])
            start = at
        at = end
    return [*found, data[start:]]
