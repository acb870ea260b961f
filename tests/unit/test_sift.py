"""Refused rows among others: which, in what order, and at what price."""

from __future__ import annotations

import math
import random

import pytest

from cartridge_warp.postgresql.sift import sift


def sifted(rows: int, poison: set[int]) -> tuple[dict[int, int], list[int], int]:
    """What was found, the rows in the order they came in, and the attempts."""
    taken: list[int] = []
    attempts = 0

    def attempt(start: int, stop: int) -> int | None:
        nonlocal attempts
        attempts += 1
        refused = next((n for n in range(start, stop) if n in poison), None)
        if refused is None:
            taken.extend(range(start, stop))
        return refused

    return sift(rows, attempt), taken, attempts


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 42, 64, 65, 500, 5000])
def test_the_refused_rows_are_found_and_no_others(rows: int) -> None:
    chosen = random.Random(rows)
    for few in {1, 2, 3, 8, 9, rows // 10, rows // 2, rows}:
        if not 1 <= few <= rows:
            continue
        for poison in (
            set(range(few)),
            set(range(rows - few, rows)),
            {n * rows // few for n in range(few)},
            *(set(chosen.sample(range(rows), few)) for _ in range(20)),
        ):
            found, taken, attempts = sifted(rows, poison)
            assert found == {n: n for n in poison}
            assert taken == [n for n in range(rows) if n not in poison]
            extra = attempts - 1
            assert extra <= math.ceil(few * math.log2(rows)) + few
            assert extra <= 2 * rows + 50


def test_without_refusals_there_is_one_attempt() -> None:
    assert sifted(5000, set()) == ({}, list(range(5000)), 1)
    assert sifted(0, set()) == ({}, [], 0)
