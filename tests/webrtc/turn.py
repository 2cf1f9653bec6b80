"""What a client of TURN says (RFC 8656), and how it reads the answers."""

from __future__ import annotations

from hashlib import md5
from ipaddress import ip_address
from random import Random

from attrs import define, field

from penstock_webrtc.stun import COOKIE, Attribute, Kind, StunMessage, parse_xor_address
from penstock_webrtc.turn import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND

UDP = (int(Attribute.REQUESTED_TRANSPORT), b"\x11\0\0\0")
Peer = tuple[str, int]


@define
class TurnClient:
    """Makes messages. `learn` takes realm and nonce from an answer that asks for them."""

    name: str
    password: str
    random: Random = field(factory=Random)
    realm: bytes = b""
    nonce: bytes = b""

    @property
    def key(self) -> bytes:
        return md5(f"{self.name}:{self.realm.decode()}:{self.password}".encode()).digest()

    def learn(self, data: bytes) -> None:
        answer = StunMessage.parse(data)
        self.realm = answer.get(Attribute.REALM) or b""
        self.nonce = answer.get(Attribute.NONCE) or b""

    def request(self, method: int, *attributes: tuple[int, bytes], signed: bool = True) -> bytes:
        every = tuple(attributes)
        if signed:
            every += ((Attribute.USERNAME, self.name.encode()), (Attribute.REALM, self.realm))
            every += ((Attribute.NONCE, self.nonce),)
        message = StunMessage(Kind.REQUEST, method, self.random.randbytes(12), every)
        return message.encode(self.key if signed else None)

    def to_peers(self, method: int, *peers: Peer, more: tuple[tuple[int, bytes], ...] = ()) -> bytes:
        """A request that names peers."""
        transaction = self.random.randbytes(12)
        every = [(int(Attribute.XOR_PEER_ADDRESS), address_of(peer, transaction)) for peer in peers]
        every += [*more, (Attribute.USERNAME, self.name.encode()), (Attribute.REALM, self.realm)]
        every += [(Attribute.NONCE, self.nonce)]
        return StunMessage(Kind.REQUEST, method, transaction, tuple(every)).encode(self.key)

    def allocate(self, *attributes: tuple[int, bytes]) -> bytes:
        return self.request(ALLOCATE, *(attributes or (UDP,)))

    def refresh(self, seconds: int) -> bytes:
        return self.request(REFRESH, (Attribute.LIFETIME, seconds.to_bytes(4, "big")))

    def permit(self, *peers: Peer) -> bytes:
        return self.to_peers(CREATE_PERMISSION, *peers)

    def bind(self, number: int, peer: Peer) -> bytes:
        channel = (int(Attribute.CHANNEL_NUMBER), number.to_bytes(2, "big") + bytes(2))
        return self.to_peers(CHANNEL_BIND, peer, more=(channel,))

    def send(self, peer: Peer, data: bytes) -> bytes:
        transaction = self.random.randbytes(12)
        every = (
            (int(Attribute.XOR_PEER_ADDRESS), address_of(peer, transaction)),
            (int(Attribute.DATA), data),
        )
        return StunMessage(Kind.INDICATION, SEND, transaction, every).encode()


def address_of(peer: Peer, transaction: bytes) -> bytes:
    """XOR-PEER-ADDRESS as it is: an IPv4 address within IPv6 stays one of IPv6."""
    ip = ip_address(peer[0])
    port = (peer[1] ^ 0x2112).to_bytes(2, "big")
    masked = bytes(a ^ b for a, b in zip(ip.packed, COOKIE + transaction, strict=False))
    return bytes((0, 1 if ip.version == 4 else 2)) + port + masked


def code(data: bytes) -> int:
    """The error code of an answer; 0 where it is none."""
    answer = StunMessage.parse(data)
    value = answer.get(Attribute.ERROR_CODE)
    return value[2] * 100 + value[3] if value is not None else 0


def lifetime(data: bytes) -> int:
    return int.from_bytes(StunMessage.parse(data).get(Attribute.LIFETIME) or b"", "big")


def relayed(data: bytes) -> Peer:
    answer = StunMessage.parse(data)
    return parse_xor_address(answer.get(Attribute.XOR_RELAYED_ADDRESS) or b"", answer.transaction)


def unwrapped(data: bytes) -> tuple[Peer, bytes]:
    """Peer and datagram of a Data indication."""
    message = StunMessage.parse(data)
    peer = parse_xor_address(message.get(Attribute.XOR_PEER_ADDRESS) or b"", message.transaction)
    return peer, message.get(Attribute.DATA) or b""
