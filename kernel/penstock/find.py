"""Whether an entry point is a plugin that this kernel can use, and if not, why, in one sentence."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from typing import Any

import attrs

from penstock.config import KERNEL_KEYS, RESERVED
from penstock.hooks import API_VERSION, Plugin
from penstock.structure import types_of

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*[\"']([^\"']+)[\"']")


def load_entry(entry: EntryPoint) -> tuple[Any, str]:
    """What the entry point names, and the reason if that cannot be imported."""
    try:
        return entry.load(), ""
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        return None, _missing(entry, error)
    except BaseException as error:  # noqa: BLE001 - SystemExit and panics of extension modules included
        return None, f"cannot be imported: {why(error)}"


def check(plugin: Any, name: str) -> str:
    """The reason why `plugin` cannot be used under `name`, empty if it can."""
    try:
        return _check(plugin, name)
    except Exception as error:  # noqa: BLE001 - properties and annotations of others may do anything
        return f"cannot be used: {why(error)}"


def _check(plugin: Any, name: str) -> str:
    kind: Any = plugin
    if isinstance(kind, type) and issubclass(kind, Plugin):
        return "is a class: the entry point must name an instance of it"
    if not isinstance(plugin, Plugin):
        return f"is no penstock.Plugin but {type(plugin).__name__}"
    own = getattr(plugin, "name", None)
    if not isinstance(own, str) or not _NAME.fullmatch(own):
        return f"its name must be lower-case letters, digits, '-' and '_', not {own!r}"
    if own != name:
        return f"calls itself {own!r} but its entry point {name!r}"
    if own in RESERVED:
        return f"may not be called {own!r}: that is a table of the kernel"
    api: object = plugin.api
    match api:
        case (int(low), int(high)) if low <= API_VERSION <= high:
            return _check_config(plugin.config)
        case (int(low), int(high)):
            return f"works with plugin API {low} to {high}; this is API {API_VERSION}"
        case _:
            return "its api must be the oldest and the newest version, such as (1, 1)"


def _check_config(cls: Any) -> str:
    if not (isinstance(cls, type) and attrs.has(cls)):
        return "its config is no attrs class"
    for attribute in attrs.fields(cls):
        if attribute.default is attrs.NOTHING:
            return f"its config field {attribute.name!r} has no default"
        if attribute.alias in KERNEL_KEYS:
            return f"its config field {attribute.name!r} is a key that the kernel handles"
    types_of(cls)
    cls()
    return ""


def _missing(entry: EntryPoint, error: ModuleNotFoundError) -> str:
    """What to install for the module that is not there."""
    name = error.name or ""
    if not name or name.split(".")[0] == entry.module.split(".")[0]:
        return f"cannot be imported: {why(error)}"
    dist = entry.dist
    extra = next(iter(entry.extras), "")
    if not extra and dist is not None:
        top = _normal(name.split(".")[0])
        matches = (_REQUIREMENT.match(r) for r in dist.requires or ())
        extra = next((m[2] for m in matches if m is not None and _normal(m[1]) == top), "")
    if extra and dist is not None:
        return f"no module named {name!r}: pip install '{dist.name}[{extra}]'"
    return f"no module named {name!r}: pip install {name.split('.')[0]}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def why(error: BaseException) -> str:
    """An exception in one line, without the type where its text stands for itself."""
    text = " ".join(str(error).split())
    plain = isinstance(error, (ImportError, ValueError)) or type(error).__module__.startswith("penstock.")
    if text and plain:
        return text[:500]
    return f"{type(error).__name__}: {text}"[:500].removesuffix(": ")
