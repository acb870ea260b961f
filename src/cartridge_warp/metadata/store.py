"""The markers: where a schema stands, and who may write it."""

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
    """A lane's stored marker. ``token`` is None until a first position is stored."""

    lane: int
    epoch: int
    seq: int
    token: bytes | None
    cluster_time: ClusterTime | None
    stream: str

    @property
    def position(self) -> Position | None:
        if self.token is None or self.cluster_time is None:
            return None
        return Position(self.token, self.cluster_time, self.stream)


class Ownership(Struct, frozen=True):
    """What a new owner finds. markers: those of all lanes, in their order."""

    epoch: int
    markers: tuple[Marker, ...]

    @property
    def positions(self) -> list[Position]:
        """Where each lane goes on; none when nothing was ever started."""
        return [each.position for each in self.markers if each.position is not None]


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


def check_source(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    database: str,
    identity: SourceIdentity,
) -> None:
    """Raises PreconditionError when the schema's markers belong to another source."""
    row = cur.execute(
        query(
            "SELECT replica_set_id, database FROM {meta}.sync_markers"
            " WHERE schema_name = %s AND lane = 0",
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


def take_ownership(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    database: str,
    identity: SourceIdentity,
) -> Ownership:
    """Raise the epoch of all lanes: from the caller's COMMIT on, others are fenced.

    Waits for transactions of the former owner that have a marker written already.
    Raises PreconditionError as ``check_source``.
    """
    check_source(cur, meta, schema, database, identity)
    cur.execute(
        query(
            """
            INSERT INTO {meta}.sync_markers
                (schema_name, epoch, replica_set_id, source_version, database)
            VALUES (%s, 0, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            meta,
        ),
        (schema, identity.replica_set_id, identity.version, database),
    )
    # In the order in which a batch locks them.
    cur.execute(
        query(
            "SELECT 1 FROM {meta}.sync_markers WHERE schema_name = %s"
            " ORDER BY lane FOR UPDATE",
            meta,
        ),
        (schema,),
    )
    cur.execute(
        query(
            """
            UPDATE {meta}.sync_markers
            SET epoch = epoch + 1, source_version = %s, updated_at = now()
            WHERE schema_name = %s
            RETURNING lane, epoch, seq, resume_token, cluster_time, stream
            """,
            meta,
        ),
        (identity.version, schema),
    )
    markers = sorted(map(_marker, cur.fetchall()), key=lambda each: each.lane)
    if not markers:
        raise DestinationError(f"the marker of schema {schema} could not be written")
    return Ownership(markers[0].epoch, tuple(markers))


def set_lanes(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    epoch: int,
    lanes: int,
    position: Position,
    *,
    anew: bool = False,
) -> dict[int, int]:
    """Make exactly ``lanes`` markers, all at ``position``. Returns each one's ``seq``.

    anew: every table is compared with its collection, wherever the lanes stood. Raises
    Fenced, and otherwise DestinationError when the lanes stand at different places:
    what lies between would be read by none of them.
    """
    cur.execute(
        query(
            "SELECT lane, epoch, seq, resume_token, cluster_time, stream"
            " FROM {meta}.sync_markers WHERE schema_name = %s AND epoch = %s"
            " ORDER BY lane FOR UPDATE",
            meta,
        ),
        (schema, epoch),
    )
    found = [_marker(row) for row in cur.fetchall()]
    if not found:
        raise fenced(schema)
    if not anew and len({(each.token, each.cluster_time) for each in found}) > 1:
        raise DestinationError(
            f"the lanes of schema {schema} stand at different places",
            hint="nothing was written; report this with the log of this run",
        )
    cur.execute(
        query(
            "DELETE FROM {meta}.sync_markers WHERE schema_name = %s AND lane >= %s",
            meta,
        ),
        (schema, lanes),
    )
    cur.execute(
        query(
            """
            INSERT INTO {meta}.sync_markers
                (schema_name, lane, epoch, replica_set_id, source_version, database)
            SELECT schema_name, n, epoch, replica_set_id, source_version, database
            FROM {meta}.sync_markers, generate_series(1, %s - 1) AS n
            WHERE schema_name = %s AND lane = 0 ON CONFLICT DO NOTHING
            """,
            meta,
        ),
        (lanes, schema),
    )
    seqs = dict.fromkeys(range(lanes), 0)
    seqs.update((each.lane, each.seq) for each in found if each.lane < lanes)
    for lane, seq in seqs.items():
        advance_marker(cur, meta, schema, epoch, seq, position, lane=lane)
    return {lane: seq + 1 for lane, seq in seqs.items()}


def advance_marker(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    epoch: int,
    seq: int,
    position: Position | None,
    *,
    lane: int = 0,
) -> None:
    """Store a lane's position and count its ``seq`` up. Nothing else writes one.

    Without a position the stored one stays. Raises Fenced when the marker is not at
    (epoch, seq) any more, DestinationError when ``position`` is older than the stored
    one.
    """
    time = None if position is None else position.cluster_time
    cur.execute(
        query(
            """
            UPDATE {meta}.sync_markers
            SET seq = seq + 1, updated_at = now(),
                resume_token = coalesce(%(token)s, resume_token),
                cluster_time = coalesce(%(time)s, cluster_time),
                stream = coalesce(%(stream)s, stream),
                wall_time = coalesce(to_timestamp(%(seconds)s), wall_time)
            WHERE schema_name = %(schema)s AND lane = %(lane)s
              AND epoch = %(epoch)s AND seq = %(seq)s
              AND (cluster_time > %(time)s) IS NOT TRUE
            """,
            meta,
        ),
        {
            "token": None if position is None else position.token,
            "time": time,
            "stream": None if position is None else position.stream,
            "seconds": None if time is None else time >> 32,
            "schema": schema,
            "lane": lane,
            "epoch": epoch,
            "seq": seq,
        },
    )
    if cur.rowcount == 1:
        return
    stored = read_marker(cur, meta, schema, lane=lane)
    if stored is not None and (stored.epoch, stored.seq) == (epoch, seq):
        raise DestinationError(
            f"the position of schema {schema} would go back in time, from "
            f"{stored.cluster_time} to {time}",
            hint="nothing was written; the marker was edited, or the source was put "
            "back to an earlier state: copy into a new schema",
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
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    *,
    lane: int = 0,
    settled: bool = False,
) -> Marker | None:
    """A lane's marker. ``settled`` waits for a transaction that is writing it."""
    lock = " FOR SHARE" if settled else ""
    row = cur.execute(
        query(
            "SELECT lane, epoch, seq, resume_token, cluster_time, stream"
            " FROM {meta}.sync_markers WHERE schema_name = %s AND lane = %s",
            meta,
        )
        + sql.SQL(lock),
        (schema, lane),
    ).fetchone()
    return None if row is None else _marker(row)


def has_position(cur: Cursor[TupleRow], meta: str, schema: str) -> bool:
    """Was anything of this schema ever started? In every layout there was."""
    row = cur.execute(
        query(
            "SELECT 1 FROM {meta}.sync_markers"
            " WHERE schema_name = %s AND resume_token IS NOT NULL LIMIT 1",
            meta,
        ),
        (schema,),
    ).fetchone()
    return row is not None


def _marker(row: TupleRow) -> Marker:
    lane, epoch, seq, token, time, stream = row
    return Marker(lane, epoch, seq, token, unsigned(time), stream)


def unsigned(time: Decimal | None) -> ClusterTime | None:
    """A cluster time as the metadata stores it."""
    return None if time is None else int(time)


def fenced(schema: str) -> Fenced:
    """The error of an owner that is none any more."""
    return Fenced(
        f"another process owns schema {schema} now; nothing of this commit was kept",
        hint="start it again, and it stands by until the other one ends",
    )
