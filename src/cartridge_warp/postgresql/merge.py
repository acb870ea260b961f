"""The SQL that moves rows: COPY, staging, merge, delete. Pure, as ``ddl``.

Each batch needs the same few statements, so each is composed and quoted once a
table's version, and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, cast

from psycopg import sql

from cwarp_core import key_text

from ..metadata.store import beside_parameters
from ..model import DELETED_AT, ChunkRange, Table
from . import keys
from .ddl import (
    KEY,
    SOURCE_TS,
    SYNCED_AT,
    cell_definitions,
    cells,
    collated_key_type,
    key_type,
    name,
    table_name,
)

P = ParamSpec("P")

#: Statements kept: some for each version of each table of the process.
_KEPT = 4096


def kept(compose: Callable[P, sql.Composed]) -> Callable[P, sql.SQL]:
    """The same statement as one piece of text, the second time without composing."""

    @lru_cache(maxsize=_KEPT)
    @wraps(compose)
    def text(*args: P.args, **kwargs: P.kwargs) -> sql.SQL:
        composed = compose(*args, **kwargs).as_string(None)
        # Its names are quoted by now; it is as much ours as a literal.
        return sql.SQL(composed)

    return cast("Callable[P, sql.SQL]", text)


@kept
def copy_into(table: Table) -> sql.Composed:
    """COPY of the table's cells into the table itself."""
    return _copy(table_name(table), table)


@kept
def copy_into_staging(table: Table) -> sql.Composed:
    """The same into its staging table."""
    return _copy(staging_name(table), table)


def _copy(target: sql.Identifier, table: Table) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        target, _names(table)
    )


@lru_cache(maxsize=_KEPT)
def staging_name(table: Table) -> sql.Identifier:
    """The table's staging table, a temporary one.

    Its name is a digest of the structure, so that another structure is another table
    and rows can never meet columns they were not encoded for.
    """
    shape = sql.SQL(", ").join(cell_definitions(table)).as_string(None)
    text = "\0".join((table.schema, table.name, shape))
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return sql.Identifier("pg_temp", f"cwarp_staging_{digest}")


@kept
def create_staging(table: Table) -> sql.Composed:
    """Make the staging table where this session has none; it is empty at COMMIT."""
    return sql.SQL(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS"
    ).format(staging_name(table), sql.SQL(", ").join(cell_definitions(table)))


