"""The PostgreSQL destination: ownership, structure, and the one data transaction."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import BatchEncoder

from ..config import DestinationSettings, SchemaSettings
from ..errors import (
    DestinationError,
    DestinationUnavailable,
    PreconditionError,
    WarpError,
)
from ..killpoint import reached
from ..metadata import chunks, layout, letters, registry, status, store
from ..model import (
    Batch,
    ChunkRange,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableChanges,
    TableState,
)
from ..schema import evolve
from . import ddl, merge, preflight, structure
from .connection import CommitUnknown, Link, application_name, translating
from .copier import PostgresCopier
from .journal import Line
from .rowplan import encoder_of
from .staging import Staging
from .tenure import Tenure

#: How long a structure change may keep readers of the table waiting.
_DDL_LOCK_MS = 2_000

_SETTLE_LOCK_MS = 10_000

_SAFETIES = ("SAFE", "RISKY", "DANGEROUS", "INCOMPATIBLE")


class PostgresDestination:
    """See ``protocols.Destination``."""

    def __init__(self, settings: DestinationSettings, schema: SchemaSettings) -> None:
        self._settings = settings
        self._meta = settings.metadata_schema
        self._schema = schema.name
        self._database = schema.database
        self._link = Link(settings, application_name("stream", schema.name))
        self._staging = Staging()
        self._owned: Tenure | None = None
        self._run_id = 0
        self._run_status = "stopped"
        self._seq = 0
        self._in_doubt: Batch | None = None
        self._told: list[Exception] = []

    # --- life -------------------------------------------------------------------

    def validate(self) -> bool:
        return preflight.check(self._link, self._schema, self._meta)

    def open(self, identity: SourceIdentity) -> Position | None:
        self._owned = self._in_doubt = None
        with self._link.transaction() as cur:
            layout.ensure(cur, self._meta)
            layout.create_schema(cur, self._schema)
            marker = store.take_ownership(
                cur, self._meta, self._schema, self._database, identity
            )
            copy = application_name("copy", self._schema)
            chunks.reset(cur, self._meta, self._schema, copy)
            run_id = store.start_run(
                cur, self._meta, self._schema, _instance(), marker.epoch
            )
            pending = letters.tables_with_pending(cur, self._meta, self._schema)
        self._owned = Tenure(self._meta, self._schema, marker.epoch, pending)
        self._run_id = run_id
        self._seq = marker.seq
        return marker.position

    def begin(self, position: Position) -> None:
        self.commit(Batch(position))

    def pending_letters(self) -> Mapping[str, int]:
        # A connection of its own: this comes from any thread.
        link = Link(self._settings, application_name("watch", self._schema))
        try:
            with link.transaction(read_only=True) as cur:
                return status.pending_letters(cur, self._meta, self._schema)
        finally:
            link.drop()

    def close(self) -> None:
        if self._owned is not None:
            self._record_end()
        self._owned = None
        self._link.drop()

    # --- structure --------------------------------------------------------------

    def tables(self) -> list[TableState]:
        with self._link.transaction() as cur:
            return registry.tables(cur, self._meta, self._schema)

    def ensure(self, table: Table) -> None:
        with self._link.transaction(lock_ms=_DDL_LOCK_MS) as cur:
            known = registry.newest(cur, self._meta, table.schema, table.name)
            if known is not None:
                _check_same_collection(known, table)
                return
            _check_free(cur, table)
            statement = ddl.create_table(table)
            reached("ddl_before")
            cur.execute(statement)
            registry.record(
                cur, self._meta, table, (), statement.as_string(cur), "SAFE"
            )
            self._check_owner(cur)
        reached("ddl_after")

    def evolve(self, table: Table, changes: Sequence[SchemaChange]) -> Table:
        steps = tuple(changes)
        after = evolve.apply(table, steps)
        if after is table:
            return table
        # Once it has its lock, a rewrite takes as long as the table is large.
        rewrites = after.key != table.key
        with self._link.transaction(
            lock_ms=_DDL_LOCK_MS, statement_ms=0 if rewrites else None
        ) as cur:
            known = registry.newest(cur, self._meta, table.schema, table.name)
            if known == after:
                return after
            if known != table:
                raise DestinationError(
                    f"{table.schema}.{table.name} is not at version {table.version} "
                    "of its structure",
                    hint="start again: the stored structure is read then",
                )
            statement = ddl.alter_table(table, steps)
            reached("ddl_before")
            structure.alter(cur, statement)
            safety = max((step.safety for step in steps), key=_SAFETIES.index)
            registry.record(
                cur, self._meta, after, steps, statement.as_string(cur), safety
            )
            if rewrites and table.name in self._tenure.letters:
                structure.readmit(cur, self._meta, after, self._staging)
            self._check_owner(cur)
        reached("ddl_after")
        return after

    def waiting_keys(self, table: Table) -> set[str]:
        with self._link.transaction() as cur:
            return structure.waiting_keys(cur, self._meta, table)

    def plan(self, table: Table, ranges: Sequence[ChunkRange]) -> None:
        with self._link.transaction() as cur:
            if not registry.set_planned(cur, self._meta, table.schema, table.name):
                if registry.newest(cur, self._meta, table.schema, table.name) is None:
                    raise DestinationError(
                        f"{table.schema}.{table.name} has not been created"
                    )
                return
            self._check_owner(cur)
            chunks.add(cur, self._meta, table.schema, table.name, ranges)

    # --- data -------------------------------------------------------------------

    def encoder(self, table: Table) -> BatchEncoder:
        return encoder_of(table)

    def copier(self) -> PostgresCopier:
        return PostgresCopier(self._settings, self._tenure)

    def commit(self, batch: Batch) -> None:
        try:
            if not self._was_committed(batch):
                self._apply(batch)
        except WarpError as error:
            self.failed(error)
            raise

    def _apply(self, batch: Batch) -> None:
        """The one transaction: rows, dead letters, counters, marker."""
        own = self._tenure
        cur = self._link.begin()
        reached("tx_begin")
        lines: list[Line] = []
        try:
            with translating(), cur:
                tables = [changes.table for changes in batch.tables]
                structure.hold(cur, self._meta, self._schema, tables)
                for changes in batch.tables:
                    self._move_rows(cur, changes)
                reached("merge_done")
                for changes in batch.tables:
                    lines += self._record(cur, changes, batch.position)
                for changes in sorted(batch.tables, key=lambda each: each.table.name):
                    name = changes.table.name
                    registry.count(
                        cur, self._meta, self._schema, name, _counters(changes)
                    )
                store.advance_marker(
                    cur, self._meta, self._schema, own.epoch, self._seq, batch.position
                )
                reached("marker_updated")
        except BaseException:
            self._link.rollback()
            raise
        reached("commit_sent")
        try:
            self._link.commit()
        except CommitUnknown:
            self._in_doubt = batch
            if not self._was_committed(batch):
                raise DestinationUnavailable(
                    "the connection was lost before COMMIT; nothing was applied"
                ) from None
        else:
            self._seq += 1
        reached("commit_ok")
        own.journal.noted(lines)

    def failed(self, error: Exception, table: Table | None = None) -> None:
        """For ``cwarp status``, by best effort: the error itself goes on its way."""
        if self._owned is None or error in self._told:
            return
        # Words that are not ours may hold a value of a document.
        message = "an internal error; the log has its traceback"
        if isinstance(error, WarpError):
            if error.retryable:
                return
            message = str(error)
        self._run_status = "failed"
        self._told.append(error)
        try:
            with self._link.transaction() as cur:
                store.log_error(
                    *(cur, self._meta, self._schema, type(error).__name__, message),
                    table=None if table is None else table.name,
                )
        except WarpError:
            self._link.drop()

    def _move_rows(self, cur: Cursor[TupleRow], changes: TableChanges) -> None:
        own, table = self._tenure, changes.table
        pending = table.name in own.letters
        if any(batch.rows for batch in changes.upserts):
            self._staging.load(cur, table, changes.upserts)
            cur.execute(merge.merge(table))
            if pending:
                letters.resolve(cur, self._meta, table, merge.staged_keys(table))
        if changes.deletes:
            texts = (list(changes.deletes),)
            cur.execute(merge.delete(table), texts)
            if pending:
                letters.resolve(cur, self._meta, table, merge.given_keys(table), texts)
        if changes.unheld and pending:
            texts = (list(changes.unheld),)
            letters.resolve(cur, self._meta, table, letters.GIVEN, texts)

    def _record(
        self, cur: Cursor[TupleRow], changes: TableChanges, position: Position
    ) -> list[Line]:
        own, table = self._tenure, changes.table
        rejects = [reject for batch in changes.upserts for reject in batch.rejects]
        if rejects:
            letters.add(cur, self._meta, table, rejects, position.cluster_time)
            own.letters.add(table.name)
        drift = [each for batch in changes.upserts for each in batch.drift]
        lines = own.journal.due(table.name, drift)
        for line in lines:
            store.log_error(
                cur,
                self._meta,
                self._schema,
                "rescued",
                line.message,
                table=line.table,
                count=line.count,
            )
        return lines

    def _was_committed(self, batch: Batch) -> bool:
        """Did an earlier call commit this very batch? Asks only when that is open.

        The stored marker decides, once no backend is writing it any more. While it
        cannot be read the doubt stays, and so does DestinationUnavailable.
        """
        doubtful = self._in_doubt
        if doubtful is None:
            return False
        own = self._tenure
        with self._link.transaction(lock_ms=_SETTLE_LOCK_MS) as cur:
            marker = store.read_marker(cur, self._meta, self._schema, settled=True)
        if marker is None or marker.epoch != own.epoch:
            raise store.fenced(self._schema)
        self._in_doubt = None
        if marker.seq == self._seq:
            return False
        self._seq = marker.seq
        return doubtful == batch

    # --- small things -----------------------------------------------------------

    @property
    def _tenure(self) -> Tenure:
        if self._owned is None:
            raise DestinationError(f"schema {self._schema} is not open")
        return self._owned

    def _check_owner(self, cur: Cursor[TupleRow]) -> None:
        store.check_owner(cur, self._meta, self._schema, self._tenure.epoch)

    def _record_end(self) -> None:
        try:
            with self._link.transaction() as cur:
                store.end_run(cur, self._meta, self._run_id, self._run_status)
        except WarpError:
            self._link.drop()


def _instance() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _check_free(cur: Cursor[TupleRow], table: Table) -> None:
    """Never write into somebody else's table."""
    found = cur.execute(
        "SELECT 1 FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (table.schema, table.name),
    ).fetchone()
    if found is not None:
        raise PreconditionError(
            f"{table.schema}.{table.name} exists already and is not a table of ours",
            hint="rename or drop it, or copy into another schema",
        )


def _check_same_collection(known: Table, table: Table) -> None:
    if known.collection != table.collection:
        raise PreconditionError(
            f"{table.schema}.{table.name} holds collection {known.collection}, not "
            f"{table.collection}",
            hint="give one of the two collections another table name",
        )


def _counters(changes: TableChanges) -> registry.Counters:
    """What is left of the events, after rows, deletes and rejects, was superseded."""
    rows = sum(batch.rows for batch in changes.upserts)
    rejected = sum(len(batch.rejects) for batch in changes.upserts)
    applied = rows + len(changes.deletes)
    return registry.Counters(
        events=changes.events,
        applied=applied,
        deleted=len(changes.deletes),
        superseded=max(0, changes.events - applied - rejected),
        rejected=rejected,
        rescued=sum(batch.rescued for batch in changes.upserts),
    )
