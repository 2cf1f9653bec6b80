"""Basic and Digest: RFC examples, bad forms (row T13), and nonces that nobody keeps."""

from __future__ import annotations

from random import Random

import pytest

from penstock.errors import ProtocolViolation
from penstock.media import NS
from penstock_rtsp.auth import (
    NONCE_LIFETIME,
    Algorithm,
    BasicCredentials,
    Challenge,
    DigestCredentials,
    NonceState,
    check_nonce,
    digest_ha1,
    make_nonce,
    parse_authorization,
)
from penstock_rtsp.credentials import Authenticator
from penstock_rtsp.headers import Headers
from penstock_rtsp.message import Request


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_of_rfc_7616(algorithm: Algorithm, response: str) -> None:
    credentials = DigestCredentials(
        "Mufasa",
        "http-auth@example.org",
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "/dir/index.html",
        response,
        algorithm,
        "00000001",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    )
    assert credentials.verify("GET", password="Circle of Life")
    assert not credentials.verify("GET", password="circle of life")
    assert not credentials.verify("POST", password="Circle of Life")
    ha1 = digest_ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert credentials.verify("GET", ha1=ha1)
    assert parse_authorization(credentials.build(response)) == credentials


@pytest.mark.parametrize(
    "challenge",
    [
        Challenge("Basic", 'a "realm"'),
        Challenge("Digest", 'back\\slash "quote"', "n"),
        Challenge("Digest", "r", "n", Algorithm.SHA256, True, "opaque", True),
    ],
)
def test_what_a_client_answers_is_what_a_server_accepts(challenge: Challenge) -> None:
    assert Challenge.parse(challenge.build()) == challenge
    credentials = parse_authorization(challenge.answer('u"ser', "p:w", "PLAY", "rtsp://h/a", "cnonce", 3))
    if isinstance(credentials, DigestCredentials):
        assert (credentials.user, credentials.realm, credentials.nonce) == ('u"ser', challenge.realm, "n")
        assert credentials.verify("PLAY", password="p:w")
        assert not credentials.verify("PLAY", password="")
        assert not credentials.verify("PLAY")
    else:
        assert credentials == BasicCredentials('u"ser', "p:w")
        assert credentials.verify("p:w")
        assert not credentials.verify("p:é")


GOOD = {"username": '"u"', "realm": '"r"', "nonce": '"n"', "uri": '"*"', "response": '"' + "0" * 32 + '"'}


@pytest.mark.parametrize(
    "changes",
    [
        *({name: '""'} for name in GOOD),
        *({name: ""} for name in GOOD),
        {"response": '"zz"'},
        {"algorithm": "MD5-sess"},
        {"algorithm": "none"},
        {"qop": "auth"},
        {"qop": "auth-int", "nc": "00000001", "cnonce": "x"},
        {"qop": "auth", "nc": "1", "cnonce": "x"},
        {"username": '"u'},
        {"username": '"' + "u" * 10240 + '"'},
        {"realm": '"r", realm="r"'},
        {"x": ", y"},
        {f"x{i}": "1" for i in range(40)},
    ],
)
def test_bad_digests_are_refused(changes: dict[str, str]) -> None:
    fields = {**GOOD, **changes}
    with pytest.raises(ProtocolViolation):
        parse_authorization("Digest " + ", ".join(f"{key}={value}" for key, value in fields.items()))


@pytest.mark.parametrize(
    "value", ["", "Basic", "Bearer x", "Basic !!!", "Basic é", "Basic /w==", "Basic YQ==", "Basic OmE="]
)
def test_bad_basics_are_refused(value: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_authorization(value)
    with pytest.raises(ProtocolViolation):
        parse_authorization("Basic " + "A" * 5000)


def test_unknown_challenges_are_left_to_others() -> None:
    assert Challenge.parse("NTLM") is None
    assert Challenge.parse('Digest realm="r", nonce="n", algorithm=SHA-512-256') is None
    assert Challenge.parse('Digest realm="r", nonce="n", qop="auth-int"') is None
    with pytest.raises(ProtocolViolation):
        Challenge.parse('Digest realm="r"')


def test_nonces() -> None:
    nonce = make_nonce(b"secret", 5 * NS)
    assert check_nonce(b"secret", nonce, 5 * NS) is NonceState.FRESH
    assert check_nonce(b"secret", nonce, 5 * NS + NONCE_LIFETIME) is NonceState.FRESH
    assert check_nonce(b"secret", nonce, 5 * NS + NONCE_LIFETIME + 1) is NonceState.STALE
    assert check_nonce(b"secret", nonce, 4 * NS) is NonceState.STALE
    for foreign in (
        make_nonce(b"other", 5 * NS),
        "",
        "é" * 48,
        nonce[:-1],
        nonce + "0",
        "0" + nonce[1:16] + nonce[15:],
    ):
        assert check_nonce(b"secret", foreign, 5 * NS) is NonceState.FOREIGN


@pytest.mark.parametrize("way", ["Digest", "Basic"])
def test_only_what_was_asked_for_is_an_answer(way: str) -> None:
    url = "rtsp://h/live/stream"
    everything = Authenticator("r", b"secret", Random(1))
    one = Authenticator("r", b"secret", Random(1), digest=way == "Digest", basic=way == "Basic")

    def asks(*lines: tuple[str, str]) -> Request:
        return Request("DESCRIBE", url, Headers(lines))

    assert [c.split()[0] for c in everything.challenges(asks())] == ["Digest", "Basic"]
    assert [c.split()[0] for c in one.challenges(asks())] == [way]
    for challenge in everything.challenges(asks()):
        parsed = Challenge.parse(challenge)
        assert parsed is not None
        answer = parsed.answer("u", "p", "DESCRIBE", url, "cnonce", 1)
        request = asks(("Authorization", answer))
        assert everything.credentials(request, "").verify(password="p")
        assert one.credentials(request, "").verify(password="p") == challenge.startswith(way)
