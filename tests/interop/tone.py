"""A tone that a player wrote to a file."""

from __future__ import annotations


def pitch(samples: bytes, rate: int = 48_000) -> float:
    """The frequency of a tone of 16 bits, by where it goes up through 0."""
    values = memoryview(samples).cast("h")
    ups = [i for i in range(1, len(values)) if values[i - 1] < 0 <= values[i]]
    return rate * (len(ups) - 1) / (ups[-1] - ups[0])
