"""From drift to the next version of a table."""

from __future__ import annotations

import msgspec
import pytest

from cartridge_warp.model import Column, SchemaChange, Table, TableOptions
from cartridge_warp.schema.evolve import apply, evolve, same_structure, soft_delete
from cwarp_core import Drift

TABLE = Table(
    schema="shop",
    name="orders",
    collection="orders",
    key="objectId",
    columns=(
        Column("name", ("name",), "text", "string"),
        Column("address_city", ("address", "city"), "text", "string"),
        Column("tags", ("tags",), "jsonb", "array"),
    ),
    version=3,
)


def drift(
    path: str, kind: str, count: int = 1, *, column: int = -1, subtype: int = 0
) -> Drift:
    return Drift(tuple(path.split(".")), kind, subtype, column, count)


def added(table: Table, *seen: Drift) -> list[tuple[str, str, str]]:
    changes = evolve(table, seen)
    assert all(change.kind == "add_column" for change in changes)
    assert all(change.safety == "SAFE" for change in changes)
    return [(c.column.name, c.column.type, c.column.native) for c in changes]


def with_options(**options: object) -> Table:
    return msgspec.structs.replace(TABLE, options=TableOptions(**options))  # type: ignore[arg-type]


def test_a_new_path_gets_its_natural_column() -> None:
    assert added(TABLE, drift("paid", "bool"), drift("x.y", "long")) == [
        ("paid", "boolean", "bool"),
        ("x_y", "bigint", "long"),
    ]


def test_the_kinds_of_one_drift_are_joined() -> None:
    assert added(TABLE, drift("n", "int", 5), drift("n", "double")) == [
        ("n", "double precision", "double")
    ]
    assert added(TABLE, drift("n", "int"), drift("n", "string")) == [
        ("n", "text", "string")
    ]


@pytest.mark.parametrize("kind", ["null", "emptyObject"])
def test_shapeless_values_ask_for_nothing(kind: str) -> None:
    assert evolve(TABLE, [drift("new", kind)]) == []


def test_a_misfit_of_a_column_changes_nothing() -> None:
    assert evolve(TABLE, [drift("name", "int", column=0)]) == []


def test_drift_from_before_the_column_was_added_changes_nothing() -> None:
    assert evolve(TABLE, [drift("name", "string")]) == []
    assert evolve(TABLE, [drift("tags.first", "string")]) == []


def test_no_drift_no_change() -> None:
    assert evolve(TABLE, []) == []


def test_json_never_silences_columns_that_are_there() -> None:
    """With a JSON column at ``address`` no document would fill address_city again."""
    assert evolve(TABLE, [drift("address", "array")]) == []
    assert added(TABLE, drift("address", "string")) == [("address", "text", "string")]


def test_new_json_takes_the_new_paths_below_it() -> None:
    assert added(TABLE, drift("p", "array"), drift("p.q", "int", 4)) == [
        ("p", "jsonb", "object")
    ]


def test_layouts() -> None:
    assert evolve(with_options(layout="document"), [drift("paid", "bool")]) == []
    assert added(with_options(layout="both"), drift("paid", "bool")) == [
        ("paid", "boolean", "bool")
    ]
    assert added(with_options(json_columns="text"), drift("l", "array")) == [
        ("l", "jsontext", "array")
    ]


def test_no_more_than_the_room_there_is() -> None:
    seen = [drift("a", "int", 1), drift("b", "int", 9), drift("c", "int", 5)]
    names = [name for name, *_ in added(with_options(max_columns=5), *seen)]
    assert names == ["b", "c"]
    assert evolve(with_options(max_columns=3), seen) == []
    assert evolve(with_options(max_columns=1), seen) == []


def test_names_keep_clear_of_those_there_are() -> None:
    ((name, *_),) = added(TABLE, drift("address_city", "int"))
    assert name.startswith("address_city_")


def test_the_subtype_of_a_new_binary_column() -> None:
    (change,) = evolve(TABLE, [drift("hash", "binData", subtype=5)])
    assert (change.column.type, change.column.subtype) == ("bytea", 5)


def test_apply_appends_and_counts() -> None:
    changes = evolve(TABLE, [drift("paid", "bool")])
    after = apply(TABLE, changes)
    assert after.columns[:3] == TABLE.columns
    assert after.columns[3] == Column("paid", ("paid",), "boolean", "bool")
    assert after.version == 4
    assert msgspec.structs.replace(after, columns=TABLE.columns, version=3) == TABLE
    assert evolve(after, [drift("paid", "bool")]) == []


