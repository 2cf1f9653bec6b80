"""The configuration: sources and their precedence, strictness, and sentences that lead to the mistake."""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from attrs.validators import in_
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import Config, ServerConfig, default_file, is_listen, load, parse_listen, within
from penstock.describe import describe
from penstock.errors import UserError
from penstock.hooks import option
from penstock.settings import Pattern


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


@frozen
class Tls:
    port: int = option(1936, "Port.", validator=within(0, 65535))
    names: list[str] = option([], "Names.")  # noqa: RUF009


@frozen
class Rtmp:
    listen: str = option(":1935", "Where to listen.", validator=is_listen)
    chunk_size: int = option(4096, "Bytes.", validator=within(128, 65536))
    record: bool = option(False, "Whether.")
    ratio: float = option(1.5, "How much.")
    user: str | None = option(None, "Who.")
    mode: Mode = option(Mode.FAST, "How.")  # noqa: RUF009
    level: Literal["low", "high"] = option("low", "How high.")
    either: int | str = option(1, "A number or a word.")
    hosts: tuple[str, ...] = option((), "Hosts.")
    limits: dict[str, int] = option({}, "Limits by name.")  # noqa: RUF009
    tls: Tls = field(factory=Tls)
    colour: str = option("red", "Colour.", validator=in_(["red", "blue"]))


KNOWN: Mapping[str, type[Any] | None] = {"rtmp": Rtmp, "broken": None, "on-demand": Tls}


def config_of(tmp_path: Path, text: str = "", *overrides: str, **env: str) -> Config:
    path = tmp_path / "penstock.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, env, overrides, KNOWN)


def mistakes(tmp_path: Path, text: str = "", *overrides: str, **env: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        config_of(tmp_path, text, *overrides, **env)
    return [line.replace(f"{tmp_path}/", "") for line in str(raised.value).splitlines()]


def test_defaults_without_any_source() -> None:
    config = load(None, {}, (), KNOWN)
    assert config.server == ServerConfig()
    assert config.server.write_window is None
    assert config.plugin("rtmp").config == Rtmp()
    assert config.plugin("rtmp").enabled
    assert not config.plugin("rtmp").required
    assert config.plugin("nobody").config is None


def test_set_over_environment_over_file_over_default(tmp_path: Path) -> None:
    text = '[rtmp]\nlisten = ":1"\nchunk_size = 200\nratio = 2\n'
    config = config_of(
        tmp_path, text, "rtmp.listen=:3", PENSTOCK_RTMP_LISTEN=":2", PENSTOCK_RTMP_CHUNK_SIZE="300"
    )
    rtmp = config.plugin("rtmp").config
    assert (rtmp.listen, rtmp.chunk_size, rtmp.ratio, rtmp.record) == (":3", 300, 2.0, False)
    assert isinstance(rtmp.ratio, float)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("user", "1935", "1935"),
        ("user", "true", "true"),
        ("user", "'quoted'", "quoted"),
        ("user", '"a" b', '"a" b'),
        ("record", "true", True),
        ("either", "7", 7),
        ("either", "seven", "seven"),
        ("mode", "safe", Mode.SAFE),
        ("level", "high", "high"),
        ("hosts", "a, b", ("a", "b")),
        ("hosts", '["a,b"]', ("a,b",)),
        ("limits", "{a = 1}", {"a": 1}),
        ("ratio", "3", 3.0),
    ],
)
def test_text_is_typed_by_its_field(tmp_path: Path, key: str, text: str, value: object) -> None:
    for config in (
        config_of(tmp_path, "", f"rtmp.{key}={text}"),
        config_of(tmp_path, "", **{f"PENSTOCK_RTMP_{key.upper()}": text}),
    ):
        assert getattr(config.plugin("rtmp").config, key) == value


