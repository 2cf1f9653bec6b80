"""The keys of one connection: the same ones both ways (draft-sharabayko-srt-01 6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_srt.cipher import TAG_SIZE, Mode, PayloadCipher, make_cipher
from penstock_srt.key_material import SALT_SIZE, KeyMaterial
from penstock_srt.sequence import MASK
from penstock_srt.settings import Randomness

EVEN = 1
ODD = 2


class Keyring:
    """`ciphers` are by the bits KK of a packet; `sending` are those bits of what we send."""

    def __init__(self, passphrase: str, mode: Mode, key_size: int) -> None:
        self.passphrase = passphrase
        self.mode = mode
        self.key_size = key_size
        self.ciphers: list[PayloadCipher | None] = [None, None, None, None]
        self.sending = EVEN

    @property
    def overhead(self) -> int:
        """Bytes that encryption adds to a payload."""
        return TAG_SIZE if self.mode is Mode.GCM else 0

    @classmethod
    def generate(
        cls, passphrase: str, mode: Mode, key_size: int, random: Randomness
    ) -> tuple[Keyring, bytes]:
        """A ring with a first key, the even one, and the key material that tells the peer."""
        ring = cls(passphrase, mode, key_size)
        return ring, ring.renew(EVEN, random)

    @classmethod
    def receive(cls, passphrase: str, material: KeyMaterial) -> Keyring | None:
        """The ring of a peer's key material; None where the passphrase is not its."""
        ring = cls(passphrase, material.mode, material.key_size)
        if not ring.take(material):
            return None
        ring.sending = EVEN if material.keys & EVEN else ODD
        return ring

    def renew(self, which: int, random: Randomness) -> bytes:
        """Make a new key `which`, and the key material for it."""
        salt, key = random.randbytes(SALT_SIZE), random.randbytes(self.key_size)
        self.ciphers[which] = make_cipher(self.mode, key, salt)
        even, odd = (key, None) if which == EVEN else (None, key)
        return KeyMaterial.seal(self.passphrase, self.mode, salt, even, odd).build()

    def encrypt(self, first: int, headers: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        """Payloads of packets from the whole sequence number `first` on, with the key that we send with."""
        cipher = self.ciphers[self.sending]
        if cipher is None:
            raise RuntimeError("no key to send with")
        encrypt = cipher.encrypt
        return [
            encrypt((first + n) & MASK, header, payload)
            for n, (header, payload) in enumerate(zip(headers, payloads, strict=True))
        ]

    def take(self, material: KeyMaterial) -> bool:
        """Use the keys of a peer's key material; false where the passphrase is not its, or the mode changes."""
        opened = material.open(self.passphrase)
        if opened is None or (material.mode, material.key_size) != (self.mode, self.key_size):
            return False
        for which, key in zip((EVEN, ODD), opened, strict=True):
            if key is not None:
                self.ciphers[which] = make_cipher(self.mode, key, material.salt)
        return True
