"""RFC 9725 (WHIP) and draft-ietf-wish-whep-04 (WHEP), clause by clause: what is answered to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from attrs import frozen

from penstock import Frame
from penstock_formats.rtp.packet import Extension, RtpPacket
from penstock_formats.sdp import SessionDescription
from penstock_webrtc.answer import ICE_OPTIONS
from penstock_webrtc.fragment import CONTENT_TYPE, Fragment
from tests.webrtc.client import OPUS, VP8, Client, Rig, rig
from tests.webrtc.test_whep import KEY, SOUND
from tests.webrtc.test_whep import PICTURE as PICTURE_TRACK
from tests.webrtc.test_whip import Encoder, publisher, publishing, stream_of

pytestmark = pytest.mark.anyio

SDP = "application/sdp"


def offered(*codings: str, direction: str = "sendonly") -> str:
    """An offer of such sections, by nobody."""
    client = Client(codings, direction=direction)
    client.sock.close()
    Client.made.remove(client)
    return client.offer().decode()


PLAY, SEND = offered(VP8, OPUS, direction="recvonly"), offered(VP8, OPUS)
TAGGED = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
"""A fragment's beginning as the examples have it."""
OWN = TAGGED + "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n"
NEW = TAGGED + "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n"
CANDIDATES = (
    "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
    "a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0\r\n"
    # Of a transport that nobody knows, and of a name that nobody finds.
    "a=candidate:3 1 sctp 1 192.0.2.1 9 typ host\r\na=candidate:4 1 udp 1 3f2a.local 9 typ host\r\n"
    "a=end-of-candidates\r\n"
)


@frozen
class Case:
    """`told` are parts of headers of the answer, None for one that must not be there; `reason` is a part of its body."""

    clause: str
    request: str
    status: int
    body: str
    headers: dict[str, str]
    told: dict[str, str | None]
    reason: str


def case(
    clause: str,
    request: str,
    status: int,
    body: str = "",
    *,
    told: dict[str, str | None] | None = None,
    reason: str = "",
    **headers: str,
) -> Case:
    """With the type of the body that the method has, unless `headers` have another."""
    kind = {"POST": SDP, "PATCH": CONTENT_TYPE}.get(request.split()[0], "")
    every = {"content_type": kind, **headers}
    named = {name.replace("_", "-"): value for name, value in every.items() if value}
    return Case(clause, request, status, body, named, told or {}, reason)


