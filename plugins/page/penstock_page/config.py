"""The table ``[page]``."""

from __future__ import annotations

import re
from typing import Any

from attrs import Attribute, frozen

from penstock import option

# CSP 3, 6.7.2.1: a host source; "'self'", "'none'" and schemes such as "https:" are written alike.
_SOURCES = re.compile(r"[A-Za-z0-9'*:/.\-\[\]_]+( [A-Za-z0-9'*:/.\-\[\]_]+)*")


def _are_sources(instance: Any, attribute: Attribute[Any], value: str) -> None:
    if not _SOURCES.fullmatch(value):
        raise ValueError(
            f"{value!r} is no list of sites: write '*', \"'self'\", \"'none'\", or such as 'https://example.org'"
        )


@frozen
class PageConfig:
    """The player page of each stream, and the front page."""

    list_streams: bool = option(
        True, "Whether the front page lists the live streams (those that the visitor may read)."
    )
    frame_ancestors: str = option(
        "*",
        "Sites that may show a page in a frame, as in Content-Security-Policy: '*' for all, \"'self'\", \"'none'\", "
        "or addresses with spaces between them.",
        validator=_are_sources,
    )
