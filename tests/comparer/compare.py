"""Collection against table: every leaf is found once, nothing else is there."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from .bsonwalk import Item, walk
from .celltext import JSON_TYPES, NUMBERS, shows
from .definition import Definition, Path, catalogue, read_rows, registered
from .jsontree import Members, Number, as_jsonb, finite, parse, text_tree, tree

EXTRA = "_cwarp_extra"
#: Columns of ours that no path feeds; what they hold is not the document's.
OURS = frozenset({"_cwarp_synced_at", "_cwarp_source_ts"})
#: When a row was marked as deleted, beside the column that says so.
DELETED_AT = "deleted_at"

Row = Mapping[str, str | None]


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
    connection: psycopg.Connection,
    schema: str,
    table: str,
    columns_mapping: Mapping[str, Any] | None = None,
) -> list[Difference]:
    """Everything that differs between a collection and its table.

    A row that is marked as deleted is no document's: it is not "extra", and a document
    that has no other is "missing".
    columns_mapping: a definition shaped as the registry's, for tables that are not in
    it. The two sides must be at rest.
    """
    if columns_mapping is None:
        definition = registered(connection, schema, table)
    else:
        definition = Definition.parse(columns_mapping)
    key_column, types = catalogue(connection, schema, table)
    found = list(_columns(definition, key_column, types))
    if found:
        return found
    rows: dict[str, Row] = {}
    for row in read_rows(connection, schema, table, list(types)):
        key = _row_key(row[key_column] or "", definition.key)
        if definition.deleted_column:
            deleted, at = row[definition.deleted_column], row[DELETED_AT]
            if (deleted, at is not None) not in (("true", True), ("false", False)):
                expected = f"{definition.deleted_column} {deleted}"
                found.append(Difference("mark", key, DELETED_AT, expected, at))
            if deleted == "true":
                continue
        if key in rows:
            found.append(Difference("extra row", key, key_column, "one row", key))
        rows[key] = row
    raw = collection.with_options(codec_options=CodecOptions(RawBSONDocument))
    for document in raw.find():
        pairs = walk(document.raw)
        identity = next(item for name, item in pairs if name == "_id")
        key = _document_key(identity, definition.key)
        match = rows.pop(key, None)
        if match is None:
            found.append(Difference("missing row", key, key_column, key, None))
        else:
            found.extend(_Row(key, match, definition).check(pairs))
    found.extend(Difference("extra row", key, key_column, "", key) for key in rows)
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


class _Row:
    """One row beside its document."""

    def __init__(self, key: str, row: Row, definition: Definition) -> None:
        self.key, self.row, self.definition = key, row, definition
        self.fields = {field.path: field for field in definition.fields}
        extra = row[EXTRA]
        parsed = as_jsonb(parse(extra)) if extra is not None else Members(())
        self.extra = dict(parsed.pairs) if isinstance(parsed, Members) else {"": parsed}

    def check(self, pairs: list[tuple[str, Item]]) -> Iterator[Difference]:
        leaves = dict(self._leaves(pairs, ()))
        for path, item in leaves.items():
            yield from self._leaf(path, item)
        for path, field in self.fields.items():
            text = self.row[field.name]
            if text is not None and path not in leaves:
                yield self._differs("surplus", field.name, "NULL", text)
        wanted = {_dotted(path) for path in leaves}
        for name in self.extra.keys() - wanted:
            yield self._differs(
                "surplus", f"{EXTRA}.{name}", "nothing", repr(self.extra[name])
            )
        if self.row[EXTRA] is not None and not self.extra:
            yield self._differs("surplus", EXTRA, "NULL", self.row[EXTRA])

    def _leaves(
        self, pairs: list[tuple[str, Item]], base: Path
    ) -> Iterator[tuple[Path, Item]]:
        """What must be stored, by path; null is as good as absent."""
        if not base and () in self.fields:
            yield (), Item("object", pairs)
        for name, item in dict(pairs).items():
            path = (*base, name)
            field = self.fields.get(path)
            if path == ("_id",) or item.kind == "null":
                continue
            whole = field is not None and field.type in JSON_TYPES
            inside = item.kind == "object" and len(path) < self.definition.depth
            if inside and not whole and item.payload:
                yield from self._leaves(item.payload, path)
            else:
                yield path, item

    def _leaf(self, path: Path, item: Item) -> Iterator[Difference]:
        field, name = self.fields.get(path), _dotted(path)
        kept = name in self.extra
        exact = as_jsonb(tree(item, "canonical"))
        if kept and repr(self.extra[name]) != repr(exact):
            yield self._differs(
                "value", f"{EXTRA}.{name}", repr(exact), repr(self.extra[name])
            )
        text = self.row[field.name] if field else None
        if field is None or text is None:
            # A whole-document column holds what has no column of its own.
            if not kept and () not in self.fields:
                column = field.name if field else f"{EXTRA}.{name}"
                yield self._differs("value", column, repr(exact), None)
            return
        seen = shows(
            text, item, field, self.definition.json_mode, self.definition.legacy_uuid
        )
        if seen == "" or (seen == "partly" and not kept):
            yield self._differs("value", field.name, repr(exact), text)

    def _differs(
        self, kind: str, column: str, expected: str, found: str | None
    ) -> Difference:
        return Difference(kind, self.key, column, expected, found)


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
        return Members(tuple((name, _key_tree(each)) for name, each in payload))
    if kind == "array":
        return [_key_tree(each) for each in payload]
    return text_tree(payload) if kind == "string" else tree(item, "canonical")


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
