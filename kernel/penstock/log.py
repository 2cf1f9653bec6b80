"""Logging: lines for people on a terminal, JSON otherwise; what peers sent is escaped, cut and limited."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from attrs import define, field

MAX_LINE = 1024
"""Bytes of one line, its end included; a traceback comes on top."""
MAX_VALUE = 256
"""Bytes of one value, as written."""
MAX_TRACEBACK = 8192
"""Bytes of one traceback; it is cut at its beginning, because the cause is at its end."""

_FIRST = ("timestamp", "level", "event")
_OVERHEAD = 8
"""Bytes that a key costs beside its name: quotes, colon, comma and space."""


def configure(
    level: str = "info", style: Literal["auto", "human", "json"] = "auto", file: TextIO | None = None
) -> None:
    """Set structlog up for the whole process, as the command line does.

    A `Server` never does: how its process logs is up to the program that it is embedded in, which may call this.
    """
    out = file if file is not None else sys.stderr
    if style == "auto":
        style = "human" if out.isatty() else "json"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamp,
            bounded,
            human if style == "human" else _json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes each line at once; a reader of stderr that went away must not end a stream."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = warn = fatal = log = msg


def escape(text: str) -> str:
    r"""`text` with what is not printable (controls, line ends, bidi marks) as ``\x1b`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str, limit: int) -> str:
    """`text`, or as much of it as fits into `limit` bytes of JSON or of quoted text, with an ellipsis."""
    if len(text) * 12 <= limit or _size(text) <= limit:
        return text
    used, kept = 3, 0
    for kept, c in enumerate(text):  # noqa: B007 - the index is what is wanted
        used += _size(c)
        if used > limit:
            break
    return text[:kept] + "…"


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")) - 2


def bounded(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A processor: keys and values escaped and cut, so that the line stays below `MAX_LINE`."""
    trace = _traceback(event.pop("exc_info", None))
    items = [(cut(escape(str(k)), 64), _plain(v)) for k, v in event.items()]
    items.sort(key=lambda item: _FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST))
    limit = MAX_VALUE
    while True:
        result = {k: cut(v, limit) if isinstance(v, str) else v for k, v in items}
        size = sum(
            _size(k) + _OVERHEAD + (_size(v) if isinstance(v, str) else len(str(v)))
            for k, v in result.items()
        )
        if size < MAX_LINE - _OVERHEAD:
            break
        if limit > 32:
            limit //= 2
        else:
            items.pop()  # Keys are the caller's, so this many are a mistake of ours and not a peer's doing.
    if trace:
        result["exception"] = trace
    return result


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and -(1 << 64) < value < 1 << 64:
        return value
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value[:MAX_VALUE]))[2:-1]
    try:
        text = value if type(value) is str else str(value)
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not end what is being logged
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    # Cut before it is escaped: a peer's megabyte costs no more than its beginning.
    return escape(text[: MAX_VALUE + 1])


def _traceback(given: Any) -> str:
    error: BaseException | None = None
    match given:
        case True:
            error = sys.exc_info()[1]
        case BaseException():
            error = given
        case (_, BaseException() as error, _):
            pass
        case _:
            pass
    if error is None:
        return ""
    lines = "".join(traceback.format_exception(error)).split("\n")
    return "\n".join(map(escape, lines)).rstrip()[-MAX_TRACEBACK:]


def _timestamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = time.time()
    event["timestamp"] = (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    )
    return event


def _json(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)


def human(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    """A last processor: time, level, event and ``key=value``, quoted where it would be ambiguous."""
    rest = {k: v for k, v in event.items() if k not in (*_FIRST, "exception")}
    pairs = "".join(f" {k}={_quoted(v)}" for k, v in rest.items())
    line = " ".join(
        (str(event.get("timestamp", "")), f"{event.get('level', ''):<7}", str(event.get("event", "")))
    )
    line += f" {pairs}" if pairs else ""
    trace = event.get("exception")
    # Indented, so that the text of an exception cannot pass for a line of its own.
    return line + "".join(f"\n    {part}" for part in str(trace).split("\n")) if trace else line


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\\') else text


@define
class _Window:
    ends: float
    written: int = 0
    left_out: int = 0
    last: str = ""


@define
class LimitedLog:
    """Lines about peers: at most `lines` each `period` (seconds) for a key, such as an address.

    All keys together have ten times as many. What was left out is told with the key's next line, or by
    `flush`, which is to be called now and then.
    """

    logger: Any = field(factory=lambda: structlog.get_logger("penstock"))
    lines: int = 10
    period: float = 1.0
    max_keys: int = 1024
    clock: Callable[[], float] = time.monotonic
    _windows: dict[str, _Window] = field(factory=dict[str, _Window], init=False)
    _all: _Window = field(factory=lambda: _Window(0.0), init=False)
    _peers: int = field(default=0, init=False)
    """Keys of which something was left out that no line has told yet."""
    _left_out: int = field(default=0, init=False)

    def flush(self) -> None:
        """Tell what was left out in windows that are over, and forget them.

        Of the keys the `lines` worst are named, the others are one line together: what is told of a storm takes no
        place from the lines that come after it.
        """
        now = self.clock()
        over = [key for key, window in self._windows.items() if window.ends <= now]
        windows = [(key, self._windows.pop(key)) for key in over]
        windows.sort(key=lambda item: item[1].left_out, reverse=True)
        for key, window in windows[: self.lines]:
            if window.left_out:
                self.logger.warning("lines left out", peer=key, left_out=window.left_out, last=window.last)
        for _, window in windows[self.lines :]:
            self._forget(window)
        if self._peers:
            self.logger.warning("lines left out", peers=self._peers, left_out=self._left_out)
            self._peers = self._left_out = 0

    def write(self, level: str, key: str, event: str, **values: Any) -> None:
        """Log `event` about the peer `key`, or count it as left out."""
        now = self.clock()
        if self._all.ends <= now:
            self._all = _Window(now + self.period)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self.max_keys:
                self._forget(self._windows.pop(next(iter(self._windows))))
            window = self._windows[key] = _Window(now + self.period)
        elif window.ends <= now:
            if window.left_out:
                values = {**values, "left_out": window.left_out}
            window = self._windows[key] = _Window(now + self.period)
        if window.written >= self.lines or self._all.written >= 10 * self.lines:
            window.left_out += 1
            window.last = event
            return
        window.written += 1
        self._all.written += 1
        getattr(self.logger, level)(event, **values)

    def _forget(self, window: _Window) -> None:
        if window.left_out:
            self._peers += 1
            self._left_out += window.left_out
