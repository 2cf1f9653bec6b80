"""A viewer: one response, or one WebSocket, for as long as the stream lasts."""

from __future__ import annotations

import anyio

from penstock.errors import PenstockError
from penstock.media import Kind
from penstock.sink import SendSink
from penstock_formats.flv.script import SCRIPT
from penstock_http.api import Request
from penstock_progressive.container import Container
from penstock_progressive.websocket import WebSocketMuxer

WEBSOCKET = "WEBSOCKET"


def protocol(request: Request, container: Container) -> str:
    """What the session is called: ``http-flv``, ``wss-mp4`` ..."""
    scheme = "ws" if request.method == WEBSOCKET else "http"
    return f"{scheme}{'s' if request.secure else ''}-{container.name}"


async def play(container: Container, request: Request) -> None:
    """Answer GET, HEAD and WebSocket upgrades."""
    server = request.server
    session = request.session(protocol(request, container))
    stream = await server.streams.open(session, request.values["path"], request.credentials)
    # RTMP's data messages are FLV's own: no other container misses them.
    tracks = [
        t
        for t in await stream.tracks_for(lambda t: not container.muxer(server.registry, [t]).left_out)
        if t.codec is not SCRIPT or container.name == "flv"
    ]
    muxer = container.muxer(server.registry, tracks)
    if muxer.left_out:
        session.info["left_out"] = dict(muxer.left_out)
        server.log_peer(session, "tracks left out", tracks=dict(muxer.left_out))
    if not muxer.kinds & {Kind.AUDIO, Kind.VIDEO}:
        await request.respond(406, f"{container.name} can carry no track of {stream.path}".encode())
        return
    # A HEAD request ends here.
    await request.start(200, content_type=container.content_type, headers=[("cache-control", "no-store")])
    straight = await request.sink()
    # What goes by `send` is made a message on the way.
    carrier = WebSocketMuxer(muxer) if straight is not None and request.method == WEBSOCKET else muxer
    reasons: list[str] = []
    ended = anyio.Event()

    def end(reason: str) -> None:
        reasons.append(reason)
        ended.set()

    async def watch() -> None:
        end(await request.gone())

    async with anyio.create_task_group() as tasks:
        sink = straight or SendSink(request.send, tasks.start_soon)
        tasks.start_soon(watch)
        try:
            with stream.feed(carrier, tracks=tracks).attach(
                sink,
                session,
                preamble=carrier.preamble,
                # Where the container has no pictures there is no key frame to wait for.
                start="key" if Kind.VIDEO in muxer.kinds else "live",
                on_end=end,
            ):
                await ended.wait()
            # The stream is over: what the viewer has not had yet is still sent.
            with anyio.move_on_after(server.config.server.stall_timeout):
                await sink.flushed()
        except PenstockError as e:
            reasons.append(str(e))
        tasks.cancel_scope.cancel()
    session.reason = session.reason or reasons[0]
    await request.finish()
