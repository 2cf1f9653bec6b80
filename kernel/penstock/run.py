"""Serving from the command line: the process around a server, from its limits to its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from penstock import leaving
from penstock.hooks import Endpoint

if TYPE_CHECKING:
    from penstock.config import Config
    from penstock.plugins import PluginSet

MAX_FILES = 1 << 20
"""Most descriptors asked for: some libraries take memory for each, and some hard limits are 2^30."""

_log = structlog.get_logger("penstock")


def run(config: Config, plugins: PluginSet) -> int:
    """Serve until SIGTERM or SIGINT, under uvloop where it is installed. Returns the exit status."""
    raise_file_limit()
    fast = importlib.util.find_spec("uvloop") is not None
    serve = functools.partial(_serve, config, plugins)
    return anyio.run(serve, backend="asyncio", backend_options={"use_uvloop": fast})


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: each peer is a descriptor."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(config: Config, plugins: PluginSet) -> int:
    from penstock.server import Server

    status = 0
    leaving.keep_quiet(asyncio.get_running_loop())
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        # Opened before anything listens, so that no signal finds the default action.
        await tasks.start(_stop_on_signal, scope, config.server.drain_timeout)
        async with Server(config, plugins=plugins) as server:
            failures = server.services.failures
            print(start_table(server.endpoints, plugins, config.server.public_host, failures), flush=True)
            if server.endpoints:
                _tune_collector()
                with scope:
                    await server.run_until_stopped()
            else:
                print("penstock: nothing listens", file=sys.stderr)
                status = 1
        tasks.cancel_scope.cancel()
    return status


async def _stop_on_signal(
    scope: anyio.CancelScope, drain: float, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            _log.info("stopping", signal=signal.Signals(number).name)
            # A thread and plain handlers, because they also work where the event loop is stuck.
            _after(drain, 1)
            scope.cancel()
            break
        async for number in signals:
            _exit(128 + number)


def _after(seconds: float, status: int) -> None:
    timer = threading.Timer(seconds, _exit, [status])
    timer.daemon = True
    timer.start()


def _exit(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _tune_collector() -> None:
    # What lives as long as the process is not looked at again, and the young are, at the pace of sessions
    # rather than frames: a collection in the middle of a pass is felt by every reader.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def start_table(
    endpoints: Iterable[Endpoint],
    plugins: PluginSet,
    public_host: str = "",
    failures: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> str:
    """What listens where, with URLs to copy, and what does not run and why: of `failures`, those services alone."""
    from penstock.cli import table, version

    rows: list[tuple[str, ...]] = [("protocol", "address", "transport", "to", "URL")]
    for endpoint in endpoints:
        host = url_host(endpoint.address, public_host)
        address = f"{bracketed(endpoint.address or '*')}:{endpoint.port}"
        what: tuple[str, ...] = (endpoint.what, address, endpoint.transport)
        ways = (("publish, play", endpoint.urls), ("publish", endpoint.publish), ("play", endpoint.play))
        for to, url in [(to, url) for to, urls in ways for url in urls] or [("", "")]:
            url = url.replace("{host}", host).replace("{port}", str(endpoint.port))
            # As a shell takes it: what follows a "#" or "&" would not be the command's any more.
            rows.append((*what, to, shlex.quote(url) if set("#&;?'") & set(url) else url))
            what = ("", "", "")
    text = f"Penstock {version()}"
    if len(rows) > 1:
        text += f"\n\n{table(rows)}"
    missing = [
        (record.name, *why)
        for record in plugins
        if record.status == "failed"
        for why in (failures or {}).get(record.name) or [("-", record.reason)]
    ]
    if missing:
        text += f"\n\nnot running:\n{table([('plugin', 'service', 'reason'), *missing])}"
    return text + "\n"


def url_host(address: str, public_host: str = "") -> str:
    """The host in URLs of a listener on `address`: itself, or where that is every address, a name for it."""
    if address not in ("", "*", "0.0.0.0", "::"):
        return bracketed(address)
    return bracketed(public_host) if public_host else bracketed(own_address())


def bracketed(host: str) -> str:
    """`host` as it is written in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@functools.cache
def own_address() -> str:
    """The address by which other machines probably reach this one, else ``localhost``."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket only looks the route up. RFC 5737: a documentation address.
        probe.connect(("192.0.2.1", 9))
        found: Any = probe.getsockname()[0]
        if found and not found.startswith("0."):
            return str(found)
    return "localhost"
