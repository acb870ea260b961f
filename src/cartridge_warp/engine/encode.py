"""A pending batch becomes rows and deletes of its tables."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cwarp_core import (
    ChangeEvent,
    EncodedBatch,
    KeyKindError,
    Reply,
    key_text,
)

from ..model import ClusterTime, Table, TableChanges
from .batcher import CollectionChanges, Pending
from .line import Line
from .progress import Counts, Phase
from .shape import Shape
from .tables import Tables


class Encoded(Struct, frozen=True):
    """A batch ready to commit, and what to count once it is.

    counts: by collection.  filtered: events of collections that are not synced.
    """

    tables: tuple[TableChanges, ...]
    counts: tuple[tuple[str, Counts], ...]
    filtered: int


def encode(line: Line, tables: Tables, pending: Pending) -> Encoded:
    """Look up, encode and, where values drift, evolve. Blocks while an end is away."""
    done: list[TableChanges] = []
    counts: list[tuple[str, Counts]] = []
    filtered = 0
    for collection, changes in pending.collections.items():
        if not line.schema.selects(collection):
            filtered += changes.events
            continue
        shape = tables.get(collection) or tables.born(collection, changes.last.values())
        if shape is None:
            # No table, and no document to make one from: nothing can be in it.
            line.progress.table(collection, Phase.EMPTY)
            counts.append(
                (collection, Counts(read=changes.events, ignored=changes.events))
            )
            continue
        part = _Part(line, shape, changes, pending.cluster_time)
        done.append(part.table_changes())
        counts.append((collection, part.counts()))
    return Encoded(tuple(done), tuple(counts), filtered)


class _Part:
    """One collection's part of a batch."""

    def __init__(
        self,
        line: Line,
        shape: Shape,
        changes: CollectionChanges,
        cluster_time: ClusterTime,
    ) -> None:
        self._line = line
        self._shape = shape
        self._events = changes.events
        self._unkeyed = changes.unkeyed
        self._documents: list[ChangeEvent] = []
        self._deleted: list[bytes] = []
        unknown: list[bytes] = []
        for event in changes.last.values():
            if event.operation != "delete" and event.has_document:
                self._documents.append(event)
            elif (key := event.key) is not None:
                (self._deleted if event.operation == "delete" else unknown).append(key)
        self._found = self._lookup(unknown, cluster_time)
        self._missing = len(unknown) - sum(len(reply) for reply in self._found)
        self._table, self._rows = self._encoded()
        self._deletes, self._unheld = _key_texts(self._deleted, self._table.key)

    def _lookup(self, keys: Sequence[bytes], after: ClusterTime) -> list[Reply]:
        line, collection = self._line, self._shape.collection
        if not keys:
            return []
        # A list, so that a retry never gives a document twice.
        return line.retry(lambda: list(line.source.lookup(collection, keys, after)))

    def _encoded(self) -> tuple[Table, EncodedBatch]:
        table = self._shape.table
        rows = self._encoded_for(table)
        if self._shape.evolve(rows) is not table:
            table = self._shape.table
            rows = self._encoded_for(table)
        return table, rows

    def _encoded_for(self, table: Table) -> EncodedBatch:
        encoder = self._line.destination.encoder(table)
        encoder.add_events(self._documents)
        for reply in self._found:
            encoder.add_reply(reply, reply.operation_time)
        return encoder.take()

    def table_changes(self) -> TableChanges:
        rows = (self._rows,) if self._rows.documents else ()
        return TableChanges(
            self._table, rows, tuple(self._deletes), self._events, tuple(self._unheld)
        )

    def counts(self) -> Counts:
        """See ``Progress`` for the sum that these make."""
        rejected = len(self._rows.rejects)
        ignored = self._unkeyed + len(self._unheld)
        applied = self._rows.rows + len(self._deletes)
        return Counts(
            read=self._events,
            applied=applied,
            deleted=len(self._deletes),
            superseded=self._events - applied - rejected - ignored,
            dead_letters=rejected,
            ignored=ignored,
            rescued=self._rows.rescued,
        )


def _key_texts(keys: Sequence[bytes], encoding: str) -> tuple[list[str], list[str]]:
    """The texts of these ids, and the canonical ones of those it cannot hold.

    A row of such an id cannot exist, so there is nothing to delete but a dead letter.
    """
    texts: list[str] = []
    unheld: list[str] = []
    for key in keys:
        try:
            texts.append(key_text(key, encoding))
        except KeyKindError:
            unheld.append(key_text(key, "canonical"))
    return texts, unheld