def test_apply_of_nothing_is_the_same_table() -> None:
    assert apply(TABLE, []) is TABLE


@pytest.mark.parametrize(
    "column",
    [
        Column("name", ("other",), "text"),
        Column("other", ("name",), "text"),
    ],
)
def test_apply_refuses_a_second_of_a_name_or_path(column: Column) -> None:
    with pytest.raises(ValueError, match="already has"):
        apply(TABLE, [SchemaChange("add_column", column)])


def test_apply_refuses_a_change_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="unknown schema change"):
        apply(TABLE, [SchemaChange("drop_column", TABLE.columns[0])])


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [
        ("objectId", ["string"], "canonical"),
        ("uuid", ["canonical"], "canonical"),
        ("bigint", ["numeric"], "numeric"),
        ("bigint", ["numeric", "string"], "canonical"),
        ("numeric", ["objectId"], "canonical"),
    ],
)
def test_an_id_that_does_not_fit_asks_for_another_key(
    before: str, seen: list[str], after: str
) -> None:
    table = msgspec.structs.replace(TABLE, key=before)
    changes = evolve(table, [drift("paid", "bool")], seen)
    assert [(c.kind, c.safety) for c in changes] == [
        ("rewrite_key", "RISKY"),
        ("add_column", "SAFE"),
    ]
    newer = apply(table, changes)
    assert (newer.key, newer.version) == (after, 4)
    assert [column.name for column in newer.columns[-2:]] == ["tags", "paid"]
    assert evolve(newer, [], seen) == []


@pytest.mark.parametrize("layout", ["columns", "document", "both"])
def test_a_key_is_rewritten_in_every_layout(layout: str) -> None:
    (change,) = evolve(with_options(layout=layout), [], ["bigint"])
    assert (change.kind, change.column.type) == ("rewrite_key", "canonical")


# --- soft deletes -------------------------------------------------------------------


def test_soft_deletes_ask_for_their_columns_once() -> None:
    table = with_options(deletion_strategy="soft", soft_delete_column="gone")
    (change,) = soft_delete(table)
    assert (change.kind, change.column.name, change.safety) == (
        "soft_delete",
        "gone",
        "SAFE",
    )
    after = apply(table, [change])
    assert (after.deleted_column, after.version) == ("gone", 4)
    assert after.columns == table.columns
    assert soft_delete(after) == []
    with pytest.raises(ValueError, match="already has 'gone'"):
        apply(after, [change])


@pytest.mark.parametrize("strategy", ["hard", "both"])
def test_other_strategies_ask_for_nothing(strategy: str) -> None:
    assert soft_delete(with_options(deletion_strategy=strategy)) == []
    marked = msgspec.structs.replace(
        with_options(deletion_strategy=strategy), deleted_column="is_deleted"
    )
    assert soft_delete(marked) == []


def test_a_field_never_gets_the_column_of_the_marks() -> None:
    marked = msgspec.structs.replace(TABLE, deleted_column="gone")
    ((name, *_),) = added(marked, drift("gone", "bool"))
    assert name.startswith("gone_")
    assert added(TABLE, drift("gone", "bool")) == [("gone", "boolean", "bool")]
    column = Column("gone", ("gone",), "boolean", "bool")
    with pytest.raises(ValueError, match="already has 'gone'"):
        apply(marked, [SchemaChange("add_column", column)])
    with pytest.raises(ValueError, match="already has 'name'"):
        apply(TABLE, [SchemaChange("soft_delete", Column("name", (), "boolean"))])


def test_what_may_change_from_run_to_run_is_no_structure() -> None:
    soft = with_options(deletion_strategy="soft", soft_delete_column="x")
    assert same_structure(TABLE, soft)
    assert same_structure(TABLE, with_options(on_misfit="fail"))
    assert not same_structure(TABLE, with_options(layout="both"))
    assert not same_structure(TABLE, apply(soft, soft_delete(soft)))


def test_a_table_of_an_earlier_version_is_read() -> None:
    stored = (
        '{"schema": "shop", "name": "orders", "collection": "orders", "key": "bigint",'
        ' "columns": [], "options": {"layout": "both"}, "version": 2}'
    )
    table = msgspec.json.decode(stored, type=Table)
    assert (table.options.deletion_strategy, table.deleted_column) == ("hard", "")
    assert msgspec.json.decode(msgspec.json.encode(table), type=Table) == table
