"""Plans that make no sense are refused before a document is read."""

from __future__ import annotations

from typing import Any

import pytest

from cwarp_core import BatchEncoder, Observation, PlanColumn, Reply, RowPlan
from tests.core.build import document, int32
from tests.core.samples import COLUMN_TYPES

COLUMN = PlanColumn(("a",), "text", "string")


@pytest.mark.parametrize(
    ("key", "columns", "options"),
    [
        ("int", [], {}),
        ("", [], {}),
        ("bigint", [PlanColumn(("a",), "varchar")], {}),
        ("bigint", [PlanColumn(("a",), "")], {}),
        ("bigint", [PlanColumn(("a",), "text", "varchar")], {}),
        ("bigint", [COLUMN, COLUMN], {}),
        ("bigint", [COLUMN, PlanColumn(("a",), "jsonb")], {}),
        ("bigint", [], {"max_depth": 0}),
        ("bigint", [], {"max_depth": 33}),
        ("bigint", [], {"max_depth": -1}),
        ("bigint", [], {"max_depth": 2**31}),
        ("bigint", [], {"max_depth": -(2**99)}),
        ("bigint", [PlanColumn(("_id",), "text")], {}),
        ("bigint", [PlanColumn(("_id", "x"), "text", "string")], {}),
        ("bigint", [PlanColumn((), "text")], {}),
        ("bigint", [PlanColumn(("a\0",), "text")], {}),
        ("bigint", [PlanColumn(("a",), "bytea", "binData", 256)], {}),
        ("bigint", [PlanColumn(("a",), "bytea", "binData", -1)], {}),
        ("bigint", [PlanColumn((str(at),), "text") for at in range(1598)], {}),
        ("bigint", [PlanColumn((str(at),), "text") for at in range(70_000)], {}),
        ("bigint", [], {"json_mode": "relaxed"}),
        ("bigint", [], {"legacy_uuid": "python"}),
        ("bigint", [], {"on_misfit": "drop"}),
    ],
    ids=[
        "unknown key",
        "no key",
        "unknown type",
        "no type",
        "unknown native",
        "one column twice",
        "two columns of one path",
        "depth 0",
        "depth 33",
        "depth -1",
        "depth 2^31",
        "depth -2^99",
        "the key as a column",
        "a part of the key as a column",
        "the whole document as text",
        "NUL in a name",
        "subtype 256",
        "subtype -1",
        "1,601 columns with ours",
        "70,000 columns",
        "unknown json_mode",
        "unknown legacy_uuid",
        "unknown on_misfit",
    ],
)
def test_senseless_plan_is_refused(
    key: str, columns: list[PlanColumn], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        RowPlan(key, columns, **options)


@pytest.mark.parametrize("depth", ["3", 2.5, None])
def test_depth_that_is_no_number_is_refused(depth: Any) -> None:
    with pytest.raises(TypeError):
        RowPlan("bigint", [], max_depth=depth)
    with pytest.raises(TypeError):
        Observation(depth)


@pytest.mark.parametrize("number", ["1", 1.5, 1.0, None])
def test_what_is_no_whole_number_is_refused(number: Any) -> None:
    """Not cut to one: a cluster time, and a binary subtype."""
    encoder = BatchEncoder(RowPlan("bigint", []))
    raw = document(("_id", int32(1)))
    with pytest.raises(TypeError):
        encoder.add_document(raw, number)
    with pytest.raises(TypeError):
        encoder.add_reply(Reply.of_documents([raw]), number)
    with pytest.raises(TypeError):
        RowPlan("bigint", [PlanColumn(("a",), "bytea", "binData", number)])
    assert encoder.take().documents == 0


def test_as_many_columns_as_a_table_can_have() -> None:
    columns = [PlanColumn((str(at),), "text") for at in range(1598)]
    assert RowPlan("bigint", columns, source_ts=False).width == 1600
    assert RowPlan("bigint", columns[:-1]).width == 1600


def test_plan_shows_what_it_was_made_of() -> None:
    columns = [PlanColumn((name,), name, "", 0) for name in COLUMN_TYPES]
    plan = RowPlan("numeric", columns, max_depth=32)
    assert plan.key == "numeric"
    assert plan.columns == tuple(columns)
    assert plan.max_depth == 32
    assert plan.width == len(columns) + 3
    assert RowPlan("numeric", columns, source_ts=False).width == len(columns) + 2
