"""Documents whose rows would be larger than PostgreSQL takes, or than memory is."""

from __future__ import annotations

import resource

import pytest

from cwarp_core import BatchEncoder, Reject
from tests.core.build import Raw, boolean, document, int32, null, obj
from tests.core.differential import assert_same, row_plan
from tests.oracle import Column, Plan

PLAN = Plan("bigint", (Column(("a",), "integer", "int"),))
ID = ("_id", int32(7))
GOOD = document(("_id", int32(1)), ("a", int32(2)), ("b", int32(3)))
#: Its name stands in ``_cwarp_extra`` once for each of the fields in it: 8 GiB in all.
LONG = ("n" * (1 << 20), obj(*((f"{at}", null()) for at in range(8192))))
STRAYS = ("n" * (1 << 20), obj(*((f"{at}", boolean(True)) for at in range(8192))))


def rejects(*raw: bytes, plan: Plan = PLAN) -> tuple[Reject, ...]:
    """Each between two neighbours, which are rows as if they were alone."""
    encoder = BatchEncoder(row_plan(plan))
    for each in raw:
        encoder.add_document(GOOD, 0)
        encoder.add_document(each, 0)
    encoder.add_document(GOOD, 0)
    batch = encoder.take()
    alone = assert_same([GOOD], plan)
    assert batch.payload == alone.payload * (len(raw) + 1)
    assert batch.rescued == alone.rescued * (len(raw) + 1)
    assert [each.path for each in batch.drift] == [("b",)]
    return batch.rejects


def test_extra_that_jsonb_does_not_hold_is_refused_early() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raw = document(ID, STRAYS)
    assert rejects(raw, raw) == (Reject(raw, "too_large", -1, "7", -1),) * 2
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1 << 20, "KiB, for 8 GiB of text"


def test_the_id_is_found_behind_what_is_too_large() -> None:
    raw = document(STRAYS, ID)
    assert rejects(raw) == (Reject(raw, "too_large", -1, "7", -1),)
    raw = document(STRAYS, ("x", int32(1)))
    assert rejects(raw) == (Reject(raw, "missing_id", -1, None, -1),)


@pytest.mark.parametrize("fields", [(ID, STRAYS), (STRAYS,), (STRAYS, ID)])
def test_a_broken_document_is_told_as_one(fields: tuple[tuple[str, Raw], ...]) -> None:
    raw = document(*fields, ("z", Raw(0x08, b"\2")))
    ((_, code, offset, _, _),) = rejects(raw)
    assert (code, offset) == ("corrupt", len(raw) - 5)


def test_the_same_names_without_values_are_a_row() -> None:
    raw = document(ID, LONG)
    assert assert_same([raw, GOOD], PLAN).rows == 2


def test_a_whole_document_needs_no_room_for_its_strays() -> None:
    plan = Plan("bigint", (Column((), "json", "object"),))
    encoder = BatchEncoder(row_plan(plan))
    raw = document(ID, STRAYS)
    assert encoder.add_document(raw, 0) is True
    batch = encoder.take()
    assert len(raw) < len(batch.payload) < 2 * len(raw)
