"""Plain values to attrs classes: what each type takes, from TOML and from text, and the sentence for all else."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen

from penstock.hooks import option
from penstock.structure import Problem, Raw, build, dotted, key_lines, mistakes, nearest, parse_key, shown


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@frozen
class Inner:
    depth: int = 0


class Foreign:
    """Nothing that a file could say."""


@frozen
class Everything:
    flag: bool = False
    count: int = 0
    share: float = 0.0
    name: str = ""
    place: Path = Path()
    colour: Colour = Colour.RED
    size: Literal["small", 3] = "small"
    either: int | str | None = None
    amount: float | None = None
    numbers: list[int] = field(factory=list[int])
    pair: tuple[int, str] = (0, "")
    many: tuple[int, ...] = ()
    bare: list = field(factory=list)  # type: ignore[type-arg]
    words: set[str] = field(factory=set[str])
    table: dict[str, int] = field(factory=dict[str, int])
    inner: Inner = field(factory=Inner)
    inners: dict[str, Inner] = field(factory=dict[str, Inner])
    anything: Any = None
    impossible: Foreign | None = None


def structured(key: str, value: Any) -> Any:
    """The value of a key, or the sentences about it."""
    problems: list[Problem] = []
    made = build(Everything, {key: value}, ("t",), problems)
    return getattr(made, key) if made is not None else [str(p) for p in problems]


@pytest.mark.parametrize(
    ("key", "value", "made"),
    [
        ("flag", True, True),
        ("flag", Raw("true"), True),
        ("count", Raw("-7"), -7),
        ("share", 3, 3.0),
        ("share", Raw("1e3"), 1000.0),
        ("name", "x", "x"),
        ("name", Raw("1935"), "1935"),
        ("name", Raw('"quoted"'), "quoted"),
        ("name", Raw("'"), "'"),
        ("place", "/tmp", Path("/tmp")),
        ("colour", "red", Colour.RED),
        ("colour", Raw("2"), Colour.BLUE),
        ("size", Raw("3"), 3),
        ("size", "small", "small"),
        ("either", 5, 5),
        ("either", "x", "x"),
        ("either", Raw("5"), 5),
        ("either", Raw("five"), "five"),
        ("either", None, None),
        ("amount", Raw("2.5"), 2.5),
        ("numbers", [1, 2], [1, 2]),
        ("numbers", Raw("[1, 2]"), [1, 2]),
        ("numbers", Raw("1, 2,"), [1, 2]),
        ("numbers", Raw(""), []),
        ("pair", [1, "a"], (1, "a")),
        ("many", [1, 2, 3], (1, 2, 3)),
        ("bare", [1, "a"], [1, "a"]),
        ("words", ["a", "b"], {"a", "b"}),
        ("table", {"a": 1}, {"a": 1}),
        ("table", Raw("{a = 1}"), {"a": 1}),
        ("inner", {"depth": 2}, Inner(2)),
        ("inner", Inner(3), Inner(3)),
        ("inner", Raw("{depth = 4}"), Inner(4)),
        ("inners", {"x": {"depth": 1}}, {"x": Inner(1)}),
        ("anything", Raw("[1, {a = 2}]"), [1, {"a": 2}]),
        ("anything", Raw("plain text"), "plain text"),
        ("anything", Raw("two\nlines"), "two\nlines"),
        ("anything", Raw("1\nw = 2"), "1\nw = 2"),
        ("anything", Raw("[" * 5000), "[" * 5000),
    ],
)
def test_what_is_taken(key: str, value: Any, made: Any) -> None:
    found = structured(key, value)
    assert found == made
    assert type(found) is type(made)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("flag", 1, "t.flag must be true or false, not the value 1"),
        ("flag", Raw("yes"), "t.flag must be true or false, not the text 'yes'"),
        ("count", True, "t.count must be a whole number, not true"),
        ("count", 1.5, "t.count must be a whole number, not the value 1.5"),
        ("share", True, "t.share must be a number, not true"),
        ("share", float("nan"), "t.share must be a number, not the value nan"),
        ("share", Raw("inf"), "t.share must be a number, not the value inf"),
        ("name", 5, "t.name must be text in quotes, not the value 5"),
        ("place", [], "t.place must be text in quotes, not a list"),
        ("colour", "green", "t.colour must be \"red\" or 2, not the text 'green'"),
        ("colour", True, 't.colour must be "red" or 2, not true'),
        ("size", "large", "t.size must be \"small\" or 3, not the text 'large'"),
        ("size", True, 't.size must be "small" or 3, not true'),
        ("either", [], "t.either must be a whole number or text in quotes, not a list"),
        ("amount", "x", "t.amount must be a number, not the text 'x'"),
        ("numbers", 5, "t.numbers must be a list, not the value 5"),
        ("numbers", [1, "x", 2.5], "t.numbers[1] must be a whole number, not the text 'x'"),
        ("pair", [1], "t.pair must be a list of 2, not of 1"),
        ("table", 5, "t.table must be a table, not the value 5"),
        ("table", {"a b": "x"}, "t.table.\"a b\" must be a whole number, not the text 'x'"),
        ("inner", 5, "t.inner must be a table, not the value 5"),
        ("inner", {"dept": 1}, "t.inner.dept is unknown; did you mean depth?"),
        ("inners", {"x": {"depth": "y"}}, "t.inners.x.depth must be a whole number, not the text 'y'"),
        (
            "impossible",
            b"x",
            "t.impossible has a type that cannot be configured; this is a mistake of its plugin",
        ),
        ("cuont", 1, "t.cuont is unknown; did you mean t.count?"),
    ],
)
def test_what_is_refused(key: str, value: Any, says: str) -> None:
    assert structured(key, value)[0] == says


def test_every_mistake_is_told_at_once() -> None:
    problems: list[Problem] = []
    table: Mapping[str, Any] = {"count": "x", "numbers": ["a", 1, "b"], "table": {"a": "x", "b": 1, "c": "y"}}
    assert build(Everything, table, (), problems) is None
    assert [p.path for p in problems] == [
        ("count",),
        ("numbers", "[0]"),
        ("numbers", "[2]"),
        ("table", "a"),
        ("table", "c"),
    ]


def length(value: Any) -> int:
    return len(value) if value else 0


@frozen
class Checked:
    """Validators and converters may say whatever they like."""

    small: int = option(0, "", validator=attrs.validators.in_([0, 1]))
    odd: int = option(1, "")
    silent: int = option(0, "")
    own: int = option(0, "", converter=length)
    low: int = 0
    high: int = 9

    @odd.validator  # type: ignore[attr-defined, untyped-decorator, unused-ignore]
    def _odd(self, attribute: Any, value: int) -> None:
        if value % 2 == 0:
            raise ValueError(f"{value} is even")

    @silent.validator  # type: ignore[attr-defined, untyped-decorator, unused-ignore]
    def _silent(self, attribute: Any, value: int) -> None:
        if value:
            raise ValueError

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"small": 5}, "t.small must be in [0, 1] (got 5)"),
        ({"odd": 2}, "t.odd is refused: 2 is even"),
        ({"silent": 1}, "t.silent is refused: ValueError"),
        ({"own": 5}, "t.own is refused: object of type 'int' has no len()"),
        ({"low": 5, "high": 4}, "t is refused: low must not be above high"),
    ],
)
def test_validators_speak_for_themselves(table: dict[str, Any], says: str) -> None:
    problems: list[Problem] = []
    assert build(Checked, table, ("t",), problems) is None
    assert [str(p) for p in problems] == [says]


def test_a_converter_takes_the_plain_value() -> None:
    made = build(Checked, {"own": Raw("[1, 2, 3]")}, ("t",), [])
    assert made is not None
    assert made.own == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ('streams."live/*".source', ("streams", "live/*", "source")),
        (" a . b ", ("a", "b")),
        ("", None),
        ("a b", None),
        ("a=1", None),
        ("a\nb", None),
        ("# a", None),
        ('"', None),
    ],
)
def test_dotted_keys(text: str, parts: tuple[str, ...] | None) -> None:
    assert parse_key(text) == parts
    if parts is not None:
        assert parse_key(dotted(parts)) == parts


def test_places_as_they_are_written() -> None:
    assert dotted(("streams", "live/*", "push", "[0]")) == 'streams."live/*".push[0]'
    assert dotted(("a-b", "c_d", "ü")) == 'a-b.c_d."ü"'


def test_lines_of_keys() -> None:
    text = "# a = 1\n[one]\na = 1\nb.c = 2\n\n[[two]]\nd = 3\n[bad key]\ne = 4\n= 5\n[one]\na = 9\n"
    assert key_lines(text) == {
        ("one",): 2,
        ("one", "a"): 3,
        ("one", "b"): 4,
        ("one", "b", "c"): 4,
        ("two",): 6,
        ("two", "d"): 7,
        ("e",): 9,
    }


def test_what_was_probably_meant() -> None:
    assert nearest("lisen", ["listen", "other"]) == "; did you mean listen?"
    assert nearest("lisen", ["listen"], "rtmp") == "; did you mean rtmp.listen?"
    assert nearest("xyz", ["b", "a"]) == "; there are a, b"
    # Both are three letters of four; of the two one is one mistake away, which changes places are.
    for known in (["rtmp", "rtsp"], ["srt", "rtsp", "rtmp", "http"]):
        assert nearest("rtpm", known) == "; did you mean rtmp?"
        assert nearest("rtps", known) == "; did you mean rtsp?"
    assert nearest("X_RTPM_LISTN", ["X_RTSP_LISTEN", "X_RTMP_LISTEN"]) == "; did you mean X_RTMP_LISTEN?"


@pytest.mark.parametrize(
    ("written", "meant", "number"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("ab", "ba", 1),
        ("abcd", "acbd", 1),
        ("abcd", "badc", 2),
        ("abc", "cba", 2),
        ("lisen", "listen", 1),
        ("lissten", "listen", 1),
        ("lixten", "listen", 1),
        ("rtpm", "rtsp", 2),
        ("kitten", "sitting", 3),
    ],
)
def test_mistakes_are_counted(written: str, meant: str, number: int) -> None:
    assert mistakes(written, meant) == mistakes(meant, written) == number


def test_what_was_meant_by_nothing() -> None:
    assert nearest("xyz", []) == ""
    assert nearest("xyz", map(str, range(9))) == ""


def test_values_as_they_are_quoted() -> None:
    assert shown("x" * 100) == f"the text '{'x' * 59}"
    assert shown(10**100) == f"the value 1{'0' * 59}"
    values: list[Any] = [False, {}, (), 1.5]
    assert [shown(v) for v in values] == ["false", "a table", "a list", "the value 1.5"]
