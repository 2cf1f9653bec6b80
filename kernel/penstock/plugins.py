"""The plugins of one server: found, checked, registered, asked and told, each without harm to the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
import pluggy
import structlog
from attrs import define, field
from pluggy import HookImpl

from penstock.config import Config, PluginTable
from penstock.errors import Denied, PenstockError, UserError
from penstock.find import check, load_entry, why
from penstock.hooks import Action, HookSpecs, Plugin
from penstock.log import LimitedLog
from penstock.places import site_of
from penstock.registry import Registry
from penstock.structure import nearest

if TYPE_CHECKING:
    from penstock.path import StreamPath
    from penstock.server import Server
    from penstock.session import Credentials, Session

GROUP = "penstock.plugins"

AUTHORIZE_SECONDS = 10.0
"""How long one plugin may take to answer whether a peer may do something; who is later has denied."""

Status = Literal["found", "loaded", "disabled", "failed"]

T = TypeVar("T")

_log = structlog.get_logger("penstock")


@define(eq=False)
class LoadedPlugin:
    """What became of one plugin, and why. `errors` counts the exceptions of its hooks since."""

    name: str
    plugin: Plugin | None = None
    version: str = ""
    distribution: str = ""
    status: Status = "found"
    reason: str = ""
    required: bool = False
    errors: int = 0
    last_error: str = ""
    registered: bool = field(default=False, init=False)
    """Whether its codecs and bindings are in the registry; they stay there when it is disabled."""
    since: int = field(default=0, init=False)
    """The set's `changes` when its hooks were registered, 0 while they are not."""

    @property
    def api(self) -> str:
        """The range of API versions that it works with, such as ``1`` or ``1-2``."""
        if self.plugin is None:
            return ""
        low, high = self.plugin.api
        return str(low) if low == high else f"{low}-{high}"


