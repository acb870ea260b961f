"""From observed kinds to a first table."""

from __future__ import annotations

import pytest

from cartridge_warp.model import Column, Table, TableOptions
from cartridge_warp.schema.infer import infer_table, key_encoding_of
from cwarp_core import ObservedPath


def seen(path: str, subtypes: tuple[int, ...] = (), **counts: int) -> ObservedPath:
    return ObservedPath(tuple(path.split(".")), counts, frozenset(subtypes))


def infer(*paths: ObservedPath, **options: object) -> Table:
    return infer_table(
        "shop",
        "orders",
        "objectId",
        list(paths),
        TableOptions(**options),  # type: ignore[arg-type]
    )


def columns(*paths: ObservedPath, **options: object) -> dict[str, str]:
    return {column.name: column.type for column in infer(*paths, **options).columns}


def test_a_table() -> None:
    table = infer(
        seen("_id", objectId=3),
        seen("name", string=2, null=1),
        seen("address.city", string=3),
        seen("paid", bool=3),
    )
    assert table == Table(
        schema="shop",
        name="orders",
        collection="orders",
        key="objectId",
        columns=(
            Column("name", ("name",), "text", "string"),
            Column("address_city", ("address", "city"), "text", "string"),
            Column("paid", ("paid",), "boolean", "bool"),
        ),
        options=TableOptions(),
        version=1,
    )


def test_only_null_and_only_empty_make_no_column() -> None:
    assert columns(seen("a", null=5), seen("b", emptyObject=2), seen("c", int=0)) == {}


def test_an_empty_collection_has_a_table_without_columns() -> None:
    assert infer().columns == ()


def test_scalar_and_document_at_one_path_keep_both() -> None:
    assert columns(seen("a", int=2), seen("a.b", string=3)) == {
        "a": "integer",
        "a_b": "text",
    }
    assert columns(seen("a", emptyObject=2), seen("a.b", string=3)) == {"a_b": "text"}


def test_json_takes_all_below_it() -> None:
    """The core stores a document whole where the column is JSON."""
    table = infer(
        seen("a", array=1),
        seen("a.b", string=3),
        seen("a.b.c", int=2),
        seen("ab.c", int=2),
    )
    assert table.columns == (
        Column("a", ("a",), "jsonb", "object"),
        Column("ab_c", ("ab", "c"), "integer", "int"),
    )


def test_json_found_after_what_is_below_it() -> None:
    assert columns(seen("a.b", string=3), seen("a", regex=1)) == {"a": "jsonb"}


def test_a_document_at_the_depth_is_json() -> None:
    assert columns(seen("a.b.c", object=2, string=1)) == {"a_b_c": "jsonb"}


@pytest.mark.parametrize(
    ("json_columns", "type_"),
    [("jsonb", "jsonb"), ("json", "json"), ("text", "jsontext")],
)
def test_json_columns(json_columns: str, type_: str) -> None:
    assert columns(seen("a", array=1), json_columns=json_columns) == {"a": type_}
    both = infer(layout="both", json_columns=json_columns)
    assert both.columns[0].type == type_


def test_layouts() -> None:
    paths = seen("a", int=1), seen("document", string=1)
    whole = Column("document", (), "jsonb", "object")
    assert infer(*paths, layout="document").columns == (whole,)
    first, a, other = infer(*paths, layout="both").columns
    assert (first, a.name) == (whole, "a")
    # The field that is called like our column is the one to give way.
    assert other.path == ("document",)
    assert other.name.startswith("document_")
    assert columns(*paths, layout="columns") == {"a": "integer", "document": "text"}


def test_the_most_frequent_paths_in_the_order_first_seen() -> None:
    paths = [seen(f"f{n}", int=n % 7 + 1, null=100 - n) for n in range(20)]
    table = infer(*paths, max_columns=4)
    assert [column.name for column in table.columns] == ["f5", "f6", "f12", "f13"]
    assert len(infer(*paths, max_columns=20).columns) == 20
    assert len(infer(*paths, max_columns=19).columns) == 19


def test_the_whole_document_takes_none_of_the_room() -> None:
    assert len(infer(seen("a", int=1), layout="both", max_columns=1).columns) == 2


def test_children_count_for_the_json_that_takes_them() -> None:
    paths = seen("a", array=1), seen("a.b", int=9), seen("c", int=5)
    assert columns(*paths, max_columns=1) == {"a": "jsonb"}


def test_uuids_and_binaries() -> None:
    table = infer(
        seen("u", (4,), uuid=2),
        seen("old", (3,), uuidLegacy=2),
        seen("b", (0,), binData=2),
        seen("md5", (5,), binData=2),
        seen("many", (0, 5, 128), binData=9),
        seen("mixed", (4, 5), uuid=1, binData=1),
        seen("short", (4,), binData=1),
    )
    assert [(c.name, c.type, c.native, c.subtype) for c in table.columns] == [
        ("u", "uuid", "uuid", 0),
        ("old", "bytea", "uuidLegacy", 3),
        ("b", "bytea", "binData", 0),
        ("md5", "bytea", "binData", 5),
        ("many", "bytea", "binData", 0),
        ("mixed", "bytea", "binData", 5),
        ("short", "bytea", "binData", 4),
    ]


def test_legacy_uuid() -> None:
    (column,) = infer(seen("old", (3,), uuidLegacy=2), legacy_uuid="java").columns
    assert (column.type, column.native) == ("uuid", "uuidLegacy")


@pytest.mark.parametrize(
    ("strategy", "column"), [("hard", ""), ("both", ""), ("soft", "gone")]
)
def test_soft_deletes_have_their_column_from_the_start(
    strategy: str, column: str
) -> None:
    table = infer(
        seen("gone", bool=1),
        seen("is_deleted", bool=1),
        seen("deleted_at", date=1),
        deletion_strategy=strategy,
        soft_delete_column="gone",
    )
    assert table.deleted_column == column
    gone, *ours = (each.name for each in table.columns)
    assert (gone == "gone") is not bool(column)
    # These are never given away, so that the strategy may be changed later.
    assert [name[:-9] for name in ours] == ["is_deleted", "deleted_at"]


def test_names_follow_the_options() -> None:
    table = infer_table(
        "shop",
        "userEvents",
        "string",
        [seen("createdAt", date=1)],
        TableOptions(naming="snake"),
        taken={"user_events"},
    )
    assert table.name.startswith("user_events_")
    assert table.collection == "userEvents"
    assert table.columns[0].name == "created_at"


@pytest.mark.parametrize(
    ("encodings", "expected"),
    [
        (["objectId", "objectId"], "objectId"),
        (["string"], "string"),
        (["uuid"], "uuid"),
        (["bigint", "bigint"], "bigint"),
        (["bigint", "numeric"], "numeric"),
        (["numeric"], "numeric"),
        (["canonical", "canonical"], "canonical"),
        (["objectId", "string"], "canonical"),
        (["bigint", "numeric", "string"], "canonical"),
        (["numeric", "canonical"], "canonical"),
        ([], "canonical"),
    ],
)
def test_the_encoding_of_the_key(encodings: list[str], expected: str) -> None:
    assert key_encoding_of(encodings) == expected
    assert key_encoding_of(reversed(encodings)) == expected
