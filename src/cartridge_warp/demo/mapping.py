"""What the schema registry says about a table, read as plain JSON.

The demo's check shares no code with the sync: it takes from it only which path has
which column, and judges every value by itself.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import psycopg
from psycopg import sql

Path = tuple[str, ...]

JSON_TYPES = frozenset({"json", "jsonb", "jsontext"})


class Column(NamedTuple):
    name: str
    path: Path
    type: str
    native: str
    subtype: int


class Mapping(NamedTuple):
    """One collection's table. ``key`` is the encoding of ``_id``."""

    schema: str
    table: str
    collection: str
    key: str
    columns: tuple[Column, ...]
    depth: int


def read(
    connection: psycopg.Connection, metadata: str, schema: str
) -> dict[str, Mapping]:
    """The newest mapping of every table of the schema, by collection."""
    rows = connection.execute(
        sql.SQL(
            "SELECT DISTINCT ON (table_name) definition::text FROM {}"
            " WHERE schema_name = %s ORDER BY table_name, version DESC"
        ).format(sql.Identifier(metadata, "schema_registry")),
        (schema,),
    )
    found = (_mapping(json.loads(text)) for (text,) in rows)
    return {mapping.collection: mapping for mapping in found}


def _mapping(definition: dict[str, object]) -> Mapping:
    match definition:
        case {
            "schema": str(schema),
            "name": str(table),
            "collection": str(collection),
            "key": str(key),
            "columns": [*columns],
            "options": {"max_document_depth": int(depth)},
        }:
            return Mapping(
                schema, table, collection, key, tuple(map(_column, columns)), depth
            )
    raise ValueError("the schema registry holds a definition of another form")


def _column(definition: object) -> Column:
    match definition:
        case {
            "name": str(name),
            "path": [*path],
            "type": str(kind),
            "native": str(native),
            "subtype": int(subtype),
        }:
            return Column(name, tuple(map(str, path)), kind, native, subtype)
    raise ValueError("the schema registry holds a column of another form")
