"""The methods of RTSP, carried out on the kernel for one session (RFC 2326 10)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import anyio
from attrs import evolve

from penstock.errors import AlreadyPublished, Closed, Denied, NotFound, ProtocolViolation, StreamError
from penstock.net import Connection
from penstock.path import StreamPath
from penstock.session import Credentials, Session
from penstock_formats.sdp import SessionDescription
from penstock_rtsp.channels import Channels
from penstock_rtsp.connection import Asked, Refusal, Refused, ServerConnection
from penstock_rtsp.date import date
from penstock_rtsp.description import describe, offered
from penstock_rtsp.message import Request
from penstock_rtsp.player import Player
from penstock_rtsp.recorder import Recorder
from penstock_rtsp.session_header import SessionHeader
from penstock_rtsp.shared import Shared
from penstock_rtsp.state import METHODS
from penstock_rtsp.transport import Lower, Mode, Transport, parse_transports
from penstock_rtsp.url import presentation_url

MAX_TRACKS = 32


class Methods:
    """DESCRIBE, SETUP and PLAY make a `player`, ANNOUNCE, SETUP and RECORD a `recorder`; TEARDOWN raises `Closed`.

    `began` is called when the peer plays or records, `fail` with what goes wrong at the shared ports.
    """

    def __init__(
        self,
        shared: Shared,
        connection: Connection,
        session: Session,
        rtsp: ServerConnection,
        channels: Channels,
        *,
        began: Callable[[], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._shared = shared
        self._server = shared.server
        self._connection = connection
        self._session = session
        self._rtsp = rtsp
        self._channels = channels
        self._began = began
        self._fail = fail
        self._authorized: set[tuple[str, StreamPath]] = set()
        self.player: Player | None = None
        self.recorder: Recorder | None = None
        self.missing = ""
        """Why the last request found no stream; who leaves then leaves for that."""

    async def answer(self, asked: Asked) -> None:
        """Do what is asked, and reply."""
        request = asked.request
        handler = getattr(self, f"_on_{request.method.lower()}")
        try:
            reply: bytes | None = await handler(asked)
        except Refusal as refusal:
            reply = self._reply(request, refusal.status, *refusal.headers, why=refusal.why)
        except Denied as denied:
            reply = self._reply(request, 403, why=str(denied))
        except NotFound as error:
            self.missing = str(error)
            reply = self._reply(request, 404, why=str(error))
        except AlreadyPublished as error:
            self._connection.sink.control(self._reply(request, 403, why=str(error)))
            raise
        except StreamError as error:
            self._log_refused(request, error)
            reply = self._reply(request, 503, why=str(error))
        except ProtocolViolation as violation:
            self._log_refused(request, violation)
            reply = self._reply(request, 400, why=str(violation))
        else:
            if request.method != "TEARDOWN":
                self.missing = ""
            self._rtsp.state.advance(request.method)
        if reply:
            self._connection.sink.control(reply)
        if request.method == "TEARDOWN":
            raise Closed(self.missing or "the peer left")

    def refuse(self, refused: Refused) -> None:
        """Answer a request that has not come as far as to be asked."""
        self._log_refused(refused.request, refused.reason)
        self._connection.sink.control(self._rtsp.refuse(refused, date()))

    def _log_refused(self, request: Request, reason: object) -> None:
        self._server.log_peer(self._session, "request refused", method=request.method, reason=str(reason))

    def _reply(
        self, request: Request, status: int, *headers: tuple[str, str], body: bytes = b"", why: str = ""
    ) -> bytes:
        return self._rtsp.respond(request, status, *headers, body=body, date=date(), why=why)

    async def _denied(self, request: Request, credentials: Credentials, denied: Denied) -> Refusal:
        """Ask for credentials, whatever the URL's query says: cameras' clients have one and answer nonetheless.

        Who answered and is refused with a reason reads that instead: the same question gives the same answer.
        """
        await anyio.sleep(self._shared.authenticator.pause(request))
        answered = "Authorization" in request.headers and (
            credentials.user or credentials.password is not None
        )
        if denied.explained and answered:
            return Refusal(403, why=str(denied))
        return Refusal(
            401, *[("WWW-Authenticate", c) for c in self._shared.authenticator.challenges(request)]
        )

    async def _authorize(self, asked: Asked, action: Any) -> StreamPath:
        """The path, once for each action and path of the connection."""
        path = asked.target.path
        if path is None:
            raise Refusal(404)
        if (action, path) not in self._authorized:
            credentials = self._shared.authenticator.credentials(asked.request, asked.target.query)
            try:
                await self._server.streams.authorize(self._session, action, path, credentials, asks=True)
            except Denied as denied:
                raise await self._denied(asked.request, credentials, denied) from None
            self._authorized.add((action, path))
        return path

    async def _on_options(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200, ("Public", ", ".join(METHODS)))

    async def _on_get_parameter(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200)

    async def _on_set_parameter(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 451 if asked.request.body.strip() else 200)

    async def _on_describe(self, asked: Asked) -> bytes:
        path = await self._authorize(asked, "read")
        stream = await self._server.streams.open_authorized(self._session, path)
        if self.player is not None:
            self._session.path = self.player.stream.path
        local = str(self._connection.sock.getsockname()[0]).removeprefix("::ffff:")
        description, left_out = describe(
            self._server.registry, stream.tracks, local, self._shared.random.getrandbits(31)
        )
        if left_out:
            self._session.info["left_out"] = left_out
            self._server.log_peer(self._session, "tracks left out", tracks=left_out)
        if not description.media:
            raise Refusal(415)
        base = presentation_url(asked.request.url) + "/"
        return self._reply(
            asked.request,
            200,
            ("Content-Base", base),
            ("Content-Type", "application/sdp"),
            body=description.build(),
        )

    async def _on_announce(self, asked: Asked) -> bytes:
        path = await self._authorize(asked, "publish")
        stream = self._server.streams.get(path)
        if stream is not None and stream.publisher is not None and not stream.options.override:
            raise AlreadyPublished(f"{path} is being published already")
        kind = asked.request.headers.get("Content-Type") or ""
        if kind and "application/sdp" not in kind.lower():
            raise Refusal(415)
        description = SessionDescription.parse(asked.request.body)
        found, left_out = offered(self._server.registry, description)
        self._session.path = path
        for reason in left_out:
            self._server.log_peer(self._session, "track left out", level="warning", reason=reason)
        if not found or len(found) > MAX_TRACKS:
            raise Refusal(415)
        self.recorder = Recorder(
            self._server,
            self._session,
            path,
            description.media,
            {offer.index: offer for offer in found},
            self._shared.random,
            self._fail,
        )
        self._session.direction = "publish"
        return self._reply(asked.request, 200)

    async def _on_setup(self, asked: Asked) -> bytes:
        header = asked.request.headers.get("Transport")
        if header is None:
            raise Refusal(400)
        transports = parse_transports(header)
        if self.recorder is not None:
            reply = self._set_up_recording(asked, transports, self.recorder)
        else:
            reply = await self._set_up_playing(asked, transports)
        if self._rtsp.session is None:
            self._rtsp.session = SessionHeader(secrets.token_hex(8), self._shared.config.session_timeout)
        return self._reply(asked.request, 200, ("Transport", reply.build()))

    async def _set_up_playing(self, asked: Asked, transports: tuple[Transport, ...]) -> Transport:
        path = await self._authorize(asked, "read")
        player = self.player
        if player is None:
            stream = await self._server.streams.open_authorized(self._session, path)
            player = Player(self._server, self._shared.config, stream, self._session, self._shared.random)
        elif player.stream.path != path or player.playing:
            raise Refusal(455)
        elif player.stream.ended:
            raise NotFound(f"{path} has ended")
        tracks = [t.id for t in player.stream.tracks]
        track_id = (
            asked.target.track
            if asked.target.track is not None
            else (tracks[0] if len(tracks) == 1 else None)
        )
        if track_id not in tracks:
            raise Refusal(404)
        if track_id in player.track_ids:
            raise Refusal(455)
        chosen = self._channels.choose(transports, Mode.PLAY)
        kinds = (bool(player.channels), bool(player.addresses), player.multicast is not None)
        wanted = (
            chosen.lower is Lower.TCP,
            chosen.lower is Lower.UDP and not chosen.multicast,
            chosen.multicast,
        )
        if any(kinds) and kinds != wanted:
            raise Refusal(461)
        if chosen.lower is Lower.TCP:
            pair = self._channels.interleave(track_id, chosen, len(player.channels))
            player.channels[track_id] = pair[0]
            reply = Transport(Lower.TCP, chosen.profile, interleaved=pair)
        elif chosen.multicast and (multicast := self._channels.multicast) is not None:
            player.multicast = multicast
            port = multicast.track_port(tracks.index(track_id))
            reply = Transport(
                profile=chosen.profile,
                multicast=True,
                destination=multicast.claim(path, self._session),
                port=(port, port + 1),
                ttl=multicast.ttl,
            )
        else:
            rtp, rtcp, reply = self._channels.open(
                track_id, chosen, _ignore, lambda data, now: self._player_report(track_id, data, now)
            )
            self._session.info["transport"] = "udp"
            player.addresses[track_id] = rtp, rtcp
        self.player = player
        return reply

    def _player_report(self, track_id: int, data: bytes, now: int) -> None:
        """RTCP at the shared port, where an error must end this session and no other."""
        self._channels.show_life(now)
        try:
            if self.player is not None and self.player.playing:
                self.player.feedback(track_id, data)
        except Exception as error:  # noqa: BLE001 - raised again in the session's own task
            self._fail(error)

    def _set_up_recording(
        self, asked: Asked, transports: tuple[Transport, ...], recorder: Recorder
    ) -> Transport:
        index = recorder.index(asked)
        if index is None:
            raise Refusal(404)
        if index in recorder.set_up:
            raise Refusal(455)
        chosen = self._channels.choose(transports, Mode.RECORD)
        if chosen.lower is Lower.TCP:
            pair = self._channels.interleave(index, chosen, len(recorder.set_up))
            reply = Transport(Lower.TCP, chosen.profile, interleaved=pair, mode=Mode.RECORD)
        else:
            _, _, reply = self._channels.open(
                index,
                chosen,
                lambda data, now: recorder.datagram(index, data, now),
                lambda data, now: recorder.datagram_rtcp(index, data, now),
            )
            self._session.info["transport"] = "udp"
            reply = evolve(reply, mode=Mode.RECORD)
        recorder.set_up[index] = None
        return reply

    async def _on_play(self, asked: Asked) -> bytes | None:
        player = self.player
        if player is None:
            raise Refusal(455)
        if player.playing:
            return self._reply(asked.request, 200)
        self._began()
        await player.begun()
        if player.stream.ended:
            raise NotFound(f"{player.stream.path} has ended")
        request = asked.request

        def reply(rtp_info: str) -> bytes:
            headers = [("RTP-Info", rtp_info)] if rtp_info else []
            return self._reply(request, 200, *headers)

        base = presentation_url(request.url)
        player.play(self._connection, self._channels.ports, base, reply, self._session.kick)
        return None

    async def _on_record(self, asked: Asked) -> bytes:
        recorder = self.recorder
        if recorder is None or not recorder.ready:
            raise Refusal(455)
        if recorder.ingest is None:
            udp = bool(self._channels.datagrams)
            self._session.info["transport"] = "udp" if udp else "tcp"
            recorder.record(reorder=udp, send=self._send_report)
        self._began()
        return self._reply(asked.request, 200)

    def _send_report(self, index: int, data: bytes) -> None:
        self._channels.report(index, data, self._connection.sink)

    async def _on_pause(self, asked: Asked) -> bytes:
        if self.player is not None:
            self.player.pause()
        return self._reply(asked.request, 200)

    async def _on_teardown(self, asked: Asked) -> bytes:
        return self._reply(asked.request, 200)


def _ignore(_data: bytes, _now: int) -> None:
    """What a player sends to the RTP port only opens its firewall."""
