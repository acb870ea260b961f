"""The one data transaction of the stream: rows, dead letters, counters, markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial

from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch, Reject

from ..config import DestinationSettings
from ..errors import DestinationError, DestinationUnavailable
from ..killpoint import reached
from ..metadata import batches, letters, registry, runs, store
from ..metadata.letters import Letter
from ..model import Batch, BatchStep, Table, TableChanges
from . import deletes, merge, structure
from .careful import Bring, Part, attempt, bring_in, check_at_once
from .connection import CommitUnknown, Link, refusing, translating
from .journal import Line
from .sessions import Sessions
from .tenure import Doubt, Marked, Tenure

_SETTLE_LOCK_MS = 10_000

Refused = Mapping[str, Sequence[Reject]]


class PostgresApplier:
    """See ``protocols.Applier``."""

    def __init__(self, settings: DestinationSettings, tenure: Tenure) -> None:
        self._tenure = tenure
        self._sessions = Sessions(settings, tenure)
        self._untouched = 0

    def prepare(self, batch: Batch) -> None:
        """See ``powers.Prepares``."""
        self._sessions.prepare(batch)

    def commit(self, batch: Batch) -> Refused:
        self._untouched = 0
        done = self._settle(batch)
        return self._apply(batch) if done is None else done

    def untouched(self) -> int:
        return self._untouched

    def close(self) -> None:
        self._sessions.close()

    @property
    def _link(self) -> Link:
        return self._sessions.working.link

    def _apply(self, batch: Batch) -> Refused:
        own = self._tenure
        seqs = {lane: self._seq(lane) for lane in sorted(batch.lanes)}
        self._untouched = 0
        opened = self._sessions.open(batch)
        cur = opened.cur
        lines: list[Line] = []
        try:
            with translating(), cur:
                tables = [changes.table for changes in batch.tables]
                structure.hold(cur, own, tables)
                with refusing():
                    refused = self._move_rows(cur, batch, opened.staged)
                for changes in batch.tables:
                    if changes.stale:
                        # One that others refer to has to stay.
                        table, stale = changes.table, changes.stale
                        attempt(cur, partial(self._outdate, cur, table, stale))
                reached("merge_done")
                for changes in batch.tables:
                    name = changes.table.name
                    lines += self._record(cur, changes, batch, refused.get(name, ()))
                for changes in sorted(batch.tables, key=lambda each: each.table.name):
                    name = changes.table.name
                    counters = _counters(
                        changes, len(refused.get(name, ())), self._untouched
                    )
                    registry.count(cur, own.meta, own.schema, name, counters)
                for lane, seq in seqs.items():
                    store.advance_marker(
                        *(cur, own.meta, own.schema, own.epoch, seq, batch.position),
                        lane=lane,
                    )
                if batch.step is not None:
                    self._step(cur, batch.step)
                reached("marker_updated")
        except BaseException:
            self._link.rollback()
            raise
        rejects = {name: [each.reject for each in refused[name]] for name in refused}
        reached("commit_sent")
        try:
            self._link.commit(refusable=not batch.careful)
        except CommitUnknown:
            own.doubt(Doubt(batch, rejects))
            if self._settle(batch) is None:
                raise DestinationUnavailable(
                    "the connection was lost before COMMIT; nothing was applied"
                ) from None
        else:
            own.moved(batch.markers)
        reached("commit_ok")
        own.journal.noted(lines)
        return rejects

    def _move_rows(
        self, cur: Cursor[TupleRow], batch: Batch, staged: Set[Table]
    ) -> dict[str, list[Letter]]:
        """Rows and deletes. Returns what was refused, by the table's name.

        Deletes come first: a row may take what another one had for its own.
        """
        if batch.careful:
            return self._move_carefully(cur, batch)
        for changes in batch.tables:
            table = changes.table
            if changes.deletes:
                self._delete(cur, changes)
            written = self._sessions.working.upserter.bring(
                cur,
                table,
                changes.upserts,
                guarded=batch.guarded,
                pending=table.name in self._tenure.letters,
                staged=table in staged,
            )
            if batch.step is not None:
                sent = sum(each.rows for each in changes.upserts)
                self._untouched += sent - written
            self._resolve_unheld(cur, changes)
        return {}

    def _step(self, cur: Cursor[TupleRow], step: BatchStep) -> None:
        """Move the marker of a table of batch mode, if the schema is still ours."""
        own = self._tenure
        store.check_owner(cur, own.meta, own.schema, own.epoch)
        batches.advance(cur, own.meta, own.schema, self._seq(step.table), step)
        if step.end is not None and step.end.news:
            runs.log_error(
                *(cur, own.meta, own.schema, "unread"),
                "documents without a time in the change detection column",
                table=step.table,
                count=step.end.unread,
            )

    def _move_carefully(
        self, cur: Cursor[TupleRow], batch: Batch
    ) -> dict[str, list[Letter]]:
        check_at_once(cur)
        parts = [
            Part(cur, changes.table, each, self._bringing(cur, changes.table, batch))
            for changes in batch.tables
            for each in changes.upserts
        ]
        gone = [
            (changes.table, partial(self._delete, cur, changes))
            for changes in batch.tables
            if changes.deletes
        ]
        found = bring_in(cur, parts, gone, partial(self._outdate, cur))
        for changes in batch.tables:
            self._resolve_unheld(cur, changes)
        refused: dict[str, list[Letter]] = {}
        for part, made in zip(parts, found, strict=True):
            if made:
                refused.setdefault(part.table.name, []).extend(made)
        return refused

    def _bringing(self, cur: Cursor[TupleRow], table: Table, batch: Batch) -> Bring:
        def bring(rows: EncodedBatch) -> None:
            self._sessions.working.upserter.bring(
                cur,
                table,
                [rows],
                guarded=batch.guarded,
                pending=table.name in self._tenure.letters,
                last=False,
            )

        return bring

    def _delete(self, cur: Cursor[TupleRow], changes: TableChanges) -> None:
        table, keys, meta = changes.table, changes.deletes, self._tenure.meta
        deletes.delete(cur, meta, table, keys, changes.delete_times)
        self._resolve(cur, table, keys)

    def _outdate(
        self, cur: Cursor[TupleRow], table: Table, keys: Sequence[str]
    ) -> None:
        deletes.outdate(cur, table, keys)
        self._resolve(cur, table, keys)

    def _resolve(
        self, cur: Cursor[TupleRow], table: Table, keys: Sequence[str]
    ) -> None:
        if table.name in self._tenure.letters:
            found, texts = merge.given_keys(table), (list(keys),)
            letters.resolve(cur, self._tenure.meta, table, found, texts)

    def _resolve_unheld(self, cur: Cursor[TupleRow], changes: TableChanges) -> None:
        if changes.unheld and changes.table.name in self._tenure.letters:
            texts = (list(changes.unheld),)
            meta = self._tenure.meta
            letters.resolve(cur, meta, changes.table, letters.GIVEN, texts)

    def _record(
        self,
        cur: Cursor[TupleRow],
        changes: TableChanges,
        batch: Batch,
        refused: Sequence[Letter],
    ) -> list[Line]:
        own, table = self._tenure, changes.table
        rejects = [reject for part in changes.upserts for reject in part.rejects]
        made = [*letters.of_rejects(table, rejects), *refused]
        if made:
            time = None if batch.position is None else batch.position.cluster_time
            letters.add(cur, own.meta, table, made, time)
            own.letters.add(table.name)
        drift = [each for part in changes.upserts for each in part.drift]
        lines = own.journal.due(table.name, drift)
        for line in lines:
            runs.log_error(
                *(cur, own.meta, own.schema, "rescued", line.message),
                table=line.table,
                count=line.count,
            )
        return lines

    def _settle(self, batch: Batch) -> Refused | None:
        """What this very batch had refused, if an earlier call committed it.

        Asks only when that is open, or when it is open of another batch of its markers.
        """
        found: Refused | None = None
        for doubt in self._tenure.doubts(batch.markers):
            if self._was_committed(doubt) and doubt.batch is batch:
                found = doubt.refused
        return found

    def _was_committed(self, doubt: Doubt) -> bool:
        """The stored marker decides, once no backend is writing it any more.

        While it cannot be read the doubt stays, and so does DestinationUnavailable.
        """
        own, marked = self._tenure, doubt.batch.markers[0]
        with self._link.transaction(lock_ms=_SETTLE_LOCK_MS) as cur:
            seq = self._settled_seq(cur, marked)
        committed = seq != self._seq(marked)
        own.settled(doubt, committed=committed)
        return committed

    def _settled_seq(self, cur: Cursor[TupleRow], marked: Marked) -> int:
        own = self._tenure
        if isinstance(marked, str):
            store.check_owner(cur, own.meta, own.schema, own.epoch)
            seq = batches.settled_seq(cur, own.meta, own.schema, marked)
            if seq is None:
                raise store.fenced(own.schema)
            return seq
        marker = store.read_marker(cur, own.meta, own.schema, lane=marked, settled=True)
        if marker is None or marker.epoch != own.epoch:
            raise store.fenced(own.schema)
        return marker.seq

    def _seq(self, marked: Marked) -> int:
        seq = self._tenure.seq(marked)
        if seq is None:
            lane = isinstance(marked, int)
            raise DestinationError(
                f"schema {self._tenure.schema} has no "
                f"{'lane' if lane else 'table of batch mode'} {marked}: "
                f"{'begin' if lane else 'enroll'} comes first"
            )
        return seq


def _counters(changes: TableChanges, refused: int, untouched: int) -> registry.Counters:
    """What is left of the events, after rows, deletes and rejects, was superseded.

    untouched: rows that were equal already.
    """
    rows = sum(batch.rows for batch in changes.upserts) - refused - untouched
    rejected = sum(len(batch.rejects) for batch in changes.upserts) + refused
    applied = rows + len(changes.deletes)
    return registry.Counters(
        events=changes.events,
        applied=applied,
        deleted=len(changes.deletes),
        superseded=max(0, changes.events - applied - rejected),
        rejected=rejected,
        rescued=sum(batch.rescued for batch in changes.upserts),
    )
