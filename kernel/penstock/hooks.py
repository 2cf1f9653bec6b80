"""The hooks: few, typed, for registration, decisions and notices; never on the path of a packet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import pluggy
from attrs import field, frozen
from attrs.validators import deep_iterable, in_, instance_of

from penstock.registry import Registry

if TYPE_CHECKING:
    from penstock.derived import Derivation
    from penstock.media import Track
    from penstock.path import StreamPath
    from penstock.server import Server
    from penstock.session import Credentials, Session
    from penstock.stream import Publisher, Stream

API_VERSION = 1
"""Version of the plugin API that this kernel offers."""

Action = Literal["publish", "read"]

hookspec = pluggy.HookspecMarker("penstock")
hookimpl = pluggy.HookimplMarker("penstock")


_texts = deep_iterable(instance_of(str), instance_of(tuple))


@frozen
class Endpoint:
    """Something that listens: what is shown at the start.

    `urls` are templates, in which the reader fills in ``{host}``, of where one publishes and plays; `publish` and
    `play` are those for one of both.
    """

    what: str = field(validator=instance_of(str))
    address: str = field(validator=instance_of(str))
    port: int = field(validator=instance_of(int))
    transport: Literal["tcp", "udp"] = field(default="tcp", validator=in_(("tcp", "udp")))
    urls: tuple[str, ...] = field(default=(), validator=_texts)
    publish: tuple[str, ...] = field(default=(), validator=_texts)
    play: tuple[str, ...] = field(default=(), validator=_texts)


class Service(Protocol):
    """What a plugin runs for as long as it is enabled; cancelled when it is switched off."""

    @property
    def name(self) -> str: ...

    async def run(self, started: Callable[[Iterable[Endpoint]], None]) -> None:
        """Open the listeners, call `started` once with what listens where, serve until cancelled.

        Raises `UserError` where the operator must act (port in use, missing certificate).
        """
        ...


class Scheme(Protocol):
    """Both directions of a URL scheme, as used by ``source`` and ``push``; each runs until the peer ends or fails."""

    async def pull(self, url: str, publish: Callable[[Session], Publisher], session: Session) -> None:
        """Read `url` into what `publish(session)` returns, called once the peer has accepted, until the peer ends."""
        ...

    async def push(self, url: str, stream: Stream, session: Session) -> None:
        """Send `stream` to `url`. Returns at the stream's end."""
        ...


@frozen
class NoConfig:
    """The config class of a plugin that has nothing to configure."""


class Plugin:
    """Base of every plugin: what it is, and (as `hookimpl` methods) what it does.

    An entry point of the group ``penstock.plugins`` names an instance; its name is the plugin's and its config table's.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "0"
    api: ClassVar[tuple[int, int]] = (API_VERSION, API_VERSION)
    """The oldest and newest API version that it works with."""
    config: ClassVar[type[Any]] = NoConfig
    """An `attrs` class whose fields all have defaults and a ``metadata={"help": ...}``."""


class HookSpecs:
    """Every hook of the kernel. Implementations take only the arguments they need.

    `server` and `config` are the server that asks and the plugin's own configuration, an instance of its config class:
    a plugin is one object for all servers of a process, and keeps nothing of them in itself.
    """

    @hookspec
    def register(self, registry: Registry) -> None:
        """Add codecs and bindings."""

    @hookspec
    def services(self, server: Server, config: Any) -> Iterable[Service]:  # type: ignore[empty-body]
        """The services of the plugin, made anew each time it is enabled; `config` is an instance of its class."""

    @hookspec
    def schemes(self, server: Server, config: Any) -> Mapping[str, Scheme]:  # type: ignore[empty-body]
        """URL schemes (``rtmp``, ``rtmps``) that it can pull from and push to."""

    @hookspec(firstresult=True)
    def asgi(self, server: Server, config: Any) -> Any:
        """An ASGI application with what the plugins offer over HTTP: what `Server.asgi` passes requests on to."""

    @hookspec
    def derive(  # type: ignore[empty-body]
        self, track: Track, path: StreamPath, server: Server, config: Any
    ) -> Iterable[Derivation]:  # pyright: ignore[reportReturnType]
        """What it can make out of `track` of the stream at `path`, best first, for readers whose carrier cannot take it.

        Asked whenever such a reader comes: nothing runs, and no track is there, before a reader takes what is offered.
        """

    @hookspec
    def serves_segments(self, server: Server, config: Any) -> bool:  # type: ignore[empty-body]  # pyright: ignore[reportReturnType]
        """Whether it serves streams in segments at the moment (`Stream.segments`).

        Where some plugin does, streams keep what makes three segments before the frames of the GOP cache, for who asks first.
        Asked at key frames.
        """

    @hookspec
    async def authorize(
        self,
        session: Session,
        action: Action,
        path: StreamPath,
        credentials: Credentials,
        server: Server,
        config: Any,
    ) -> bool | str | None:
        """May `session` do `action`? True allows, False or a reason denies, None leaves it to the next.

        Asked one by one in order of registration until one answers; nobody answers: allowed; an exception denies.
        A Digest or hash is checked by ``credentials.verify(password=...)`` or ``(ha1=...)``.
        """

    @hookspec(firstresult=True)
    def secret(self, path: StreamPath, server: Server, config: Any) -> str | None:
        """The pre-shared key of a path (SRT passphrase)."""

    @hookspec
    def stream_wanted(self, path: StreamPath, server: Server, config: Any) -> None:
        """Somebody asks for what nobody publishes."""

    @hookspec
    def session_opened(self, session: Session, server: Server, config: Any) -> None: ...

    @hookspec
    def session_closed(self, session: Session, reason: str, server: Server, config: Any) -> None: ...

    @hookspec
    def stream_published(self, stream: Stream, server: Server, config: Any) -> None: ...

    @hookspec
    def stream_unpublished(self, stream: Stream, reason: str, server: Server, config: Any) -> None: ...

    @hookspec
    def track_added(self, stream: Stream, track: Track, server: Server, config: Any) -> None: ...

    @hookspec
    def track_changed(self, stream: Stream, track: Track, server: Server, config: Any) -> None: ...

    @hookspec
    def reader_joined(self, stream: Stream, session: Session, server: Server, config: Any) -> None: ...

    @hookspec
    def reader_skipped(
        self, stream: Stream, session: Session, frames: int, server: Server, config: Any
    ) -> None:
        """A reader could not keep up, and goes on at a key frame without the `frames` before it."""

    @hookspec
    def reader_left(
        self, stream: Stream, session: Session, reason: str, server: Server, config: Any
    ) -> None: ...


def option(default: Any, help: str, **kwargs: Any) -> Any:
    """A config field: a default and what it means, which ``penstock config`` prints."""
    if isinstance(default, (list, dict)):
        value: Any = default  # pyright: ignore[reportUnknownVariableType]
        return field(factory=lambda: value.copy(), metadata={"help": help}, **kwargs)
    return field(default=default, metadata={"help": help}, **kwargs)
