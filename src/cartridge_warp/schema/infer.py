"""From observed documents to a table that does not exist yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from cartridge_warp.model import DOCUMENT, Column, Table, TableOptions
from cwarp_core import Observation, ObservedPath

from . import naming, types


def infer_table(
    schema: str,
    collection: str,
    key: str,
    observation: Observation | Sequence[ObservedPath],
    options: TableOptions,
    *,
    taken: Collection[str] = (),
) -> Table:
    """The first version of a collection's table.

    key: see ``key_encoding_of``.  observation: what a sample showed, observed to
    ``options.max_document_depth``.  taken: names of tables the schema already has.
    Columns stand in the order their paths were first seen; of more than
    ``options.max_columns`` paths the most frequent get one, the others live in
    ``_cwarp_extra``.
    """
    paths = observation if isinstance(observation, Sequence) else observation.paths()
    deleted_column = (
        options.soft_delete_column if options.deletion_strategy == "soft" else ""
    )
    columns: list[Column] = []
    if options.layout != "columns":
        json_type = types.json_type(options.json_columns)
        columns.append(Column(DOCUMENT, (), json_type, native="object"))
    if options.layout != "document":
        columns += columns_for(paths, columns, options, taken={deleted_column})
    return Table(
        schema,
        naming.table_name(collection, taken, options.naming),
        collection,
        key,
        tuple(columns),
        options,
        deleted_column=deleted_column,
    )


def columns_for(
    paths: Iterable[ObservedPath],
    existing: Sequence[Column],
    options: TableOptions,
    *,
    taken: Collection[str] = (),
) -> list[Column]:
    """A column for each path that asks for one and has none, as many as there is room.

    existing: the table's columns, which keep their names and count towards
    ``options.max_columns`` (the whole document's column does not).  taken: names of
    columns that no path feeds.
    """
    promoted = [column for column in existing if column.path]
    known = {column.path for column in promoted} | {(), ("_id",)}
    wanted = [path for path in paths if path.path not in known and _weight(path)]
    wanted = _reachable(wanted, promoted, options)
    chosen = _most_frequent(wanted, max(options.max_columns - len(promoted), 0))
    names = naming.assign(
        (path.path for path in chosen),
        {column.name for column in existing} | {*taken},
        options.naming,
    )
    return [_column(path, names[path.path], options) for path in chosen]


def key_encoding_of(encodings: Iterable[str]) -> str:
    """The encoding of the key column for these ids.

    encodings: ``cwarp_core.key_encoding`` of the smallest, the greatest and the
    sampled ids. MongoDB sorts ids by type first, so the two ends show every mix but
    those inside the number family, which the sample has to show. Without any id, the
    encoding that holds every id.
    """
    seen = set(encodings)
    if len(seen) == 1:
        return seen.pop()
    return "numeric" if seen == {"bigint", "numeric"} else "canonical"


def _weight(path: ObservedPath) -> int:
    """The values of a path that a column could hold."""
    return sum(
        number for kind, number in path.counts.items() if kind not in types.SHAPELESS
    )


def _reachable(
    paths: Sequence[ObservedPath], promoted: Sequence[Column], options: TableOptions
) -> list[ObservedPath]:
    """The paths whose columns the core will fill, given that JSON takes all.

    A document at a path with a JSON column is stored there whole, so nothing below
    that path is flattened any more: a new JSON column takes the new paths below it
    along, and is refused where it would silence columns the table already has.
    """
    json_types = set(types.JSON_TYPES.values())
    whole = {column.path for column in promoted if column.type in json_types}
    silenced = {
        column.path[:depth]
        for column in promoted
        for depth in range(1, len(column.path))
    }
    paths = [
        path
        for path in paths
        if path.path not in silenced or _type(path, options) != types.JSON
    ]
    whole |= {path.path for path in paths if _type(path, options) == types.JSON}
    documents: dict[tuple[str, ...], int] = {}
    kept: list[ObservedPath] = []
    for path in paths:
        above = (path.path[:depth] for depth in range(1, len(path.path)))
        owner = next((prefix for prefix in above if prefix in whole), None)
        if owner is None:
            kept.append(path)
        else:
            documents[owner] = max(documents.get(owner, 0), _weight(path))
    return [_with_documents(path, documents.get(path.path, 0)) for path in kept]


def _with_documents(path: ObservedPath, number: int) -> ObservedPath:
    """The path with at least ``number`` documents seen there in whole."""
    if not number:
        return path
    counts = {**path.counts, "object": path.counts.get("object", 0) + number}
    return path._replace(counts=counts)


def _type(path: ObservedPath, options: TableOptions) -> str | None:
    kinds = [kind for kind, number in path.counts.items() if number]
    return types.type_of(kinds, options.legacy_uuid)


def _most_frequent(paths: list[ObservedPath], room: int) -> list[ObservedPath]:
    """At most ``room`` paths, the most frequent ones, in the order given."""
    if len(paths) <= room:
        return paths
    by_weight = sorted(range(len(paths)), key=lambda at: -_weight(paths[at]))
    return [paths[at] for at in sorted(by_weight[:room])]


def _column(path: ObservedPath, name: str, options: TableOptions) -> Column:
    type_ = _type(path, options)
    if type_ is None:
        raise ValueError(f"no column for a path of {sorted(path.counts)}")
    native = types.native_of(type_, path.counts, options.legacy_uuid)
    return Column(
        name,
        path.path,
        types.json_type(options.json_columns) if type_ == types.JSON else type_,
        native,
        _subtype(path, native) if type_ == "bytea" else 0,
    )


def _subtype(path: ObservedPath, native: str) -> int:
    """The one subtype a bytea column identifies; others keep theirs beside them."""
    if native == "uuidLegacy":
        return 3
    # Subtypes 3 and 4 came from UUIDs wherever those kinds were seen.
    uuids = {4 for kind in path.counts if kind == "uuid"}
    uuids |= {3 for kind in path.counts if kind == "uuidLegacy"}
    return min(path.subtypes - uuids or path.subtypes, default=0)
