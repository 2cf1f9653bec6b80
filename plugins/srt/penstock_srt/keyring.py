"""The keys of one connection (draft-sharabayko-srt-01 6.1): both ways begin with the same, then each way renews its own."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_srt.cipher import TAG_SIZE, Mode, PayloadCipher, make_cipher
from penstock_srt.key_material import SALT_SIZE, KeyMaterial, encrypting_key
from penstock_srt.settings import Randomness

EVEN = 1
ODD = 2


class Keyring:
    """`ciphers` decrypt, by the bits KK of a packet; `sending` are those bits of what we send."""

    def __init__(
        self, passphrase: str, encrypting: bytes, material: KeyMaterial, keys: Sequence[bytes | None]
    ) -> None:
        self.mode = material.mode
        self.ciphers: list[PayloadCipher | None] = [None, None, None, None]
        self.sending = EVEN if material.keys & EVEN else ODD
        self.announcement: bytes | None = None
        """Key material that the peer has not confirmed."""
        self._passphrase = passphrase
        self._key_size = material.key_size
        # Made of the passphrase at some expense, which peers are not to ask for again and again: one is kept.
        self._salt = material.salt
        self._encrypting = encrypting
        self._install(material.salt, keys)
        key = keys[self.sending - 1]
        if key is None:
            raise ValueError("a key ring without the key to send with")
        self._key = key
        self._cipher = make_cipher(self.mode, key, material.salt)
        self._next: bytes | None = None
        self._count = 0

    @classmethod
    def generate(
        cls, passphrase: str, mode: Mode, key_size: int, random: Randomness
    ) -> tuple[Keyring, bytes]:
        """A ring with a first key, the even one, and the key material that tells the peer."""
        salt, key = random.randbytes(SALT_SIZE), random.randbytes(key_size)
        encrypting = encrypting_key(passphrase, salt, key_size)
        material = KeyMaterial.seal(encrypting, mode, salt, key, None)
        return cls(passphrase, encrypting, material, (key, None)), material.build()

    @classmethod
    def receive(cls, passphrase: str, material: KeyMaterial) -> Keyring | None:
        """The ring of a peer's key material; None where the passphrase is not its."""
        encrypting = encrypting_key(passphrase, material.salt, material.key_size)
        opened = material.open(encrypting)
        return None if opened is None else cls(passphrase, encrypting, material, opened)

    @property
    def overhead(self) -> int:
        """Bytes that encryption adds to a payload."""
        return TAG_SIZE if self.mode is Mode.GCM else 0

    def encrypt(self, first: int, headers: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        """Payloads of packets from the whole sequence number `first` on, with the key that we send with."""
        self._count += len(payloads)
        return self._cipher.encrypt(first, headers, payloads)

    def settled(self, before: int) -> bool:
        """Whether fewer than `before` packets were sent with this key, and the peer has it."""
        return self._count < before and self.announcement is None and self._next is None

    def renew(self, after: int, ahead: int, random: Randomness) -> None:
        """Go on to a new key where `after` packets were sent with this one; announce it `ahead` packets before (6.1.6).

        As libsrt does, we go on whether the peer has confirmed it or not: no key may serve for all sequence numbers.
        """
        if self._next is None:
            if self._count >= after - ahead:
                self._next = random.randbytes(self._key_size)
                keys = (self._key, self._next) if self.sending == EVEN else (self._next, self._key)
                material = KeyMaterial.seal(self._encrypting, self.mode, self._salt, *keys)
                self.announcement = material.build()
        elif self._count >= after:
            self._key, self._next, self._count = self._next, None, 0
            self._cipher = make_cipher(self.mode, self._key, self._salt)
            self.sending ^= EVEN | ODD

    def confirm(self, body: bytes) -> None:
        """The peer has answered with a KMRSP of this body."""
        if body == self.announcement:
            self.announcement = None

    def take(self, material: KeyMaterial) -> bool:
        """Decrypt with what a peer's key material says; false where the passphrase is not its, or the mode changes."""
        if (material.mode, material.key_size) != (self.mode, self._key_size):
            return False
        encrypting = self._encrypting
        if material.salt != self._salt:
            encrypting = encrypting_key(self._passphrase, material.salt, material.key_size)
        opened = material.open(encrypting)
        if opened is None:
            return False
        self._install(material.salt, opened)
        return True

    def _install(self, salt: bytes, keys: Sequence[bytes | None]) -> None:
        for which, key in zip((EVEN, ODD), keys, strict=True):
            if key is not None:
                self.ciphers[which] = make_cipher(self.mode, key, salt)