def test_nested_and_hyphenated_keys_have_variables(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, "", PENSTOCK_RTMP_TLS_PORT="5", PENSTOCK_ON_DEMAND_PORT="6", PENSTOCK_BROKEN_ENABLED="false"
    )
    assert config.plugin("rtmp").config.tls.port == 5
    assert config.plugin("on-demand").config.port == 6
    assert not config.plugin("broken").enabled


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('record = "maybe"', "rtmp.record must be true or false, not the text 'maybe'"),
        ("record = 1", "rtmp.record must be true or false, not the value 1"),
        ("user = 5", "rtmp.user must be text in quotes, not the value 5"),
        ("listen = 1935", "rtmp.listen must be text in quotes, not the value 1935"),
        ("chunk_size = 4096.0", "rtmp.chunk_size must be a whole number, not the value 4096.0"),
        ("chunk_size = true", "rtmp.chunk_size must be a whole number, not true"),
        ("chunk_size = 12", "rtmp.chunk_size must be 128 to 65536, not 12"),
        ("ratio = nan", "rtmp.ratio must be a number, not the value nan"),
        ("ratio = inf", "rtmp.ratio must be a number, not the value inf"),
        ('mode = "slow"', 'rtmp.mode must be "fast" or "safe", not the text \'slow\''),
        ("level = 1", 'rtmp.level must be "low" or "high", not the value 1'),
        ("either = 1.5", "rtmp.either must be a whole number or text in quotes, not the value 1.5"),
        ('hosts = "a"', "rtmp.hosts must be a list, not the text 'a'"),
        ('hosts = ["a", 2]', "rtmp.hosts[1] must be text in quotes, not the value 2"),
        ("limits = {a = 'b'}", "rtmp.limits.a must be a whole number, not the text 'b'"),
        ("tls = 4", "rtmp.tls must be a table, not the value 4"),
        ("tls = {port = 70000}", "rtmp.tls.port must be 0 to 65535, not 70000"),
        ("tls = {prot = 7}", "rtmp.tls.prot is unknown; did you mean port?"),
        ('colour = "green"', "rtmp.colour must be in ['red', 'blue'] (got 'green')"),
        ('listen = "1935"', "rtmp.listen is refused: '1935' has no port: write ':1935' or '127.0.0.1:1935'"),
        ("chunck_size = 4096", "rtmp.chunck_size is unknown; did you mean rtmp.chunk_size?"),
        ("enable = false", "rtmp.enable is unknown; did you mean rtmp.enabled?"),
        ("required = 1", "rtmp.required must be true or false, not the value 1"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    assert mistakes(tmp_path, f"# a comment\n[rtmp]\n{line}\n") == [f"penstock.toml:3: {says}"]


def test_every_mistake_is_told(tmp_path: Path) -> None:
    text = '[server]\nmax_connections = 0\nwrite_window = "soon"\n[rtpm]\n[rtmp]\nrecord = 0\nratio = "x"\n'
    assert mistakes(
        tmp_path, text, "rtmp.nothing=1", "what", PENSTOCK_RTMP_LISTN=":1", PENSTOCK_RTMP_RATIO="high"
    ) == [
        "PENSTOCK_RTMP_LISTN is no setting of Penstock; did you mean PENSTOCK_RTMP_LISTEN?",
        "--set what: write table.key=value, such as rtmp.listen=:1936",
        "penstock.toml:4: rtpm is no table of Penstock or its plugins; did you mean rtmp?",
        "penstock.toml:2: server.max_connections must be at least 1, not 0",
        'penstock.toml:3: server.write_window must be "picture" or a number of milliseconds',
        "penstock.toml:6: rtmp.record must be true or false, not the value 0",
        "PENSTOCK_RTMP_RATIO: rtmp.ratio must be a number, not the text 'high'",
        "--set rtmp.nothing: rtmp.nothing is unknown",
    ]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("rtpm.listen=:1", "rtpm is no table of Penstock or its plugins; did you mean rtmp.listen?"),
        (" rtpm.listne =:1", "rtpm is no table of Penstock or its plugins; did you mean rtmp.listen?"),
        ("rtpm.x=1", "rtpm is no table of Penstock or its plugins; did you mean rtmp?"),
        ("nowhere.listen=:1", "nowhere is no table of Penstock or its plugins"),
        ("rtmp.lisen=:1", "rtmp.lisen is unknown; did you mean rtmp.listen?"),
        (
            "streams.live/x.override=true",
            "write the path in quotes, such as 'streams.\"live/x\".override=true'",
        ),
    ],
)
def test_a_wrong_key_of_the_command_line_is_told_with_where_it_is_and_what_was_meant(
    tmp_path: Path, override: str, says: str
) -> None:
    written = override if says.startswith("write") else override.partition("=")[0].strip()
    assert mistakes(tmp_path, "", override) == [f"--set {written}: {says}"]


