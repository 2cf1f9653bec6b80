from __future__ import annotations

import pytest

from penstock.errors import ProtocolViolation
from penstock_rtmp import digest
from penstock_rtmp.handshake import SIZE, ClientHandshake, ServerHandshake
from tests.rtmp.drive import RANDOM


def shake(client: ClientHandshake, server: ServerHandshake) -> bytes:
    server.receive_data(client.data_to_send())
    answer = server.data_to_send()
    client.receive_data(answer)
    server.receive_data(client.data_to_send() + b"next")
    assert client.done
    assert server.done
    assert server.rest() == b"next"
    return answer


def test_both_ends_with_digest() -> None:
    answer = shake(ClientHandshake(RANDOM, 1), ServerHandshake(RANDOM[::-1], 2))
    assert digest.find(answer[1 : 1 + SIZE], digest.SERVER_KEY) is not None


@pytest.mark.parametrize("block", digest.BLOCKS)
def test_server_answers_in_the_scheme_of_the_client(block: int) -> None:
    c1 = digest.sign(bytes(4) + b"\x80\0\7\2" + RANDOM[: SIZE - 8], block, digest.PLAYER_KEY)
    server = ServerHandshake(RANDOM, 0)
    server.receive_data(b"\3" + c1)
    answer = server.data_to_send()
    found = digest.find(answer[1 : 1 + SIZE], digest.SERVER_KEY)
    assert found is not None
    assert found[0] == block
    theirs = digest.find(c1, digest.PLAYER_KEY)
    assert theirs is not None
    assert answer[1 + SIZE :] == digest.answer(answer[1 + SIZE :], theirs[1], digest.SERVER_KEY)


@pytest.mark.parametrize("version", [bytes(4), b"\x80\0\7\2"])
def test_r2_no_digest_or_a_wrong_one_gets_the_simple_handshake(version: bytes) -> None:
    c1 = b"\0\0\0\5" + version + RANDOM[: SIZE - 8]
    server = ServerHandshake(RANDOM, 9)
    server.receive_data(b"\3" + c1)
    answer = server.data_to_send()
    assert answer[:9] == b"\3\0\0\0\x09\0\0\0\0"
    assert answer[1 + SIZE :] == b"\0\0\0\5\0\0\0\x09" + c1[8:]
    server.receive_data(bytes(SIZE))
    assert server.done


@pytest.mark.parametrize(
    ("data", "reason", "reply"),
    [
        (b"\x16\3\1\2\0", "TLS", b""),
        (b"GET /live HTTP/1.1", "HTTP", b"HTTP/1.1 400"),
        (b"DESCRIBE rtsp://h/ RTSP/1.0", "RTSP", b""),
        (b"SSH-2.0", "SSH", b""),
        (b"\0", "version 0", b"\3"),
        (b"\6", "version 6", b"\3"),
        (b"\xff", "version 255", b""),
    ],
)
def test_r1_g5_other_first_bytes_name_the_mistake(data: bytes, reason: str, reply: bytes) -> None:
    server = ServerHandshake(RANDOM, 0)
    with pytest.raises(ProtocolViolation, match=reason):
        server.receive_data(data)
    assert server.data_to_send().startswith(reply)
