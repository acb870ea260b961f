"""DDL text, pure."""

from __future__ import annotations

import msgspec
import pytest

from cartridge_warp.errors import DestinationError
from cartridge_warp.model import Column, SchemaChange, Table, TableOptions
from cartridge_warp.postgresql import ddl

TABLE = Table("s", "t", "t", "uuid", (Column('a"b', ("a",), "numeric"),))


def test_create_table() -> None:
    assert ddl.create_table(TABLE).as_string(None) == (
        'CREATE TABLE "s"."t" ("_id" uuid, "a""b" numeric, '
        '"_cwarp_source_ts" timestamptz, "_cwarp_extra" jsonb, '
        '"_cwarp_synced_at" timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ("_id"))'
    )


def test_the_columns_of_soft_deletes() -> None:
    marked = msgspec.structs.replace(TABLE, deleted_column="is_deleted")
    text = ddl.create_table(marked).as_string(None)
    assert (
        'DEFAULT now(), "is_deleted" boolean NOT NULL DEFAULT false, '
        '"deleted_at" timestamptz, PRIMARY KEY ("_id"))'
    ) in text
    assert ddl.cells(marked) == ddl.cells(TABLE)
    change = SchemaChange("soft_delete", Column("is_deleted", (), "boolean"))
    assert ddl.alter_table(TABLE, (change,)).as_string(None) == (
        'ALTER TABLE "s"."t" ADD COLUMN "is_deleted" boolean NOT NULL DEFAULT false, '
        'ADD COLUMN "deleted_at" timestamptz'
    )


@pytest.mark.parametrize("key", ["objectId", "string", "canonical"])
def test_text_keys_sort_as_mongodb_sorts_them(key: str) -> None:
    table = Table("s", "t", "t", key, ())
    [first, *_] = ddl.cell_definitions(table)
    assert first.as_string(None) == '"_id" text COLLATE "C"'


def test_cells_are_in_the_encoders_order() -> None:
    bare = Table("s", "t", "t", "bigint", (), TableOptions(source_ts=False))
    assert ddl.cells(TABLE) == ("_id", 'a"b', "_cwarp_source_ts", "_cwarp_extra")
    assert ddl.cells(bare) == ("_id", "_cwarp_extra")


def test_all_new_columns_ask_for_one_lock() -> None:
    changes = (
        SchemaChange("add_column", Column("x", ("x",), "jsontext")),
        SchemaChange("add_column", Column("y", ("y",), "text", "objectId")),
    )
    assert ddl.alter_table(TABLE, changes).as_string(None) == (
        'ALTER TABLE "s"."t" ADD COLUMN "x" text, ADD COLUMN "y" text COLLATE "C"'
    )


def test_a_rewritten_key_and_new_columns_are_one_statement() -> None:
    table = Table("s", "t", "t", "bigint", ())
    changes = (
        SchemaChange("rewrite_key", Column("_id", ("_id",), "canonical"), "RISKY"),
        SchemaChange("add_column", Column("x", ("x",), "text")),
    )
    assert ddl.alter_table(table, changes).as_string(None) == (
        'ALTER TABLE "s"."t" ALTER COLUMN "_id" TYPE text COLLATE "C"'
        ' USING "_id"::text, ADD COLUMN "x" text'
    )
    assert ddl.alter_table(
        table, (SchemaChange("rewrite_key", Column("_id", ("_id",), "numeric")),)
    ).as_string(None) == (
        'ALTER TABLE "s"."t" ALTER COLUMN "_id" TYPE numeric USING "_id"::numeric'
    )


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "nul\0", "\ud800"])
def test_names_postgresql_cannot_hold(name: str) -> None:
    with pytest.raises(DestinationError):
        ddl.name("s", name)


def test_a_name_of_63_bytes_is_whole() -> None:
    assert ddl.name("ä" * 31 + "x").as_string(None) == '"' + "ä" * 31 + 'x"'


@pytest.mark.parametrize(
    "table",
    [
        Table("s", "t", "t", "words", ()),
        Table("s", "t", "t", "string", (Column("a", ("a",), "money"),)),
    ],
)
def test_unknown_words_are_refused(table: Table) -> None:
    with pytest.raises(DestinationError, match="is called"):
        ddl.create_table(table)


def test_unknown_changes_are_refused() -> None:
    with pytest.raises(DestinationError, match="is called 'drop_column'"):
        ddl.alter_table(TABLE, (SchemaChange("drop_column", TABLE.columns[0]),))
