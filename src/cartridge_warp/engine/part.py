"""A lane's part of a batch: sifted, looked up, encoded, in pieces that fit memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from msgspec import Struct

from cwarp_core import ChangeEvent, EncodedBatch, KeyKindError, Reject, Reply, key_text

from ..model import Batch, ClusterTime, Position, TableChanges
from .batcher import CollectionChanges
from .copy import Copy
from .line import Line
from .shape import Shape
from .tables import Tables
from .views import Counts, Phase

log = logging.getLogger(__name__)

#: Rejects whose bytes are BSON and that have an id.
_SOUND = frozenset({"misfit", "too_large"})


class Part(Struct, frozen=True):
    """What one lane, or all of them together, commits for a batch.

    position: of the place behind it.  cluster_time: of its newest event.
    transactions: it holds a source transaction.  settled: as in ``Pending``.
    again: some of it may be committed already, and later events too.  moves: False,
    the markers stay where they are.
    """

    position: Position
    collections: Mapping[str, CollectionChanges]
    lanes: tuple[int, ...]
    cluster_time: ClusterTime = 0
    transactions: bool = False
    settled: bool = False
    again: bool = False
    moves: bool = True


class Piece:
    """As much of a part as one transaction takes; the last one has the position.

    filtered: events of collections that are not streamed.  ignored: collection ->
    events that ask for nothing, because it has no table yet and no document to make one
    from.
    """

    def __init__(
        self,
        part: Part,
        slices: Sequence[Slice],
        *,
        last: bool,
        filtered: int = 0,
        ignored: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.part = part
        self.last = last
        self.filtered = filtered
        self._ignored = ignored
        self._slices = slices
        self.encode()

    def encode(self, *, careful: bool = False) -> None:
        """Encode for each table's newest structure. Blocks while an end is away."""
        for each in self._slices:
            each.encode(keep=careful)
        self.batch = Batch(
            self.part.position if self.last and self.part.moves else None,
            tuple(each.table_changes() for each in self._slices),
            self.part.lanes,
            guarded=any(each.overlaps for each in self._slices),
            careful=careful,
        )

    def counts(
        self, refused: Mapping[str, Sequence[Reject]]
    ) -> Iterator[tuple[str, Counts]]:
        """By collection, once committed. refused: what ``Applier.commit`` returned."""
        for each in self._slices:
            number = len(refused.get(each.table.name, ()))
            yield each.collection, each.counts(refused=number)
        for collection, number in self._ignored.items():
            yield collection, Counts(read=number, ignored=number)

    def rejects(self) -> Iterator[tuple[str, Sequence[Reject]]]:
        """The encoder's, by the table's name."""
        for each in self._slices:
            yield each.table.name, each.rows.rejects


def pieces(line: Line, tables: Tables, copy: Copy, part: Part) -> Iterator[Piece]:
    """Cut a part where its documents are more than ``stream_batch_bytes``.

    Only documents that were looked up can be so many: what came with its event is
    bounded already. Waits for chunks being copied; retries while an end is away.
    """
    slices: list[Slice] = []
    ignored: dict[str, int] = {}
    nbytes = filtered = 0
    for collection, changes in part.collections.items():
        if not line.streams(collection):
            filtered += changes.events
            continue
        shape = tables.found(collection, changes.last.values())
        if shape is None:
            # No table, and no document to make one from: nothing can be in it.
            line.progress.table(collection, Phase.EMPTY)
            ignored[collection] = changes.events
            continue
        overlaps = part.again or copy.concerns(collection) or shape.gone
        events = copy.sift(collection, changes.last.values())
        here = Slice(line, shape, overlaps=overlaps)
        unknown = here.take(events)
        slices.append(here)
        left = changes.events
        for reply in _lookup(line, shape, unknown, part.cluster_time):
            if here.found and nbytes + reply.nbytes > line.schema.stream_batch_bytes:
                left -= here.close()
                if part.transactions:
                    log.warning(
                        "a transaction of the source is larger than "
                        "stream_batch_bytes; it is committed in parts"
                    )
                yield Piece(part, slices, last=False)
                here = Slice(line, shape, overlaps=overlaps)
                slices, nbytes = [here], 0
            here.found.append(reply)
            nbytes += reply.nbytes
        here.events = left
        here.unkeyed = changes.unkeyed
    yield Piece(part, slices, last=True, filtered=filtered, ignored=ignored)


