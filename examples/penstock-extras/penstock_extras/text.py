"""A text protocol over TCP that publishes and plays whatever RTP has a name for: a line for each frame.

PUBLISH live/x [user password], or PLAY in its place; the answer is OK, or ERROR and why
TRACK 1 90000 H264 90000 1 profile-level-id=42c01e;...
FRAME 1 <pts in ns> key|delta <unit in base64>,<unit in base64>
"""

import re
from base64 import b64decode, b64encode
from functools import partial

from attrs import frozen

import penstock
from penstock_formats.rtp import RTP, RtpBinding, RtpFormat, rtp_reader

MAX_LINE = 8 << 20
TRACK = re.compile(r"TRACK (\d{1,9}) ([1-9]\d{0,8}) (\S+) ([1-9]\d{0,8}) (\d{1,3}) ?(.*)", re.ASCII)
FRAME = re.compile(r"FRAME (\d{1,9}) (\d{1,18}) (key|delta) ([\w+/=,]+)", re.ASCII)


@frozen
class TextConfig:
    listen: str = penstock.option(":7007", "Address and port; empty: none.", validator=penstock.is_listen)


def track_line(rtp: RtpBinding, track: penstock.Track) -> str:
    fmt = rtp.describe(track)
    fmtp = ";".join(f"{name}={value}" for name, value in fmt.fmtp.items())
    return f"TRACK {track.id} {track.clock_rate} {fmt.encoding} {fmt.clock_rate} {fmt.channels} {fmtp}\n"


async def play(connection: penstock.Connection, session: penstock.Session, stream: penstock.Stream) -> None:
    told: dict[int, penstock.Track] = {}
    async for event in stream.read(session):
        if isinstance(event, penstock.Frame) and (rtp := stream.registry.get(event.track.codec, RTP)):
            track, kind = event.track, "key" if event.key else "delta"
            text = "" if told.get(track.id) == track else track_line(rtp, track)
            told[track.id] = track
            units = b",".join(map(b64encode, event.units)).decode()
            await connection.send(f"{text}FRAME {track.id} {event.pts} {kind} {units}\n".encode())


def take(registry: penstock.Registry, publisher: penstock.Publisher, ids: dict[str, int], line: str) -> None:
    if match := TRACK.fullmatch(line):
        number, clock, encoding, rate, channels, fmtp = match.groups()
        fields = dict(field.partition("=")[::2] for field in fmtp.split(";") if field)
        fmt = RtpFormat(encoding.upper(), int(rate), int(channels), fields)
        codec, config = rtp_reader(registry, encoding).accept(fmt)
        if number not in ids:
            ids[number] = publisher.add_track(codec, int(clock), config).id
        elif config is not None:
            publisher.configure(ids[number], config)
    elif (match := FRAME.fullmatch(line)) and match[1] in ids:
        publisher.tracks_complete()
        try:
            units = tuple(map(b64decode, match[4].split(",")))
        except ValueError:
            raise penstock.ProtocolViolation("a unit is not base64") from None
        publisher.write(ids[match[1]], units, pts=int(match[2]), key=match[3] == "key")
    else:
        raise penstock.ProtocolViolation("neither a TRACK line nor a FRAME line of a known track")


async def serve(server: penstock.Server, connection: penstock.Connection, session: penstock.Session) -> None:
    words = (await connection.receive_until(b"\n", MAX_LINE) or b"").decode("utf-8", "replace").split()
    if len(words) not in (2, 4) or words[0] not in ("PUBLISH", "PLAY"):
        raise penstock.ProtocolViolation("neither PUBLISH nor PLAY")
    credentials = penstock.Credentials(words[2], words[3]) if words[2:] else penstock.Credentials()
    try:
        if words[0] == "PLAY":
            stream = await server.streams.open(session, words[1], credentials)
            await connection.send(b"OK\n")
            return await play(connection, session, stream)
        with await server.streams.publish(session, words[1], credentials) as publisher:
            await connection.send(b"OK\n")
            ids: dict[str, int] = {}
            while (line := await connection.receive_until(b"\n", MAX_LINE)) is not None:
                take(server.registry, publisher, ids, line.decode("utf-8", "replace").strip())
                await publisher.flush()
    except (penstock.StreamError, penstock.ProtocolViolation) as error:
        await connection.send(f"ERROR {error}\n".encode())
        raise


class TextPlugin(penstock.Plugin):
    name, version, config = "text", "1.0.0", TextConfig

    @penstock.hookimpl
    def services(self, server: penstock.Server, config: TextConfig) -> list[penstock.Service]:
        url = "telnet://{host}:{port}"
        handle = partial(serve, server)
        return [penstock.TcpService(server, "text", config.listen, handle, url=url)] if config.listen else []


plugin = TextPlugin()
