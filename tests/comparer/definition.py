"""What the registry and the catalogue say about a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

Path = tuple[str, ...]


class Field(NamedTuple):
    """A column fed by a path. "jsontext" is JSON text in a ``text`` column."""

    name: str
    path: Path
    type: str
    native: str
    subtype: int


class Definition(NamedTuple):
    """deleted_column: "true" in the rows of documents that are gone; "" for none."""

    key: str
    fields: tuple[Field, ...]
    depth: int = 3
    json_mode: str = "plain"
    legacy_uuid: str = ""
    deleted_column: str = ""

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Definition:
        options = stored.get("options", {})
        fields = tuple(
            Field(
                column["name"],
                tuple(column["path"]),
                column["type"],
                column.get("native", ""),
                column.get("subtype", 0),
            )
            for column in stored["columns"]
        )
        return cls(
            stored["key"],
            fields,
            options.get("max_document_depth", 3),
            options.get("json_mode", "plain"),
            options.get("legacy_uuid", ""),
            stored.get("deleted_column", ""),
        )


def registered(connection: psycopg.Connection, schema: str, table: str) -> Definition:
    """The newest definition that the schema registry has in force for a table."""
    row = connection.execute(
        """
        SELECT definition::text FROM cartridge_warp_metadata.schema_registry
        WHERE schema_name = %s AND table_name = %s AND status = 'applied'
        ORDER BY version DESC LIMIT 1
        """,
        (schema, table),
    ).fetchone()
    if row is None:
        raise LookupError(f"{schema}.{table} is not in the schema registry")
    return Definition.parse(json.loads(row[0]))


def catalogue(
    connection: psycopg.Connection, schema: str, table: str
) -> tuple[str, dict[str, str]]:
    """The primary key column and every column's type, as PostgreSQL prints it."""
    rows = connection.execute(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod),
               coalesce(a.attnum = ANY (i.indkey), false)
        FROM pg_attribute a
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass
          AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        (schema, table),
    ).fetchall()
    keys = [name for name, _, in_key in rows if in_key]
    if len(keys) != 1:
        raise LookupError(f"{schema}.{table} has {len(keys)} key columns, not one")
    return keys[0], {name: type_name for name, type_name, _ in rows}
