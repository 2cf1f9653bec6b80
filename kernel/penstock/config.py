"""The configuration: one TOML file, the environment and ``--set``, checked and made attrs classes."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import evolve, field, fields, frozen, has

from penstock import structure
from penstock.errors import UserError
from penstock.hooks import NoConfig
from penstock.settings import Pattern, ServerConfig, StreamConfig, is_listen, parse_listen, within
from penstock.structure import Places, Problem, Raw

__all__ = [
    "Config",
    "PluginTable",
    "ServerConfig",
    "StreamConfig",
    "default_file",
    "is_listen",
    "load",
    "parse_listen",
    "within",
]

PREFIX = "PENSTOCK_"
RESERVED = frozenset({"server", "streams"})
"""Tables of the kernel, which no plugin may be called."""
KERNEL_KEYS = ("enabled", "required")
"""Keys of every plugin's table that the kernel handles."""
STREAMS_VARIABLE = "PENSTOCK_STREAMS"
STREAMS_EXAMPLE = '{"live/*" = {override = true}}'
"""The table ``[streams]``, whose keys no variable's name could have: slashes and stars."""
OTHER_VARIABLES = frozenset(
    {
        "PENSTOCK_CONFIG",
        "PENSTOCK_BRANCHES",
        "PENSTOCK_CLIPS",
        "PENSTOCK_CORPORA",
        "PENSTOCK_FUZZ",
        "PENSTOCK_REQUIRE_ALL",
    }
)
"""Variables that are no config keys: the config file's name, and what the tests are told."""
# Kubernetes sets these in every container when a service is called "penstock" or "penstock-...".
_KUBERNETES = re.compile(
    r"PENSTOCK_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)"
)

PluginConfigs = Mapping[str, type[Any] | None]
"""Each plugin's config class by name; None for one that could not be loaded, whose table is taken unread."""


@frozen
class PluginTable:
    """A plugin's table: an instance of its config class (None if not known), and what the kernel handles."""

    config: Any = None
    enabled: bool = True
    required: bool = False


@frozen
class Config:
    """Everything that is configured. `plugins` has an entry for each plugin that was known."""

    server: ServerConfig = field(factory=ServerConfig)
    streams: Mapping[str, StreamConfig] = field(factory=dict[str, StreamConfig])
    plugins: Mapping[str, PluginTable] = field(factory=dict[str, PluginTable])
    path: Path | None = None
    places: Places = field(factory=Places, repr=False, eq=False)
    _patterns: tuple[Pattern, ...] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        patterns = tuple(sorted(map(Pattern.parse, self.streams), key=lambda p: p.rank))
        object.__setattr__(self, "_patterns", patterns)

    @classmethod
    def from_mapping(cls, tables: Mapping[str, Any], plugin_configs: PluginConfigs | None = None) -> Config:
        """The configuration of an embedding program, in the file's shape. Raises `UserError`."""
        config, problems = _build(tables, plugin_configs or {}, None)
        if problems:
            raise UserError("\n".join(str(p) for p in problems))
        return config

    def stream(self, path: str) -> StreamConfig:
        """The table of the most specific pattern that matches the canonical `path`, or the defaults."""
        return next((self.streams[p.text] for p in self._patterns if p.matches(path)), _NO_STREAM_CONFIG)

    def plugin(self, name: str) -> PluginTable:
        """The table of the plugin called `name`, or the defaults."""
        return self.plugins.get(name, _NO_TABLE)

    @property
    def fixed_streams(self) -> Mapping[str, StreamConfig]:
        """The tables whose pattern is one path, by path: their source can run without being asked for."""
        return {"/".join(p.segments): self.streams[p.text] for p in self._patterns if p.literal}


_NO_STREAM_CONFIG = StreamConfig()
_NO_TABLE = PluginTable()


def default_file() -> Path | None:
    """``penstock.toml`` in the working directory, if it is there, be it a directory or a dangling link: `load` says so."""
    path = Path("penstock.toml")
    return path if os.path.lexists(path) else None


