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
from .naming import assign


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


def soft_delete(table: Table) -> list[SchemaChange]:
    """What the table's deletion strategy asks for before a row is written.

    No strategy takes anything away: what was marked once stays marked.
    """
    options = table.options
    if options.deletion_strategy != "soft" or table.deleted_column:
        return []
    return [
        SchemaChange("soft_delete", Column(options.soft_delete_column, (), "boolean"))
    ]


def apply(table: Table, changes: Sequence[SchemaChange]) -> Table:
    """The next version of a table; the table itself when there is nothing to do.

    Columns are only ever appended, so names and order of the others stay. Raises
    ValueError for a change of another kind, or a name or path that is already there.
    """
    if not changes:
        return table
    columns = list(table.columns)
    key, deleted_column = table.key, table.deleted_column
    for change in changes:
        new = change.column
        if change.kind == "rewrite_key":
            key = new.type
            continue
        names = {deleted_column, *(column.name for column in columns)}
        paths = {column.path for column in columns}
        if change.kind == "soft_delete":
            taken = bool(deleted_column) or new.name in names
            deleted_column = new.name
        elif change.kind == "add_column":
            taken = new.name in names or new.path in paths
            columns.append(new)
        else:
            raise ValueError(f"unknown schema change {change.kind!r}")
        if taken:
            raise ValueError(f"{table.schema}.{table.name} already has {new.name!r}")
    return msgspec.structs.replace(
        table,
        key=key,
        columns=tuple(columns),
        version=table.version + 1,
        deleted_column=deleted_column,
    )


def apart(
    table: Table, changes: Sequence[SchemaChange], taken: Collection[str]
) -> tuple[SchemaChange, ...]:
    """The changes with new columns named so that none has a name that is ``taken``.

    taken: by columns that somebody else added to the table.
    """
    used = {*taken, table.deleted_column, *(each.name for each in table.columns)}
    return tuple(_apart(table, change, taken, used) for change in changes)


def _apart(
    table: Table, change: SchemaChange, taken: Collection[str], used: set[str]
) -> SchemaChange:
    column = change.column
    if change.kind == "add_column" and column.name in taken:
        path, naming = column.path, table.options.naming
        name = assign([path], used, naming)[path]
        column = msgspec.structs.replace(column, name=name)
    used.add(column.name)
    return msgspec.structs.replace(change, column=column)


def same_structure(one: Table, other: Table) -> bool:
    """Equal but for the settings that may change from run to run?"""
    return _structure(one) == _structure(other)


def _structure(table: Table) -> Table:
    options = msgspec.structs.replace(
        table.options, on_misfit="", deletion_strategy="", soft_delete_column=""
    )
    return msgspec.structs.replace(table, options=options)


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
    return columns_for(
        paths, table.columns, table.options, taken={table.deleted_column}
    )
