"""The marker: where a schema stands and who may write it. Runs and the error log."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import LiteralString

from msgspec import Struct
from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from ..errors import DestinationError, Fenced, PreconditionError
from ..model import ClusterTime, Position, SourceIdentity


class Marker(Struct, frozen=True):
    """A stored marker. ``token`` is None until the first position is stored."""

    epoch: int
    seq: int
    token: bytes | None
    cluster_time: ClusterTime | None

    @property
    def position(self) -> Position | None:
        if self.token is None or self.cluster_time is None:
            return None
        return Position(self.token, self.cluster_time)


@lru_cache(maxsize=256)
def query(text: LiteralString, meta: str) -> sql.SQL:
    """Our SQL, with ``{meta}`` the quoted name of the metadata schema.

    To be executed with parameters, be they ``()``. Composed once and kept.
    """
    name = beside_parameters(sql.Identifier(meta))
    composed = sql.SQL(text).format(meta=name).as_string(None)
    return sql.SQL(composed)


def beside_parameters(name: sql.Composable) -> sql.SQL:
    """A quoted name for a query that has parameters, where ``%`` must be doubled."""
    return sql.SQL(name.as_string(None).replace("%", "%%"))


def take_ownership(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    database: str,
    identity: SourceIdentity,
) -> Marker:
    """Raise the schema's epoch: from the caller's COMMIT on, other owners are fenced.

    Waits for a transaction of the former owner that has its marker written already.
    Raises PreconditionError when the marker belongs to another source.
    """
    _check_source(cur, meta, schema, database, identity)
    cur.execute(
        query(
            """
            INSERT INTO {meta}.sync_markers AS m
                (schema_name, epoch, replica_set_id, source_version, database)
            VALUES (%s, 1, %s, %s, %s)
            ON CONFLICT (schema_name, lane) DO UPDATE
            SET epoch = m.epoch + 1, source_version = excluded.source_version,
                updated_at = now()
            RETURNING epoch, seq, resume_token, cluster_time
            """,
            meta,
        ),
        (schema, identity.replica_set_id, identity.version, database),
    )
    row = cur.fetchone()
    if row is None:
        raise DestinationError(f"the marker of schema {schema} could not be written")
    return _marker(row)


def _check_source(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    database: str,
    identity: SourceIdentity,
) -> None:
    row = cur.execute(
        query(
            "SELECT replica_set_id, database FROM {meta}.sync_markers"
            " WHERE schema_name = %s FOR UPDATE",
            meta,
        ),
        (schema,),
    ).fetchone()
    if row is None:
        return
    hint = (
        "connect the source this schema was copied from, or copy this one into a "
        "schema of its own (--schema)"
    )
    if row[0] != identity.replica_set_id:
        raise PreconditionError(
            f"the marker of schema {schema} belongs to replica set {row[0]}, this "
            f"source is {identity.replica_set_id}",
            hint=hint,
        )
    if row[1] != database:
        raise PreconditionError(
            f"the marker of schema {schema} belongs to database {row[1]}, this source "
            f"is {database}",
            hint=hint,
        )


def advance_marker(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    epoch: int,
    seq: int,
    position: Position,
) -> None:
    """Store ``position`` and count ``seq`` up. No other function writes a position.

    Raises Fenced when the marker is not at (epoch, seq) any more, DestinationError
    when ``position`` is older than the stored one.
    """
    cur.execute(
        query(
            """
            UPDATE {meta}.sync_markers
            SET resume_token = %(token)s, cluster_time = %(time)s, seq = seq + 1,
                wall_time = to_timestamp(%(seconds)s), updated_at = now()
            WHERE schema_name = %(schema)s AND lane = 0
              AND epoch = %(epoch)s AND seq = %(seq)s
              AND (cluster_time IS NULL OR cluster_time <= %(time)s)
            """,
            meta,
        ),
        {
            "token": position.token,
            "time": position.cluster_time,
            "seconds": position.cluster_time >> 32,
            "schema": schema,
            "epoch": epoch,
            "seq": seq,
        },
    )
    if cur.rowcount == 1:
        return
    stored = read_marker(cur, meta, schema)
    if stored is not None and (stored.epoch, stored.seq) == (epoch, seq):
        raise DestinationError(
            f"the position of schema {schema} would go back in time, from "
            f"{stored.cluster_time} to {position.cluster_time}",
            hint="nothing was written; report this with the log of this run",
        )
    raise fenced(schema)


def check_owner(cur: Cursor[TupleRow], meta: str, schema: str, epoch: int) -> None:
    """Hold the ownership until the transaction ends. Raises Fenced.

    FOR SHARE keeps a new owner waiting, and lets parallel copiers pass each other.
    """
    row = cur.execute(
        query(
            "SELECT 1 FROM {meta}.sync_markers"
            " WHERE schema_name = %s AND lane = 0 AND epoch = %s FOR SHARE",
            meta,
        ),
        (schema, epoch),
    ).fetchone()
    if row is None:
        raise fenced(schema)


def read_marker(
    cur: Cursor[TupleRow], meta: str, schema: str, *, settled: bool = False
) -> Marker | None:
    """The stored marker. ``settled`` waits for a transaction that is writing it."""
    lock = " FOR SHARE" if settled else ""
    row = cur.execute(
        query(
            "SELECT epoch, seq, resume_token, cluster_time FROM {meta}.sync_markers"
            " WHERE schema_name = %s AND lane = 0",
            meta,
        )
        + sql.SQL(lock),
        (schema,),
    ).fetchone()
    return None if row is None else _marker(row)


def _marker(row: TupleRow) -> Marker:
    epoch, seq, token, time = row
    return Marker(epoch, seq, token, unsigned(time))


def unsigned(time: Decimal | None) -> ClusterTime | None:
    """A cluster time as the metadata stores it."""
    return None if time is None else int(time)


def fenced(schema: str) -> Fenced:
    """The error of an owner that is none any more."""
    return Fenced(
        f"another process owns schema {schema} now; nothing of this commit was kept",
        hint="run one process a schema, or stop the other one and start again",
    )


def start_run(
    cur: Cursor[TupleRow], meta: str, schema: str, instance: str, epoch: int
) -> int:
    """Record a run; runs that were left open are marked ``lost``. Returns its id."""
    cur.execute(
        query(
            "UPDATE {meta}.sync_runs SET status = 'lost', ended_at = now()"
            " WHERE schema_name = %s AND status = 'running'",
            meta,
        ),
        (schema,),
    )
    row = cur.execute(
        query(
            "INSERT INTO {meta}.sync_runs (schema_name, instance, epoch)"
            " VALUES (%s, %s, %s) RETURNING run_id",
            meta,
        ),
        (schema, instance, epoch),
    ).fetchone()
    if row is None:
        raise DestinationError(f"the run of schema {schema} could not be recorded")
    return int(row[0])


def end_run(cur: Cursor[TupleRow], meta: str, run_id: int, status: str) -> None:
    """Close a run, unless a later owner marked it lost."""
    cur.execute(
        query(
            "UPDATE {meta}.sync_runs SET status = %s, ended_at = now()"
            " WHERE run_id = %s AND status = 'running'",
            meta,
        ),
        (status, run_id),
    )


def log_error(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    kind: str,
    message: str,
    *,
    table: str | None = None,
    sqlstate: str | None = None,
    count: int = 1,
) -> None:
    """Add to the error log. ``message`` must hold no value of a document."""
    cur.execute(
        query(
            "INSERT INTO {meta}.error_log"
            " (schema_name, table_name, kind, sqlstate, message, count)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            meta,
        ),
        (schema, table, kind, sqlstate, message, count),
    )