# fmt: off
CASES = [
    # Resources have no representation; players see by HEAD what is posted there (WHEP, Discoverability).
    *(case("4.1", f"{method} {url}", 200, told={"content-type": SDP, "content-length": "0", "accept-post": SDP})
      for method in ("GET", "HEAD") for url in ("{whip}", "{whep}", "/rtc/v1/whep/?app=live&stream=one", "/whip/v1")),
    *(case("4.1", f"GET {url}", 204) for url in ("{sender}", "{player}")),
    case("4.1", "GET {player}x", 404),
    *(case("RFC 9110 15.5.6", f"{method} {{whep}}", 405, told={"allow": "GET, OPTIONS, POST, HEAD"})
      for method in ("PUT", "DELETE", "PATCH")),
    *(case("RFC 9110 15.5.6", f"{method} {{player}}", 405, told={"allow": "DELETE, GET, OPTIONS, PATCH, HEAD"})
      for method in ("PUT", "POST")),
    # Offers, and who asks for what cannot be.
    *(case("4.2", f"POST {url}", 201, offer, told={"location": "/live/", "etag": '"', "content-type": SDP,
                                                    "accept-patch": CONTENT_TYPE, "link": '; rel="ice-server"; username="'})
      for url, offer in (("/live/first/whip", SEND), ("{whep}", PLAY))),
    *(case("4.2", f"POST {url}", 415, PLAY, told={"accept-post": SDP}, content_type=kind)
      for url in ("{whip}", "{whep}") for kind in ("text/plain", "")),
    case("4.2", "POST {whep}", 201, PLAY, content_type="Application/SDP; charset=utf-8"),
    case("4.2", "POST {whip}", 400, "v=0\r\n"),
    case("4.2", "POST {whep}", 400, PLAY.replace("a=ice-pwd", "a=x")),
    case("4.2", "POST {whip}", 409, SEND, reason="is being published"),
    case("4.2", "POST /live/new/whip", 422, PLAY, reason="sends nothing"),
    case("4.2", "POST /live/new/whip", 422, SEND.replace("sendonly", "inactive"), reason="sends nothing"),
    case("4.2", "POST /live/second/whip", 201, SEND.replace("sendonly", "sendrecv"), reason="a=recvonly"),
    case("WHEP, Media Direction Attributes", "POST {whep}", 422, SEND),
    case("WHEP, Media Direction Attributes", "POST {whep}", 201, PLAY.replace("recvonly", "sendrecv"), reason="a=sendonly"),
    # 406 would be an offer of ours.
    case("WHEP, Determining Server Response Type", "POST {whep}", 422, offered("H264/90000", direction="recvonly"),
         reason="does not play VP8"),
    case("WHEP, Session Management", "POST /live/none/whep", 409, PLAY, told={"retry-after": "1"}),
    # What is told before an offer. A preflight has no ICE servers.
    *(case("4.2", f"OPTIONS {url}", 204, told={"accept-post": SDP}) for url in ("{whip}", "{whep}", "/index/api/whip")),
    case("4.6", "OPTIONS {whip}", 204, told={"link": '; rel="ice-server"; username="'}),
    case("4.6", "OPTIONS {whip}", 204, origin="http://a.example", access_control_request_method="POST",
         told={"accept-post": SDP, "link": None, "access-control-allow-methods": "GET, OPTIONS, POST, HEAD"}),
    # Which ICE session is meant: a weak tag matches nothing (RFC 9110 13.1.1).
    case("4.3.1", "PATCH {player}", 428, OWN),
    *(case("4.3.1", "PATCH {player}", 412, OWN, told={"etag": "{etag}"}, if_match=tag) for tag in ('"stale"', "W/{etag}")),
    case("4.3.1", "PATCH {player}", 415, OWN, told={"accept-patch": CONTENT_TYPE}, if_match="{etag}", content_type=SDP),
    case("4.3.1", "PATCH {player}", 400, "a=ice-ufrag:x\r\n", if_match="{etag}"),
    case("4.3.1", "PATCH {player}", 400, OWN + "a=candidate:1 1 udp\r\n", if_match="{etag}"),
    case("4.3.1", "PATCH {player}x", 404, OWN, if_match="{etag}"),
    # Candidates: those that are of no use are passed over, and the answer has no tag.
    *(case("4.3.2", "PATCH {player}", 204, OWN + CANDIDATES, told={"etag": None}, if_match=tag)
      for tag in ("{etag}", '"other", {etag}', "*")),
    # Restarts are asked for with * alone.
    case("4.3.3", "PATCH {player}", 412, NEW, told={"etag": "{etag}"}, if_match="{etag}"),
    # All of an offer or nothing, in one transport.
    case("4.4.1", "POST /live/new/whip", 422, SEND.replace("BUNDLE 0 1", "BUNDLE 0"), reason="bundled"),
    case("4.4.3", "POST /live/new/whip", 422, offered(VP8, "X-NEW/8000"), reason="X-NEW"),
    case("4.4.3", "POST /live/new/whip", 422, SEND.replace("a=rtcp-mux\r\n", "", 1), reason="on the same port"),
    # Either role of DTLS.
    case("4.4.4", "POST /live/third/whip", 201, SEND.replace("actpass", "active"), reason="a=setup:passive"),
    case("4.4.4", "POST /live/fourth/whip", 201, SEND.replace("actpass", "passive"), reason="a=setup:active"),
    case("4.4.4", "POST /live/new/whip", 400, SEND.replace("actpass", "holdconn")),
    # A tag says nothing to DELETE.
    case("4.3.1", "DELETE {player}", 200, if_match='"stale"'),
    case("4.2", "DELETE {player}", 404),
]
# fmt: on


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Rig]:
    async with rig() as running:
        await running.publish("live/one", PICTURE_TRACK, SOUND)
        yield running


@pytest.fixture(scope="module")
async def names(served: Rig) -> dict[str, str]:
    """What stands in braces in the table."""
    player, sender = Client(), publisher()
    told = await served.post("/live/one/whep", player.offer())
    player.take(told.content)
    await player.connect()
    return {
        "{whip}": "/live/one/whip",
        "{whep}": "/live/one/whep",
        "{player}": told.headers["location"],
        "{sender}": await publishing(served, sender, "live/sent"),
        "{etag}": told.headers["etag"],
        "{ufrag}": player.credentials.ufrag,
        "{pwd}": player.credentials.password,
    }


