"""The watchdog: names the plugin that holds up the event loop, while it does."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Self

import anyio
import structlog

if TYPE_CHECKING:
    from penstock.hooks import Plugin
    from penstock.plugins import PluginSet

HELD_SECONDS = 1.0
"""Nothing may keep the loop for so long: every stream stands still meanwhile."""
BEAT_SECONDS = 0.5

_log = structlog.get_logger("penstock")


class Watchdog:
    """A thread that looks at the loop's stack where the loop's own `beat` fails to come.

    Used in a ``with`` statement in the loop's thread.
    """

    def __init__(self, plugins: PluginSet) -> None:
        self._plugins = plugins
        self._last = time.monotonic()
        self._loop = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="penstock watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    async def beat(self) -> None:
        """Show that the loop runs, until cancelled."""
        while True:
            self._last = time.monotonic()
            await anyio.sleep(BEAT_SECONDS)

    def _watch(self) -> None:
        before, told = time.monotonic(), 0.0
        while not self._stop.wait(BEAT_SECONDS):
            now, last = time.monotonic(), self._last
            # Where this thread did not run either, the whole process stood still (SIGSTOP, a suspended machine).
            stood_still, before = now - before > HELD_SECONDS, now
            if now - last >= HELD_SECONDS and last != told and not stood_still:
                told = last
                frame = sys._current_frames().get(self._loop)  # pyright: ignore[reportPrivateUsage]
                name, at = self._culprit(frame)
                _log.warning("the event loop is held up", plugin=name, at=at, seconds=round(now - last, 1))

    def _culprit(self, frame: FrameType | None) -> tuple[str, str]:
        """The plugin whose code is innermost on a stack, and where that is; the innermost place if it is nobody's."""
        innermost = frame
        while frame is not None:
            name = self._owner(str(frame.f_globals.get("__name__", "")))
            if name:
                return name, _place(frame)
            frame = frame.f_back
        return "", _place(innermost)

    def _owner(self, module: str) -> str:
        """The plugin whose module that is, else those whose package it is in."""
        plugins = {record.name: record.plugin for record in self._plugins if record.plugin is not None}
        own = [name for name, plugin in plugins.items() if type(plugin).__module__ == module]
        return ", ".join(own or [n for n, p in plugins.items() if f"{module}.".startswith(f"{_package(p)}.")])


def _package(plugin: Plugin) -> str:
    """The package of a plugin's module; the module itself where it is in none."""
    module = type(plugin).__module__
    return getattr(sys.modules.get(module), "__package__", "") or module


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}"
