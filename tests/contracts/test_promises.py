"""Promises that nobody should have to remember: every parser under contract, every hook documented and called."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from penstock.config import ServerConfig, StreamConfig
from penstock.hooks import HookSpecs
from penstock.plugins import PluginSet
from tests.contracts.source import KERNEL_IO_FILES, PACKAGES, ROOT, Module, modules, parsers
from tests.contracts.table import CASES, MODULES

SOURCE = modules()
PARSING = [module for module in SOURCE if module.sans_io]

NO_PARSER = {
    "penstock.config._parse": "reads the operator's file: its errors are UserError, in tests/kernel/test_config.py",
    "penstock.feed.Feed.push": "takes frames of this server's own making",
    "penstock.rendition.Rendition.push": "takes frames of this server's own making",
    "penstock.segments.SegmentStore.push": "takes frames of this server's own making",
    "penstock.settings.parse_listen": "reads the operator's config, in tests/kernel/test_config.py",
    "penstock.settings.Pattern.parse": "reads the operator's config, in tests/kernel/test_config.py",
    "penstock.structure.parse_key": "reads the operator's command line, in tests/kernel/test_config.py",
    "penstock_formats.rtp.reorder.ReorderBuffer.push": "takes what RtpPacket.parse made, in tests/formats",
    "penstock_http.uvicorn_http.HttpConnection.parse": "gives what comes to httptools, in tests/http and tests/faults",
    "penstock_rtmp.client._split": "reads URLs of the operator's config",
    "penstock_rtsp.client._split": "reads URLs of the operator's config",
}
"""Functions with a parser's name that no peer's bytes reach, and why."""

FORBIDDEN_IMPORTS = {
    "anyio", "asyncio", "concurrent", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "threading", "time", "trio", "uvloop",
}  # fmt: skip
"""Input, output, the clock and randomness: parsers take what these give as arguments."""

BROAD = {
    "ArithmeticError", "AssertionError", "AttributeError", "BaseException", "BaseExceptionGroup", "Exception",
    "ExceptionGroup", "IndexError", "KeyError", "LookupError", "MemoryError", "OverflowError", "RecursionError",
    "RuntimeError", "StopIteration", "TypeError", "ValueError", "ZeroDivisionError", "error", "struct.error",
}  # fmt: skip
"""What a bug raises as well: caught in a parser, it would make a bug look like a peer's fault."""

NARROW = {
    "penstock_codecs.aac.rtp": {"ValueError": "bytes.fromhex alone is tried, and it has no error of its own"},
    "penstock_http.asked": {"ValueError": "parse_qsl and b64decode have no error of their own"},
    "penstock_http.forwarded": {"ValueError": "ip_address has no error of its own"},
    "penstock_http.location": {
        "ValueError": "urlsplit, its port and the codec idna have no error of their own"
    },
}
"""Catches of `BROAD` that wrap one call of the standard library which has no narrower error."""


def test_every_parser_is_in_the_table() -> None:
    names = {f"{p.module}.{p.name}": p.module for module in SOURCE for p in parsers(module)}
    missing = [name for name, module in names.items() if module not in MODULES and name not in NO_PARSER]
    assert not missing, f"give each a case in tests/contracts/cases_*.py whose modules have it: {missing}"
    stale = [name for name in NO_PARSER if name not in names]
    assert not stale, f"no such parser: {stale}"


def test_the_table_names_modules_that_exist() -> None:
    unknown = set(MODULES) - {module.name for module in SOURCE}
    assert not unknown
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names), "two cases of one name"
    assert all(case.valid for case in CASES)


def test_parsers_are_found_by_name() -> None:
    """The search itself: what it must find and what it must leave."""
    tree = ast.parse(
        "def parse_it(data): ...\n"
        "def decode(data): ...\n"
        "def parsing(data): ...\n"
        "class A:\n    def receive_data(self, data): ...\n    def send(self): ...\n"
        "class B(Protocol[T]):\n    def push(self, data): ...\n"
    )
    module = Module("m", ROOT, tree)
    assert [parser.name for parser in parsers(module)] == ["parse_it", "decode", "A.receive_data"]


