"""The one data transaction of the stream: rows, dead letters, counters, markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import Reject

from ..config import DestinationSettings
from ..errors import DestinationError, DestinationUnavailable
from ..killpoint import reached
from ..metadata import letters, registry, runs, store
from ..model import Batch, TableChanges
from . import merge, structure
from .connection import CommitUnknown, Link, application_name, translating
from .journal import Line
from .staging import Staging
from .tenure import Doubt, Tenure

_SETTLE_LOCK_MS = 10_000

Refused = Mapping[str, Sequence[Reject]]


class PostgresApplier:
    """See ``protocols.Applier``."""

    def __init__(self, settings: DestinationSettings, tenure: Tenure) -> None:
        self._tenure = tenure
        self._link = Link(settings, application_name("stream", tenure.schema))
        self._staging = Staging()

    def commit(self, batch: Batch) -> Refused:
        done = self._settle(batch)
        return self._apply(batch) if done is None else done

    def close(self) -> None:
        self._link.drop()

    def _apply(self, batch: Batch) -> Refused:
        own = self._tenure
        seqs = {lane: self._seq(lane) for lane in sorted(batch.lanes)}
        cur = self._link.begin()
        reached("tx_begin")
        lines: list[Line] = []
        refused: Refused = {}
        try:
            with translating(), cur:
                tables = [changes.table for changes in batch.tables]
                structure.hold(cur, own.meta, own.schema, tables)
                for changes in batch.tables:
                    self._move_rows(cur, changes)
                reached("merge_done")
                for changes in batch.tables:
                    lines += self._record(cur, changes, batch)
                for changes in sorted(batch.tables, key=lambda each: each.table.name):
                    name = changes.table.name
                    registry.count(cur, own.meta, own.schema, name, _counters(changes))
                for lane, seq in seqs.items():
                    store.advance_marker(
                        *(cur, own.meta, own.schema, own.epoch, seq, batch.position),
                        lane=lane,
                    )
                reached("marker_updated")
        except BaseException:
            self._link.rollback()
            raise
        reached("commit_sent")
        try:
            self._link.commit()
        except CommitUnknown:
            own.doubt(Doubt(batch, refused))
            if self._settle(batch) is None:
                raise DestinationUnavailable(
                    "the connection was lost before COMMIT; nothing was applied"
                ) from None
        else:
            own.moved(batch.lanes)
        reached("commit_ok")
        own.journal.noted(lines)
        return refused

    def _move_rows(self, cur: Cursor[TupleRow], changes: TableChanges) -> None:
        own, table = self._tenure, changes.table
        pending = table.name in own.letters
        if any(batch.rows for batch in changes.upserts):
            self._staging.load(cur, table, changes.upserts)
            cur.execute(merge.merge(table))
            if pending:
                letters.resolve(cur, own.meta, table, merge.staged_keys(table))
        if changes.deletes:
            texts = (list(changes.deletes),)
            cur.execute(merge.delete(table), texts)
            if pending:
                letters.resolve(cur, own.meta, table, merge.given_keys(table), texts)
        if changes.unheld and pending:
            texts = (list(changes.unheld),)
            letters.resolve(cur, own.meta, table, letters.GIVEN, texts)

    def _record(
        self, cur: Cursor[TupleRow], changes: TableChanges, batch: Batch
    ) -> list[Line]:
        own, table = self._tenure, changes.table
        rejects = [reject for part in changes.upserts for reject in part.rejects]
        if rejects:
            time = None if batch.position is None else batch.position.cluster_time
            letters.add(cur, own.meta, table, rejects, time)
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

        Asks only when that is open, or when it is open of another batch of these lanes.
        """
        found: Refused | None = None
        for doubt in self._tenure.doubts(batch.lanes):
            if self._was_committed(doubt) and doubt.batch is batch:
                found = doubt.refused
        return found

    def _was_committed(self, doubt: Doubt) -> bool:
        """The stored marker decides, once no backend is writing it any more.

        While it cannot be read the doubt stays, and so does DestinationUnavailable.
        """
        own, lane = self._tenure, doubt.batch.lanes[0]
        with self._link.transaction(lock_ms=_SETTLE_LOCK_MS) as cur:
            marker = store.read_marker(
                cur, own.meta, own.schema, lane=lane, settled=True
            )
        if marker is None or marker.epoch != own.epoch:
            raise store.fenced(own.schema)
        committed = marker.seq != self._seq(lane)
        own.settled(doubt, committed=committed)
        return committed

    def _seq(self, lane: int) -> int:
        seq = self._tenure.seq(lane)
        if seq is None:
            raise DestinationError(
                f"schema {self._tenure.schema} has no lane {lane}: begin comes first"
            )
        return seq


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