class PluginSet:
    """All plugins of one server, its registry and its hooks.

    `discover` imports and checks them, `activate` registers those that the config wants: first those given by
    hand, then by name. Codecs of a plugin that is disabled while the server runs stay registered, because
    streams may be made of them; its hooks go.
    """

    def __init__(self, records: Iterable[LoadedPlugin] = ()) -> None:
        self.registry = Registry()
        self.manager = pluggy.PluginManager("penstock")
        self.manager.add_hookspecs(HookSpecs)
        self.records: list[LoadedPlugin] = list(records)
        self.limited = LimitedLog(_log)
        self.server: Server | None = None
        """The server that asks, once there is one; hooks may have it as an argument."""
        self.changes = 0
        """Grows with each plugin whose hooks come or go, so that what was made of their answers can be made anew."""
        self._config = Config()
        self._active = False
        self._calls: dict[str, tuple[tuple[LoadedPlugin, HookImpl], ...]] = {}
        for record in self.records:
            self._add_hookspecs(record)

    @classmethod
    def discover(
        cls, extra: Iterable[Plugin] = (), blocked: Iterable[str] = (), *, installed: bool = True
    ) -> PluginSet:
        """Check `extra` plugins and, if `installed`, every entry point; those `blocked` are not imported."""
        blocked = frozenset(blocked)
        records: list[LoadedPlugin] = []
        taken: dict[str, LoadedPlugin] = {}
        found: Iterable[EntryPoint] = entry_points(group=GROUP) if installed else ()
        # The own distribution first, so that nobody takes over the name of a first-party plugin.
        ordered = sorted(found, key=lambda e: (_distribution(e) != "penstock", e.name, _distribution(e)))
        sources: list[Plugin | EntryPoint] = [*extra, *ordered]
        for source in sources:
            record = _record(source, blocked)
            earlier = taken.get(record.name)
            if earlier is not None:
                record.status = "failed"
                record.reason = (
                    f"the name {record.name!r} is taken by {earlier.distribution or 'another plugin'}"
                )
            else:
                taken[record.name] = record
            records.append(record)
        return cls(records)

    def __iter__(self) -> Iterator[LoadedPlugin]:
        return iter(self.records)

    def get(self, name: str) -> LoadedPlugin | None:
        """The record of the plugin that has that name."""
        return next((r for r in self.records if r.name == name), None)

    @property
    def configs(self) -> Mapping[str, type[Any] | None]:
        """Each plugin's config class by name, None where it could not be loaded, for `config.load`."""
        found: dict[str, type[Any] | None] = {}
        for record in self.records:
            if record.name not in found:
                found[record.name] = record.plugin.config if record.plugin is not None else None
        return MappingProxyType(found)

    def activate(self, config: Config) -> None:
        """Register each plugin that the config does not disable; one log line for each that fails.

        A second call does nothing.
        """
        if self._active:
            return
        self._active = True
        self._config = config
        for record in self.records:
            # Of two plugins that share a name, the table is the first one's.
            table = config.plugin(record.name) if self.get(record.name) is record else PluginTable()
            record.required = table.required
            if record.status == "found" and table.enabled:
                self._register(record)
            elif record.status == "found":
                record.status, record.reason = "disabled", "by the configuration"
            if record.status == "failed":
                _log.warning("plugin failed", plugin=record.name, reason=record.reason)

    def usable(self, config: Config) -> list[str]:
        """Names of the plugins that are to run, after `activate`."""
        self.activate(config)
        return [record.name for record in self.records if record.status == "loaded"]

    def required_failures(self, config: Config) -> list[LoadedPlugin]:
        """Those without which the server must not start, and which cannot be used, after `activate`.

        One that was to say who may do what is among them, required or not: without it everybody might.
        """
        self.activate(config)
        return [
            record
            for record in self.records
            if (record.required and record.status != "loaded")
            or (record.status == "failed" and self.get(record.name) is record and self._guards(record.plugin))
        ]

    def _guards(self, plugin: Plugin | None) -> bool:
        """Whether a plugin implements `authorize`, or a hook that is spelt nearly so."""
        kind: Any = type(plugin)
        hooks = [name for name in dir(kind) if self.manager.parse_hookimpl_opts(kind, name) is not None]
        return bool(get_close_matches("authorize", hooks, 1, 0.8))

    def enable(self, name: str) -> LoadedPlugin:
        """Register a plugin that is disabled or has failed. Raises `UserError` where it cannot be."""
        record = self._known(name)
        if record.status == "loaded":
            return record
        if record.plugin is None:
            raise UserError(f"the plugin {name} cannot be enabled: {record.reason}")
        if not self._register(record):
            raise UserError(f"the plugin {name} cannot be enabled: {record.reason}")
        return record

    def disable(self, name: str, reason: str = "by request") -> LoadedPlugin:
        """Take a plugin's hooks away; its codecs stay. Raises `UserError` where there is no such plugin."""
        record = self._known(name)
        if record.plugin is not None and record.status != "disabled":
            self._unregister(record)
            record.status, record.reason = "disabled", reason
        return record

    def fail(self, name: str, reason: str, *, error: BaseException | None = None, trace: bool = True) -> None:
        """Mark a plugin whose service did not start or died, with one log line; its hooks stay."""
        record = self._known(name)
        record.status, record.reason = "failed", reason
        if error is not None:
            record.errors += 1
            record.last_error = why(error)
        _log.error("plugin failed", plugin=name, reason=reason, exc_info=error if trace else None)

    def recovered(self, name: str) -> None:
        """Mark a plugin whose service runs, or runs again."""
        record = self._known(name)
        record.status, record.reason = "loaded", ""

    def limited_log(
        self, event: str, *, peer: str = "", level: str = "info", apart: str = "", **values: Any
    ) -> None:
        """A line about a peer: only so many a second for each address; what is None is left out.

        With `apart` it takes no place from the address's other lines: those of that name are limited by themselves.
        """
        values = {name: value for name, value in values.items() if value is not None}
        host = peer.rpartition(":")[0].strip("[]") or peer
        key = f"{site_of(host)} {apart}".rstrip()
        self.limited.write(level, key, event, peer=peer, **values)

    def notify(self, hook_name: str, /, **arguments: Any) -> None:
        """Call every implementation of a notice; an exception is logged and counted, and goes no further."""
        for record, impl in self._implementations(hook_name):
            try:
                impl.function(*self._arguments(record, impl, arguments))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - a plugin's mistake must not end what it was told of
                self._note(record, hook_name, error)

    def call(
        self, plugin_name: str, hook_name: str, check: Callable[[Any], Any] | None = None, /, **arguments: Any
    ) -> Any:
        """Call one plugin's implementation, None where it has none; `check` makes of its answer what is returned.

        Raises the plugin's own `PenstockError`; any other exception, of `check` as well, is logged and becomes a
        `UserError`.
        """
        try:
            answer = self._call(plugin_name, hook_name, arguments)
            return answer if answer is None or check is None else check(answer)
        except (PenstockError, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._note(self._known(plugin_name), hook_name, error)
            raise UserError(f"its hook {hook_name} failed: {why(error)}") from error

    def _call(self, plugin_name: str, hook_name: str, arguments: Mapping[str, Any]) -> Any:
        for record, impl in self._implementations(hook_name):
            if record.name == plugin_name:
                return impl.function(*self._arguments(record, impl, arguments))
        return None

    def implements(self, hook_name: str) -> bool:
        """Whether some plugin that is enabled implements a hook."""
        return bool(self._implementations(hook_name))

    def gather(self, hook_name: str, kind: type[T], /, **arguments: Any) -> list[T]:
        """What all implementations answer with, in order; who fails, or answers with something else, has nothing to offer."""
        found: list[T] = []
        for record, impl in self._implementations(hook_name):
            try:
                answer: Any = impl.function(*self._arguments(record, impl, arguments))
                answers: list[Any] = list(answer or ())
                wrong = next((type(a).__name__ for a in answers if not isinstance(a, kind)), None)
                if wrong is not None:
                    raise TypeError(f"answered with {wrong}, not {kind.__name__}")
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - what it may have offered is not there
                self._note(record, hook_name, error)
            else:
                found += answers
        return found

    def any(self, hook_name: str, /, **arguments: Any) -> bool:
        """Whether some implementation answers True; who fails does not."""
        for record, impl in self._implementations(hook_name):
            try:
                answer: Any = impl.function(*self._arguments(record, impl, arguments))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - what it may have answered is not known
                self._note(record, hook_name, error)
            else:
                if answer is True:
                    return True
        return False

    def first(self, hook_name: str, /, **arguments: Any) -> Any:
        """The first answer that is not None, in order. Raises `Denied` where a plugin fails to answer."""
        for record, impl in self._implementations(hook_name):
            try:
                answer = impl.function(*self._arguments(record, impl, arguments))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - who cannot answer must not open the door
                self._note(record, hook_name, error)
                raise Denied(f"the plugin {record.name} failed to answer") from None
            if answer is not None:
                return answer
        return None

    async def ask_authorize(
        self, session: Session, action: Action, path: StreamPath, credentials: Credentials
    ) -> None:
        """Return if `session` may do `action`; raises `Denied` if not, or if a plugin fails to answer."""
        given = {"session": session, "action": action, "path": path, "credentials": credentials}
        for record, impl in self._implementations("authorize"):
            try:
                with anyio.fail_after(AUTHORIZE_SECONDS):
                    answer: Any = impl.function(*self._arguments(record, impl, given))
                    if inspect.isawaitable(answer):
                        answer = await answer
            except (Denied, KeyboardInterrupt, anyio.get_cancelled_exc_class()):
                raise
            except BaseException as error:  # noqa: BLE001 - an exception denies
                self._note(record, "authorize", error)
                raise Denied("authorization failed", anonymous=credentials.anonymous) from None
            if answer is True:
                return
            if answer is False or isinstance(answer, str):
                raise Denied(answer or "not allowed", anonymous=credentials.anonymous, explained=bool(answer))
            if answer is not None:
                self._note(
                    record, "authorize", TypeError(f"answered {type(answer).__name__}: not bool, str or None")
                )
                raise Denied("authorization failed", anonymous=credentials.anonymous)

    def _known(self, name: str) -> LoadedPlugin:
        record = self.get(name)
        if record is None:
            raise UserError(f"there is no plugin {name!r}" + nearest(name, self.configs))
        return record

    def _note(self, record: LoadedPlugin, hook_name: str, error: BaseException) -> None:
        record.errors += 1
        record.last_error = f"{hook_name}: {why(error)}"
        _log.error("plugin error", plugin=record.name, hook=hook_name, exc_info=error)

    def _arguments(self, record: LoadedPlugin, impl: HookImpl, given: Mapping[str, Any]) -> list[Any]:
        """What an implementation asks for: what the call gives, the server, and the plugin's own configuration."""
        own = {"server": self.server, "config": self._config.plugin(record.name).config}
        return [given[name] if name in given else own[name] for name in impl.argnames]

    def _implementations(self, hook_name: str) -> tuple[tuple[LoadedPlugin, HookImpl], ...]:
        found = self._calls.get(hook_name)
        if found is None:
            caller = getattr(self.manager.hook, hook_name)
            order = {record.plugin: n for n, record in enumerate(self.records)}
            impls = sorted(caller.get_hookimpls(), key=lambda i: (i.trylast - i.tryfirst, order[i.plugin]))
            found = tuple((self.records[order[i.plugin]], i) for i in impls)
            self._calls[hook_name] = found
        return found

    def _add_hookspecs(self, record: LoadedPlugin) -> None:
        specs = getattr(record.plugin, "hookspecs", None)
        if record.status != "found" or specs is None:
            return
        try:
            for name in dir(specs):
                if self.manager.parse_hookspec_opts(specs, name) is None:
                    continue
                caller = getattr(self.manager.hook, name, None)
                if caller is not None and caller.has_spec():
                    raise ValueError(f"the hook {name!r} is another plugin's")
            self.manager.add_hookspecs(specs)
        except Exception as error:  # noqa: BLE001 - reported as the plugin's failure
            record.status, record.reason = "failed", f"its hookspecs cannot be used: {why(error)}"

    def _register(self, record: LoadedPlugin) -> bool:
        """Make a plugin part of the server, whole or not at all; returns whether it is."""
        plugin = record.plugin
        if plugin is None:
            return False
        before = self.registry.snapshot()
        try:
            if self.manager.get_name(plugin) is None:
                self.manager.register(plugin, record.name)
            self._calls.clear()
            self._check_hooks(plugin)
            if not record.registered:
                self._call(record.name, "register", {"registry": self.registry})
                record.registered = True
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit and panics of extension modules included
            self.registry.restore(before)
            self._unregister(record)
            record.status, record.reason = "failed", why(error)
            return False
        record.status, record.reason = "loaded", ""
        self.changes += 1
        record.since = self.changes
        return True

    def _unregister(self, record: LoadedPlugin) -> None:
        if record.plugin is not None and self.manager.get_name(record.plugin) is not None:
            self.manager.unregister(record.plugin)
        self._calls.clear()
        self.changes += 1
        record.since = 0

    def _check_hooks(self, plugin: Plugin) -> None:
        for caller in self.manager.get_hookcallers(plugin) or ():
            for impl in caller.get_hookimpls():
                if impl.plugin is not plugin:
                    continue
                if not caller.has_spec() and not impl.optionalhook:
                    known = [n for n, c in vars(self.manager.hook).items() if n[0] != "_" and c.has_spec()]
                    raise UserError(
                        f"its hook {caller.name} is one that nobody calls{nearest(caller.name, known)}"
                    )
                if impl.wrapper or impl.hookwrapper:
                    raise UserError(f"its hook {caller.name} is a wrapper, which Penstock does not have")
                spec: Callable[..., Any] | None = caller.spec.function if caller.spec is not None else None
                if spec is not None and _asynchronous(impl.function) and not _asynchronous(spec):
                    raise UserError(f"its hook {caller.name} must not be async")


def _asynchronous(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""


def _record(source: Plugin | EntryPoint, blocked: frozenset[str]) -> LoadedPlugin:
    """The record of one plugin, with the reason if it cannot be used."""
    if isinstance(source, EntryPoint):
        record = LoadedPlugin(source.name, distribution=_distribution(source))
        record.version = source.dist.version if source.dist is not None else ""
        if source.name in blocked:
            record.status, record.reason = "disabled", "blocked"
            return record
        found, reason = load_entry(source)
    else:
        found, reason = source, ""
        record = LoadedPlugin(str(getattr(source, "name", type(source).__name__)))
    reason = reason or check(found, record.name)
    if reason:
        record.status, record.reason = "failed", reason
    elif record.name in blocked:
        record.plugin = found
        record.status, record.reason = "disabled", "blocked"
    else:
        record.plugin = found
    if isinstance(found, Plugin) and found.version != "0":
        record.version = str(found.version)
    return record


__all__ = ["GROUP", "LoadedPlugin", "PluginSet", "Status"]