def _lookup(
    line: Line, shape: Shape, keys: Sequence[bytes], after: ClusterTime
) -> Iterator[Reply]:
    """The documents of these ids, about ``stream_batch_bytes`` at a time."""
    first = 0
    while first < len(keys):
        some = keys[first : first + shape.lookup_keys]
        first += len(some)
        # Another member may be behind the one that was read before.
        least = max(after, shape.read_until)
        read = partial(line.source.lookup, shape.collection, some, least)
        # A list, so that a retry never gives a document twice.
        found = line.retry(lambda: list(read()))  # noqa: B023  called at once
        for reply in found:
            shape.read(reply.operation_time)
        shape.looked_up(found, line.schema.stream_batch_bytes)
        yield from found


class Slice:
    """One table's events of a piece, its rows in the newest structure.

    overlaps: rows may be newer than these events, in the copy or for another reason.
    """

    def __init__(self, line: Line, shape: Shape, *, overlaps: bool) -> None:
        self.collection = shape.collection
        self.overlaps = overlaps
        self.found: list[Reply] = []
        self.events = 0
        self.unkeyed = 0
        self._line = line
        self._shape = shape
        self._documents: list[ChangeEvent] = []
        self._deleted: list[tuple[bytes, ClusterTime]] = []

    def take(self, events: Sequence[ChangeEvent]) -> list[bytes]:
        """Take events; returns the ids whose documents have to be looked up.

        Where the row may be newer than its event, the document that came with it is
        not used either: a row never goes back to an older state. An insert behind a
        look-up may be used, since the delete before it was applied, or is in its batch.
        """
        unknown: list[bytes] = []
        for event in events:
            if event.operation == "delete":
                if (key := event.key) is not None:
                    self._deleted.append((key, event.cluster_time))
            elif event.has_document and self._is_newest(event):
                self._documents.append(event)
            elif (key := event.key) is not None:
                unknown.append(key)
        return unknown

    def _is_newest(self, event: ChangeEvent) -> bool:
        if self.overlaps:
            return False
        return (
            event.operation == "insert" or event.cluster_time > self._shape.read_until
        )

    def close(self) -> int:
        """No more comes into this slice: the number of its events."""
        self.events = (
            len(self._documents)
            + len(self._deleted)
            + sum(len(reply) for reply in self.found)
        )
        return self.events

    def encode(self, *, keep: bool) -> None:
        """Make the rows, and let the table change for them where the policy allows."""
        self.table = self._shape.table
        self.rows = self._rows(keep)
        # Again, because a key that was rewritten lets in documents with new fields.
        while self._shape.evolve(self.rows) is not self.table:
            self.table = self._shape.table
            self.rows = self._rows(keep)
        self._shape.check(self.rows)
        self._take_deleted()
        self._stale = _stale(self.rows.rejects, self.table.key)

    def _take_deleted(self) -> None:
        self._deletes: dict[str, ClusterTime] = {}
        self._unheld: list[str] = []
        for key, time in self._deleted:
            text = held_text(key, self.table.key)
            if text is None:
                self._unheld.append(key_text(key, "canonical"))
            else:
                self._deletes[text] = time

    def _rows(self, keep: bool) -> EncodedBatch:
        encoder = self._line.destination.encoder(self.table, keep=keep)
        encoder.add_events(self._documents)
        for reply in self.found:
            encoder.add_reply(reply, reply.operation_time)
        return encoder.take()

    def table_changes(self) -> TableChanges:
        rows = (self.rows,) if self.rows.documents else ()
        return TableChanges(
            self.table,
            rows,
            tuple(self._deletes),
            self.events,
            tuple(self._unheld),
            self._stale,
            tuple(self._deletes.values()),
        )

    def counts(self, *, refused: int) -> Counts:
        """See ``Progress`` for the sum that these make."""
        rejected = len(self.rows.rejects) + refused
        ignored = self.unkeyed + len(self._unheld)
        applied = self.rows.rows - refused + len(self._deletes)
        return Counts(
            read=self.events,
            applied=applied,
            deleted=len(self._deletes),
            superseded=self.events - applied - rejected - ignored,
            dead_letters=rejected,
            ignored=ignored,
            rescued=self.rows.rescued,
        )


def _stale(rejects: Sequence[Reject], encoding: str) -> tuple[str, ...]:
    """The key texts of the rejected documents that may have had a row."""
    sound = [each.document for each in rejects if each.code in _SOUND]
    if not sound:
        return ()
    documents = Reply.of_documents(sound)
    keys = map(documents.key, range(len(documents)))
    texts = (held_text(each, encoding) for each in keys if each is not None)
    return tuple(each for each in texts if each is not None)


def held_text(key: bytes, encoding: str) -> str | None:
    """The text of an id; None for one that this encoding cannot hold.

    A row of such an id cannot exist, so there is nothing to delete but a dead letter.
    """
    try:
        return key_text(key, encoding)
    except KeyKindError:
        return None
