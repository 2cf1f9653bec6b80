"""What asyncio itself logs of peers that leave in the middle of something, which is no fault of anybody's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

WORDS = ("socket.send() raised exception.", "SSL connection is closed")
"""Warnings of each further write to a connection whose end its owner has not been told of yet."""


def keep_quiet(loop: asyncio.AbstractEventLoop) -> None:
    """For a process of our own: the loop and the loggers of an embedding program are its own."""
    loop.set_exception_handler(_handle)
    logging.getLogger("asyncio").addFilter(_is_news)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Where a connection breaks while more is written to it on the news that there is room again, asyncio tells its protocol of
    # the end, and has that told once more (`_write_ready` in selector_events.py): then there is nothing left to close.
    error = context.get("exception")
    twice = isinstance(error, AttributeError) and error.obj is None and error.name == "close"
    if not (twice and "_call_connection_lost" in context["message"]):
        loop.default_exception_handler(context)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in WORDS
