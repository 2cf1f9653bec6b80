"""Replay valid messages and seeds through every parser: ``python -O -m tests.contracts.replay`` (no pytest, no assert)."""

from __future__ import annotations

import sys

from tests.contracts.case import seed_files
from tests.contracts.check import check, check_split
from tests.contracts.table import CASES


def main() -> int:
    """Exit status 0 where the contract holds; the first line of output is how many inputs were tried."""
    tried = 0
    for case in CASES:
        for data in [
            *case.valid,
            *(d[:n] for d in case.valid for n in range(min(len(d), 40))),
            *seed_files(case),
        ]:
            check(case, data)
            check_split(case, data, list(range(min(len(data), 2000))))
            tried += 1
    print(tried)
    return 0


if __name__ == "__main__":
    sys.exit(main())
