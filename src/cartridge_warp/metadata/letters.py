"""Dead letters: documents that became no row, kept whole in the data's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from operator import itemgetter

from msgspec import Struct
from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from cwarp_core import Reject

from ..killpoint import reached
from ..model import ClusterTime, Table
from .store import beside_parameters, query, unsigned

#: For ``resolve``, canonical key texts as they are: one parameter, an array of text.
GIVEN = sql.SQL("SELECT unnest(%s::text[])")


class Letter(Struct, frozen=True):
    """A document that becomes no row, and why.

    sqlstate, constraint, column: what PostgreSQL says of a row that it refused; a
    column may be one that is not ours.
    """

    reject: Reject
    sqlstate: str | None = None
    constraint: str | None = None
    column: str | None = None


def of_rejects(table: Table, rejects: Sequence[Reject]) -> list[Letter]:
    """What the encoder could make no row of."""
    return [
        Letter(
            each, column=table.columns[each.column].name if each.column >= 0 else None
        )
        for each in rejects
    ]


def fingerprint(reject: Reject) -> bytes:
    """What makes two rejects of one table and reason the same entry.

    The key where one can be read, else the document. A digest, because a key may be
    longer than an index entry.
    """
    if reject.key is not None:
        return hashlib.sha256(b"key:" + reject.key.encode()).digest()
    return hashlib.sha256(b"raw:" + reject.document).digest()


def _storable(key: str | None) -> str | None:
    """``text`` holds no U+0000, and so no row has such a key: it may be escaped."""
    return None if key is None else key.replace("\0", "\\u0000")


def add(
    cur: Cursor[TupleRow],
    meta: str,
    table: Table,
    letters: Sequence[Letter],
    cluster_time: ClusterTime | None,
) -> None:
    """Keep letters. One that is known already counts an attempt and is pending again.

    Sorted, so that two transactions never wait for each other in a circle.
    """
    cur.executemany(
        query(
            """
            INSERT INTO {meta}.dead_letter_queue AS d (schema_name, table_name,
                collection, key, reason, column_name, sqlstate, constraint_name,
                byte_offset, raw, fingerprint, cluster_time)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (schema_name, table_name, reason, fingerprint) DO UPDATE
            SET raw = excluded.raw, column_name = excluded.column_name,
                sqlstate = excluded.sqlstate,
                constraint_name = excluded.constraint_name,
                byte_offset = excluded.byte_offset, state = 'pending',
                unseen = false,
                cluster_time = coalesce(excluded.cluster_time, d.cluster_time),
                last_seen = now(), attempts = d.attempts + 1
            """,
            meta,
        ),
        _rows(table, letters, cluster_time),
    )
    reached("dlq_done")


def _rows(
    table: Table, letters: Sequence[Letter], cluster_time: ClusterTime | None
) -> Iterator[tuple[object, ...]]:
    keyed = ((each.reject.code, fingerprint(each.reject), each) for each in letters)
    for code, digest, each in sorted(keyed, key=itemgetter(0, 1)):
        yield (
            table.schema,
            table.name,
            table.collection,
            _storable(each.reject.key),
            code,
            each.column,
            each.sqlstate,
            each.constraint,
            each.reject.offset if each.reject.offset >= 0 else None,
            each.reject.document,
            digest,
            cluster_time,
        )
        reached("dlq_row")


def tables_with_pending(cur: Cursor[TupleRow], meta: str, schema: str) -> set[str]:
    """The tables of a schema that have a pending dead letter with a key."""
    cur.execute(
        query(
            "SELECT DISTINCT table_name FROM {meta}.dead_letter_queue"
            " WHERE schema_name = %s AND state = 'pending' AND key IS NOT NULL",
            meta,
        ),
        (schema,),
    )
    return {row[0] for row in cur.fetchall()}


def count_pending(cur: Cursor[TupleRow], meta: str, schema: str) -> dict[str, int]:
    """How many dead letters of each table are pending; a table without has no entry.

    Reads no column that holds data, so that a role for monitoring needs no right to.
    """
    cur.execute(
        query(
            "SELECT table_name, count(*) FROM {meta}.dead_letter_queue"
            " WHERE schema_name = %s AND state = 'pending' GROUP BY table_name",
            meta,
        ),
        (schema,),
    )
    return dict(cur.fetchall())


def without_key(
    cur: Cursor[TupleRow], meta: str, table: Table, after: int, limit: int
) -> list[tuple[int, bytes, ClusterTime | None]]:
    """Pending letters whose id the table's key could not hold, from ``after`` on.

    Number, document and time of each, by number. One whose document was a dead letter
    for another reason later is left out: its bytes here may be older. So is one that a
    resync has not met: there may be no such document any more.
    """
    cur.execute(
        query(
            """
            SELECT d.letter_id, d.raw, d.cluster_time FROM {meta}.dead_letter_queue d
            WHERE d.schema_name = %s AND d.table_name = %s AND d.state = 'pending'
              AND d.reason = 'key_kind' AND d.letter_id > %s AND NOT d.unseen
              AND NOT EXISTS (
                SELECT FROM {meta}.dead_letter_queue o
                WHERE o.schema_name = d.schema_name AND o.table_name = d.table_name
                  AND o.state = 'pending' AND o.reason <> d.reason
                  AND md5(o.key) = md5(d.key) AND o.key = d.key)
            ORDER BY d.letter_id LIMIT %s
            """,
            meta,
        ),
        (table.schema, table.name, after, limit),
    )
    return [(number, raw, unsigned(time)) for number, raw, time in cur]


def absent(
    cur: Cursor[TupleRow], meta: str, table: Table, keys: sql.Composable
) -> list[str]:
    """The keys of the table's pending letters that are not among ``keys``, which is as
    ``resolve`` has it."""
    queue = sql.Identifier(meta, "dead_letter_queue")
    cur.execute(
        sql.SQL(
            """
            SELECT DISTINCT d.key FROM {queue} AS d
            WHERE d.schema_name = %s AND d.table_name = %s AND d.state = 'pending'
              AND d.key IS NOT NULL
              AND NOT EXISTS (SELECT FROM ({keys}) AS k (key) WHERE k.key = d.key)
            """
        ).format(queue=beside_parameters(queue), keys=keys),
        (table.schema, table.name),
    )
    return [key for (key,) in cur.fetchall()]


def resolve(
    cur: Cursor[TupleRow],
    meta: str,
    table: Table,
    keys: sql.Composable,
    parameters: tuple[object, ...] = (),
) -> None:
    """Resolve the dead letters of these keys.

    keys: a query of one column, canonical key texts, as ``Reject.key`` has them.
    """
    queue = sql.Identifier(meta, "dead_letter_queue")
    cur.execute(
        sql.SQL(
            """
            UPDATE {queue} AS d
            SET state = 'resolved', unseen = false, last_seen = now()
            FROM ({keys}) AS k (key)
            WHERE d.schema_name = %s AND d.table_name = %s AND d.state = 'pending'
              AND md5(d.key) = md5(k.key) AND d.key = k.key
            """
        ).format(queue=beside_parameters(queue), keys=keys),
        (*parameters, table.schema, table.name),
    )


def suspect(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """A resync begins: no pending dead letter of the table has been met by it yet."""
    cur.execute(
        query(
            "UPDATE {meta}.dead_letter_queue SET unseen = true"
            " WHERE schema_name = %s AND table_name = %s AND state = 'pending'",
            meta,
        ),
        (schema, table),
    )


def resolve_unseen(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """A resync ends: what it has not met is no document's letter any more."""
    cur.execute(
        query(
            "UPDATE {meta}.dead_letter_queue"
            " SET state = 'resolved', unseen = false, last_seen = now()"
            " WHERE schema_name = %s AND table_name = %s AND state = 'pending'"
            " AND unseen",
            meta,
        ),
        (schema, table),
    )