async def ask(served: Rig, names: dict[str, str], row: Case) -> httpx2.Response:
    def named(text: str) -> str:
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    method, url = named(row.request).split(" ")
    headers = {name: named(value) for name, value in row.headers.items()}
    response = await served.http.request(method, url, content=named(row.body), headers=headers)
    assert response.status_code == row.status, response.text
    for name, value in row.told.items():
        if value is None:
            assert name not in response.headers
        else:
            assert named(value) in response.headers.get(name, "")
    assert row.reason in response.text
    if response.is_success and row.status != 201:
        assert response.content == b""
    return response


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row.clause}: {row.request} {row.status}")
async def test_what_is_answered(served: Rig, names: dict[str, str], row: Case) -> None:
    await ask(served, names, row)


@pytest.mark.parametrize(("what", "path"), [("whep", "one"), ("whip", "sdp")])
async def test_the_answer(served: Rig, what: str, path: str) -> None:
    offer = PLAY if what == "whep" else SEND
    asked = offer.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
    answer = SessionDescription.parse((await served.post(f"/live/{path}/{what}", asked.encode())).content)
    said = dict(answer.attributes)
    # RFC 8445 10 and RFC 8840 4.1.1: that and how candidates may come later.
    assert (said["group"], "ice-lite" in said, said["ice-options"]) == ("BUNDLE 0 1", True, "trickle ice2")
    streams: set[str] = set()
    for media in answer.media:
        # 4.2: all that the server has is there, 4.4.1: as one transport.
        assert media.attribute("end-of-candidates") is not None
        assert media.attribute("candidate")
        assert media.attribute("rtcp-mux") is not None
        assert media.attribute("rtcp-mux-only") is not None
        assert media.direction == ("sendonly" if what == "whep" else "recvonly")
        streams.add((media.attribute("msid") or "").split(" ")[0])
    # WHEP, Single MediaStream.
    assert len(streams) == 1
    # RFC 8858 4.3, for who does not say that it follows RFC 9725.
    plain = (
        await served.post(f"/live/{path}-2/{what}" if what == "whip" else "/live/one/whep", offer.encode())
    ).text
    assert "rtcp-mux\r\n" in plain
    assert "rtcp-mux-only" not in plain


async def test_a_restart_is_answered_as_the_offer_was(served: Rig) -> None:
    """4.3.3, RFC 8840 4.4: the section that has the transport of all, ICE as before, new credentials, all candidates."""
    client = Client()
    response = await served.post("/live/one/whep", client.offer())
    client.take(response.content)
    await client.connect()
    answer = client.answer
    assert answer is not None
    resource, tags = response.headers["location"], {response.headers["etag"]}
    for tag in ("*", '"*"'):  # as the RFC's example has it
        headers = {"content-type": CONTENT_TYPE, "if-match": tag}
        body = NEW.replace("ysXw", f"ysX{len(tags)}") + CANDIDATES
        told = await served.http.patch(resource, content=body, headers=headers)
        assert (told.status_code, told.headers["content-type"]) == (200, CONTENT_TYPE)
        tags.add(told.headers["etag"])
        lines, found = told.text.split("\r\n"), Fragment.parse(told.content)
        assert lines[:5] == ["a=ice-lite", f"a=ice-options:{ICE_OPTIONS}", "a=group:BUNDLE 0 1",
                             "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=mid:0"]  # fmt: skip
        assert found.ended
        assert [c.build() for c in found.candidates] == [
            value for name, value in answer.media[0].attributes if name == "candidate"
        ]
        assert told.headers["etag"] == f'"{found.credentials.ufrag}"'
    assert len(tags) == 3
    # Until it has heard of it, the peer goes on as it did.
    client.send(client.check())
    before = len(client.checks)
    await client.until(lambda: len(client.checks) > before)


async def test_more_than_one_track_of_a_kind_is_taken(served: Rig) -> None:
    """4.4.2 has who cannot refuse them: here each is a track of its own."""
    client = publisher(codings=(VP8, OPUS, OPUS))
    await publishing(served, client, "live/three")
    encoder = Encoder.of(client)
    encoder.send(*encoder.frame(KEY, 0), encoder.tone(b"\xfc\x01", 0))
    extension = Extension(0xBEDE, b"\x402\0\0")
    other = RtpPacket(100, False, 7, 0, 44, b"\xfc\x02", (), extension).encode()
    assert client.srtp is not None
    encoder.send(client.srtp.protect(other))
    stream = await stream_of(served, "live/three")
    _, first, second = stream.tracks
    found: dict[int, bytes] = {}
    async for event in stream.read():
        if isinstance(event, Frame) and event.track.kind == "audio":
            found[event.track.id] = event.units[0]
            if len(found) == 2:
                break
    assert found == {first.id: b"\xfc\x01", second.id: b"\xfc\x02"}
