"""AES-128 of whole segments (RFC 8216bis 4.4.4.4)."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from penstock.errors import Closed, ProtocolViolation
from penstock_hls.decryption import Decryption, check_key, initialization_vector
from penstock_hls.media_playlist import Key

SECRET, IV = bytes(range(16)), bytes(range(16, 32))


def encrypted(data: bytes) -> bytes:
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(SECRET), modes.CBC(IV)).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 1000])
@pytest.mark.parametrize("step", [1, 7, 16, 4096])
def test_any_size_in_any_pieces(size: int, step: int) -> None:
    data = encrypted(bytes(n & 255 for n in range(size)))
    cipher = Decryption(SECRET, IV)
    found = b"".join(cipher.update(data[at : at + step]) for at in range(0, len(data), step))
    assert found + cipher.finish() == bytes(n & 255 for n in range(size))


@pytest.mark.parametrize("data", [b"", encrypted(b"abc")[:-1], bytes(32)])
def test_what_is_not_encrypted_so_is_refused(data: bytes) -> None:
    cipher = Decryption(SECRET, IV)
    cipher.update(data)
    with pytest.raises(ProtocolViolation):
        cipher.finish()


def test_the_iv_is_the_keys_or_the_segments_number() -> None:
    assert initialization_vector(Key("AES-128", "k"), 258) == bytes(14) + b"\1\2"
    assert initialization_vector(Key("AES-128", "k", "0X0a"), 1) == bytes(15) + b"\x0a"
    for wrong in ("0x", "12", "0x" + "f" * 33, "0xzz", "0x1_0"):
        with pytest.raises(ProtocolViolation, match="an IV of"):
            initialization_vector(Key("AES-128", "k", wrong), 1)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (Key("SAMPLE-AES", "k"), "encrypted by SAMPLE-AES, which is not supported"),
        (Key("AES-128"), "a key without a URI"),
        (Key("AES-128", "k", key_format="com.apple.streamingkeydelivery"), "a key of the format com.apple"),
    ],
)
def test_other_encryption_is_refused_by_its_name(key: Key, reason: str) -> None:
    with pytest.raises(ProtocolViolation, match=reason):
        check_key(key)
    assert check_key(Key("AES-128", "k", key_format="identity")) == "k"


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="a key of 5 bytes"):
        Decryption(b"short", IV)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(Closed, match=r"pip install 'penstock\[hls\]'"):
        Decryption(SECRET, IV)