def load(
    path: str | Path | None,
    env: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    plugin_configs: PluginConfigs | None = None,
) -> Config:
    """The configuration of file, environment and ``table.key=value`` overrides; the later counts.

    Raises `UserError` with one line for each mistake.
    """
    known = plugin_configs or {}
    text = "" if path is None else _read(Path(path))
    tables = _parse(text, str(path))
    origins: dict[tuple[str, ...], str] = {}
    problems = _from_environment(tables, os.environ if env is None else env, known, origins)
    problems += _from_overrides(tables, overrides, known, origins)
    config, found = _build(tables, known, None if path is None else Path(path))
    places = Places("" if path is None else str(path), origins, structure.key_lines(text))
    problems += map(places.located, found)
    if problems:
        raise UserError("\n".join(problems))
    return evolve(config, places=places)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{name} is not valid TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{name} is not valid TOML: nested too deeply") from None


def _build(
    tables: Mapping[str, Any], known: PluginConfigs, path: Path | None
) -> tuple[Config, list[Problem]]:
    problems: list[Problem] = []
    names = {*RESERVED, *known}
    for name, table in tables.items():
        if name not in names:
            problems.append(
                Problem((name,), "is no table of Penstock or its plugins" + structure.nearest(name, names))
            )
        elif not isinstance(table, Mapping):
            problems.append(Problem((name,), f"must be a table, not {structure.shown(table)}"))
    good = {
        n: cast("Mapping[str, Any]", t) for n, t in tables.items() if n in names and isinstance(t, Mapping)
    }
    server = structure.build(ServerConfig, good.get("server", {}), ("server",), problems)
    streams: dict[str, StreamConfig] = {}
    for pattern, table in good.get("streams", {}).items():
        stream = _stream(pattern, table, problems)
        if stream is not None:
            streams[pattern] = stream
    plugins = {name: _plugin(name, cls, good.get(name, {}), problems) for name, cls in known.items()}
    if problems or server is None:
        return Config(), problems
    return Config(server, streams, plugins, path), problems


def _stream(pattern: str, table: Any, problems: list[Problem]) -> StreamConfig | None:
    where = ("streams", pattern)
    try:
        literal = Pattern.parse(pattern).literal
    except ValueError as error:
        problems.append(Problem(where, f"is refused: {error}"))
        return None
    if not isinstance(table, Mapping):
        problems.append(Problem(where, f'must be a table: write [streams."{pattern}"]'))
        return None
    config = structure.build(StreamConfig, cast("Mapping[str, Any]", table), where, problems)
    if config is None:
        return None
    if config.source_on_demand and config.source is None:
        problems.append(Problem((*where, "source_on_demand"), "needs a source"))
    if config.source is not None and not literal and not config.source_on_demand:
        problems.append(Problem((*where, "source"), "for more than one path needs source_on_demand = true"))
    return config


def _plugin(
    name: str, cls: type[Any] | None, table: Mapping[str, Any], problems: list[Problem]
) -> PluginTable:
    kernel = {k: v for k, v in table.items() if k in KERNEL_KEYS}
    flags = structure.build(_Flags, kernel, (name,), problems) or _Flags()
    own: Any = None
    if cls is not None:
        rest = {k: v for k, v in table.items() if k not in KERNEL_KEYS}
        own = structure.build(cls, rest, (name,), problems, also=KERNEL_KEYS)
    return PluginTable(own, flags.enabled, flags.required)


@frozen
class _Flags:
    enabled: bool = True
    required: bool = False


