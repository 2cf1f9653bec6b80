"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): offers by POST, what changes by PATCH, the end by DELETE."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import quote

import anyio
from attrs import evolve

from penstock import (
    AlreadyPublished,
    Closed,
    NotFound,
    PenstockError,
    ProtocolViolation,
    Server,
    Session,
    StreamPath,
    UserError,
)
from penstock.media import Kind
from penstock_http.api import Headers, Request
from penstock_webrtc.answer import Section, build_answer
from penstock_webrtc.config import WebrtcConfig
from penstock_webrtc.fragment import CONTENT_TYPE, Fragment
from penstock_webrtc.muxer import REORDERED
from penstock_webrtc.negotiation import choose_played, choose_recorded, takes
from penstock_webrtc.offer import Offer
from penstock_webrtc.player import Player, is_reordered, layers_for
from penstock_webrtc.recorder import Recorder
from penstock_webrtc.session import Media, Peer
from penstock_webrtc.shared import Shared, shared_of
from penstock_webrtc.transport import Transport

SDP = "application/sdp"
RETRY_SECONDS = "1"
"""After which a player may ask again for what nobody publishes: it has waited for `server.wait_for_stream` by then."""
MAX_OFFER = 128 << 10
"""Bytes of a body: the largest offers of browsers have 30 KiB."""

# RFC 3986 3.2: host and port, as far as a URI of TURN has them as well.
_AUTHORITY = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")

Made = tuple[Media, dict[str, Section]]
Make = Callable[[Session, StreamPath, Offer, Request], Awaitable[Made]]


REMEDY = "publish without them (FFmpeg: -bf 0), or have pictures transcoded (transcode.video)"


class Unacceptable(PenstockError):
    """The offer is well formed, and cannot be had: the reason is what the peer is told.

    The status is 422 (RFC 9725 4.4.3): players take 406 for an offer of the server's own (WHEP, Server Sends Counter-Offer).
    """


class Crowded(PenstockError):
    """There are too many peers of that address, or at all, that have not connected yet."""


class NotYet(PenstockError):
    """What the peer can have is being made of what there is, and was not there in time."""


