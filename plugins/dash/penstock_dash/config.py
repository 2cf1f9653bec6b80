"""The table ``[dash]``."""

from __future__ import annotations

from attrs import frozen

from penstock.hooks import option
from penstock.settings import within


@frozen
class DashConfig:
    """DASH, on the HTTP port."""

    low_latency: bool = option(
        True,
        "The segment that is being made is offered as well, and sent as it grows; false: only those that are complete.",
    )
    latency: float = option(
        2.0,
        "Seconds behind live at which players of low latency are asked to be; never less than four parts.",
        validator=within(0.2, 60),
    )
    viewer_timeout: float = option(
        30.0, "Seconds without a request after which a viewer has left.", validator=within(1)
    )
    max_viewers: int = option(20_000, "Most viewers at a time.", validator=within(1))
    first_segment_timeout: float = option(
        30.0,
        "Seconds that a viewer waits for a stream's first segment, and as long for the second where it needs two.",
        validator=within(0),
    )