def variables(known: PluginConfigs) -> dict[str, tuple[str, ...]]:
    """Every environment variable that is a config key, with the key's place in the tables."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(cls: type[Any], path: tuple[str, ...]) -> None:
        types = structure.types_of(cls)
        for attribute in fields(cls):
            place = (*path, attribute.alias)
            if has(types[attribute.name]):
                walk(types[attribute.name], place)
            else:
                found.setdefault(_variable(place), place)

    walk(ServerConfig, ("server",))
    for name, cls in known.items():
        walk(_Flags, (name,))
        walk(cls or NoConfig, (name,))
    return found


def _variable(place: Iterable[str]) -> str:
    return PREFIX + "_".join(place).upper().replace("-", "_")


def _from_environment(
    tables: dict[str, Any], env: Mapping[str, str], known: PluginConfigs, origins: dict[tuple[str, ...], str]
) -> list[str]:
    places = variables(known)
    unread = tuple(_variable((name, "")) for name, cls in known.items() if cls is None)
    problems: list[str] = []
    for variable in sorted(v for v in env if v.startswith(PREFIX) and v not in OTHER_VARIABLES):
        place = places.get(variable)
        if variable == STREAMS_VARIABLE:
            problem = _put_streams(tables, env[variable], origins)
            if problem:
                problems.append(f"{variable}: {problem}")
        elif place is not None:
            problem = _put(tables, place, env[variable])
            origins[place] = variable
            if problem:
                problems.append(f"{variable}: {problem}")
        elif variable.startswith(_variable(("streams", ""))) and not _of_kubernetes(variable, env[variable]):
            problems.append(
                f"{variable} is no setting of Penstock: all streams are in one variable, such as "
                f"{STREAMS_VARIABLE}='{STREAMS_EXAMPLE}'"
            )
        elif not (variable.startswith(unread) or _of_kubernetes(variable, env[variable])):
            meant = structure.nearest(variable, (*places, STREAMS_VARIABLE))
            problems.append(f"{variable} is no setting of Penstock{meant}")
    return problems


def _put_streams(tables: dict[str, Any], text: str, origins: dict[tuple[str, ...], str]) -> str:
    """Set the keys that one variable has of any stream, leaving the others; returns what is wrong with it."""
    try:
        given: Any = tomllib.loads(f"streams = {text.strip()}")
    except (tomllib.TOMLDecodeError, RecursionError):
        given = {}
    found: Any = given.get("streams")
    if len(given) != 1 or not isinstance(found, dict):
        return f"must be an inline table of TOML, such as {STREAMS_EXAMPLE}"
    known = tables.setdefault("streams", {})
    if not isinstance(known, dict):
        return "streams is no table"
    streams = cast("dict[str, Any]", known)
    for pattern, table in cast("dict[str, Any]", found).items():
        origins["streams", pattern] = STREAMS_VARIABLE
        before = streams.get(pattern)
        if isinstance(table, dict) and isinstance(before, dict):
            table = {**cast("dict[str, Any]", before), **cast("dict[str, Any]", table)}
        streams[pattern] = table
    return ""


def _of_kubernetes(variable: str, value: str) -> bool:
    return bool(_KUBERNETES.fullmatch(variable)) or (
        variable.endswith("_PORT") and value.startswith(("tcp://", "udp://"))
    )


def _from_overrides(
    tables: dict[str, Any],
    overrides: Sequence[str],
    known: PluginConfigs,
    origins: dict[tuple[str, ...], str],
) -> list[str]:
    problems: list[str] = []
    names = {*RESERVED, *known}
    for override in overrides:
        key, equals, value = override.partition("=")
        place = structure.parse_key(key)
        if not equals or place is None or len(place) < 2:
            problems.append(f"--set {override}: write {_example(key)}")
            continue
        if place[0] not in names:
            # All of the key at once: here the table is no line of its own.
            table = structure.closest(place[0], names)
            keys = [at[1] for at in variables(known).values() if at[0] == table]
            meant = ".".join(filter(None, (table, structure.closest(place[1], keys))))
            meant = f"; did you mean {meant}?" if table else ""
            problems.append(f"--set {key.strip()}: {place[0]} is no table of Penstock or its plugins{meant}")
            continue
        problem = _put(tables, place, value)
        origins[place] = f"--set {key.strip()}"
        if problem:
            problems.append(f"--set {override}: {problem}")
    return problems


def _example(key: str) -> str:
    if key.strip().startswith("streams."):
        return "the path in quotes, such as 'streams.\"live/x\".override=true'"
    return "table.key=value, such as rtmp.listen=:1936"


def _put(tables: dict[str, Any], place: tuple[str, ...], value: str) -> str:
    """Set the value at `place`; returns what is in the way."""
    table = tables
    for depth, name in enumerate(place[:-1], 1):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            return f"{'.'.join(place[:depth])} is no table"
        table = cast("dict[str, Any]", inner)
    table[place[-1]] = Raw(value.strip())
    return ""
