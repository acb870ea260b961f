"""The rows of a table as PostgreSQL's text: some by their keys, and all keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

Row = Mapping[str, str | None]

#: When a row was marked as deleted, beside the column that says so.
DELETED_AT = "deleted_at"

#: What fixes the text of a value, whatever the server is set to.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "bytea_output": "hex",
    "extra_float_digits": "3",
}

#: The texts that a key column of a type can hold; others cannot be asked for.
_HELD: dict[str, Callable[[str], object]] = {
    "bigint": lambda text: _WHOLE.fullmatch(text) and -(1 << 63) <= int(text) < 1 << 63,
    "numeric": re.compile(r"-?([0-9]+(\.[0-9]+)?|Infinity)|NaN").fullmatch,
    "text": lambda text: "\0" not in text,
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
}
_WHOLE = re.compile(r"-?[0-9]{1,19}")


class Rows:
    """A table's rows, without those that are marked as deleted.

    types: every column's, by name.  key: the key column.  deleted: the one that says
    whether a row is marked, "" where there is none.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        schema: str,
        table: str,
        key: str,
        types: Mapping[str, str],
        deleted: str = "",
    ) -> None:
        self._connection = connection
        self._table = sql.Identifier(schema, table)
        self._key = sql.Identifier(key)
        self._names = list(types)
        self._type = types[key]
        self._deleted = sql.Identifier(deleted) if deleted else None
        self._alive = (
            sql.SQL("true")
            if self._deleted is None
            else sql.SQL("{} IS NOT TRUE").format(self._deleted)
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The block in which rows can be read: one transaction."""
        with self._connection.transaction():
            for setting, value in _SETTINGS.items():
                self._connection.execute(
                    "SELECT set_config(%s, %s, true)", (setting, value)
                )
            yield

    def of(self, keys: Collection[str]) -> Iterator[Row]:
        """The rows with these keys, in any order."""
        texts = [key for key in keys if _HELD[self._type](key)]
        columns = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(name)) for name in self._names
        )
        query = sql.SQL("SELECT {} FROM {} WHERE {} = ANY (%s::{}[]) AND {}").format(
            columns, self._table, self._key, sql.SQL(self._type), self._alive
        )
        for row in self._connection.execute(query, (texts,)):
            yield dict(zip(self._names, row, strict=True))

    def marks(self) -> list[tuple[str, str, str | None]]:
        """Key, mark and time of the rows whose mark and time contradict each other."""
        if self._deleted is None:
            return []
        query = sql.SQL(
            "SELECT {key}::text, {mark}::text, {at}::text FROM {table}"
            " WHERE {mark} IS NULL OR {mark} <> ({at} IS NOT NULL)"
        ).format(
            key=self._key,
            mark=self._deleted,
            at=sql.Identifier(DELETED_AT),
            table=self._table,
        )
        return self._connection.execute(query).fetchall()

    def keys(self) -> Iterator[str]:
        """The text of every key."""
        query = sql.SQL("SELECT {}::text FROM {} WHERE {}").format(
            self._key, self._table, self._alive
        )
        with self._connection.cursor("keys") as cursor:
            cursor.itersize = 20_000
            cursor.execute(query)
            for (text,) in cursor:
                yield text
