"""The SQL that moves rows, pure."""

from __future__ import annotations

import bson
import msgspec
import pytest

from cartridge_warp.model import ChunkRange, Column, Table, TableOptions
from cartridge_warp.postgresql import merge

TABLE = Table("s", "t", "t", "bigint", (Column("a", ("a",), "text", "string"),))
MARKED = msgspec.structs.replace(TABLE, deleted_column="gone")


def test_merge_sets_every_cell_but_the_key() -> None:
    name = merge.staging_name(TABLE).as_string(None)
    assert merge.merge(TABLE).as_string(None) == (
        'INSERT INTO "s"."t" AS t ("_id", "a", "_cwarp_source_ts", "_cwarp_extra") '
        f'SELECT "_id", "a", "_cwarp_source_ts", "_cwarp_extra" FROM {name} '
        'ON CONFLICT ("_id") DO UPDATE SET "a" = excluded."a", '
        '"_cwarp_source_ts" = excluded."_cwarp_source_ts", '
        '"_cwarp_extra" = excluded."_cwarp_extra", "_cwarp_synced_at" = now()'
    )


def test_merge_leaves_out_what_the_table_leaves_out() -> None:
    options = TableOptions(source_ts=False, synced_at=False)
    text = merge.merge(msgspec.structs.replace(TABLE, options=options)).as_string(None)
    assert "_cwarp_source_ts" not in text
    assert "_cwarp_synced_at" not in text


def test_a_guarded_merge_compares_images_and_no_times() -> None:
    plain = merge.merge(TABLE).as_string(None)
    assert merge.merge(TABLE, guarded=True).as_string(None) == (
        plain
        + ' WHERE ROW("t"."a", "t"."_cwarp_extra")::record OPERATOR(pg_catalog.*<>) '
        'ROW("excluded"."a", "excluded"."_cwarp_extra")::record'
    )


def test_a_resync_inserts_only_what_differs() -> None:
    plain, name = merge.merge(TABLE), merge.staging_name(TABLE).as_string(None)
    head = merge.reconcile(TABLE).as_string(None).split(" SELECT ")[0]
    assert merge.reconcile(TABLE).as_string(None) == (
        f'{head} SELECT "s"."_id", "s"."a", "s"."_cwarp_source_ts", "s"."_cwarp_extra" '
        f'FROM {name} AS s LEFT JOIN "s"."t" AS o ON o."_id" = s."_id" '
        'WHERE o."_id" IS NULL OR ROW("o"."a", "o"."_cwarp_extra")::record '
        'OPERATOR(pg_catalog.*<>) ROW("s"."a", "s"."_cwarp_extra")::record '
        f"ON CONFLICT{plain.as_string(None).split('ON CONFLICT')[1]}"
    )


def element(value: object) -> bytes:
    document = bson.encode({"_id": value})
    return document[4:5] + document[9:-1]


@pytest.mark.parametrize(
    ("key", "lower", "upper", "condition"),
    [
        ("bigint", None, None, ""),
        ("bigint", 1, 5.0, ' AND "t"."_id" >= %s::text::bigint AND "t"."_id" < %s'),
        ("string", "a", None, ' AND "t"."_id" >= %s::text::text'),
        ("numeric", 1, 2, ' AND "t"."_id" >= %s::text::numeric AND "t"."_id" < %s'),
        ("numeric", 1, None, ' AND NOT "t"."_id" = \'NaN\''),
        ("numeric", None, 1, '("t"."_id" < %s::text::numeric OR "t"."_id" = \'NaN\')'),
    ],
)
def test_what_was_not_brought_is_looked_for_in_the_chunk(
    key: str, lower: object, upper: object, condition: str
) -> None:
    table = msgspec.structs.replace(TABLE, key=key)
    bounds = [None if each is None else element(each) for each in (lower, upper)]
    text, parameters = merge.surplus(
        table, ChunkRange(*bounds), merge.brought_name(table)
    )
    found = text.as_string(None)
    assert found.startswith('SELECT "t"."_id"::text FROM "s"."t" AS t WHERE NOT EXISTS')
    assert condition in found
    assert len(parameters) == found.count("%s")


