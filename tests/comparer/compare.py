"""Collection against table: every leaf is found once, nothing else is there."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import psycopg
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from pymongo.collection import Collection

from .bsonwalk import Item, walk
from .celltext import JSON_TYPES, NUMBERS, shows
from .definition import Definition, Path, catalogue, registered
from .jsontree import Members, Number, as_jsonb, finite, literal, parse, text_tree, tree
from .rows import DELETED_AT, Row, Rows

EXTRA = "_cwarp_extra"
#: Columns of ours that no path feeds; what they hold is not the document's.
OURS = frozenset({"_cwarp_synced_at", "_cwarp_source_ts"})
#: Documents that are compared at a time.
SOME = 2000

Pairs = list[tuple[str, Item]]


class Difference(NamedTuple):
    """kind: "missing row", "extra row", "value" (column or ``_cwarp_extra`` entry does
    not show the document's), "surplus" (the document has nothing there), "column"
    (the table's column has another type than the registry says) or "mark" (a row that
    is marked as deleted has no time of that, or another one has).
    """

    kind: str
    key: str
    column: str
    expected: str
    found: str | None


def compare(
    collection: Collection[Any],
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns_mapping: Mapping[str, Any] | None = None,
) -> list[Difference]:
    """Everything that differs between a collection and its table.

    A row that is marked as deleted is no document's: it is not "extra", and a document
    that has no other is "missing".
    columns_mapping: a definition shaped as the registry's, for tables that are not in
    it. The two sides must be at rest. Of a large collection only the keys are kept.
    """
    with connection.transaction():
        # Its columns are the same to the end, whatever somebody is about to do.
        name = sql.Identifier(schema, table)
        lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(name)
        try:
            connection.execute(lock)
        except psycopg.errors.InvalidSchemaName as error:
            raise LookupError(f"there is no schema {schema}") from error
        return _compared(collection, connection, schema, table, columns_mapping)


def _compared(
    collection: Collection[Any],
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns_mapping: Mapping[str, Any] | None,
) -> list[Difference]:
    if columns_mapping is None:
        definition = registered(connection, schema, table)
    else:
        definition = Definition.parse(columns_mapping)
    key_column, types = catalogue(connection, schema, table)
    found = list(_columns(definition, key_column, types))
    if found:
        return found
    rows = Rows(connection, schema, table, key_column, types, definition.deleted_column)
    judge = _Judge(definition)
    raw = collection.with_options(codec_options=CodecOptions(RawBSONDocument))
    matched: set[str] = set()
    with rows.reading():
        for text, deleted, at in rows.marks():
            key = _row_key(text, definition.key)
            expected = f"{definition.deleted_column} {deleted}"
            found.append(Difference("mark", key, DELETED_AT, expected, at))
        for some in _some_of(raw):
            documents = [(_key_of(pairs, definition.key), pairs) for pairs in some]
            there = {
                _row_key(row[key_column] or "", definition.key): row
                for row in rows.of([key for key, _ in documents])
            }
            for key, pairs in documents:
                if key in matched or key not in there:
                    found.append(Difference("missing row", key, key_column, key, None))
                else:
                    matched.add(key)
                    found.extend(judge.check(key, there[key], pairs))
        for text in rows.keys():
            key = _row_key(text, definition.key)
            if key in matched:
                matched.remove(key)
            else:
                found.append(Difference("extra row", key, key_column, "", key))
    return found


def _columns(
    definition: Definition, key_column: str, types: Mapping[str, str]
) -> Iterator[Difference]:
    names = {"timestamp with time zone": "timestamptz", "text": "jsontext"}
    known = {key_column, *OURS}
    for field in definition.fields:
        known.add(field.name)
        actual = types.get(field.name)
        if field.type not in (actual, names.get(actual or "")):
            yield Difference("column", "", field.name, field.type, actual)
    ours = {EXTRA: "jsonb"}
    if definition.deleted_column:
        ours[definition.deleted_column] = "boolean"
        ours[DELETED_AT] = "timestamp with time zone"
    for name, expected in ours.items():
        known.add(name)
        if types.get(name) != expected:
            yield Difference("column", "", name, expected, types.get(name))
    for name in types.keys() - known:
        yield Difference("column", "", name, "", types[name])


class _Judge:
    """Compares rows with their documents, by one table's definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._fields = {field.path: field for field in definition.fields}
        self._whole = () in self._fields
        #: Paths as ``_cwarp_extra`` has them.
        self._dotted = cache(_dotted)

    def check(self, key: str, row: Row, pairs: Pairs) -> Iterator[Difference]:
        text = row[EXTRA]
        parsed = as_jsonb(parse(text)) if text is not None else Members(())
        extra = dict(parsed.pairs) if isinstance(parsed, Members) else {"": parsed}
        leaves = dict(self._leaves(pairs, ()))
        for path, item in leaves.items():
            for column, expected, cell in self._leaf(path, item, row, extra):
                yield Difference("value", key, column, expected, cell)
        for path, field in self._fields.items():
            cell = row[field.name]
            if cell is not None and path not in leaves:
                yield Difference("surplus", key, field.name, "NULL", cell)
        if extra:
            wanted = {self._dotted(path) for path in leaves}
            for name in extra.keys() - wanted:
                cell = repr(extra[name])
                yield Difference("surplus", key, f"{EXTRA}.{name}", "nothing", cell)
        elif text is not None:
            yield Difference("surplus", key, EXTRA, "NULL", text)

    def _leaves(self, pairs: Pairs, base: Path) -> Iterator[tuple[Path, Item]]:
        """What must be stored, by path; null is as good as absent."""
        if not base and self._whole:
            yield (), Item("object", pairs)
        for name, item in dict(pairs).items():
            path = (*base, name)
            if path == ("_id",) or item.kind == "null":
                continue
            if item.kind == "object" and item.payload and self._flattened(path):
                yield from self._leaves(item.payload, path)
            else:
                yield path, item

    def _flattened(self, path: Path) -> bool:
        field = self._fields.get(path)
        whole = field is not None and field.type in JSON_TYPES
        return len(path) < self._definition.depth and not whole

    def _leaf(
        self, path: Path, item: Item, row: Row, extra: Mapping[str, Any]
    ) -> Iterator[tuple[str, str, str | None]]:
        """(column, expected, found) of what does not show this value."""
        field, name = self._fields.get(path), self._dotted(path)
        kept = name in extra
        if kept and repr(extra[name]) != _exact(item):
            yield f"{EXTRA}.{name}", _exact(item), repr(extra[name])
        text = row[field.name] if field else None
        if field is None or text is None:
            # A whole-document column holds what has no column of its own.
            if not kept and not self._whole:
                column = field.name if field else f"{EXTRA}.{name}"
                yield column, _exact(item), None
            return
        definition = self._definition
        seen = shows(text, item, field, definition.json_mode, definition.legacy_uuid)
        if seen == "" or (seen == "partly" and not kept):
            yield field.name, _exact(item), text


def _exact(item: Item) -> str:
    """The form that ``_cwarp_extra`` has of a value."""
    return repr(as_jsonb(tree(item, "canonical")))


def _some_of(raw: Collection[Any]) -> Iterator[list[Pairs]]:
    """All documents of a collection, some at a time."""
    documents = raw.find(batch_size=SOME)
    while some := [walk(each.raw) for each in islice(documents, SOME)]:
        yield some


def _key_of(pairs: Pairs, encoding: str) -> str:
    identity = next(item for name, item in pairs if name == "_id")
    return _document_key(identity, encoding)


def _dotted(path: Path) -> str:
    return ".".join(re.sub(r"([\\.])", r"\\\1", name) for name in path)


def _row_key(text: str, encoding: str) -> str:
    """A key cell's text, numbers brought to one form."""
    return _plain_digits(Decimal(text)) if encoding in ("bigint", "numeric") else text


def _document_key(identity: Item, encoding: str) -> str:
    """The text that the row of this ``_id`` must have in its key column."""
    kind, payload = identity
    if encoding == "canonical":
        return _key_json(_key_tree(identity))
    if kind in NUMBERS:
        return _plain_digits(Decimal(payload))
    if kind == "binData" and payload.subtype == 4 and len(payload.data) == 16:
        return str(uuid.UUID(bytes=payload.data))
    return payload.decode() if isinstance(payload, bytes) else str(payload)


def _plain_digits(number: Decimal) -> str:
    if not number.is_finite():
        return "NaN" if number.is_nan() else f"{'-' * number.is_signed()}Infinity"
    whole, _, fraction = format(number, "f").partition(".")
    fraction = fraction.rstrip("0")
    text = f"{whole}.{fraction}" if fraction else whole
    return "0" if text == "-0" else text


def _key_tree(item: Item) -> Any:
    kind, payload = item
    if kind in NUMBERS:
        text = _plain_digits(Decimal(payload))
        if finite(item):
            return Number(text)
        return Members((("$numberDouble", text),))
    if kind == "object":
        return literal(
            Members(tuple((name, _key_tree(each)) for name, each in payload))
        )
    if kind == "array":
        return [_key_tree(each) for each in payload]
    if kind == "javascriptWithScope":
        scope = _key_tree(Item("object", payload[1]))
        return Members((("$code", text_tree(payload[0])), ("$scope", scope)))
    if kind == "dbPointer":
        cut = (payload[0].partition(b"\0")[0], payload[1])
        return tree(Item(kind, cut), "canonical")
    texts = ("string", "symbol")
    return text_tree(payload) if kind in texts else tree(item, "canonical")


def _key_json(value: Any) -> str:
    """Compact JSON text of a tree, written out here to keep order and digits."""
    if isinstance(value, Members):
        inner = (f"{_quoted(name)}:{_key_json(each)}" for name, each in value.pairs)
        return f"{{{','.join(inner)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_key_json, value))}]"
    if isinstance(value, Number):
        return value.text
    if isinstance(value, str):
        return _quoted(value)
    return {None: "null", True: "true", False: "false"}[value]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
