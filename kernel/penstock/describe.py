"""Every config key with its default and meaning, as a commented TOML file."""

from __future__ import annotations

import enum
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from penstock.config import STREAMS_EXAMPLE, STREAMS_VARIABLE, PluginConfigs, variables
from penstock.settings import ServerConfig, StreamConfig
from penstock.structure import dotted, types_of

WIDTH = 110

_HEAD = """\
# The configuration of Penstock: every key with its default. Remove the "#" before a key to set it.
# A key may also be set by the environment variable that is named with it, and by --set table.key=value."""

_STREAMS = f"""\
# A table for each path or pattern of paths: "*" is within a segment, "**" any number of segments.
# Of all patterns that match a path, the most specific counts.
# All of them are one environment variable: {STREAMS_VARIABLE}='{STREAMS_EXAMPLE}'"""


def describe(plugins: PluginConfigs) -> str:
    """The text of ``penstock config``: the defaults are commented out, so it is itself a config file."""
    names = {place: variable for variable, place in variables(plugins).items()}
    parts = [_HEAD, _table(ServerConfig, ("server",), names)]
    parts.append(f"{_STREAMS}\n" + _table(StreamConfig, ("streams", "live/*"), names))
    for name, cls in plugins.items():
        if cls is not None:
            parts.append(_table(cls, (name,), names, flags=True))
    return "\n\n".join(parts) + "\n"


def _table(
    cls: type[Any],
    path: tuple[str, ...],
    names: Mapping[tuple[str, ...], str],
    *,
    default: Any = None,
    flags: bool = False,
) -> str:
    instance = cls() if default is None else default
    types = types_of(cls)
    lines = [f"[{dotted(path)}]"]
    if flags:
        lines += [f"# Whether the plugin runs. ({names[(*path, 'enabled')]})", "#enabled = true"]
        lines += [f"# Whether the server refuses to start without it. ({names[(*path, 'required')]})"]
        lines += ["#required = false"]
    nested: list[str] = []
    for attribute in attrs.fields(cls):
        value = getattr(instance, attribute.name)
        place = (*path, attribute.alias)
        hint = types[attribute.name]
        if isinstance(hint, type) and attrs.has(hint):
            nested.append(_table(hint, place, names, default=value))
            continue
        text = str(attribute.metadata.get("help", ""))
        if place in names:
            text = f"{text} ({names[place]})".strip()
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        value = attribute.metadata.get("text", value)
        lines.append(
            f"# {attribute.alias} is not set" if value is None else f"#{attribute.alias} = {toml(value)}"
        )
    return "\n\n".join(["\n".join(lines), *nested])


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, enum.Enum):
        return toml(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return "{" + ", ".join(f"{dotted((k,))} = {toml(v)}" for k, v in items) + "}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[" + ", ".join(map(toml, cast("list[Any]", value))) + "]"
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(str(value))