def test_a_wrong_variable_is_told_with_what_was_meant(tmp_path: Path) -> None:
    for variable, meant in (("RTPM_LISTEN", "RTMP_LISTEN"), ("STREMS", "STREAMS")):
        assert mistakes(tmp_path, **{f"PENSTOCK_{variable}": ":1"}) == [
            f"PENSTOCK_{variable} is no setting of Penstock; did you mean PENSTOCK_{meant}?"
        ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[rtmp\n", "is not valid TOML: "),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        (b"a = " + b"[" * 5000, "is not valid TOML: "),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "penstock.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path} {says}")):
        load(path, {}, (), KNOWN)
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        load(tmp_path / "other.toml", {})
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        load(tmp_path, {})


@given(st.text(max_size=200))
def test_any_text_is_a_config_or_a_sentence(text: str) -> None:
    for overrides in (
        (text,),
        (f"rtmp.user={text}",),
        (f"rtmp.limits={text}",),
        (f"server.write_window={text}",),
    ):
        try:
            load(None, {}, overrides, KNOWN)
        except UserError:
            pass  # Anything else fails the test.


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert config_of(tmp_path, "\ufeff[rtmp]\nratio = 3\n").plugin("rtmp").config.ratio == 3.0


def test_table_of_a_plugin_that_could_not_be_loaded_is_taken_unread(tmp_path: Path) -> None:
    config = config_of(tmp_path, "[broken]\nanything = 1\nrequired = true\n", PENSTOCK_BROKEN_OTHER="x")
    assert config.plugin("broken").required
    assert config.plugin("broken").config is None


def test_variables_that_are_no_keys(tmp_path: Path) -> None:
    config_of(
        tmp_path,
        PENSTOCK_CONFIG="x",
        PENSTOCK_CORPORA="y",
        PENSTOCK_SERVICE_HOST="10.0.0.1",
        PENSTOCK_PORT="tcp://10.0.0.1:1935",
        PENSTOCK_PORT_1935_TCP_ADDR="10.0.0.1",
        PENSTOCKING="z",
    )
    assert mistakes(tmp_path, PENSTOCK_PORT="1935")


def test_write_window(tmp_path: Path) -> None:
    for text, value in (('"picture"', None), ("0", 0), ("350", 350), ("12.5", 12.5)):
        assert config_of(tmp_path, f"[server]\nwrite_window = {text}\n").server.write_window == value
    assert config_of(tmp_path, PENSTOCK_SERVER_WRITE_WINDOW="picture").server.write_window is None
    assert config_of(tmp_path, PENSTOCK_SERVER_WRITE_WINDOW="100").server.write_window == 100
    for text in ("true", "1001", "-1", '"100"', "[]", "nan"):
        assert len(mistakes(tmp_path, f"[server]\nwrite_window = {text}\n")) == 1


def test_streams_by_the_most_specific_pattern(tmp_path: Path) -> None:
    patterns = [
        "**",
        "*",
        "*/cam",
        "live/**",
        "live/*",
        "live/cam*",
        "live/cam?",
        "live/cam1",
        "live/**/x",
        "live/*/x",
    ]
    text = "".join(f'[streams."{p}"]\nmax_readers = {n}\n' for n, p in enumerate(patterns, 1))
    config = config_of(tmp_path, text)
    for path, pattern in {
        "a": "*",
        "a/b": "**",
        "a/cam": "*/cam",
        "live/cam1": "live/cam1",
        "live/cam2": "live/cam?",
        "live/cam22": "live/cam*",
        "live/other": "live/*",
        "live/a/b": "live/**",
        "live/a/x": "live/*/x",
        "live/a/b/x": "live/**/x",
        "live/a/b/X": "live/**",
    }.items():
        assert patterns[config.stream(path).max_readers - 1] == pattern, path
    assert load(None, {}).stream("any") == load(None, {}).stream("other")
    assert set(config.fixed_streams) == {"live/cam1"}


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6),
)
def test_patterns_match_as_the_definition_says(pattern: list[str], path: list[str]) -> None:
    def by_definition(p: list[str], s: list[str]) -> bool:
        if not p:
            return not s
        if p[0] == "**":
            return any(by_definition(p[1:], s[n:]) for n in range(len(s) + 1))
        return (
            bool(s)
            and (p[0] in ("*", s[0]) or (p[0] == "a*" and s[0][0] == "a"))
            and by_definition(p[1:], s[1:])
        )

    assert Pattern.parse("/".join(pattern)).matches("/".join(path)) == by_definition(pattern, path)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            '[streams."live//x"]',
            "streams.\"live//x\" is refused: a stream pattern has no empty, '.' or '..' segment",
        ),
        (
            '[streams."live/a**"]',
            "streams.\"live/a**\" is refused: in a stream pattern '**' is a segment of its own",
        ),
        ("[streams]\nlive = 1", 'streams.live must be a table: write [streams."live"]'),
        ('[streams."a"]\nsource_on_demand = true', "streams.a.source_on_demand needs a source"),
        (
            '[streams."*"]\nsource = "rtsp://c/d"',
            'streams."*".source for more than one path needs source_on_demand = true',
        ),
        (
            '[streams.a]\npush = ["nowhere"]',
            "streams.a.push must be a URL such as 'rtsp://camera/stream', not 'nowhere'",
        ),
        ("[streams.a]\nsources = 1", "streams.a.sources is unknown; did you mean streams.a.source?"),
    ],
)
def test_bad_streams(tmp_path: Path, table: str, says: str) -> None:
    (line,) = mistakes(tmp_path, table)
    assert line.partition(": ")[2] == says


