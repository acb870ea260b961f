"""Plans that make no sense are refused before a document is read."""

from __future__ import annotations

from typing import Any

import pytest

from cwarp_core import PlanColumn, RowPlan
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


def test_plan_shows_what_it_was_made_of() -> None:
    columns = [PlanColumn((name,), name, "", 0) for name in COLUMN_TYPES]
    plan = RowPlan("numeric", columns, max_depth=32)
    assert plan.key == "numeric"
    assert plan.columns == tuple(columns)
    assert plan.max_depth == 32
    assert plan.width == len(columns) + 3
    assert RowPlan("numeric", columns, source_ts=False).width == len(columns) + 2
