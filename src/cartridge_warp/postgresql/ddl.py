"""DDL text. Pure: a Table in, composed SQL out, every name quoted and checked."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import psycopg
from psycopg import sql

from .. import rows
from ..errors import DestinationError
from ..model import DELETED_AT, Column, SchemaChange, Table
from . import keys

KEY = rows.KEY
EXTRA = rows.EXTRA
SOURCE_TS = rows.SOURCE_TS
SYNCED_AT = "_cwarp_synced_at"

#: NAMEDATALEN - 1. PostgreSQL cuts longer names silently.
MAX_NAME_BYTES = 63

_KEY_TYPES = {
    "objectId": "text",
    "string": "text",
    "canonical": "text",
    "uuid": "uuid",
    "bigint": "bigint",
    "numeric": "numeric",
}

_COLUMN_TYPES = {
    "boolean": sql.SQL("boolean"),
    "integer": sql.SQL("integer"),
    "bigint": sql.SQL("bigint"),
    "double precision": sql.SQL("double precision"),
    "numeric": sql.SQL("numeric"),
    "text": sql.SQL("text"),
    "uuid": sql.SQL("uuid"),
    "bytea": sql.SQL("bytea"),
    "timestamptz": sql.SQL("timestamptz"),
    "jsonb": sql.SQL("jsonb"),
    "json": sql.SQL("json"),
    "jsontext": sql.SQL("text"),
}

_COLLATE_C = sql.SQL(' COLLATE "C"')


def name(*parts: str) -> sql.Identifier:
    """A quoted name, dotted where there are parts.

    Raises DestinationError for one that PostgreSQL would cut or cannot hold.
    """
    for part in parts:
        try:
            nbytes = len(part.encode())
        except UnicodeEncodeError:
            raise DestinationError(f"the name {part!a} is not valid Unicode") from None
        if not 0 < nbytes <= MAX_NAME_BYTES or "\0" in part:
            raise DestinationError(
                f"{part!a} is no PostgreSQL name: 1 to {MAX_NAME_BYTES} bytes, no NUL"
            )
    return sql.Identifier(*parts)


def table_name(table: Table) -> sql.Identifier:
    """The table's qualified name."""
    return name(table.schema, table.name)


def key_type(table: Table) -> str:
    """The type of ``_id``."""
    try:
        return _KEY_TYPES[table.key]
    except KeyError:
        raise DestinationError(f"no key encoding is called {table.key!r}") from None


def collated_key_type(table: Table) -> sql.Composable:
    """As the column is defined: text sorts as MongoDB sorts it."""
    kind = sql.SQL(key_type(table))
    return kind + _COLLATE_C if key_type(table) == "text" else kind


def column_type(column: Column) -> sql.Composable:
    """The type of a column; ObjectIds sort as MongoDB sorts them."""
    try:
        kind = _COLUMN_TYPES[column.type]
    except KeyError:
        raise DestinationError(f"no column type is called {column.type!r}") from None
    if column.type == "text" and column.native == "objectId":
        return kind + _COLLATE_C
    return kind


def cells(table: Table) -> tuple[str, ...]:
    """The columns a row is sent with, in the encoder's order.

    ``_cwarp_synced_at`` is not among them: PostgreSQL fills it.
    """
    source_ts = (SOURCE_TS,) if table.options.source_ts else ()
    return (KEY, *(column.name for column in table.columns), *source_ts, EXTRA)


def cell_types(table: Table) -> list[str]:
    """The type of each cell of ``cells``, as PostgreSQL calls it."""
    kinds = [key_type(table), *(_plain(column.type) for column in table.columns)]
    if table.options.source_ts:
        kinds.append("timestamptz")
    return [*kinds, "jsonb"]


@lru_cache(maxsize=1024)
def cell_oids(table: Table) -> tuple[int, ...]:
    """The same, as PostgreSQL numbers its own types."""
    return tuple(psycopg.adapters.types[kind].oid for kind in cell_types(table))


def _plain(kind: str) -> str:
    return "text" if kind == "jsontext" else kind


def cell_definitions(table: Table) -> list[sql.Composable]:
    """Name and type of each cell of ``cells``, in that order."""
    types: list[sql.Composable] = [
        collated_key_type(table),
        *map(column_type, table.columns),
    ]
    if table.options.source_ts:
        types.append(sql.SQL("timestamptz"))
    types.append(sql.SQL("jsonb"))
    return [
        name(cell) + sql.SQL(" ") + kind
        for cell, kind in zip(cells(table), types, strict=True)
    ]


def mark_definitions(deleted_column: str) -> list[sql.Composable]:
    """Name and type of the two columns that mark a row; no row's cells are in them."""
    return [
        name(deleted_column) + sql.SQL(" boolean NOT NULL DEFAULT false"),
        name(DELETED_AT) + sql.SQL(" timestamptz"),
    ]


def create_table(table: Table) -> sql.Composed:
    """A plain logged table with its primary key from the start."""
    definitions = cell_definitions(table)
    if table.options.synced_at:
        definitions.append(
            name(SYNCED_AT) + sql.SQL(" timestamptz NOT NULL DEFAULT now()")
        )
    if table.deleted_column:
        definitions += mark_definitions(table.deleted_column)
    definitions.append(sql.SQL("PRIMARY KEY ({})").format(name(KEY)))
    return sql.SQL("CREATE TABLE {} ({})").format(
        table_name(table), sql.SQL(", ").join(definitions)
    )


def remove(table: Table, *, whole: bool) -> sql.Composed:
    """Remove the table, or its rows alone; neither where something depends on it."""
    verb = sql.SQL("DROP TABLE IF EXISTS" if whole else "TRUNCATE TABLE")
    return sql.SQL("{} {}").format(verb, table_name(table))


def alter_table(table: Table, changes: tuple[SchemaChange, ...]) -> sql.Composed:
    """The changes as one ALTER TABLE, so that the lock is asked for once."""
    return sql.SQL("ALTER TABLE {} {}").format(
        table_name(table),
        sql.SQL(", ").join(_step(table, change) for change in changes),
    )


def _step(table: Table, change: SchemaChange) -> sql.Composed:
    column = change.column
    if change.kind == "add_column":
        return sql.SQL("ADD COLUMN {} {}").format(
            name(column.name), column_type(column)
        )
    if change.kind == "soft_delete":
        # A constant default: no row is written, however many there are.
        return sql.SQL(", ").join(
            sql.SQL("ADD COLUMN ") + each for each in mark_definitions(column.name)
        )
    if change.kind == "rewrite_key":
        after = msgspec.structs.replace(table, key=column.type)
        return sql.SQL("ALTER COLUMN {} TYPE {} USING {}").format(
            name(KEY),
            collated_key_type(after),
            keys.converted(table.key, after.key, name(KEY)),
        )
    raise DestinationError(f"no schema change is called {change.kind!r}")
