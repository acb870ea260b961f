"""From values outside a table's plan to the table's next version.

The policy is "conservative": a path that has no column gets one; a value that does
not fit its column stays in ``_cwarp_extra`` and changes nothing. An ``_id`` that does
not fit the key has no such place: the key is rewritten to hold it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from cartridge_warp.model import Column, SchemaChange, Table
from cwarp_core import Drift, ObservedPath

from .infer import columns_for, key_encoding_of


def evolve(
    table: Table, drift: Sequence[Drift], keys: Collection[str] = ()
) -> list[SchemaChange]:
    """The changes this drift asks for, in the order the paths were first seen.

    keys: ``cwarp_core.key_encoding`` of the ids that the table's key did not hold.
    What an older version of the table caused is harmless: a path that has its column
    by now asks for nothing, and neither does an id that fits by now.
    """
    changes = []
    key = key_encoding_of({table.key, *keys})
    if key != table.key:
        # Readers meet another type, and wait while every row is written anew.
        changes.append(
            SchemaChange("rewrite_key", Column("_id", ("_id",), key), "RISKY")
        )
    if table.options.layout != "document":
        new = _columns(table, drift)
        changes += [SchemaChange("add_column", column) for column in new]
    return changes


def apply(table: Table, changes: Sequence[SchemaChange]) -> Table:
    """The next version of a table; the table itself when there is nothing to do.

    Columns are only ever appended, so names and order of the others stay. Raises
    ValueError for a change of another kind, or a name or path that is already there.
    """
    if not changes:
        return table
    columns = list(table.columns)
    key = table.key
    for change in changes:
        if change.kind == "rewrite_key":
            key = change.column.type
            continue
        if change.kind != "add_column":
            raise ValueError(f"unknown schema change {change.kind!r}")
        for column in columns:
            if change.column.name == column.name or change.column.path == column.path:
                raise ValueError(
                    f"{table.schema}.{table.name} already has {column.name!r}"
                )
        columns.append(change.column)
    return msgspec.structs.replace(
        table, key=key, columns=tuple(columns), version=table.version + 1
    )


def _columns(table: Table, drift: Sequence[Drift]) -> list[Column]:
    counts: dict[tuple[str, ...], dict[str, int]] = {}
    subtypes: dict[tuple[str, ...], set[int]] = {}
    for seen in drift:
        if seen.column != -1:
            continue
        kinds = counts.setdefault(seen.path, {})
        kinds[seen.kind] = kinds.get(seen.kind, 0) + seen.count
        if seen.kind in ("binData", "uuid", "uuidLegacy"):
            subtypes.setdefault(seen.path, set()).add(seen.subtype)
    paths = [
        ObservedPath(path, kinds, frozenset(subtypes.get(path, ())))
        for path, kinds in counts.items()
    ]
    return columns_for(paths, table.columns, table.options)
