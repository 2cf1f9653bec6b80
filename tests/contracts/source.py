"""What the project's own source says of itself: modules, and the parsers in them, found by the names they go by."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path.parent
    for path in [*(ROOT / "kernel").glob("*/__init__.py"), *(ROOT / "plugins").glob("*/*/__init__.py")]
)
"""The folders of all import packages."""

PARSER_NAME = re.compile(r"_?(parse|split|decode|depacketize|unpack)(_\w+)?$")
PARSER_METHODS = {"receive_data", "receive_datagram", "parse", "parse_config", "decode", "push"}

IO_FILES = {
    "plugin.py", "config.py", "server.py", "client.py", "session.py", "ingest.py", "player.py", "muxer.py",
    "recorder.py", "udp.py", "multicast.py", "tunnelled.py", "credentials.py", "channels.py", "date.py",
    "methods.py", "offers.py", "shared.py", "sound.py", "viewer.py", "writer.py", "directory.py",
    "pacer.py", "fetch.py", "body.py", "outside.py", "relay.py", "route.py", "tcp.py",
    "api.py", "app.py", "bodies.py", "express.py", "handover.py", "http2.py", "http2_stream.py", "interfaces.py",
    "request.py", "shortcut.py", "stall.py", "turns.py", "udp_pair.py",
    "uvicorn_http.py", "uvicorn_server.py", "uvicorn_websocket.py",
    "summary.py", "vendor.py", "views.py",
}  # fmt: skip
"""Files of protocol plugins that do I/O, look at the clock or hold kernel objects; all others are nouns of the
specification and do none."""


KERNEL_IO_FILES = {
    "__main__.py", "asgi.py", "cli.py", "datagram.py", "feed.py", "lanes.py", "listener.py", "net.py", "pages.py", "poller.py",
    "relay.py",
    "run.py", "server.py", "services.py", "sink.py", "streams.py", "udp.py", "watchdog.py",
}  # fmt: skip
"""Files of the kernel that have to do with sockets, tasks, threads or the process; all others are held to the gate."""


@frozen
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def sans_io(self) -> bool:
        """May it parse: formats and codecs, paths, and the files of protocols that are nouns of the specification."""
        package = self.name.partition(".")[0]
        if package == "penstock":
            return self.name == "penstock.path"
        return package in ("penstock_formats", "penstock_codecs") or self.path.name not in IO_FILES


@frozen
class Parser:
    """A function that takes a peer's bytes or text, by its name."""

    module: str
    name: str
    line: int
    body: frozenset[int]
    """Lines of its statements, without the docstring."""


def modules() -> list[Module]:
    """Every source file of every package."""
    found: list[Module] = []
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path, ast.parse(path.read_text("utf-8"), str(path))))
    return found


def parsers(module: Module) -> Iterator[Parser]:
    """The parsers that `module` defines: functions by name, methods by name, not those of protocols without a body."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and PARSER_NAME.match(node.name):
            yield _parser(module, node.name, node)
        if isinstance(node, ast.ClassDef) and not _is_protocol(node):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in PARSER_METHODS:
                    yield _parser(module, f"{node.name}.{method.name}", method)


def _parser(module: Module, name: str, node: ast.FunctionDef) -> Parser:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return Parser(module.name, name, node.lineno, frozenset(statement.lineno for statement in body))


def _is_protocol(node: ast.ClassDef) -> bool:
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)
