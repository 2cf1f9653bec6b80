"""The Date header (RFC 2326 12.18)."""

from __future__ import annotations

import functools
import time
from email.utils import formatdate


def date() -> str:
    """The time of day as headers have it."""
    return _text(int(time.time()))


@functools.lru_cache(1)
def _text(seconds: int) -> str:
    # Thousands of players may be answered within one.
    return formatdate(seconds, usegmt=True)
