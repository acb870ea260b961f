"""Which rescued values are logged when; the clock is the test's."""

from __future__ import annotations

from cartridge_warp.postgresql.journal import Journal
from cwarp_core import Drift


def drift(name: str, count: int = 1) -> Drift:
    return Drift((name,), "string", 0, 0, count)


def test_the_first_of_each_then_one_a_minute() -> None:
    now = 100.0
    journal = Journal(lambda: now)
    lines = journal.due("t", [drift("a"), drift("a", 2), drift("b")])
    assert [(line.path, line.count) for line in lines] == [(("a",), 3), (("b",), 1)]
    journal.noted(lines)
    now += 59
    assert [line.path for line in journal.due("t", [drift("a"), drift("c")])] == [
        ("c",)
    ]
    assert len(journal.due("other", [drift("a")])) == 1
    now += 1
    assert [line.path for line in journal.due("t", [drift("a")])] == [("a",)]


def test_lines_that_were_rolled_back_stay_due() -> None:
    journal = Journal(lambda: 0.0)
    assert journal.due("t", [drift("a")]) == journal.due("t", [drift("a")]) != []


def test_a_batch_of_new_fields_writes_few_lines() -> None:
    journal = Journal(lambda: 0.0)
    assert len(journal.due("t", [drift(str(n)) for n in range(500)])) == 20


def test_a_long_path_is_cut_in_the_message() -> None:
    [line] = Journal().due("t", [drift("x" * 10_000)])
    assert len(line.message) == 500
