"""The PostgreSQL destination: ownership, and the structure of the tables."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import BatchEncoder

from .. import __version__
from ..config import DestinationSettings, SchemaSettings
from ..config.agreed import agreed
from ..errors import (
    DestinationError,
    Fenced,
    Owned,
    PreconditionError,
    WarpError,
)
from ..killpoint import reached
from ..metadata import (
    batches,
    chunks,
    history,
    layout,
    lease,
    letters,
    registry,
    runs,
    signals,
    store,
    workers,
)
from ..model import (
    Absent,
    BatchMarker,
    BatchState,
    Chunk,
    ChunkRange,
    Keys,
    Origin,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableState,
)
from ..rows import encoder_of
from ..schema import evolve
from . import absent, catalog, ddl, keys, member, preflight, resyncs, structure
from .applier import PostgresApplier
from .connection import Link, application_name
from .copier import PostgresCopier
from .instance import Instance
from .member import PostgresMember
from .sharing import PostgresSharing, role
from .tenure import Tenure

#: How long a structure change may keep readers of the table waiting.
_DDL_LOCK_MS = 2_000

#: Of the connections that an owner's transactions may hold locks on.
_ROLES = ("stream", "copy", "structure", "lease")

_SAFETIES = ("SAFE", "RISKY", "DANGEROUS", "INCOMPATIBLE")


class PostgresDestination:
    """See ``protocols.Destination`` and ``powers.Resyncs``."""

    def __init__(self, settings: DestinationSettings, schema: SchemaSettings) -> None:
        self._settings = settings
        self._meta = settings.metadata_schema
        self._schema = schema.name
        self._database = schema.database
        self._link = Link(settings, application_name("structure", schema.name))
        self._lease = Link(settings, application_name("lease", schema.name))
        self._leasing = threading.Lock()
        self._instance = Instance.of_this_process()
        self._terms = lease.Terms(__version__, agreed(schema))
        self._owned: Tenure | None = None
        self._run_id = 0
        self._run_status = "stopped"
        self._told: list[Exception] = []

    # --- life -------------------------------------------------------------------

    def validate(self) -> bool:
        link = self._link_aside()
        try:
            return preflight.check(link, self._schema, self._meta)
        finally:
            link.drop()

    def open(self, identity: SourceIdentity) -> list[Position]:
        self._owned = None
        meta, schema = self._meta, self._schema
        with self._aside() as cur:
            layout.ensure(cur, meta)
            store.check_source(cur, meta, schema, self._database, identity)
            self._check_lease(cur)
            layout.create_schema(cur, schema)
            helpers = map(role, workers.numbers(cur, meta, schema))
            names = [application_name(each, schema) for each in (*_ROLES, *helpers)]
            lease.end_former(cur, names)
            workers.forget(cur, meta, schema)
            found = store.take_ownership(cur, meta, schema, self._database, identity)
            if not found.positions and any(
                each.planned and each.batch is None
                for each in registry.tables(cur, meta, schema)
            ):
                raise PreconditionError(
                    f"schema {schema} has tables of an earlier copy and no position",
                    hint="their changes since cannot be known: forget the schema as "
                    "docs/troubleshooting.md says (exit 6), and it is copied again",
                )
            lease.take(
                *(cur, meta, schema, self._instance.text, found.epoch), self._terms
            )
            chunks.reset(cur, meta, schema)
            runs.end_run(cur, meta, self._run_id, self._run_status)
            run_id = runs.start_run(
                cur, meta, schema, self._instance.label, found.epoch
            )
            pending = letters.tables_with_pending(cur, meta, schema)
            passes = batches.by_table(cur, meta, schema)
            timeline = history.timeline(cur)
        owned = Tenure(meta, schema, found.epoch, pending, timeline)
        self._link.timeline = self._lease.timeline = timeline
        owned.set_lanes({marker.lane: marker.seq for marker in found.markers})
        for table, (seq, _) in passes.items():
            owned.set_table(table, seq)
        self._owned, self._run_id, self._run_status = owned, run_id, "stopped"
        return found.positions

    def _check_lease(self, cur: Cursor[TupleRow]) -> None:
        """Raises Owned while somebody else works on the schema and is alive."""
        holder = lease.holder(cur, self._meta, self._schema)
        if holder is None or holder.instance == self._instance.text:
            return
        other = Instance.parse(holder.instance)
        if other is not None and self._instance.knows_dead(other):
            return
        label = holder.instance if other is None else other.label
        raise Owned(
            f"schema {self._schema} is owned by {label}, whose last sign of life is "
            f"{holder.silent:.1f} s old",
            hint="wait, or stop the other process; this one may go on "
            f"{lease.SILENT_SECONDS:.0f} s after it fell silent",
        )

    def begin(self, position: Position, lanes: int) -> None:
        own = self._tenure
        with self._link.transaction() as cur:
            seqs = store.set_lanes(
                cur, self._meta, self._schema, own.epoch, lanes, position
            )
        own.set_lanes(seqs)

    def restart(self, position: Position, lanes: int) -> None:
        own = self._tenure
        with self._link.transaction() as cur:
            signals.ask(cur, own.meta, own.schema)
            seqs = store.set_lanes(
                *(cur, own.meta, own.schema, own.epoch, lanes, position), anew=True
            )
        own.set_lanes(seqs)

    def beat(self) -> None:
        own = self._tenure
        with self._leasing, self._lease.transaction() as cur:
            if not lease.renew(cur, own.meta, own.schema, own.epoch):
                raise Fenced(
                    f"another process owns schema {self._schema} now",
                    hint="start it again, and it stands by until the other one ends",
                )

    def pending_letters(self) -> Mapping[str, int]:
        with self._aside(read_only=True) as cur:
            return letters.count_pending(cur, self._meta, self._schema)

    def close(self) -> None:
        if self._owned is not None:
            self._record_end(self._owned)
        self._owned = None
        self._link.drop()
        self._lease.drop()

    # --- structure --------------------------------------------------------------

    def tables(self) -> list[TableState]:
        with self._link.transaction() as cur:
            # Whoever asks before ``open`` may have metadata of an older version.
            layout.ensure(cur, self._meta)
            states = registry.tables(cur, self._meta, self._schema)
            catalog.check(cur, self._schema, [each.table for each in states])
            return states

    def leave(self, tables: Sequence[Table]) -> None:
        names = [table.name for table in tables]
        with self._link.transaction() as cur:
            registry.leave(cur, self._meta, self._schema, names)
            self._check_owner(cur)

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
        if not changes:
            return table
        # Once it has its lock, a rewrite takes as long as the table is large.
        rewrites = any(change.kind == "rewrite_key" for change in changes)
        with self._link.transaction(
            lock_ms=_DDL_LOCK_MS, statement_ms=0 if rewrites else None
        ) as cur:
            known = registry.newest(cur, self._meta, table.schema, table.name)
            # The same ones when this is done again: a column that is ours by now is
            # among the known.
            taken = catalog.strangers(cur, known or table)
            steps = evolve.apart(table, changes, taken)
            after = evolve.apply(table, steps)
            if known is not None and evolve.same_structure(known, after):
                return after
            if known is None or not evolve.same_structure(known, table):
                # A newer owner may have changed it, and says more.
                self._check_owner(cur)
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
                structure.readmit(cur, self._meta, after)
            self._check_owner(cur)
        reached("ddl_after")
        return after

    def waiting_keys(self, table: Table) -> set[str]:
        with self._link.transaction() as cur:
            return structure.waiting_keys(cur, self._meta, table)

    def plan(self, table: Table, ranges: Sequence[ChunkRange]) -> list[Chunk]:
        meta, schema, name = self._meta, table.schema, table.name
        with self._link.transaction() as cur:
            if registry.set_planned(cur, meta, schema, name):
                self._check_owner(cur)
                chunks.add(cur, meta, schema, name, ranges)
            elif registry.newest(cur, meta, schema, name) is None:
                raise DestinationError(f"{schema}.{name} has not been created")
            return list(chunks.by_table(cur, meta, schema).get(name, ()))

    # --- batch mode -------------------------------------------------------------

    def enroll(
        self, table: Table, column: str, marker: BatchMarker | None
    ) -> BatchState:
        meta, schema, name = self._meta, table.schema, table.name
        with self._link.transaction() as cur:
            self._check_owner(cur)
            batches.enroll(cur, meta, schema, name, column, marker)
            seq, state = batches.by_table(cur, meta, schema)[name]
        self._tenure.set_table(name, seq)
        return state

    def absent(self, table: Table, present: Iterable[Keys]) -> Absent:
        own, link = self._tenure, self._link_aside()
        try:
            with link.transaction(statement_ms=0) as cur:
                pending = table.name in own.letters
                return absent.find(cur, own.meta, table, present, pending=pending)
        finally:
            link.drop()

    # --- resyncs ----------------------------------------------------------------

    def ordered(self, table: Table) -> bool:
        return keys.ordered(table.key)

    def divides(self, table: Table, key: bytes) -> bool:
        return keys.divides(table.key, key)

    def asked(self) -> list[str]:
        with self._leasing, self._lease.transaction(read_only=True) as cur:
            return sorted(signals.asked(cur, self._meta, self._schema))

    def replan(
        self, table: Table, ranges: Sequence[ChunkRange], origin: Origin
    ) -> list[Chunk]:
        with self._link.transaction() as cur:
            return resyncs.replan(cur, self._tenure, table, ranges, origin)

    def retire(self, table: Table, policy: str, origin: Origin) -> None:
        with self._link.transaction(lock_ms=_DDL_LOCK_MS) as cur:
            resyncs.retire(cur, self._tenure, table, policy, origin)

    def know(self, table: Table, origin: Origin) -> None:
        with self._link.transaction() as cur:
            registry.know(cur, self._meta, table.schema, table.name, origin)
            self._check_owner(cur)

    # --- workers of other processes ---------------------------------------------

    def sharing(self) -> PostgresSharing:
        return PostgresSharing(self._tenure, self._lease, self._leasing)

    def join(self, identity: SourceIdentity, connections: int) -> PostgresMember:
        return member.join(
            *(self._settings, self._schema, self._database),
            *(identity, self._terms, connections),
        )

    # --- data -------------------------------------------------------------------

    def encoder(self, table: Table, *, keep: bool = False) -> BatchEncoder:
        return encoder_of(table, keep=keep)

    def copier(self) -> PostgresCopier:
        return PostgresCopier(self._settings, self._tenure)

    def applier(self) -> PostgresApplier:
        return PostgresApplier(self._settings, self._tenure)

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
                runs.log_error(
                    *(cur, self._meta, self._schema, type(error).__name__, message),
                    table=None if table is None else table.name,
                )
        except WarpError:
            self._link.drop()

    # --- small things -----------------------------------------------------------

    @property
    def _tenure(self) -> Tenure:
        if self._owned is None:
            raise DestinationError(f"schema {self._schema} is not open")
        return self._owned

    def _link_aside(self) -> Link:
        """A connection for one thing, which no new owner ends."""
        return Link(self._settings, application_name("watch", self._schema))

    @contextmanager
    def _aside(self, *, read_only: bool = False) -> Iterator[Cursor[TupleRow]]:
        """A transaction on a connection of its own, from any thread."""
        link = self._link_aside()
        try:
            with link.transaction(read_only=read_only) as cur:
                yield cur
        finally:
            link.drop()

    def _check_owner(self, cur: Cursor[TupleRow]) -> None:
        store.check_owner(cur, self._meta, self._schema, self._tenure.epoch)

    def _record_end(self, own: Tenure) -> None:
        try:
            with self._link.transaction() as cur:
                runs.end_run(cur, own.meta, self._run_id, self._run_status)
                lease.release(cur, own.meta, own.schema, own.epoch)
        except WarpError:
            self._link.drop()


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
