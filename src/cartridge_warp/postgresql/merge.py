"""The SQL that moves rows: COPY, staging, merge, delete. Pure, as ``ddl``."""

from __future__ import annotations

import hashlib

from psycopg import sql

from ..metadata.store import beside_parameters
from ..model import Table
from . import keys
from .ddl import (
    KEY,
    SYNCED_AT,
    cell_definitions,
    cells,
    key_type,
    name,
    table_name,
)


def copy_into(target: sql.Composable, table: Table) -> sql.Composed:
    """COPY of the table's cells into the table itself or its staging table."""
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        target, _names(table)
    )


def staging_name(table: Table) -> sql.Identifier:
    """The table's staging table, a temporary one.

    Its name is a digest of the structure, so that another structure is another table
    and rows can never meet columns they were not encoded for.
    """
    shape = sql.SQL(", ").join(cell_definitions(table)).as_string(None)
    text = "\0".join((table.schema, table.name, shape))
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return sql.Identifier("pg_temp", f"cwarp_staging_{digest}")


def create_staging(table: Table) -> sql.Composed:
    """Make the staging table where this session has none; it is empty at COMMIT."""
    return sql.SQL(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS"
    ).format(staging_name(table), sql.SQL(", ").join(cell_definitions(table)))


def drop_staging(staging: sql.Composable) -> sql.Composed:
    """Remove the staging table of a former structure."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(staging)


def merge(table: Table) -> sql.Composed:
    """Insert the staged rows; a row whose key exists takes the staged one's cells."""
    assignments = [
        sql.SQL("{0} = excluded.{0}").format(name(cell))
        for cell in cells(table)
        if cell != KEY
    ]
    if table.options.synced_at:
        assignments.append(sql.SQL("{} = now()").format(name(SYNCED_AT)))
    return sql.SQL(
        "INSERT INTO {table} ({cells}) SELECT {cells} FROM {staging}"
        " ON CONFLICT ({key}) DO UPDATE SET {assignments}"
    ).format(
        table=table_name(table),
        cells=_names(table),
        staging=staging_name(table),
        key=name(KEY),
        assignments=sql.SQL(", ").join(assignments),
    )


def delete(table: Table) -> sql.Composed:
    """Delete by key texts: one parameter, an array of text."""
    return sql.SQL("DELETE FROM {} WHERE {} = ANY(%s::text[]::{}[])").format(
        beside_parameters(table_name(table)), name(KEY), sql.SQL(key_type(table))
    )


def staged_keys(table: Table) -> sql.Composed:
    """The canonical texts of the staged rows' keys."""
    return sql.SQL("SELECT {} FROM {}").format(
        keys.canonical(table.key, name(KEY)), staging_name(table)
    )


def given_keys(table: Table) -> sql.Composed:
    """The canonical texts of key texts: one parameter, an array of text."""
    return sql.SQL("SELECT {} FROM unnest(%s::text[]::{}[]) AS k").format(
        keys.canonical(table.key, sql.SQL("k")), sql.SQL(key_type(table))
    )


def _names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(name, cells(table)))
