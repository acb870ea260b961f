"""Finds the rows that are refused among many that are not. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

E = TypeVar("E")

#: From so many refused rows on, what is tried next is as long as they are dense.
_MANY = 8

#: Where refusals become rarer, what is tried grows by this.
_GROWTH = 16


def sift(rows: int, attempt: Callable[[int, int], E | None]) -> dict[int, E]:
    """The refused rows of ``rows``, and why; all others have been brought in.

    attempt: brings rows [start, stop) in, all of them or none, or tells why not. A row
    is brought in once, and in order, but for those that ``attempt`` had to give up.

    Each refused row is found by halving what holds it: with k of n refused, at most
    ceil(k * log2 n) + k attempts more than one, and about 2 n where all are.
    """
    refused: dict[int, E] = {}
    start, size = 0, rows
    while start < rows:
        stop = min(rows, start + size)
        error = attempt(start, stop)
        if error is None:
            start, size = stop, size * _GROWTH
            continue
        # Rows before `start` are in; one in [start, stop) is refused, and `error` is
        # about the first such. The later part is a power of two: an early find costs
        # little, and after a late one little is left.
        while stop - start > 1:
            middle = stop - (1 << (stop - start - 1).bit_length() - 1)
            earlier = attempt(start, middle)
            if earlier is None:
                start = middle
            else:
                stop, error = middle, earlier
        refused[start] = error
        start = stop
        dense = len(refused) >= _MANY
        size = max(1, 2 * start // len(refused)) if dense else rows
    return refused
