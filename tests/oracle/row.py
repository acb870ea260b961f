"""One document against one plan: a COPY BINARY row or a reject, and what drifted."""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

from .cells import EPOCH, JSON_TYPES, Cell, cell, json_cell
from .jsontext import quote, value_json
from .key import KeyKind, key_cell
from .walk import Corrupt, Fields, Value, kind_of, read_document

Path = tuple[str, ...]
#: path, kind, subtype, column
DriftKey = tuple[Path, str, int, int]


class Column(NamedTuple):
    path: Path
    type: str
    native: str = ""
    subtype: int = 0


class Plan(NamedTuple):
    """The arguments of ``cwarp_core.RowPlan``."""

    key: str
    columns: tuple[Column, ...]
    max_depth: int = 3
    json_mode: str = "plain"
    legacy_uuid: str = ""
    on_misfit: str = "rescue"
    source_ts: bool = True


class Encoded(NamedTuple):
    """duplicates: fields of a flattened level that a later one of their name hides."""

    row: bytes
    drift: dict[DriftKey, int]
    duplicates: int


class Rejected(NamedTuple):
    code: str
    column: int = -1


class _Leaves(NamedTuple):
    """What the walk found: a value per column, and the rest in document order."""

    planned: dict[int, Value]
    loose: list[tuple[Path, Value]]
    hidden: list[Path]


def encode(document: bytes, plan: Plan, source_ts: int = 0) -> Encoded | Rejected:
    """The row of one document, or why there is none."""
    try:
        fields = read_document(document)
    except Corrupt:
        return Rejected("corrupt")
    ids = [value for name, value in fields if name == "_id"]
    if not ids:
        return Rejected("missing_id")
    try:
        key = key_cell(ids[-1], plan.key)
    except KeyKind:
        return Rejected("key_kind")
    leaves = _flatten(fields, plan)
    extra: list[tuple[Path, str]] = []
    drift: Counter[DriftKey] = Counter()

    def keep(path: Path, value: Value, column: int) -> None:
        enterable = column < 0 and len(path) < plan.max_depth
        empty = enterable and value == Value("object", [])
        kind = "emptyObject" if empty else kind_of(value)
        drift[path, kind, value.subtype, column] += 1
        # A whole document in a column of its own needs no second copy of its leaves.
        if column >= 0 or not any(c.path == () for c in plan.columns):
            extra.append((path, value_json(value, "canonical")))

    for path, value in leaves.loose:
        keep(path, value, -1)
    cells: list[bytes | None] = [key]
    for index, column in enumerate(plan.columns):
        value = leaves.planned.get(index)
        if value is None or value.kind == "null":
            cells.append(None)
            continue
        stored = _cell(value, column, plan)
        if stored is None and plan.on_misfit != "rescue":
            return Rejected("misfit", index)
        if stored is None or stored.beside:
            keep(column.path, value, index)
        cells.append(stored.data if stored else None)
    if plan.source_ts:
        cells.append(_source_ts(source_ts))
    cells.append(_extra_cell(extra))
    return Encoded(_row(cells), dict(drift), len(leaves.hidden))


def _cell(value: Value, column: Column, plan: Plan) -> Cell | None:
    return cell(
        value,
        column.type,
        column.native,
        column.subtype,
        plan.json_mode,
        plan.legacy_uuid,
    )


def _flatten(fields: Fields, plan: Plan) -> _Leaves:
    columns = {column.path: index for index, column in enumerate(plan.columns)}
    leaves = _Leaves({}, [], [])
    if () in columns:
        leaves.planned[columns[()]] = Value("object", fields)

    def whole(path: Path) -> bool:
        index = columns.get(path)
        return index is not None and plan.columns[index].type in JSON_TYPES

    def enter(fields: Fields, base: Path) -> None:
        last = {name: at for at, (name, _) in enumerate(fields)}
        for at, (name, value) in enumerate(fields):
            path = (*base, name)
            if at != last[name]:
                leaves.hidden.append(path)
                continue
            if path == ("_id",):
                continue
            deeper = value.kind == "object" and len(path) < plan.max_depth
            if deeper and not whole(path) and value.data:
                enter(value.data, path)
            elif path in columns and (whole(path) or not deeper):
                leaves.planned[columns[path]] = value
            elif value.kind != "null":
                leaves.loose.append((path, value))

    enter(fields, ())
    return leaves


def _source_ts(cluster_time: int) -> bytes | None:
    if not cluster_time:
        return None
    seconds, increment = divmod(cluster_time, 1 << 32)
    return struct.pack(">q", (seconds * 1000 - EPOCH) * 1000 + increment)


def dotted(path: Path) -> str:
    """A path as ``_cwarp_extra`` names it."""
    escaped = (name.replace("\\", "\\\\").replace(".", "\\.") for name in path)
    return ".".join(escaped)


def _extra_cell(extra: list[tuple[Path, str]]) -> bytes | None:
    if not extra:
        return None
    parts = (f"{quote(dotted(path))}:{text}" for path, text in extra)
    return json_cell(f"{{{','.join(parts)}}}", "jsonb")


def _row(cells: list[bytes | None]) -> bytes:
    row = struct.pack(">h", len(cells))
    for data in cells:
        row += struct.pack(">i", -1 if data is None else len(data)) + (data or b"")
    return row