def drop_staging(staging: sql.Composable) -> sql.Composed:
    """Remove the staging table of a former structure."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(staging)


@kept
def clear_staging(table: Table) -> sql.Composed:
    """Empty the staging table before the transaction ends."""
    return sql.SQL("DELETE FROM {}").format(staging_name(table))


@kept
def merge(table: Table, *, guarded: bool = False) -> sql.Composed:
    """Insert the staged rows; a row whose key exists takes the staged one's cells.

    guarded: unless it has the same cells already, but for the time it was written at.
    """
    return sql.SQL("{insert} SELECT {cells} FROM {staging} {conflict}").format(
        insert=_insert(table),
        cells=_names(table),
        staging=staging_name(table),
        conflict=_conflict(table, guarded=guarded),
    )


def insert(table: Table, rows: int, *, guarded: bool = False) -> bytes:
    """As ``merge``, of rows whose cells are the parameters, in the binary format."""
    head, tail = _around(table, guarded=guarded)
    values = _placeholders(rows, len(cells(table)))
    return b"".join((head, b" VALUES ", values, b" ", tail))


@lru_cache(maxsize=_KEPT)
def _around(table: Table, *, guarded: bool) -> tuple[bytes, bytes]:
    return _insert(table).as_bytes(None), _conflict(table, guarded=guarded).as_bytes(
        None
    )


@lru_cache(maxsize=512)
def _placeholders(rows: int, width: int) -> bytes:
    """($1, $2), ($3, $4): as many rows of as many cells."""
    return b",".join(
        b"(%b)" % b",".join(b"$%d" % n for n in range(first, first + width))
        for first in range(1, rows * width + 1, width)
    )


def _insert(table: Table) -> sql.Composed:
    return sql.SQL("INSERT INTO {} AS t ({})").format(table_name(table), _names(table))


def _conflict(table: Table, *, guarded: bool) -> sql.Composed:
    assignments = [
        sql.SQL("{0} = excluded.{0}").format(name(cell))
        for cell in cells(table)
        if cell != KEY
    ]
    if table.options.synced_at:
        assignments.append(sql.SQL("{} = now()").format(name(SYNCED_AT)))
    if table.deleted_column:
        # There is a document again.
        assignments.append(
            sql.SQL("{} = false, {} = NULL").format(
                name(table.deleted_column), name(DELETED_AT)
            )
        )
    text = sql.SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(
        name(KEY), sql.SQL(", ").join(assignments)
    )
    if guarded:
        text += sql.SQL(" WHERE ") + _differs(table, "t", "excluded")
    return text


def _differs(table: Table, stored: str, given: str) -> sql.Composed:
    """Not the same cells byte for byte, or marked as deleted.

    By the operator that compares the images of records: for ``=``, 1 and 1.0 inside
    jsonb, 1.0 and 1.00, and 0 and -0 are equal, and json has none.
    """
    compared = [cell for cell in cells(table) if cell not in (KEY, SOURCE_TS)]
    images = [
        sql.SQL(", ").join(name(row, cell) for cell in compared)
        for row in (stored, given)
    ]
    text = sql.SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(
        *images
    )
    if table.deleted_column:
        text += sql.SQL(" OR ") + name(stored, table.deleted_column)
    return text


@kept
def reconcile(table: Table) -> sql.Composed:
    """As ``merge``, of those staged rows alone that differ from the table's.

    An equal row is not even locked, which the guard of an upsert would do.
    """
    return sql.SQL(
        "{insert} SELECT {given} FROM {staging} AS s LEFT JOIN {table} AS o"
        " ON o.{key} = s.{key} WHERE o.{key} IS NULL OR {differs} {conflict}"
    ).format(
        insert=_insert(table),
        given=sql.SQL(", ").join(name("s", cell) for cell in cells(table)),
        staging=staging_name(table),
        table=table_name(table),
        key=name(KEY),
        differs=_differs(table, "o", "s"),
        conflict=_conflict(table, guarded=False),
    )


def surplus(
    table: Table, within: ChunkRange, brought: sql.Composable
) -> tuple[sql.Composed, list[str]]:
    """The key texts of a range's rows whose keys ``brought``, a table, has not.

    The query and its parameters. Rows that are marked as deleted are left out. Raises
    KeyKindError for a bound that the key does not hold.
    """
    key = name("t", KEY)
    conditions = [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS s WHERE s.{} = {})").format(
            brought, name(KEY), key
        )
    ]
    if table.deleted_column:
        marked = beside_parameters(name("t", table.deleted_column))
        conditions.append(sql.SQL("NOT {}").format(marked))
    conditions += keys.within(table.key, key, within)
    bounds = [each for each in (within.lower, within.upper) if each is not None]
    text = sql.SQL("SELECT {}::text FROM {} AS t WHERE {}").format(
        key,
        beside_parameters(table_name(table)),
        sql.SQL(" AND ").join(conditions),
    )
    return text, [key_text(each, table.key) for each in bounds]


@lru_cache(maxsize=_KEPT)
def brought_name(table: Table) -> sql.Identifier:
    """A temporary table of keys that were brought in; one for each type of key."""
    return sql.Identifier("pg_temp", f"cwarp_brought_{key_type(table)}")


@kept
def create_brought(table: Table) -> sql.Composed:
    """Make it where this session has none; it is empty at COMMIT."""
    definition = cell_definitions(table)[0]
    return sql.SQL(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS"
    ).format(brought_name(table), definition)


@kept
def note_brought(table: Table) -> sql.Composed:
    """Add key texts to it: one parameter, an array of text."""
    return sql.SQL("INSERT INTO {} SELECT unnest(%s::text[]::{}[])").format(
        brought_name(table), sql.SQL(key_type(table))
    )


@kept
def lock(*tables: Table) -> sql.Composed:
    """Keep structure changes away until the transaction ends, as its rows would."""
    return sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(
        sql.SQL(", ").join(map(table_name, tables))
    )


@kept
def delete(table: Table) -> sql.Composed:
    """Delete by key texts: one parameter, an array of text."""
    return sql.SQL("DELETE FROM {} WHERE {} = ANY(%s::text[]::{}[])").format(
        beside_parameters(table_name(table)), name(KEY), sql.SQL(key_type(table))
    )


@kept
def mark_deleted(table: Table) -> sql.Composed:
    """Mark rows as deleted, by key texts as ``delete``. The first mark stays."""
    deleted = beside_parameters(name(table.deleted_column))
    marks = [
        sql.SQL("{} = true").format(deleted),
        sql.SQL("{} = now()").format(name(DELETED_AT)),
    ]
    if table.options.synced_at:
        marks.append(sql.SQL("{} = now()").format(name(SYNCED_AT)))
    return sql.SQL(
        "UPDATE {} SET {} WHERE {} = ANY(%s::text[]::{}[]) AND NOT {}"
    ).format(
        beside_parameters(table_name(table)),
        sql.SQL(", ").join(marks),
        name(KEY),
        sql.SQL(key_type(table)),
        deleted,
    )


@kept
def delete_audited(table: Table, meta: str) -> sql.Composed:
    """As ``delete``, and keep each row as it was in ``deletion_audit``.

    Parameters by name: ``keys``, ``times`` of their deletes, ``schema``, ``table``.
    """
    return sql.SQL(
        "WITH gone AS (DELETE FROM {table} AS t"
        " WHERE {key} = ANY(%(keys)s::text[]::{kind}[])"
        " RETURNING {key} AS key, to_jsonb(t.*) AS last_row)"
        " INSERT INTO {audit} (schema_name, table_name, key, last_row, cluster_time)"
        " SELECT %(schema)s, %(table)s, {canonical}, g.last_row, d.time FROM gone AS g"
        " LEFT JOIN unnest(%(keys)s::text[]::{kind}[], %(times)s::numeric[])"
        " AS d (key, time) ON d.key = g.key"
    ).format(
        table=beside_parameters(table_name(table)),
        key=name(KEY),
        kind=sql.SQL(key_type(table)),
        audit=beside_parameters(sql.Identifier(meta, "deletion_audit")),
        canonical=keys.canonical(table.key, sql.SQL("g.key")),
    )


@kept
def staged_keys(table: Table) -> sql.Composed:
    """The canonical texts of the staged rows' keys."""
    return sql.SQL("SELECT {} FROM {}").format(
        keys.canonical(table.key, name(KEY)), staging_name(table)
    )