def test_a_row_that_comes_back_is_marked_no_more() -> None:
    plain = merge.merge(TABLE).as_string(None)
    cleared = plain + ', "gone" = false, "deleted_at" = NULL'
    assert merge.merge(MARKED).as_string(None) == cleared
    guarded = merge.merge(MARKED, guarded=True).as_string(None)
    assert guarded.startswith(f"{cleared} WHERE ROW(")
    assert guarded.endswith('::record OR "t"."gone"')


@pytest.mark.parametrize("table", [TABLE, MARKED])
@pytest.mark.parametrize("guarded", [False, True])
def test_rows_as_parameters_are_merged_alike(table: Table, guarded: bool) -> None:
    staged = merge.merge(table, guarded=guarded).as_string(None)
    head, tail = staged.split(' SELECT "_id"')[0], staged.split("ON CONFLICT")[1]
    assert merge.insert(table, 2, guarded=guarded).decode() == (
        f"{head} VALUES ($1,$2,$3,$4),($5,$6,$7,$8) ON CONFLICT{tail}"
    )


@pytest.mark.parametrize("table", [TABLE, MARKED])
def test_copy_sends_the_cells_in_order(table: Table) -> None:
    assert merge.copy_into(table).as_string(None) == (
        'COPY "s"."t" ("_id", "a", "_cwarp_source_ts", "_cwarp_extra") '
        "FROM STDIN (FORMAT BINARY)"
    )


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("objectId", "text"),
        ("canonical", "text"),
        ("uuid", "uuid"),
        ("numeric", "numeric"),
    ],
)
def test_delete_compares_in_the_keys_type(key: str, kind: str) -> None:
    table = msgspec.structs.replace(TABLE, key=key)
    assert merge.delete(table).as_string(None) == (
        f'DELETE FROM "s"."t" WHERE "_id" = ANY(%s::text[]::{kind}[])'
    )


def test_a_mark_is_set_once() -> None:
    assert merge.mark_deleted(MARKED).as_string(None) == (
        'UPDATE "s"."t" SET "gone" = true, "deleted_at" = now(), '
        '"_cwarp_synced_at" = now() '
        'WHERE "_id" = ANY(%s::text[]::bigint[]) AND NOT "gone"'
    )
    options = TableOptions(synced_at=False)
    bare = msgspec.structs.replace(MARKED, options=options, deleted_column="g%")
    assert merge.mark_deleted(bare).as_string(None) == (
        'UPDATE "s"."t" SET "g%%" = true, "deleted_at" = now() '
        'WHERE "_id" = ANY(%s::text[]::bigint[]) AND NOT "g%%"'
    )


def test_a_deleted_row_goes_into_the_audit() -> None:
    assert merge.delete_audited(TABLE, "m").as_string(None) == (
        'WITH gone AS (DELETE FROM "s"."t" AS t '
        'WHERE "_id" = ANY(%(keys)s::text[]::bigint[]) '
        'RETURNING "_id" AS key, to_jsonb(t.*) AS last_row) '
        'INSERT INTO "m"."deletion_audit" '
        "(schema_name, table_name, key, last_row, cluster_time) "
        "SELECT %(schema)s, %(table)s, g.key::text, g.last_row, d.time FROM gone AS g "
        "LEFT JOIN unnest(%(keys)s::text[]::bigint[], %(times)s::numeric[]) "
        "AS d (key, time) ON d.key = g.key"
    )


def test_another_structure_has_another_staging_table() -> None:
    names = {
        merge.staging_name(msgspec.structs.replace(TABLE, **change)).as_string(None)
        for change in (
            {},
            {"name": "u"},
            {"schema": "u"},
            {"key": "numeric"},
            {"columns": ()},
            {"columns": (Column("a", ("a",), "bigint"),)},
        )
    }
    assert len(names) == 6
    assert merge.staging_name(TABLE) == merge.staging_name(
        msgspec.structs.replace(TABLE, version=9)
    )


def test_staging_is_temporary_and_empties_itself() -> None:
    text = merge.create_staging(TABLE).as_string(None)
    assert text.startswith(
        'CREATE TEMPORARY TABLE IF NOT EXISTS "pg_temp"."cwarp_staging_'
    )
    assert text.endswith(
        '("_id" bigint, "a" text, "_cwarp_source_ts" timestamptz, '
        '"_cwarp_extra" jsonb) ON COMMIT DELETE ROWS'
    )