class Views:
    """The handlers of one server."""

    def __init__(self, server: Server, config: WebrtcConfig) -> None:
        self._server = server
        self._config = config

    async def whep(self, request: Request) -> None:
        """An offer to play."""
        await self._begin(request, "whep", self._play)

    async def whip(self, request: Request) -> None:
        """An offer to publish."""
        await self._begin(request, "whip", self._record)

    async def whip_by_direction(self, request: Request) -> None:
        """OvenMediaEngine's spelling: a POST to the stream itself, with ``?direction=whip``."""
        if request.query.get("direction") != "whip":
            raise NotFound("there is nothing to post here")
        await self.whip(request)

    def options(self, request: Request) -> Headers:
        """What is told before an offer is made, since browsers do not change their ICE servers later (RFC 9725 4.6)."""
        found = [("accept-post", SDP)]
        if "access-control-request-method" in request.headers:
            return found  # a preflight, whose answer no page sees: RFC 9725 4.6 has no ICE servers there
        with suppress(UserError):  # who makes an offer is told why
            found += shared_of(self._server).ice_servers(_host(request), _secure_name(request))
        return found

    async def endpoint(self, request: Request) -> None:
        """GET: there is nothing to be had (RFC 9725 4.1), and players see by HEAD what is posted here (WHEP, Discoverability)."""
        await request.respond(200, b"", content_type=SDP, headers=[("accept-post", SDP)])

    async def session(self, request: Request) -> None:
        """GET of a session, which has nothing to show (RFC 9725 4.1)."""
        _resource(shared_of(self._server), request)
        await request.respond(204)

    async def change(self, request: Request) -> None:
        """PATCH: candidates of the peer, which need not be known, or an ICE restart (RFC 9725 4.3.1)."""
        shared = shared_of(self._server)
        _resource(shared, request)
        if not await _is(request, CONTENT_TYPE):
            return
        wanted = request.headers.get("if-match")
        if wanted is None:
            await request.respond(428, b"say with If-Match which ICE session is meant\n")
            return
        body = await _body(request)
        if body is None:
            return
        fragment = Fragment.parse(body)
        # The session may have ended, or been restarted, while the body came.
        peer = _resource(shared, request)
        same = fragment.credentials.ufrag == peer.remote.credentials.ufrag
        # RFC 9725 4.3.3: restarts are asked for with * alone, and its example has that in quotes.
        tags = [tag.strip() for tag in wanted.split(",")]
        if tags not in (["*"], ['"*"']) and (not same or _etag(peer) not in tags):
            await request.respond(
                412, b"the ICE session is another one by now\n", headers=[("etag", _etag(peer))]
            )
            return
        if same:
            await request.respond(204)  # RFC 9725 4.3.2: without an ETag
            return
        peer.restart(shared.credentials(), fragment.credentials)
        candidates = tuple(shared.reach.candidates(_host(request)))
        told = evolve(peer.told, credentials=peer.ice.local, candidates=candidates, ended=True)
        await request.respond(200, told.build(), content_type=CONTENT_TYPE, headers=[("etag", _etag(peer))])

    async def end(self, request: Request) -> None:
        """DELETE."""
        _resource(shared_of(self._server), request).end(Closed("the peer left"))
        await request.respond(200, b"")

    async def _begin(self, request: Request, what: str, make: Make) -> None:
        shared = shared_of(self._server)
        path = _path(request)
        if not await _is(request, SDP):
            return
        body = await _body(request)
        if body is None:
            return
        offer = Offer.parse(body)
        host = _host(request)
        release = self._server.admit((host, 0), "webrtc")
        if release is None:
            await _refuse(request)
            return
        session = self._server.open_session("webrtc", request.address)
        try:
            media, sections = await make(session, path, offer, request)
            local = Transport(
                shared.credentials(), (shared.identity.fingerprint,), offer.transport.answer_setup
            )
            candidates, number = shared.reach.candidates(host), shared.random.getrandbits(62)
            answer = build_answer(offer, sections, local, candidates, number)
            # Only now: who waits for a stream keeps nobody out who has what it needs.
            waiting = shared.wait(host)
            if waiting is None:
                raise Crowded("too many peers that have not connected yet")
            peer = Peer(
                session,
                shared.port,
                shared.identity,
                media,
                Fragment.of(answer, local.credentials),
                offer.transport,
                handshake_timeout=self._server.config.server.handshake_timeout,
                on_connected=waiting,
            )
        except BaseException as e:
            release()
            left = isinstance(e, anyio.get_cancelled_exc_class()) and not self._server.stopping
            self._server.close_session(
                session, Closed("the peer left before it had an answer") if left else e
            )
            if isinstance(e, Unacceptable):
                await request.respond(422, f"{e}\n".encode())
            elif isinstance(e, Crowded):
                await _refuse(request)
            elif isinstance(e, NotYet):
                await request.respond(503, f"{e}\n".encode(), headers=[("retry-after", RETRY_SECONDS)])
            elif isinstance(e, NotFound) and what == "whep":
                # WHEP, Session Management: it may come yet.
                await request.respond(409, f"{e}\n".encode(), headers=[("retry-after", RETRY_SECONDS)])
            else:
                raise
            return
        token = shared.token()
        shared.peers[token] = peer
        self._server.spawn(partial(self._run, shared, token, peer, (waiting, release)))
        resource = f"{request.root}/{quote(path, safe='/')}/{what}/{token}"
        headers = [("location", resource), ("etag", _etag(peer)), ("accept-patch", CONTENT_TYPE)]
        headers += shared.ice_servers(host, _secure_name(request))
        await request.respond(201, answer.build(), content_type=SDP, headers=headers)

    async def _run(
        self, shared: Shared, token: str, peer: Peer, releases: Sequence[Callable[[], None]]
    ) -> None:
        """The session's own life, which goes on after its request."""
        session = peer.session
        error: BaseException | None = None
        try:
            with session.scope():
                await peer.run()
        except BaseException as e:
            error = e
            if isinstance(e, KeyboardInterrupt | anyio.get_cancelled_exc_class()):
                raise
        finally:
            shared.peers.pop(token, None)
            for release in releases:
                release()
            self._server.close_session(session, error)
            error = None  # its traceback has this frame

    async def _play(self, session: Session, path: StreamPath, offer: Offer, request: Request) -> Made:
        stream = await self._server.streams.open(session, path, request.credentials)
        known = partial(takes, self._server.registry, offer)
        pictures = [track for track in stream.tracks if track.kind is Kind.VIDEO and known(track)]
        reordered = {track.id for track in pictures if await is_reordered(stream, track)}
        tracks = await stream.tracks_for(lambda track: track.id not in reordered and known(track))
        played, left_out = choose_played(self._server.registry, offer, tracks)
        shown = [chosen.track for chosen in played if chosen.track.kind is Kind.VIDEO]
        refused = not shown or any(track.id in reordered for track in shown)
        if refused and stream.derived.pending(lambda t: t.kind is Kind.VIDEO and known(t)):
            raise NotYet(f"{path}: its pictures are being transcoded, and are not there yet: ask again")
        if any(track.id in reordered for track in shown):
            raise Unacceptable(f"{path}: {REORDERED}; {REMEDY}")
        missing = {track.kind: left_out[track.id] for track in tracks if track.id in left_out}
        asked = {media.kind for media in offer.media if media.receives}
        kinds = {chosen.track.kind for chosen in played}
        if Kind.VIDEO in missing and Kind.VIDEO not in kinds and Kind.VIDEO in asked:
            raise Unacceptable(f"{path}: {missing[Kind.VIDEO]}")
        if not played:
            raise Unacceptable(f"{path}: {'; '.join(missing.values()) or 'nothing of it was asked for'}")
        layers = await layers_for(stream, played, tracks)
        for track in layers:
            left_out.pop(track.id, None)
        for track_id, reason in left_out.items():
            session.leave_out(track_id, reason)
            self._server.log_peer(session, "track left out", track=track_id, reason=reason)
        random = shared_of(self._server).random
        player = Player(self._server, self._config, session, stream, tracks, played, layers, random)
        return player, player.sections()

    async def _record(self, session: Session, path: StreamPath, offer: Offer, request: Request) -> Made:
        path = await self._server.streams.authorize(session, "publish", path, request.credentials)
        session.direction, session.path = "publish", path
        stream = self._server.streams.get(path)
        if stream is not None and stream.publisher is not None and not stream.options.override:
            raise AlreadyPublished(f"{path} is being published already")
        recorded, left_out = choose_recorded(self._server.registry, offer)
        if left_out or not recorded:
            # RFC 9725 4.4.3: all of it or nothing, so that nobody publishes half without knowing.
            raise Unacceptable(f"{path}: {'; '.join(left_out) or 'the offer sends nothing'}")
        recorder = Recorder(self._server, session, path, recorded, shared_of(self._server).random)
        return recorder, recorder.sections()