@kept
def given_keys(table: Table) -> sql.Composed:
    """The canonical texts of key texts: one parameter, an array of text."""
    return sql.SQL("SELECT {} FROM unnest(%s::text[]::{}[]) AS k").format(
        keys.canonical(table.key, sql.SQL("k")), sql.SQL(key_type(table))
    )


_PRESENT = sql.Identifier("pg_temp", "cwarp_present")


def create_present(table: Table) -> sql.Composed:
    """Make a temporary table of keys, which is gone at the end of the transaction."""
    return sql.SQL("CREATE TEMPORARY TABLE {} (k {}) ON COMMIT DROP").format(
        _PRESENT, collated_key_type(table)
    )


@kept
def add_present(table: Table) -> sql.Composed:
    """Put keys into it: one parameter, an array of text."""
    return sql.SQL("INSERT INTO {} SELECT unnest(%s::text[]::{}[])").format(
        _PRESENT, sql.SQL(key_type(table))
    )


@kept
def absent_keys(table: Table) -> sql.Composed:
    """Key texts of rows whose keys are not in it: one parameter, how many at most.

    Rows that are marked as deleted are left out.
    """
    unmarked: sql.Composable = sql.SQL("")
    if table.deleted_column:
        marked = beside_parameters(name("t", table.deleted_column))
        unmarked = sql.SQL(" AND NOT {}").format(marked)
    return sql.SQL(
        "SELECT t.{key}::text FROM {table} AS t WHERE NOT EXISTS"
        " (SELECT 1 FROM {present} AS p WHERE p.k = t.{key}){unmarked} LIMIT %s"
    ).format(
        key=name(KEY),
        table=beside_parameters(table_name(table)),
        present=_PRESENT,
        unmarked=unmarked,
    )


@kept
def present_keys(table: Table) -> sql.Composed:
    """The canonical texts of the keys in it."""
    return sql.SQL("SELECT {} FROM {} AS p").format(
        keys.canonical(table.key, sql.SQL("p.k")), _PRESENT
    )


def _names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(name, cells(table)))
