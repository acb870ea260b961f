"""Tables as PostgreSQL's catalog has them now, against the rows that go into them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import psycopg
from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from ..errors import PreconditionError
from ..model import DELETED_AT, Table
from . import ddl
from .sqlstate import RECOPY, REFILL

#: A domain stands for the type it is made of; what it checks is a matter of rows.
_COLUMNS: Final = """
    SELECT c.relname, json_agg(json_build_array(
        a.attname,
        CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END::bigint,
        CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END,
        format_type(a.atttypid, a.atttypmod)
    ) ORDER BY a.attnum)::text
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = %s AND c.relname = ANY(%s)
      AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'f')
    GROUP BY c.relname
"""

_INTEGERS = ("smallint", "integer", "bigint")

#: Types that a column may have been given outside: every value goes into them as it is,
#: or is refused. Any other may round or cut it without a word.
_HOLDS: Final[dict[str, tuple[str, ...]]] = {
    "integer": (*_INTEGERS, "numeric"),
    "bigint": (*_INTEGERS, "numeric"),
    "text": ("text", "varchar"),
}

#: No limit, precision or scale.
_UNLIMITED: Final = -1


def check(
    cur: Cursor[TupleRow], schema: str, tables: Sequence[Table], *, exact: bool = False
) -> None:
    """Raises PreconditionError when a table or a column of one is gone, or is of a type
    that would not keep every value as it is.

    exact: or of any other than it was made with. The rows of a resync are compared with
    those that are there, which takes the same types.
    """
    cur.execute(_COLUMNS, (schema, [table.name for table in tables]))
    found: dict[str, str] = dict(cur.fetchall())
    for table in tables:
        wrong, hint = _wrong(table, found.get(table.name, "[]"), exact)
        if wrong:
            raise PreconditionError(wrong, hint=hint)


def strangers(cur: Cursor[TupleRow], table: Table) -> set[str]:
    """The columns of a table that are not ours."""
    cur.execute(_COLUMNS, (table.schema, [table.name]))
    names = {each[0] for _, found in cur.fetchall() for each in _decoded(found)}
    return names - _kinds(table).keys()


@lru_cache(maxsize=1024)
def _wrong(table: Table, found: str, exact: bool) -> tuple[str, str]:
    """What is wrong with the columns found, as the query gives them, and a hint; else
    nothing."""
    full = f"{table.schema}.{table.name}"
    there = {each[0]: each[1:] for each in _decoded(found)}
    if not there:
        return f"{full} was dropped outside", RECOPY
    for name, kind in _kinds(table).items():
        if name not in there:
            hint = RECOPY if name == ddl.KEY else _refill(table, name, kind)
            return f"column {name} of {full} was dropped outside", hint
        oid, limit, told = there[name]
        kinds = (kind,) if exact else _HOLDS.get(kind, (kind,))
        oids = {psycopg.adapters.types[each].oid for each in kinds}
        if oid not in oids or limit != _UNLIMITED:
            why = f"be compared with {kind}" if exact else f"hold every {kind} as it is"
            return (
                f"column {name} of {full} was changed outside to {told}, which cannot "
                f"{why}",
                RECOPY,
            )
    return "", ""


def _refill(table: Table, name: str, kind: str) -> str:
    """How a lost column is had again."""
    column = sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
        sql.Identifier(table.schema, table.name), sql.Identifier(name)
    )
    return f"{REFILL}: {column.as_string(None)} {kind}"


def _kinds(table: Table) -> dict[str, str]:
    """The columns that no statement of ours can do without, and their types."""
    kinds = dict(zip(ddl.cells(table), ddl.cell_types(table), strict=True))
    if table.deleted_column:
        kinds |= {table.deleted_column: "boolean", DELETED_AT: "timestamptz"}
    return kinds


def _decoded(found: str) -> list[list[Any]]:
    return msgspec.json.decode(found, type=list[list[Any]])
