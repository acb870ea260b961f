"""Every BSON kind in every column type, each value at its edges."""

from __future__ import annotations

import pytest

from tests.core.build import document, int32
from tests.core.differential import assert_same
from tests.core.samples import COLUMN_TYPES, SAMPLES
from tests.oracle import Column, Plan

#: The kinds a column of the type may have been made for.
NATIVES = {
    "boolean": ("bool",),
    "integer": ("int",),
    "bigint": ("long",),
    "double precision": ("double",),
    "numeric": ("decimal",),
    "text": ("string", "objectId", ""),
    "uuid": ("uuid",),
    "bytea": ("binData",),
    "timestamptz": ("date", "timestamp"),
    "jsonb": ("object", ""),
    "json": ("array",),
    "jsontext": ("regex",),
}


def _documents(kind: str) -> list[bytes]:
    return [
        document(("_id", int32(index)), ("v", value))
        for index, value in enumerate(SAMPLES[kind])
    ]


@pytest.mark.parametrize("column_type", COLUMN_TYPES)
@pytest.mark.parametrize("kind", SAMPLES)
def test_cell_is_the_oracles(kind: str, column_type: str) -> None:
    for native in NATIVES[column_type]:
        column = Column(("v",), column_type, native)
        assert_same(_documents(kind), Plan("bigint", (column,), max_depth=1))


@pytest.mark.parametrize("column_type", ["jsonb", "json", "jsontext"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_canonical_json_cell_is_the_oracles(kind: str, column_type: str) -> None:
    column = Column(("v",), column_type, kind)
    assert_same(_documents(kind), Plan("bigint", (column,), 1, "canonical"))


@pytest.mark.parametrize("legacy", ["standard", "java", "csharp"])
@pytest.mark.parametrize("column_type", ["uuid", "bytea", "text", "jsonb"])
@pytest.mark.parametrize("kind", ["uuid", "uuidLegacy", "binData"])
def test_legacy_uuid_cell_is_the_oracles(
    kind: str, column_type: str, legacy: str
) -> None:
    for native in ("uuid", "uuidLegacy"):
        column = Column(("v",), column_type, native, 3)
        assert_same(_documents(kind), Plan("bigint", (column,), legacy_uuid=legacy))


@pytest.mark.parametrize("subtype", [0, 2, 3, 4, 5, 128])
def test_bytea_of_a_subtype_is_the_oracles(subtype: int) -> None:
    column = Column(("v",), "bytea", "binData", subtype)
    for kind in ("binData", "uuid", "uuidLegacy"):
        assert_same(_documents(kind), Plan("bigint", (column,)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_unplanned_leaf_is_the_oracles(kind: str) -> None:
    assert_same(_documents(kind), Plan("bigint", (), max_depth=1))


@pytest.mark.parametrize("column_type", COLUMN_TYPES)
@pytest.mark.parametrize("kind", SAMPLES)
def test_misfit_as_dead_letter_is_the_oracles(kind: str, column_type: str) -> None:
    columns = (Column(("x",), "text"), Column(("v",), column_type, kind))
    plan = Plan("bigint", columns, max_depth=1, on_misfit="dead_letter")
    assert_same(_documents(kind), plan)
