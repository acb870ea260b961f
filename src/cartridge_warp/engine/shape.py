"""A table's current version, shared by everybody who encodes for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence

from cwarp_core import EncodedBatch, Reply, key_encoding

from ..errors import LockTimeout, MisfitError, StructureRefused
from ..model import ClusterTime, SchemaChange, Table
from ..schema.evolve import evolve
from .line import Line

log = logging.getLogger(__name__)

#: After a table stayed locked, seconds until the structure change is tried again.
#: Values are kept in ``_cwarp_extra`` meanwhile.
LOCK_PAUSE = 5.0

#: The first time, the rewrite of a key is tried again for so many seconds: what waits
#: for it would be a dead letter, not a value beside its row.
KEY_PATIENCE = 30.0

#: Documents looked up the first time, before their size is known; how much faster it
#: grows at most; and the most.
_FIRST_LOOKUP = 8
_LOOKUP_GROWTH = 8
_MAX_LOOKUP = 5000

_NOTHING = EncodedBatch(b"", 0, 0, (), (), 0, 0)


class Shape:
    """One table as it is now, and the one place that changes it. Thread-safe.

    table: the newest version.  wanted: somebody is about to change the table, and who
    holds a transaction on it should end that soon.  withdrawn: it is not copied for
    now, or not any more.  since: as in ``Origin``.  gone: its rows are those of a
    collection that is there no more.  absent: a time at which it was not there.
    lookup_keys: ids whose documents
    may be looked up at once, so that they fit memory whatever their size.
    read_until: no row is newer than this, or than its last event; rows that were read
    may be newer than the position. known: such a time for the rows that are there.
    """

    def __init__(
        self,
        line: Line,
        table: Table,
        known: ClusterTime = 0,
        *,
        since: ClusterTime = 0,
    ) -> None:
        self._line = line
        self.table = table
        self.since = since
        self.gone = False
        self.absent: ClusterTime = 0
        self.wanted = False
        self.withdrawn = False
        self.lookup_keys = _FIRST_LOOKUP
        self.read_until = known
        self._reading = threading.Lock()
        self._not_before = 0.0
        self._owed: frozenset[str] = frozenset()
        self._key_refused = False

    @property
    def collection(self) -> str:
        return self.table.collection

    def read(self, until: ClusterTime) -> None:
        """Rows that will be stored may be as new as this. Before they are."""
        with self._reading:
            self.read_until = max(self.read_until, until)

    def looked_up(self, found: Sequence[Reply], most: int) -> None:
        """Learn how large documents are; ``most``: bytes wanted at once."""
        documents = sum(map(len, found))
        if documents:
            fitting = most * documents // sum(each.nbytes for each in found)
            grown = min(fitting, self.lookup_keys * _LOOKUP_GROWTH, _MAX_LOOKUP)
            self.lookup_keys = max(grown, 1)

    def changes(self, batch: EncodedBatch) -> list[SchemaChange]:
        """What this batch asks of the newest version; nothing while it is locked."""
        if self._line.clock() < self._not_before:
            return []
        keys: frozenset[str] = frozenset()
        if not self._key_refused:
            keys = self._owed | _unheld(batch)
        return evolve(self.table, batch.drift, keys) if keys or batch.drift else []

    def evolve(self, batch: EncodedBatch) -> Table:
        """Make the table hold this batch where the policy allows; return the newest.

        The caller holds no transaction on the table. Raises what the destination
        raises, with two exceptions: after LockTimeout the table stays as it is for a
        while, after StructureRefused its key does for the rest of the run.
        """
        if not self.changes(batch):
            return self.table
        self.wanted = True
        try:
            with self._line.structure:
                # Another worker may have answered the same batch by now.
                if changes := self.changes(batch):
                    self._apply(batch, changes)
        finally:
            self.wanted = False
        return self.table

    def check(self, batch: EncodedBatch) -> None:
        """Raises MisfitError where ``on_misfit: fail`` asks for that."""
        if self.table.options.on_misfit != "fail":
            return
        for reject in batch.rejects:
            if reject.code == "misfit":
                column = self.table.columns[reject.column]
                log.debug("a value does not fit", extra={"key": reject.key})
                raise MisfitError(
                    f"{self.table.schema}.{self.table.name}: a value does not fit the "
                    f"column {column.name} ({reject.code} for {column.type}, at byte "
                    f"{reject.offset} of its document)",
                    hint="nothing was kept; mend the document, or set on_misfit to "
                    "rescue or dead_letter; --log-level DEBUG tells its _id",
                )

    def make_up(self, keys: Collection[str]) -> None:
        """Dead letters of an earlier run wait for a key that holds these encodings."""
        self._owed |= frozenset(keys)
        self.evolve(_NOTHING)

    def _apply(self, batch: EncodedBatch, changes: Sequence[SchemaChange]) -> None:
        table, line = self.table, self._line
        rewrites = any(change.kind == "rewrite_key" for change in changes)
        first = rewrites and not self._owed
        give_up = line.clock() + (KEY_PATIENCE if first else 0.0)

        def attempt() -> Table | None:
            try:
                return line.destination.evolve(table, changes)
            except LockTimeout as error:
                if line.clock() < give_up:
                    raise
                log.warning(
                    "structure change put off: %s", error, extra={"table": table.name}
                )
                return None

        try:
            newest = line.retry(attempt)
        except StructureRefused as error:
            if not rewrites:
                raise
            self._refused(error)
            if others := self.changes(batch):
                self._apply(batch, others)
            return
        if newest is None:
            self._not_before = line.clock() + LOCK_PAUSE
            if rewrites:
                self._owed |= _unheld(batch)
            return
        self.table = newest
        self._owed = frozenset()
        line.progress.restructured(table.collection, len(changes))
        log.info(
            "structure changed",
            extra={
                "table": table.name,
                "version": newest.version,
                "columns": [
                    *(
                        each.column.name
                        for each in changes
                        if each.kind != "add_column"
                    ),
                    *(each.name for each in newest.columns[len(table.columns) :]),
                ],
            },
        )

    def _refused(self, error: StructureRefused) -> None:
        self._key_refused = True
        log.warning(
            "the key cannot be rewritten to hold ids of another kind, and documents "
            "with such ids become dead letters: %s",
            error,
            extra={
                "table": self.table.name,
                "hint": error.hint
                or "drop what depends on the column _id (a view, a foreign key, a "
                "trigger), start again, and make it anew when the key is rewritten",
            },
        )


def _unheld(batch: EncodedBatch) -> frozenset[str]:
    """The encodings of the ids for which the key has no room."""
    refused = [each.document for each in batch.rejects if each.code == "key_kind"]
    if not refused:
        return frozenset()
    documents = Reply.of_documents(refused)
    keys = map(documents.key, range(len(documents)))
    return frozenset(key_encoding(key) for key in keys if key is not None)