def caught(tree: ast.AST) -> Iterator[str]:
    """The names of all exceptions that are caught; a bare except catches ``BaseException``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            yield from ("BaseException" if kind is None else ast.unparse(kind) for kind in kinds)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress":
            yield from (ast.unparse(kind) for kind in node.args)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def faults(module: Module) -> list[str]:
    """What a parser may not have: catches of what bugs raise, asserts, imports of I/O, clock and randomness."""
    allowed = NARROW.get(module.name, {})
    found = [f"catches {name}" for name in caught(module.tree) if name in BROAD and name not in allowed]
    found += [
        f"asserts in line {node.lineno}" for node in ast.walk(module.tree) if isinstance(node, ast.Assert)
    ]
    return found + [f"imports {name}" for name in imported(module.tree) if name in FORBIDDEN_IMPORTS]


@pytest.mark.parametrize("module", PARSING, ids=lambda module: module.name)
def test_parsers_catch_narrowly_assert_nothing_and_do_no_io(module: Module) -> None:
    assert not faults(module)


@pytest.mark.parametrize(
    "source",
    [
        "try: f()\nexcept Exception: pass",
        "try: f()\nexcept: pass",
        "try: f()\nexcept (KeyError, UnicodeDecodeError): pass",
        "try: f()\nexcept struct.error: pass",
        "with contextlib.suppress(IndexError): f()",
        "def f(data):\n    assert data",
        "from socket import socket",
        "import os.path",
    ],
)
def test_faults_are_seen(source: str) -> None:
    assert faults(Module("m", ROOT, ast.parse(source)))


def test_modules_under_contract_are_held_to_it() -> None:
    """A parser in a file of I/O would escape the checks above."""
    assert not set(MODULES) - {module.name for module in PARSING}


def test_exceptions_from_the_rules_are_needed() -> None:
    for name, kinds in NARROW.items():
        module = next(module for module in SOURCE if module.name == name)
        assert set(kinds) <= set(caught(module.tree))


def test_files_of_the_kernel_that_are_not_under_the_gate_exist() -> None:
    """Whatever is renamed or new is held to the coverage gate until somebody says that it does I/O."""
    kernel = {module.path.name for module in SOURCE if module.name.startswith("penstock.")}
    assert kernel >= KERNEL_IO_FILES


HOOKS = sorted(name for name in vars(HookSpecs) if not name.startswith("_"))


def test_every_hook_is_a_specification() -> None:
    """One without its marker would be ignored in silence."""
    assert HOOKS
    assert all(hasattr(getattr(HookSpecs, name), "penstock_spec") for name in HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    page = ROOT / "docs" / "plugins.md"
    assert f"`{hook}" in page.read_text("utf-8"), f"{page.relative_to(ROOT)} does not have `{hook}`"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_called(hook: str) -> None:
    """By the kernel, as ``hook.name(...)`` or by its name as a string to what calls hooks one by one."""
    kernel = [
        module for module in SOURCE if module.name.startswith("penstock.") and module.name != "penstock.hooks"
    ]
    assert any(_names(module.tree, hook) for module in kernel), f"nobody calls {hook}"


def _names(tree: ast.AST, hook: str) -> bool:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if any(isinstance(argument, ast.Constant) and argument.value == hook for argument in node.args):
            return True
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr == hook
            and "hook" in ast.unparse(function.value)
        ):
            return True
    return False


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested(hook: str) -> None:
    """Some test other than this implements it."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == hook:
                return
    pytest.fail(f"no test has an implementation of {hook}")


KERNEL_NEEDS = {"anyio", "attr", "attrs", "cattrs", "pluggy", "structlog"}
"""All that an embedder gets with the kernel; ``uvloop`` is only looked for, by its name."""


def test_the_kernel_stays_light() -> None:
    found = {
        f"{module.name} imports {name}"
        for module in SOURCE
        if module.name.partition(".")[0] == "penstock"
        for name in imported(module.tree)
        if name not in KERNEL_NEEDS | sys.stdlib_module_names | {"penstock"}
    }
    assert not found


def test_every_config_key_has_a_meaning() -> None:
    """Which ``penstock config`` prints, and docs/config.md with it."""
    plugins = PluginSet.discover()
    classes = [ServerConfig, StreamConfig, *filter(None, plugins.configs.values())]
    silent = [
        f"{cls.__name__}.{field.name}" for cls in classes for field in attrs.fields(cls) if not _help(field)
    ]
    assert not silent
    assert len(classes) > 2


def _help(field: attrs.Attribute[Any]) -> str:
    return str(field.metadata.get("help", ""))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_package_is_in_the_wheel_installed_for_development_and_under_import_contracts() -> None:
    """A folder that is forgotten in any of these lists works on its author's machine only."""
    packages = [str(path.relative_to(ROOT)) for path in PACKAGES]
    tools = project()["tool"]
    build = tools["hatch"]["build"]
    roots = sorted({str(path.parent.relative_to(ROOT)) for path in PACKAGES})
    assert sorted(build["targets"]["wheel"]["packages"]) == packages
    assert sorted(build["dev-mode-dirs"]) == roots
    assert sorted(tools["mypy"]["mypy_path"].split(":")) == roots
    assert sorted(tools["pyright"]["extraPaths"]) == roots
    assert sorted(set(tools["ruff"]["src"]) - {"."}) == roots
    assert sorted(tools["importlinter"]["root_packages"]) == sorted(path.name for path in PACKAGES)
    assert all((path / "py.typed").is_file() for path in PACKAGES), "a package without py.typed"


def test_every_plugin_folder_is_an_entry_point() -> None:
    entries = {
        value.partition(":")[0] for value in project()["project"]["entry-points"]["penstock.plugins"].values()
    }
    plugins = [m.name for m in SOURCE if m.path.name == "plugin.py" and m.name.count(".") == 1]
    codecs = [
        m.name for m in SOURCE if m.path.name == "__init__.py" and m.name.startswith("penstock_codecs.")
    ]
    assert set(plugins) | set(codecs) == entries


def test_codecs_are_under_the_contract_of_independence() -> None:
    """import-linter reads the list; nobody adds to it by habit."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    listed = {
        name for contract in contracts if contract["type"] == "independence" for name in contract["modules"]
    }
    codecs = {
        m.name for m in SOURCE if m.path.name == "__init__.py" and m.name.startswith("penstock_codecs.")
    }
    assert codecs <= listed