def test_set_reaches_a_pattern() -> None:
    config = load(None, {}, ['streams."live/*".push=rtmp://a/b', "streams.one.override=true"])
    assert config.stream("live/x").push == ["rtmp://a/b"]
    assert config.stream("one").override


def test_embedded_mapping() -> None:
    config = Config.from_mapping(
        {"rtmp": {"listen": ":0", "hosts": ("a",)}, "server": {"write_window": 0}}, KNOWN
    )
    assert config.plugin("rtmp").config.listen == ":0"
    with pytest.raises(UserError, match=r"^rtmp.listen must be text in quotes, not the value 0$"):
        Config.from_mapping({"rtmp": {"listen": 0}}, KNOWN)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":1935", (None, 1935)),
        ("*:0", (None, 0)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:1", ("::1", 1)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_listen_addresses(text: str, address: tuple[str | None, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", ":", "1935", "a:", ":65536", ":-1", ":٣", "::1:1935", "[a]:1", "a b:1", "rtmp://a:1", ":1 "]
)
def test_bad_listen_addresses(text: str) -> None:
    with pytest.raises(UserError, match=r"'"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("::1", "write '[::1]:1935'"),
        ("2001:db8::1", "write '[2001:db8::1]:1935'"),
        ("::1:8554", "write '[::1]:8554'"),
        ("[::1", "has no closing bracket and port: write '[::1]:1935'"),
        ("[::1]", "has no port: write '[::1]:1935'"),
    ],
)
def test_what_is_said_to_be_written_can_be(text: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_listen(text)
    assert str(raised.value).endswith(says)
    parse_listen(says.split("'")[1])


def test_public_host(tmp_path: Path) -> None:
    for text in ("", "media.example", "bücher.example", "192.0.2.1", "2001:db8::1", "[::1]"):
        assert config_of(tmp_path, f'[server]\npublic_host = "{text}"\n').server.public_host == text
    for text in ("a b", "a/b", "a:1", "[a]", "a\\u001b"):
        (line,) = mistakes(tmp_path, f'[server]\npublic_host = "{text}"\n')
        assert "server.public_host must be a host name" in line


def test_streams_have_one_variable_for_all(tmp_path: Path) -> None:
    """What it says of a stream counts more than the file, key by key, and what the command line says more than both."""
    text = '[streams."live/*"]\noverride = true\nmax_readers = 5\n[streams."cam/one"]\nmax_readers = 1\n'
    given = '{"live/*" = {max_readers = 7, push = ["rtmp://h/x"]}, "new/one" = {override = true}}'
    config = config_of(tmp_path, text, 'streams."live/*".push=rtmp://h/y', PENSTOCK_STREAMS=given)
    live, cam, new = (config.stream(path) for path in ("live/a", "cam/one", "new/one"))
    assert (live.override, live.max_readers, live.push) == (True, 7, ["rtmp://h/y"])
    assert (cam.max_readers, new.override) == (1, True)


@pytest.mark.parametrize(
    "text", ["true", "live/x", "{", "", "1\nserver = {}", "[" * 4000, "{a = {}} \n b = 1"]
)
def test_the_variable_of_streams_is_a_table(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, PENSTOCK_STREAMS=text) == [
        'PENSTOCK_STREAMS: must be an inline table of TOML, such as {"live/*" = {override = true}}'
    ]


def test_mistakes_in_the_variable_of_streams_name_it(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, PENSTOCK_STREAMS='{"live/x" = {overide = true}}')
    assert line.startswith('PENSTOCK_STREAMS: streams."live/x".overide is unknown; did you mean')
    (line,) = mistakes(tmp_path, PENSTOCK_STREAMS='{"live/x" = 1}')
    assert line.startswith('PENSTOCK_STREAMS: streams."live/x" must be a table')
    (line,) = mistakes(
        tmp_path, '[streams."live/x"]\nwrong = 1\n', PENSTOCK_STREAMS='{"live/x" = {override = true}}'
    )
    assert ":2: " in line
    lines = mistakes(tmp_path, "streams = 1\n", PENSTOCK_STREAMS='{"live/x" = {override = true}}')
    assert "PENSTOCK_STREAMS: streams is no table" in lines
    (line,) = mistakes(tmp_path, PENSTOCK_STREAMS_LIVE_OVERRIDE="true")
    assert "all streams are in one variable, such as PENSTOCK_STREAMS=" in line
    config_of(tmp_path, PENSTOCK_STREAMS_SERVICE_HOST="10.0.0.1", PENSTOCK_STREAMS_PORT="tcp://10.0.0.1:1")


def test_the_description_is_a_config_file_of_the_defaults(tmp_path: Path) -> None:
    text = describe(KNOWN)
    assert load(None, {}, (), KNOWN) == config_of(tmp_path, text).__class__(
        plugins=config_of(tmp_path, text.replace('[streams."live/*"]', "")).plugins
    )
    assert '#listen = ":1935"' in text
    assert "(PENSTOCK_RTMP_TLS_PORT)" in text
    uncommented = re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)
    assert tomllib.loads(uncommented)["server"]["write_window"] == "picture"
    assert config_of(tmp_path, uncommented).plugins == load(None, {}, (), KNOWN).plugins
    assert config_of(tmp_path, uncommented).server == ServerConfig()
    assert all(len(line) <= 110 for line in text.splitlines())


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_file() is None
    (tmp_path / "penstock.toml").touch()
    assert default_file() == Path("penstock.toml")
    (tmp_path / "penstock.toml").unlink()
    # What cannot be read is told by who reads it, and not passed over.
    (tmp_path / "penstock.toml").symlink_to("nowhere")
    assert default_file() == Path("penstock.toml")
