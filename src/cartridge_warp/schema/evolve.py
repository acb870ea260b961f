"""From values outside a table's plan to the table's next version.

The policy is "conservative": a path that has no column gets one; a value that does
not fit its column stays in ``_cwarp_extra`` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cartridge_warp.model import Column, SchemaChange, Table
from cwarp_core import Drift, ObservedPath

from .infer import columns_for


def evolve(table: Table, drift: Sequence[Drift]) -> list[SchemaChange]:
    """The changes this drift asks for, in the order the paths were first seen.

    Drift that an older version of the table caused is harmless: a path that has its
    column by now asks for nothing.
    """
    if table.options.layout == "document":
        return []
    new = _columns(table, drift)
    return [SchemaChange("add_column", column) for column in new]


def apply(table: Table, changes: Sequence[SchemaChange]) -> Table:
    """The next version of a table; the table itself when there is nothing to do.

    Columns are only ever appended, so names and order of the others stay. Raises
    ValueError for a change of another kind, or a name or path that is already there.
    """
    if not changes:
        return table
    columns = list(table.columns)
    for change in changes:
        if change.kind != "add_column":
            raise ValueError(f"unknown schema change {change.kind!r}")
        for column in columns:
            if change.column.name == column.name or change.column.path == column.path:
                raise ValueError(
                    f"{table.schema}.{table.name} already has {column.name!r}"
                )
        columns.append(change.column)
    return msgspec.structs.replace(
        table, columns=tuple(columns), version=table.version + 1
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
