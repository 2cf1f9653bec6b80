"""Basic (RFC 7617) and Digest (RFC 7616, 2617) authentication: headers, responses, nonces without state."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re

from attrs import frozen

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_rtsp.parameter import quote, split_list, unquote

MAX_LENGTH = 4096
"""Characters of one header: a user name of 10 KiB is an attack."""
MAX_FIELDS = 32
NONCE_LIFETIME = 60 * NS
"""A captured request can be replayed for so long; a session authenticates within seconds."""

_CLAUSE = "RFC 7616 3"
_COUNT = re.compile(r"[0-9a-fA-F]{8}")
_RESPONSE = re.compile(r"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")


class Algorithm(enum.StrEnum):
    """Digest algorithms: MD5 is all that many cameras and FFmpeg know."""

    MD5 = "MD5"
    SHA256 = "SHA-256"

    def hash(self, text: str) -> str:
        """The digest of `text` in hexadecimal."""
        if self is Algorithm.MD5:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return hashlib.sha256(text.encode()).hexdigest()


@frozen
class Challenge:
    """What a server asks for. `scheme` is Basic or Digest; all but `realm` belongs to Digest."""

    scheme: str
    realm: str
    nonce: str = ""
    algorithm: Algorithm = Algorithm.MD5
    qop: bool = False
    opaque: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, value: str) -> Challenge | None:
        """The challenge of one WWW-Authenticate value, None for a scheme or algorithm that is not known.

        Raises `ProtocolViolation` for one that is malformed.
        """
        scheme, fields = _parse_fields(value)
        if scheme == "basic":
            return cls("Basic", fields.get("realm", ""))
        algorithm = _ALGORITHMS.get(fields.get("algorithm", "MD5").upper())
        if scheme != "digest" or algorithm is None:
            return None
        if not fields.get("nonce") or "realm" not in fields:
            raise ProtocolViolation("Digest challenge without realm or nonce", "RFC 7616 3.3")
        offered = [word.strip().lower() for word in fields.get("qop", "").split(",")]
        if "qop" in fields and "auth" not in offered:
            return None
        return cls(
            "Digest", fields["realm"], fields["nonce"], algorithm, "qop" in fields, fields.get("opaque"),
            fields.get("stale", "").lower() == "true",
        )  # fmt: skip

    def build(self) -> str:
        """The header's value."""
        if self.scheme == "Basic":
            return f"Basic realm={quote(self.realm)}"
        parts = [f"realm={quote(self.realm)}", f"nonce={quote(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        # FFmpeg knows no algorithm field but MD5, which is what its absence means.
        if self.algorithm is not Algorithm.MD5:
            parts.append(f"algorithm={self.algorithm}")
        if self.qop:
            parts.append('qop="auth"')
        if self.stale:
            parts.append("stale=true")
        return "Digest " + ", ".join(parts)

    def answer(
        self, user: str, password: str, method: str, url: str, cnonce: str = "", count: int = 1
    ) -> str:
        """The Authorization value of a client; `cnonce` is random text, needed where `qop` is set."""
        if self.scheme == "Basic":
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        digest = DigestCredentials(
            user, self.realm, self.nonce, url, "", self.algorithm, f"{count:08x}" if self.qop else None,
            cnonce if self.qop else None, self.opaque,
        )  # fmt: skip
        ha1 = digest_ha1(user, self.realm, password, self.algorithm)
        return digest.build(digest.expected(ha1, method))


_ALGORITHMS = {str(algorithm): algorithm for algorithm in Algorithm}


def digest_ha1(user: str, realm: str, password: str, algorithm: Algorithm = Algorithm.MD5) -> str:
    """The hash that stands for a password."""
    return algorithm.hash(f"{user}:{realm}:{password}")


@frozen
class BasicCredentials:
    user: str
    secret: str

    def verify(self, password: str) -> bool:
        """Whether the peer gave `password`, in constant time."""
        return hmac.compare_digest(self.secret.encode(), password.encode())


@frozen
class DigestCredentials:
    """`count` and `cnonce` are given where the quality of protection is ``auth``."""

    user: str
    realm: str
    nonce: str
    url: str
    response: str
    algorithm: Algorithm = Algorithm.MD5
    count: str | None = None
    cnonce: str | None = None
    opaque: str | None = None

    def expected(self, ha1: str, method: str) -> str:
        """The response of one who knows `ha1` (RFC 7616 3.4.1)."""
        ha2 = self.algorithm.hash(f"{method}:{self.url}")
        if self.count is None:
            return self.algorithm.hash(f"{ha1}:{self.nonce}:{ha2}")
        return self.algorithm.hash(f"{ha1}:{self.nonce}:{self.count}:{self.cnonce}:auth:{ha2}")

    def verify(self, method: str, *, password: str | None = None, ha1: str | None = None) -> bool:
        """Whether the peer knows the password, of which `ha1` may be all that is stored; in constant time.

        The caller checks that realm, nonce, algorithm and URL are those that it gave.
        """
        if ha1 is None:
            ha1 = digest_ha1(self.user, self.realm, password or "", self.algorithm)
        return hmac.compare_digest(self.expected(ha1, method).encode(), self.response.lower().encode())

    def build(self, response: str) -> str:
        """The Authorization value with that response."""
        parts = [
            f"username={quote(self.user)}", f"realm={quote(self.realm)}", f"nonce={quote(self.nonce)}",
            f"uri={quote(self.url)}", f'response="{response}"',
        ]  # fmt: skip
        if self.algorithm is not Algorithm.MD5:
            parts.append(f"algorithm={self.algorithm}")
        if self.count is not None:
            parts += ["qop=auth", f"nc={self.count}", f"cnonce={quote(self.cnonce or '')}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        return "Digest " + ", ".join(parts)


def parse_authorization(value: str) -> BasicCredentials | DigestCredentials:
    """The credentials of an Authorization header; raises `ProtocolViolation`."""
    if value[:6].lower() == "basic ":
        return _parse_basic(value[6:].strip())
    scheme, fields = _parse_fields(value)
    if scheme != "digest":
        raise ProtocolViolation("Authorization is neither Basic nor Digest", _CLAUSE)
    for name in ("username", "realm", "nonce", "uri", "response"):
        if not fields.get(name):
            raise ProtocolViolation(f"Digest authorization without {name}", "RFC 7616 3.4")
    if not _RESPONSE.fullmatch(fields["response"]):
        raise ProtocolViolation("Digest response is not hexadecimal", "RFC 7616 3.4")
    algorithm = _ALGORITHMS.get(fields.get("algorithm", "MD5").upper())
    if algorithm is None:
        raise ProtocolViolation("unknown Digest algorithm", "RFC 7616 3.4")
    count = cnonce = None
    if "qop" in fields:
        count, cnonce = fields.get("nc"), fields.get("cnonce")
        if fields["qop"].lower() != "auth" or not _COUNT.fullmatch(count or "") or not cnonce:
            raise ProtocolViolation("Digest qop is not auth, or without nc and cnonce", "RFC 7616 3.4")
    return DigestCredentials(
        fields["username"], fields["realm"], fields["nonce"], fields["uri"], fields["response"], algorithm,
        count, cnonce, fields.get("opaque"),
    )  # fmt: skip


def _parse_basic(text: str) -> BasicCredentials:
    if len(text) > MAX_LENGTH:
        raise ProtocolViolation(f"Authorization above {MAX_LENGTH} characters", "RFC 7617 2")
    try:
        plain = base64.b64decode(text.encode("ascii"), validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise ProtocolViolation("Basic authorization is not base64 of UTF-8", "RFC 7617 2") from None
    user, colon, password = plain.partition(":")
    if not colon or not user:
        raise ProtocolViolation("Basic authorization without user and colon", "RFC 7617 2")
    return BasicCredentials(user, password)


def _parse_fields(value: str) -> tuple[str, dict[str, str]]:
    if len(value) > MAX_LENGTH:
        raise ProtocolViolation(f"authentication header above {MAX_LENGTH} characters", _CLAUSE)
    scheme, _, rest = value.strip().partition(" ")
    parts = split_list(rest)
    if len(parts) > MAX_FIELDS:
        raise ProtocolViolation(f"more than {MAX_FIELDS} authentication fields", _CLAUSE)
    fields: dict[str, str] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        key = key.strip().lower()
        if part and (not equals or not key or key in fields):
            raise ProtocolViolation("authentication field without a value, or twice", _CLAUSE)
        if part:
            fields[key] = unquote(text)
    return scheme.lower(), fields


class NonceState(enum.Enum):
    """`STALE` is our own but too old: the client may try again with a new one, unseen by the user."""

    FRESH = enum.auto()
    STALE = enum.auto()
    FOREIGN = enum.auto()


def make_nonce(secret: bytes, now: int) -> str:
    """A nonce that `check_nonce` knows again without having kept it; `now` is in nanoseconds."""
    stamp = f"{now:016x}"
    return stamp + _nonce_tag(secret, stamp)


def check_nonce(secret: bytes, nonce: str, now: int, lifetime: int = NONCE_LIFETIME) -> NonceState:
    """Whether `nonce` was made with `secret`, and within `lifetime` nanoseconds before `now`."""
    stamp, tag = nonce[:16], nonce[16:]
    if not hmac.compare_digest(_nonce_tag(secret, stamp).encode(), tag.encode()):
        return NonceState.FOREIGN
    return NonceState.FRESH if 0 <= now - int(stamp, 16) <= lifetime else NonceState.STALE


def _nonce_tag(secret: bytes, stamp: str) -> str:
    return hmac.new(secret, stamp.encode(), "sha256").hexdigest()[:32]
