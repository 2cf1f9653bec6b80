"""Logging: nothing that a peer sends can forge, flood or colour a line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from penstock import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines(style: Any, event: str, **values: Any) -> list[str]:
    out = io.StringIO()
    log.configure("info", style, out)
    structlog.get_logger("penstock").warning(event, **values)
    return out.getvalue().split("\n")[:-1]


hostile = st.text(alphabet=st.characters(exclude_categories=[]), max_size=400) | st.text(
    alphabet='\x1b[31m\r\n\u202e\u2066\x00\x85\u2028"\\= é🎥\ud800', max_size=3000
)


@given(
    hostile,
    st.dictionaries(
        st.text("abcde_", min_size=1, max_size=90), hostile | st.binary() | st.integers(), max_size=40
    ),
)
def test_any_values_make_one_bounded_harmless_line(event: str, values: dict[str, Any]) -> None:
    styles: tuple[Literal["json", "human"], ...] = ("json", "human")
    for style in styles:
        out = io.StringIO()
        log.configure("info", style, out)
        structlog.get_logger().info(event, **{k: v for k, v in values.items() if k != "event"})
        (line,) = out.getvalue().split("\n")[:-1]
        assert line.isprintable()
        assert len(line.encode("utf-8", "backslashreplace")) < log.MAX_LINE
        if style == "json":
            assert json.loads(line)["level"] == "info"


def test_json_line() -> None:
    (line,) = lines(
        "json", "session closed", peer="1.2.3.4:5", reason="bad \x1b[2J", count=3, none=None, raw=b"\x00a"
    )
    parsed = json.loads(line)
    assert list(parsed)[:3] == ["timestamp", "level", "event"]
    assert parsed["reason"] == "bad \\x1b[2J"
    assert (parsed["count"], parsed["none"], parsed["raw"]) == (3, None, "\\x00a")


def test_human_line() -> None:
    (line,) = lines("human", "session closed", peer="1.2.3.4:5", reason="two words", path="")
    assert line.endswith('warning session closed  peer=1.2.3.4:5 reason="two words" path=""')


def test_style_by_terminal_and_level() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        log.configure("warning", "auto", out)
        logger = structlog.get_logger()
        logger.info("not this")
        logger.error("this")
    assert terminal.getvalue().count("\n") == 1
    assert not terminal.getvalue().startswith("{")
    assert json.loads(pipe.getvalue())["event"] == "this"


def test_traceback_is_whole_escaped_and_cannot_pass_for_a_line() -> None:
    try:
        raise RuntimeError("boom \x1b[0m\n2026-01-01T00:00:00 info forged")
    except RuntimeError as error:
        text = lines("human", "bug", exc_info=error)
        parsed = json.loads(lines("json", "bug", exc_info=True)[0])
    assert all(part.startswith("    ") for part in text[1:])
    assert "\x1b" not in "".join(text)
    assert "RuntimeError: boom \\x1b" in parsed["exception"]
    assert "test_log.py" in parsed["exception"]


def test_a_broken_str_and_a_closed_file_do_no_harm() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError

    assert "<Broken: ValueError>" in lines("human", "x", value=Broken())[0]
    out = io.StringIO()
    log.configure("info", "json", out)
    out.close()
    structlog.get_logger().error("nobody hears this")


@given(st.text(), st.integers(4, 300))
def test_cut_fits(text: str, limit: int) -> None:
    short = log.cut(text, limit)
    assert short == text or short.endswith("…")
    assert len(json.dumps(short, ensure_ascii=False).encode("utf-8", "backslashreplace")) - 2 <= limit


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        def write(event: str, **values: Any) -> None:
            self.lines.append((level, event, values))

        return write


def test_rate_by_key() -> None:
    now = [0.0]
    out = Recorder()
    limited = log.LimitedLog(out, lines=3, clock=lambda: now[0])
    for n in range(10):
        limited.write("warning", "a", "bad", n=n)
    limited.write("info", "b", "fine")
    assert [v.get("n") for _, _, v in out.lines] == [0, 1, 2, None]
    now[0] = 1.5
    limited.write("warning", "a", "again")
    assert out.lines[-1] == ("warning", "again", {"left_out": 7})
    limited.flush()
    limited.write("warning", "a", "still")
    assert out.lines[-1] == ("warning", "still", {})


def test_what_was_left_out_is_told_after_silence() -> None:
    now = [0.0]
    out = Recorder()
    limited = log.LimitedLog(out, lines=1, clock=lambda: now[0])
    limited.write("info", "a", "one")
    limited.write("info", "a", "two")
    limited.flush()
    assert len(out.lines) == 1
    now[0] = 2.0
    limited.flush()
    limited.flush()
    assert out.lines[1:] == [("warning", "lines left out", {"peer": "a", "left_out": 1, "last": "two"})]


def test_many_keys_are_bounded_in_lines_and_memory() -> None:
    out = Recorder()
    limited = log.LimitedLog(out, lines=10, max_keys=50, clock=lambda: 0.0)
    for n in range(10_000):
        limited.write("info", str(n), "hello")
    assert len(out.lines) <= 200
    assert len(limited._windows) <= 50  # pyright: ignore[reportPrivateUsage]


def test_what_is_told_of_a_storm_takes_no_place_from_lines_after_it() -> None:
    now = [0.0]
    out = Recorder()
    limited = log.LimitedLog(out, lines=2, max_keys=50, clock=lambda: now[0])
    for n in range(100):
        limited.write("info", str(n), "hello")
    limited.write("info", "99", "again")
    assert len(out.lines) == 20
    now[0] = 1.5
    out.lines.clear()
    limited.flush()
    limited.write("info", "b", "after the storm")
    assert out.lines == [
        ("warning", "lines left out", {"peer": "99", "left_out": 2, "last": "again"}),
        ("warning", "lines left out", {"peer": "50", "left_out": 1, "last": "hello"}),
        ("warning", "lines left out", {"peers": 78, "left_out": 78}),
        ("info", "after the storm", {}),
    ]
    limited.flush()
    assert len(out.lines) == 4


def test_too_many_keys_are_a_mistake_of_ours_and_still_one_line() -> None:
    (line,) = lines("json", "event", **{f"key{n}": "v" * 50 for n in range(100)})
    assert len(line) < log.MAX_LINE
    assert json.loads(line)["event"] == "event"


@pytest.mark.parametrize("how", ["true", "error", "triple"])
def test_tracebacks_are_bounded_and_escaped(how: str) -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("\x1b[31mred")

    out = io.StringIO()
    log.configure("info", "json", out)
    logger = structlog.get_logger()
    try:
        deep(300)
    except ValueError as error:
        told: Any = {"true": True, "error": error, "triple": (type(error), error, error.__traceback__)}[how]
        logger.error("failed", exc_info=told)
    trace = json.loads(out.getvalue())["exception"]
    assert len(trace) <= log.MAX_TRACEBACK
    assert trace.endswith("ValueError: \\x1b[31mred"), "its end has the cause"


def test_nothing_to_trace() -> None:
    for nothing in (True, None, "x", (None, None, None)):
        (line,) = lines("json", "event", exc_info=nothing)
        assert "exception" not in json.loads(line)
