"""Plain values to attrs classes: strict scalars, all mistakes at once, each with its place."""

from __future__ import annotations

import difflib
import enum
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from attrs import field, frozen
from cattrs import Converter
from cattrs.errors import StructureHandlerNotFoundError

from penstock.errors import PenstockError, UserError

T = TypeVar("T")


class Raw(str):
    """A value from the environment or the command line: text until it is known what it must become."""

    __slots__ = ()


class Problem(PenstockError):
    """One mistake: the key's place in the tables, and a predicate that finishes the sentence."""

    def __init__(self, path: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.path = path
        self.text = text

    def __str__(self) -> str:
        return f"{dotted(self.path)} {self.text}"


@frozen
class Places:
    """Where each key was set: by a variable or ``--set``, which `origins` has, or in a line of the file `name`."""

    name: str = ""
    origins: Mapping[tuple[str, ...], str] = field(factory=dict[tuple[str, ...], str])
    lines: Mapping[tuple[str, ...], int] = field(factory=dict[tuple[str, ...], int])

    def located(self, problem: Problem) -> str:
        """The problem as a sentence that begins with its place, as far as that is known."""
        for end in range(len(problem.path), 0, -1):
            key = problem.path[:end]
            if key in self.origins:
                return f"{self.origins[key]}: {problem}"
            if key in self.lines:
                return f"{self.name}:{self.lines[key]}: {problem}"
        return f"{self.name}: {problem}" if self.name else str(problem)


class _Problems(Exception):
    """Those of a nested class, on their way up."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


def dotted(path: Iterable[str]) -> str:
    """The place as one writes it in TOML; list indices in brackets."""
    text = ""
    for part in path:
        bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
        text += part if part.startswith("[") else f".{part}" if bare else f'."{part}"'
    return text.removeprefix(".")


def mistakes(written: str, meant: str) -> int:
    """How many letters were left out, added or mistaken, or changed places with their neighbour, which is one mistake."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(written, 1):
        further = [i]
        for j, other in enumerate(meant, 1):
            least = min(row[j] + 1, further[-1] + 1, row[j - 1] + (letter != other))
            if before and j > 1 and letter == meant[j - 2] and other == written[i - 2]:
                least = min(least, before[j - 2] + 1)
            further.append(least)
        before, row = row, further
    return row[-1]


def closest(name: str, known: Iterable[str]) -> str:
    """What of `known` was probably meant by `name`; empty where nothing is like it."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, len(names) or 1, 0.6)
    # The first of those that are equally few mistakes away: difflib has the most alike first.
    return min(close, key=lambda one: mistakes(name, one)) if close else ""


def nearest(name: str, known: Iterable[str], table: str = "") -> str:
    """The end of a sentence about an unknown name: what was probably meant, or all there are if few."""
    names = sorted(known)
    if meant := closest(name, names):
        return f"; did you mean {table}.{meant}?" if table else f"; did you mean {meant}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 8 else ""


def shown(value: Any) -> str:
    """A value as it is quoted in an error: what it is, and the beginning of its text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return f"the text {text[:60]}" if isinstance(value, str) else f"the value {text[:60]}"


def parse_key(text: str) -> tuple[str, ...] | None:
    """The parts of a dotted TOML key, None if it is none."""
    if "\n" in text or "=" in text:
        return None
    try:
        table: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return None
    parts: list[str] = []
    while isinstance(table, dict):
        if not table:  # The text was a comment.
            return None
        (part, table) = next(iter(cast("dict[str, Any]", table).items()))
        parts.append(part)
    return tuple(parts)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key of a TOML text, as far as a look at the beginnings of lines can tell."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("["):
            table = parse_key(line.strip("[").partition("]")[0]) or ()
            if table:
                lines.setdefault(table, number)
        elif "=" in line and not line.startswith("#"):
            key = parse_key(line.partition("=")[0])
            for end in range(1, len(key or ()) + 1):
                lines.setdefault((*table, *(key or ())[:end]), number)
    return lines


def types_of(cls: type[Any]) -> dict[str, Any]:
    """The types of an attrs class's fields, by name, with annotations resolved."""
    hints = typing.get_type_hints(cls)
    return {a.name: hints.get(a.name, Any) for a in attrs.fields(cls)}


def build(
    cls: type[T],
    table: Mapping[str, Any],
    path: tuple[str, ...],
    problems: list[Problem],
    *,
    also: Iterable[str] = (),
) -> T | None:
    """An instance of the attrs class `cls`, or None and what is wrong added to `problems`.

    `also` are keys that someone else handles, for suggestions.
    """
    attributes = {a.alias: a for a in attrs.fields(cast("type[Any]", cls))}
    hints = types_of(cls)
    before = len(problems)
    values: dict[str, Any] = {}
    for key, value in table.items():
        attribute = attributes.get(key)
        if attribute is None:
            hint = nearest(key, (*attributes, *also), dotted(path))
            problems.append(Problem((*path, key), f"is unknown{hint}"))
            continue
        try:
            structured = _structure(value, hints[attribute.name], attribute)
            cls(**{key: structured})  # Alone, so that each key's validator speaks for itself.
            values[key] = structured
        except Exception as error:  # noqa: BLE001 - plugins bring validators of their own
            problems += _explain(error, (*path, key))
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except (ValueError, TypeError, UserError) as error:
        problems.append(Problem(path, _sentence(error)))
        return None


def _structure(value: Any, hint: Any, attribute: attrs.Attribute[Any]) -> Any:
    own: Any = cast(Any, attribute).converter
    if own is None:
        return _converter.structure(value, hint)
    # A field with a converter of its own takes the plain value: it alone knows what may be written there.
    return _toml_or_text(value)


def _explain(error: BaseException, path: tuple[str, ...]) -> list[Problem]:
    if isinstance(error, _Problems):
        return [Problem((*path, *p.path), p.text) for p in error.problems]
    return [Problem(path, _sentence(error))]


def _sentence(error: BaseException) -> str:
    if isinstance(error, StructureHandlerNotFoundError):
        return "has a type that cannot be configured; this is a mistake of its plugin"
    text = str(error.args[0]) if error.args else type(error).__name__
    text = " ".join(text.split())
    # The validators of attrs begin with the quoted name of the field, which the place says already.
    head, _, rest = text.partition("' ")
    if head.startswith("'") and rest.startswith("must "):
        text = rest
    return text if text.startswith(("must ", "needs ", "is ", "has ")) else f"is refused: {text}"


def _toml(text: str) -> Any:
    """`text` as a TOML value; `text` itself if it is none."""
    if "\n" in text:
        return str(text)
    try:
        table = tomllib.loads(f"v = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return str(text)
    return table["v"] if len(table) == 1 else str(text)


def _toml_or_text(value: Any) -> Any:
    return _toml(value) if isinstance(value, Raw) else value


def _bool(value: Any, _: Any) -> bool:
    value = _toml_or_text(value)
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def _int(value: Any, _: Any) -> int:
    value = _toml_or_text(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {shown(value)}")
    return value


def _float(value: Any, _: Any) -> float:
    value = _toml_or_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"must be a number, not {shown(value)}")
    return float(value)


def _str(value: Any, _: Any) -> str:
    if isinstance(value, Raw):
        # 1935 or true stay text; only what is written in TOML's quotes is read as TOML.
        read = _toml(value) if value[:1] in ("'", '"') else value
        return read if type(read) is str else str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {shown(value)}")
    return value


def _path(value: Any, _: Any) -> Path:
    return Path(_str(value, str))


def _choice(value: Any, hint: Any) -> Any:
    choices = get_args(hint)
    read = _toml_or_text(value)
    for choice in choices:
        if type(choice) is type(read) and choice == read:
            return choice
    raise ValueError(f"must be {_alternatives(choices)}, not {shown(read)}")


def _enum(value: Any, hint: Any) -> Any:
    read = _toml_or_text(value)
    for member in cast("type[enum.Enum]", hint):
        if member.value == read and type(read) is not bool:
            return member
    raise ValueError(f"must be {_alternatives([m.value for m in hint])}, not {shown(read)}")


def _alternatives(choices: Iterable[Any]) -> str:
    return " or ".join(f'"{c}"' if isinstance(c, str) else str(c).lower() for c in choices)


def _union(value: Any, hint: Any) -> Any:
    members = [m for m in get_args(hint) if m is not type(None)]
    if value is None and len(members) < len(get_args(hint)):
        return None
    # Text last: from the environment, everything is text if nothing else.
    members.sort(key=lambda m: m is str)
    errors: list[Exception] = []
    for member in members:
        try:
            return _converter.structure(value, member)
        except Exception as error:  # noqa: BLE001 - the next member may take it
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    wants = [_sentence(e).removeprefix("must be ").partition(", not ")[0] for e in errors]
    raise ValueError(f"must be {' or '.join(wants)}, not {shown(value)}")


def _items(value: Any) -> list[Any]:
    if isinstance(value, Raw):
        read = _toml(value)
        if isinstance(read, list):
            return list(cast("Iterable[Any]", read))
        # From the environment a list may be written without its brackets: a,b
        return [Raw(part.strip()) for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {shown(value)}")
    return list(cast("Iterable[Any]", value))


def _anything(value: Any, _: Any) -> Any:
    return _toml_or_text(value)


def _is_any(hint: Any) -> bool:
    return hint is Any


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _is_class(hint: Any) -> bool:
    return isinstance(hint, type) and attrs.has(hint)


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, tuple, set, frozenset) or hint in (list, tuple)


def _is_mapping(hint: Any) -> bool:
    return hint is dict or get_origin(hint) in (dict, Mapping)


def _list_hook(hint: Any, converter: Converter) -> Any:
    args = get_args(hint) or (Any,)
    whole: Any = list if get_origin(hint) is None else get_origin(hint)

    def structure(value: Any, _: Any) -> Any:
        items = _items(value)
        if get_origin(hint) is tuple and args[-1] is not Ellipsis:
            if len(items) != len(args):
                raise ValueError(f"must be a list of {len(args)}, not of {len(items)}")
            hints: list[Any] = list(args)
        else:
            hints = [args[0]] * len(items)
        problems: list[Problem] = []
        done: list[Any] = []
        for index, (item, inner) in enumerate(zip(items, hints, strict=True)):
            try:
                done.append(converter.structure(item, inner))
            except Exception as error:  # noqa: BLE001 - explained with its index
                problems += _explain(error, (f"[{index}]",))
        if problems:
            raise _Problems(problems)
        return whole(done)

    return structure


def _mapping_hook(hint: Any, converter: Converter) -> Any:
    _, inner = get_args(hint) or (str, Any)

    def structure(value: Any, _: Any) -> Any:
        value = _toml_or_text(value)
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table, not {shown(value)}")
        problems: list[Problem] = []
        done: dict[str, Any] = {}
        for key, item in cast("Mapping[str, Any]", value).items():
            try:
                done[key] = converter.structure(item, inner)
            except Exception as error:  # noqa: BLE001 - explained with its key
                problems += _explain(error, (key,))
        if problems:
            raise _Problems(problems)
        return done

    return structure


def _class(value: Any, hint: Any) -> Any:
    value = _toml_or_text(value)
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table, not {shown(value)}")
    problems: list[Problem] = []
    built = build(hint, cast("Mapping[str, Any]", value), (), problems)
    if problems:
        raise _Problems(problems)
    return built


def _make_converter() -> Converter:
    converter = Converter()
    for scalar, hook in ((bool, _bool), (int, _int), (float, _float), (str, _str), (Path, _path)):
        converter.register_structure_hook(scalar, hook)
    converter.register_structure_hook_func(_is_union, _union)
    converter.register_structure_hook_func(_is_literal, _choice)
    converter.register_structure_hook_func(_is_enum, _enum)

    def of_list(hint: Any) -> Any:
        return _list_hook(hint, converter)

    def of_mapping(hint: Any) -> Any:
        return _mapping_hook(hint, converter)

    converter.register_structure_hook_factory(_is_list, of_list)
    converter.register_structure_hook_factory(_is_mapping, of_mapping)
    converter.register_structure_hook_func(_is_class, _class)
    converter.register_structure_hook_func(_is_any, _anything)
    return converter


_converter = _make_converter()
