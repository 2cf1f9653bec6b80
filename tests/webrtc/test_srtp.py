"""What we encrypt ourselves, libsrtp opens."""

from __future__ import annotations

import struct
from random import Random

import pytest

from penstock_formats.rtp.packet import RtpPacket, extension_elements
from penstock_webrtc.dtls import SrtpKeys
from penstock_webrtc.srtp import Srtp

PROFILES = {"SRTP_AEAD_AES_128_GCM": 28, "SRTP_AEAD_AES_256_GCM": 44, "SRTP_AES128_CM_SHA1_80": 30}
SSRC = 0xFEDCBA98


def pair(profile: str) -> tuple[Srtp, Srtp]:
    """Both ends of a session."""
    size, random = PROFILES[profile], Random(profile)
    ours, theirs = random.randbytes(size), random.randbytes(size)
    return Srtp(SrtpKeys(profile, ours, theirs)), Srtp(SrtpKeys(profile, theirs, ours))


def header(number: int, kind: int, ssrc: int = SSRC) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, 90_000, ssrc)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_peer_opens_what_is_sealed_over_the_wrap_and_with_gaps(profile: str) -> None:
    sender, receiver = pair(profile)
    for number in (0, 2, 32_000, 64_000, 65_534, 65_536, 65_538, 98_000, 130_000, 131_071, 131_073):
        payloads = [Random(number + i).randbytes(4 + (number + i) % 1150) for i in range(2)]
        for ssrc in (SSRC, 7):
            first, last = sender.seal(ssrc, (96, 224), 90_000, payloads, number)
            assert payloads[0] not in first
            assert receiver.unprotect(first) == header(number, 96, ssrc) + payloads[0]
            assert receiver.unprotect(last) == header(number + 1, 224, ssrc) + payloads[1]
            assert receiver.unprotect(last) is None
    flipped = bytearray(sender.seal(SSRC, (96, 224), 90_000, [b"abc"], 131_075)[0])
    flipped[12] ^= 1
    assert receiver.unprotect(bytes(flipped)) is None


@pytest.mark.parametrize("profile", PROFILES)
def test_a_number_is_not_given_twice(profile: str) -> None:
    sender, _ = pair(profile)
    sender.seal(SSRC, (96, 96), 0, [b"one", b"two"], 9)
    for number in (9, 10, 0):
        with pytest.raises(ValueError, match="sealed before"):
            sender.seal(SSRC, (96, 96), 0, [b"other"], number)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_extension_stands_between_header_and_payload(profile: str) -> None:
    sender, receiver = pair(profile)
    extension = b"\xbe\xde\0\1\x31\0\7\0"
    found = sender.seal(SSRC, (96, 224), 90_000, [b"one", b"two"], 65_535, extension)
    opened = [RtpPacket.parse(receiver.unprotect(packet) or b"") for packet in found]
    assert [(p.sequence, p.marker, p.payload) for p in opened] == [(65_535, False, b"one"), (0, True, b"two")]
    assert [p.extension and extension_elements(p.extension) for p in opened] == [[(3, b"\0\7")]] * 2


@pytest.mark.parametrize("profile", PROFILES)
def test_frames_are_sealed_as_one_by_one(profile: str) -> None:
    (sender, receiver), (other, _) = pair(profile), pair(profile)
    rows = [(5, 0xFFFFFF00, [b"one", b"two"]), (7, 0x100, [b"three"])]
    found = sender.source(SSRC).frames((96, 224), rows, 65_529, 0x1FF)
    opened = [RtpPacket.parse(receiver.unprotect(packet) or b"") for packet in found]
    assert [(p.sequence, p.timestamp, p.marker, p.payload) for p in opened] == [
        (65_534, 0xFF, False, b"one"),
        (65_535, 0xFF, True, b"two"),
        (0, 0x2FF, True, b"three"),
    ]
    assert found[:2] == other.seal(SSRC, (96, 224), 0xFF, [b"one", b"two"], 65_534)
    assert found[2:] == other.seal(SSRC, (96, 224), 0x2FF, [b"three"], 65_536)
    for above in (65_529, 65_528, 0):
        with pytest.raises(ValueError, match="sealed before"):
            sender.source(SSRC).frames((96, 224), rows, above, 0)
    with pytest.raises(ValueError, match="sealed before"):
        sender.seal(SSRC, (96, 224), 0, [b"other"], 65_536)
    if sender.repeats:
        assert [
            sender.source(SSRC).again(kind, 0xFF, *one)
            for kind, one in zip((96, 224), ((b"one", 65_534), (b"two", 65_535)), strict=True)
        ] == found[:2]
