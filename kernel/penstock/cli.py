"""The command line: serve, and look at plugins and configuration."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from penstock import config as configuration
from penstock import log
from penstock.describe import describe
from penstock.errors import UserError
from penstock.plugins import PluginSet
from penstock.structure import nearest

USAGE_ERROR = 2
START_ERROR = 1
COMMANDS = ("serve", "plugins", "config", "check")

_COMMANDS = """\
commands:
  serve        serve every protocol until stopped (the default)
  plugins      list the plugins, and why one is not loaded
  config       print every configuration key with its default and meaning
  check FILE   check what serve would be given: a file, with the environment and --set

Every key is also an environment variable: PENSTOCK_RTMP_LISTEN=":1936" is
--set rtmp.listen=:1936, and PENSTOCK_STREAMS has all streams as an inline table of TOML."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"penstock: {log.escape(message)}; see penstock --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="penstock",
        description="A media server: what is published in one protocol is read in all.",
        epilog=_COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="penstock [serve | plugins | config | check FILE] [--config FILE] [--set TABLE.KEY=VALUE]",
    )
    parser.add_argument("command", nargs="?", default="serve", help=argparse.SUPPRESS)
    parser.add_argument("file", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the file (default: penstock.toml, if it is there)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        dest="overrides",
        help="set one key; may be repeated",
    )
    parser.add_argument("--version", action="version", version=f"penstock {version()}")
    return parser


def version() -> str:
    """The version of the installed distribution."""
    try:
        return importlib.metadata.version("penstock")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if the server could not start, 2 for a mistake of the user."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    if options.command not in COMMANDS:
        parser.error(f"there is no command {options.command!r}{nearest(options.command, COMMANDS)}")
    if (options.command == "check") != (options.file is not None):
        parser.error(
            "check needs a FILE" if options.file is None else f"unexpected argument {str(options.file)!r}"
        )
    if options.command == "check" and options.config is not None:
        parser.error("check takes its FILE, and no --config")
    if options.command == "config" and (options.config is not None or options.overrides):
        parser.error("config prints the defaults, and takes neither --config nor --set")
    try:
        status = _run(options)
        sys.stdout.flush()
    except UserError as error:
        _complain(error)
        return USAGE_ERROR
    except KeyboardInterrupt:
        # Before the server handles signals itself, or from a plugin.
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _run(options: argparse.Namespace) -> int:
    log.configure("error")
    plugins = PluginSet.discover()
    if options.command == "config":
        print("\n".join(map(log.escape, describe(plugins.configs).split("\n"))), end="")
        return 0
    if options.command == "check":
        _check(configuration.load(options.file, os.environ, options.overrides, plugins.configs), plugins)
        print(f"{log.escape(str(options.file))} is in order")
        return 0
    named = options.config or os.environ.get("PENSTOCK_CONFIG")
    path = Path(named) if named else configuration.default_file()
    config = configuration.load(path, os.environ, options.overrides, plugins.configs)
    if options.command == "plugins":
        _ask(config, plugins)
        _print_plugins(plugins)
        return 0
    log.configure(config.server.log_level, config.server.log_format)
    from penstock.run import run  # Only to serve: the commands that look things up need no event loop.

    status = START_ERROR
    try:
        status = run(config, plugins)
    except* UserError as group:
        for error in _leaves(group):
            _complain(error)
    return status


def _ask(config: configuration.Config, plugins: PluginSet) -> None:
    from penstock.server import Server

    log.configure("critical")  # the table says it
    Server(config, plugins=plugins).services.ask()


def _check(config: configuration.Config, plugins: PluginSet) -> None:
    from penstock.server import Server

    Server(config, plugins=plugins).check()


def _leaves(group: BaseExceptionGroup[UserError]) -> Iterator[UserError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _complain(error: UserError) -> None:
    # It may quote a file, an argument or what a plugin said: none of them is to command the terminal.
    for line in str(error).split("\n"):
        print(f"penstock: {log.escape(line)}", file=sys.stderr)


def _print_plugins(plugins: PluginSet) -> None:
    rows = [("name", "version", "API", "status", "distribution", "reason")]
    rows += [
        (r.name, r.version or "-", r.api or "-", r.status, r.distribution or "-", r.reason)
        for r in sorted(plugins, key=lambda r: r.name)
    ]
    print(table(rows))


def table(rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart; what is not printable is escaped."""
    cells = [[log.escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)
