"""Every row against its document, by rules of its own.

Documents are read with pymongo, rows with psycopg; neither the encoder nor any other
part of the sync takes part. A difference is a missing row, a row too many, a cell that
does not hold its value, a value that no cell and no ``_cwarp_extra`` holds, or one in
``_cwarp_extra`` that the document has not.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from bson import ObjectId, json_util
from psycopg import sql
from pymongo.collection import Collection

from .mapping import JSON_TYPES, Column, Mapping, Path
from .values import (
    CODEC,
    EXTENDED,
    cell_is,
    cell_tells,
    document,
    json_is,
    kind,
    parse,
    storable,
)

Document = dict[str, Any]
_Values = dict[Path, Any]

_SHOWN = 20
_WIDTH = 60
_ABSENT: Any = object()


class Difference(NamedTuple):
    """key: the ``_id`` as JSON.  where: a column or path, empty for a whole row."""

    collection: str
    key: str
    where: str
    problem: str

    def __str__(self) -> str:
        place = f" {self.where}" if self.where else ""
        return f"{self.collection} {self.key}{place}: {self.problem}"


class Result(NamedTuple):
    """differences: how many there are; ``examples`` are the first of them."""

    collection: str
    documents: int
    rows: int
    differences: int
    examples: tuple[Difference, ...]


class _Row(NamedTuple):
    cells: tuple[Any, ...]
    extra: Document


def compare(
    collection: Collection[Document],
    connection: psycopg.Connection,
    mapping: Mapping | None,
) -> Result:
    """Compare a collection, at rest, with its table; no mapping means no table."""
    rows = {} if mapping is None else dict(_rows(connection, mapping))
    found: list[Difference] = []
    documents, number = 0, len(rows)
    for each in collection.with_options(codec_options=CODEC).find():
        documents += 1
        key = _frozen(each["_id"])
        row = rows.pop(key, None)
        if row is None or mapping is None:
            problems = [("", "its row is missing")]
        else:
            problems = list(_problems(each, row, mapping))
        if problems:
            shown = json_util.dumps(each["_id"], json_options=EXTENDED)
            found += [Difference(collection.name, shown, *pair) for pair in problems]
    found += [
        Difference(collection.name, str(key), "", "the row has no document")
        for key in rows
    ]
    return Result(collection.name, documents, number, len(found), tuple(found[:_SHOWN]))


# --- a row -----------------------------------------------------------------------


def _problems(each: Document, row: _Row, mapping: Mapping) -> Iterator[tuple[str, str]]:
    planned, loose = _leaves(each, mapping)
    extra = dict(row.extra)
    for column, cell in zip(mapping.columns, row.cells, strict=True):
        value = planned.get(column.path)
        kept = extra.pop(_dotted(column.path), _ABSENT)
        if problem := _cell_problem(value, cell, kept, column):
            yield column.name, problem
    for path, value in loose.items():
        kept = extra.pop(_dotted(path), _ABSENT)
        if not _kept_is(value, kept):
            yield _dotted(path), f"{_short(value)} is nowhere in the row"
    for name in extra:
        yield name, "_cwarp_extra holds it, the document does not"


def _cell_problem(value: Any, cell: Any, kept: Any, column: Column) -> str | None:
    if value is None:
        # `undefined` reads as None and is kept as what it is.
        undefined = {"$undefined": True}
        if cell is None or (column.type in JSON_TYPES and parse(cell) == undefined):
            if kept is _ABSENT or kept == undefined:
                return None
        return f"the row has {_short(cell)}, the document nothing"
    if cell is not None and not cell_is(value, cell, column):
        return f"the document has {_short(value)}, the row {_short(cell)}"
    if kept is not _ABSENT and not _kept_is(value, kept):
        return f"the document has {_short(value)}, _cwarp_extra {_short(kept)}"
    if kept is _ABSENT and cell is None:
        return f"the document has {_short(value)}, the row nothing"
    if kept is _ABSENT and not cell_tells(value, column):
        return f"nothing tells that {_short(value)} is of type {kind(value)}"
    return None


def _kept_is(value: Any, kept: Any) -> bool:
    return kept is not _ABSENT and json_is(value, kept, plain=False)


def _leaves(each: Document, mapping: Mapping) -> tuple[_Values, _Values]:
    """The values at paths that have a column, and the others."""
    columns = {column.path: column for column in mapping.columns}
    planned: _Values = {(): each} if () in columns else {}
    loose: _Values = {}

    def enter(fields: Document, base: Path) -> None:
        for name, value in fields.items():
            path, value = (*base, name), document(value)
            if path == ("_id",):
                continue
            column = columns.get(path)
            whole = column is not None and column.type in JSON_TYPES
            deeper = kind(value) == "object" and len(path) < mapping.depth
            if deeper and not whole and value:
                enter(value, path)
            elif column is not None and (whole or not deeper):
                planned[path] = value
            elif value is not None:
                loose[path] = value

    enter(each, ())
    return planned, loose


def _dotted(path: Path) -> str:
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


# --- reading rows ----------------------------------------------------------------


def _rows(
    connection: psycopg.Connection, mapping: Mapping
) -> Iterator[tuple[Hashable, _Row]]:
    chosen = [sql.SQL("_id"), *map(_readable, mapping.columns), sql.SQL("_cwarp_extra")]
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(chosen), sql.Identifier(mapping.schema, mapping.table)
    )
    with connection.transaction(), connection.cursor("rows") as cursor:
        cursor.itersize = 5000
        for key, *cells, extra in cursor.execute(query):
            thawed = _key(key, mapping.key)
            yield thawed, _Row(tuple(cells), {} if extra is None else extra)


def _readable(column: Column) -> sql.Composable:
    """A form that Python can hold for every value: its years end at 9999."""
    name = sql.Identifier(column.name)
    if column.type == "timestamptz":
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::numeric").format(name)
    if column.type in JSON_TYPES:
        return sql.SQL("{}::text").format(name)
    return name


# --- keys ------------------------------------------------------------------------


def _frozen(value: Any) -> Hashable:
    """An ``_id`` as MongoDB tells ids apart: numbers by value, fields in order."""
    value = document(value)
    match kind(value):
        case "object":
            return ("{", tuple((name, _frozen(each)) for name, each in value.items()))
        case "array":
            return ("[", tuple(map(_frozen, value)))
        case "int" | "long" | "double":
            number = Decimal(value)
            return number if number.is_finite() else ("number", str(number))
        case "decimal":
            number = value.to_decimal()
            return number if number.is_finite() else ("number", str(number))
        case "string" if "\0" in value:
            # Stored as JSON, like every id that is not of the table's own kind.
            return _thawed(json.dumps(storable(value)))
        case "string":
            return str(value)
        case "bool" | "other":
            return ("json", value)
    return _thawed(json_util.dumps(value, json_options=EXTENDED))


def _key(cell: Any, encoding: str) -> Hashable:
    """The frozen ``_id`` that a key cell stands for."""
    match encoding:
        case "objectId":
            return _frozen(ObjectId(cell))
        case "uuid":
            return _frozen(uuid.UUID(str(cell)))
        case "string":
            return str(cell)
        case "bigint" | "numeric":
            number = Decimal(cell)
            return number if number.is_finite() else ("number", str(number))
    return _thawed(cell)


def _thawed(text: str) -> Hashable:
    def hook(pairs: list[tuple[str, Any]]) -> Any:
        return ("{", tuple((name, settle(value)) for name, value in pairs))

    def settle(value: Any) -> Hashable:
        if isinstance(value, list):
            return ("[", tuple(map(settle, value)))
        if isinstance(value, bool) or value is None:
            return ("json", value)
        match value:
            case ("{", (("$numberDouble", str(number)),)):
                return ("number", str(Decimal(number)))
        held: Hashable = value
        return held

    return settle(
        json.loads(text, object_pairs_hook=hook, parse_int=Decimal, parse_float=Decimal)
    )