async def _refuse(request: Request) -> None:
    await request.respond(503, b"too many peers\n", headers=[("retry-after", "10")])


def _path(request: Request) -> StreamPath:
    """The stream's path: in the URL itself, or, as other servers have it, in its query as app and stream or name."""
    path = request.values.get("path")
    if isinstance(path, StreamPath):
        return path
    app, name = request.query.get("app", ""), request.query.get("stream") or request.query.get("name", "")
    if not name:
        raise ProtocolViolation(
            "the URL names no stream: write /live/stream/whip, or ?app=live&stream=stream"
        )
    return StreamPath.parse(quote(f"{app}/{name}" if app else name))


def _host(request: Request) -> str:
    return request.address.rpartition(":")[0].strip("[]")


def _secure_name(request: Request) -> str:
    """The name or address by which the peer came over TLS; empty where it did not, or says what is none."""
    found = _AUTHORITY.fullmatch(request.headers.get("host", "")) if request.secure else None
    return found[1] if found is not None else ""


def _etag(peer: Peer) -> str:
    return f'"{peer.ice.local.ufrag}"'


def _resource(shared: Shared, request: Request) -> Peer:
    peer = shared.peers.get(request.values.get("session", ""))
    if peer is None or peer.session.path != request.values.get("path"):
        raise NotFound("there is no such session")
    return peer


async def _is(request: Request, content_type: str) -> bool:
    """Whether the body is of that type; who sent another is told which."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == content_type:
        return True
    name = "accept-post" if request.method == "POST" else "accept-patch"
    await request.respond(415, f"the body must be {content_type}\n".encode(), headers=[(name, content_type)])
    return False


async def _body(request: Request) -> bytes | None:
    """All of the body; who sent too long a one is told so (RFC 9110 15.5.14)."""
    found = bytearray()
    async for data in request.body():
        found += data
        if len(found) > MAX_OFFER:
            await request.respond(413, f"the body is longer than {MAX_OFFER} bytes\n".encode())
            return None
    return bytes(found)
