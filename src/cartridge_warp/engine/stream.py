"""The change stream's main loop: take replies, batch, encode, commit."""

from __future__ import annotations

import logging

from cwarp_core import ChangeEvent, CorruptBSON, Reply, parse_events

from ..errors import SourceError, StructureChanged
from ..killpoint import reached
from ..model import Batch, ClusterTime, Position
from ..retry import Stopped
from .batcher import DOCUMENT_OPERATIONS, Batcher
from .copy import copy_tables
from .encode import encode
from .feed import Feed
from .line import Line
from .tables import Tables

log = logging.getLogger(__name__)

#: While nothing happens the position is committed this often, in seconds, so that a
#: quiet schema does not fall out of the source's history.
IDLE_SECONDS = 10.0

#: A loop that waits for the source turns at least this often.
TURN_SECONDS = 1.0

#: The rows of these stay as they are, whatever happened to their collection.
_REMOVALS = {
    "drop": "collection dropped",
    "dropDatabase": "database dropped",
    "rename": "collection renamed",
}


class Stream:
    """Follows the source from ``position`` on.

    until: end as soon as the committed position has reached this time; None: never.
    """

    def __init__(
        self, line: Line, tables: Tables, position: Position, until: ClusterTime | None
    ) -> None:
        self._line = line
        self._tables = tables
        self._until = until
        self._committed_at = line.clock()
        self._batcher = Batcher(
            line.schema.stream_batch_size, line.schema.stream_batch_bytes
        )
        self._feed = Feed(line, position)

    def run(self) -> None:
        """Returns when ``until`` is reached; raises Stopped when the stop came.

        Every document committed before a stop is; a source transaction that was not
        read to its end is left for the next start.
        """
        with self._feed:
            while not self._line.stop.requested:
                if self._turn():
                    return
        reached("sigterm_drain")
        if not self._batcher.empty and not self._batcher.inside_transaction:
            self._commit()
        raise Stopped

    def _turn(self) -> bool:
        """One reply, or the batch when no reply waits. True when the end is reached."""
        batcher = self._batcher
        ready = not batcher.empty and not batcher.inside_transaction
        reply = self._feed.next(0.0 if ready else TURN_SECONDS)
        if reply is None:
            self._line.progress.turn()
            return ready and self._commit()
        return self._take(reply)

    def _take(self, reply: Reply) -> bool:
        reached("batch_received")
        events = _events(reply)
        reached("mid_decode")
        batcher = self._batcher
        index = 0
        while (index := batcher.extend(events, index)) < len(events):
            if not batcher.empty and self._commit():
                return True
            event = events[index]
            if event.operation not in DOCUMENT_OPERATIONS:
                self._structure(event)
                batcher.passed(event.token)
                index += 1
        batcher.reply_used_up(reply.post_batch_resume_token, events=len(events))
        self._line.progress.heard(
            reply.operation_time,
            queued=self._feed.queued,
            idle=batcher.empty and batcher.settled and not self._feed.queued,
        )
        if batcher.empty:
            return self._idle_place_counts() and self._commit()
        return batcher.full and not batcher.inside_transaction and self._commit()

    def _idle_place_counts(self) -> bool:
        """Is a place without events worth a commit? Now and then, and at the end."""
        token = self._batcher.token
        if token is None:
            return False
        if self._line.clock() - self._committed_at >= IDLE_SECONDS:
            return True
        return self._is_end(self._feed.position_of(token), self._batcher.settled)

    def _is_end(self, position: Position, settled: bool) -> bool:
        if self._until is None:
            return False
        # Several events can share one time; only a settled place is behind them all.
        return position.cluster_time > self._until or (
            settled and position.cluster_time == self._until
        )

    def _commit(self) -> bool:
        """Commit what the batcher holds. True when that was the end."""
        pending = self._batcher.take()
        if pending is None:
            return False
        if pending.cuts:
            log.warning(
                "a transaction of the source is larger than stream_batch_bytes; "
                "it is committed in parts"
            )
        line = self._line
        started = line.clock()
        position = self._feed.position_of(pending.token)
        encoded = encode(line, self._tables, pending)
        batch = Batch(position, encoded.tables)

        def attempt() -> None:
            nonlocal encoded, batch
            try:
                line.destination.commit(batch)
            except StructureChanged:
                # A copy rewrote a key meanwhile, and these rows are of no use.
                encoded = encode(line, self._tables, pending)
                batch = Batch(position, encoded.tables)
                raise

        line.retry(attempt)
        self._committed_at = line.clock()
        for collection, counts in encoded.counts:
            line.progress.committed(collection, counts)
        for changes in batch.tables:
            for rows in changes.upserts:
                line.letters.committed(changes.table.name, rows.rejects)
        if encoded.filtered:
            line.progress.filtered(encoded.filtered)
        seconds = self._committed_at - started if batch.tables else None
        line.progress.moved(position.cluster_time, seconds=seconds)
        return self._is_end(position, pending.settled)

    def _structure(self, event: ChangeEvent) -> None:
        """A collection came, went or changed. Rows are kept; a new name is copied."""
        line, operation, name = self._line, event.operation, event.collection
        if operation in _REMOVALS and (not name or self._tables.get(name) is not None):
            namespace = f"{event.database}.{name}" if name else event.database
            log.warning(
                "%s; the rows that were copied from it are kept",
                _REMOVALS[operation],
                extra={"namespace": namespace},
            )
        if operation == "rename" and (new := event.to_collection) is not None:
            shape = self._tables.renamed(new)
            if shape is not None:
                copy_tables(line, [shape])


def _events(reply: Reply) -> list[ChangeEvent]:
    try:
        return parse_events(reply)
    except CorruptBSON as error:
        raise SourceError(
            f"a change event cannot be read: {error}",
            hint="the stream cannot pass it; run `cwarp sync` with a new schema to "
            "copy again, and report this",
        ) from error
