"""What the demo shows at the end: the verdict, an answer in SQL, the next steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from . import mapping
from .check import Result
from .places import Place
from .screen import Screen
from .traffic import NEW_FIELD, Counts
from .worker import METADATA

_CATALOGUE_QUERY = """\
SELECT distribution, count(*) AS files,
       count(*) FILTER (WHERE location_suffix = '.py') AS python,
       pg_size_pretty(sum(size)) AS size, max(modified)::date AS newest
FROM {files} GROUP BY distribution ORDER BY sum(size) DESC LIMIT 5"""


class Options(NamedTuple):
    """data: the user's own files.  keep: where the servers' data stays afterwards.

    serve: leave everything running until Ctrl-C.  seconds: of live traffic.
    """

    data: Path | None = None
    keep: Path | None = None
    serve: bool = False
    seconds: float = 12.0


def verdict(
    results: Sequence[Result], made: Mapping[str, Counts], screen: Screen
) -> None:
    """The table of all collections, and under it the first differences."""
    rows: list[tuple[object, ...]] = []
    for result in results:
        counts = made[result.collection]
        rows.append(
            (
                *(result.collection, result.documents, result.rows),
                *(counts.inserts, counts.updates, counts.replaces, counts.deletes),
                result.differences,
            )
        )
    columns = ("collection", "documents", "rows", "inserted", "updated", "replaced")
    equal = not any(result.differences for result in results)
    title = "Verified: every row equals its document" if equal else "NOT equal"
    screen.table(title, (*columns, "deleted", "differences"), rows)
    for result in results:
        for example in result.examples:
            screen.say(str(example))


def question(place: Place, screen: Screen) -> None:
    """A question that SQL asks shortly, and its answer."""
    for query in (_catalogue_query(place), _touched_query(place)):
        if query is None:
            continue
        try:
            cursor = place.postgres.execute(query)
        except (psycopg.ProgrammingError, psycopg.DataError):
            # These are other documents than the catalogue's: no such table or column,
            # or one of another type.
            continue
        screen.sql(query.as_string(place.postgres))
        names = [column.name for column in cursor.description or ()]
        screen.table("", names, cursor.fetchall())
        return


def _catalogue_query(place: Place) -> sql.Composed:
    files = sql.Identifier(place.schema, "files")
    return sql.SQL(_CATALOGUE_QUERY).format(files=files)


def _touched_query(place: Place) -> sql.Composed | None:
    """When the rows of each table were last touched, by the new field's own column.

    None: no table has one, because nothing was touched or `touched` is another thing.
    """
    mappings = mapping.read(place.postgres, METADATA, place.schema)
    found = [
        (table, column.name)
        for _, table in sorted(mappings.items())
        for column in table.columns
        if column.path == (NEW_FIELD, "at") and column.type == "timestamptz"
    ]
    parts = [
        sql.SQL(
            "SELECT {name} AS collection, count({column}) AS touched,"
            " max({column})::timestamptz(0) AS last FROM {table}"
        ).format(
            name=sql.Literal(table.collection),
            column=sql.Identifier(column),
            table=sql.Identifier(table.schema, table.table),
        )
        for table, column in found
    ]
    if not parts:
        return None
    return sql.SQL("\nUNION ALL ").join(parts) + sql.SQL("\nORDER BY touched DESC")


def farewell(place: Place, options: Options, screen: Screen) -> None:
    """Both URIs, and what to type next."""
    screen.lines(
        "Both ends" if options.serve else "Both ends (gone now; --serve keeps them)",
        [
            ("MongoDB", place.source),
            ("PostgreSQL", f"{place.destination}  (schema {place.schema})"),
        ],
    )
    pairs = [("all options", "cwarp sync --help")]
    pairs.insert(
        0, ("your own", "cwarp sync mongodb://HOST/DATABASE postgresql://HOST/DATABASE")
    )
    if options.keep:
        pairs.insert(0, ("go on here", f"cwarp demo --serve --keep {options.keep}"))
    elif not options.serve:
        pairs.insert(0, ("look around", "cwarp demo --serve"))
    if not options.data:
        pairs.append(("your files", "cwarp demo --data DIRECTORY"))
    screen.lines("Next", pairs)
