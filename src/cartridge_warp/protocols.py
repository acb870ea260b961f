"""The contract between the engine and the connectors. The engine knows nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from cwarp_core import BatchEncoder, EncodedBatch, Reject, Reply

from .model import (
    Batch,
    Chunk,
    ChunkRange,
    ClusterTime,
    Collection,
    Committed,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableState,
)


class Changes(Protocol):
    """An open change stream. One thread at a time.

    The events of one source transaction come together, marked by the same
    ``ChangeEvent.transaction``.
    """

    def read(self, patience: float = 1.0) -> Reply:
        """The next reply: change events, or none after ``patience`` seconds of silence.

        Its ``post_batch_resume_token`` is the place after its last event. Resumes by
        itself where MongoDB says that is safe. Raises SourceUnavailable, HistoryLost,
        SourceError.
        """

    def position_of(self, token: bytes) -> Position:
        """The position a resume token of this stream stands for. Any thread, any time:
        it only decodes."""

    def close(self) -> None:
        """Safe to call twice."""


class Source(Protocol):
    """One database of documents. Every method may be called from any thread."""

    def validate(self, *, new: bool = True) -> SourceIdentity:
        """Check that the source can be read and followed. Raises PreconditionError.

        new: nothing was ever copied, so what is to be copied has to be there. Later it
        may have been dropped, which is history like any other.
        """

    def discover(self) -> list[Collection]:
        """The collections of the database, by name, system ones left out."""

    def position_now(self) -> Position:
        """The place in history after which nothing is missed from now on."""

    def time_now(self) -> ClusterTime:
        """The source's newest cluster time, once it is committed."""

    def newest_time(self) -> ClusterTime:
        """The source's newest cluster time, committed or not.

        No change that a stream has told of before this call is newer.
        """

    def order(self, token: bytes) -> bytes:
        """What sorts tokens as the stream has them. Any thread, any time: it only
        decodes."""

    def sample(self, collection: str, size: int) -> Iterator[Reply]:
        """About ``size`` documents chosen at random."""

    def key_bounds(self, collection: str) -> tuple[bytes, bytes] | None:
        """The smallest and greatest ``_id`` element; None for an empty collection."""

    def plan_chunks(self, collection: str) -> list[ChunkRange]:
        """Ranges that together hold every ``_id`` exactly once, in order.

        The order is that of ``cwarp_core.KeyRanges``; a collection that sorts its ids
        in another one is a single range, ``whole``.
        """

    def snapshot(
        self, collection: str, chunk: ChunkRange, after: ClusterTime
    ) -> Iterator[Reply]:
        """The committed documents of a chunk, in ``_id`` order, at ``after`` or later.

        Each reply's ``operation_time`` bounds its documents' age.
        """

    def changes(self, position: Position) -> Changes:
        """Everything after ``position``. Raises HistoryLost when that is gone.

        Some events at or before it may come again: where its token cannot be used, the
        stream begins with its time.
        """

    def lookup(
        self, collection: str, keys: Sequence[bytes], after: ClusterTime
    ) -> Iterator[Reply]:
        """The committed documents with these ``_id`` elements, at ``after`` or later.

        One that is not found is left out, which does not prove that it was deleted.
        """

    def close(self) -> None:
        """End every connection. Safe to call twice."""


@runtime_checkable
class KnowsOldest(Protocol):
    """A source that can tell how far back its history reaches. Any thread."""

    def oldest_time(self) -> ClusterTime | None:
        """The oldest cluster time whose changes it still has; None when it may not be
        asked. Raises SourceError."""


@runtime_checkable
class KnowsLetters(Protocol):
    """A destination that can count its dead letters. Any thread."""

    def pending_letters(self) -> Mapping[str, int]:
        """Pending ones by the table's name. Raises DestinationError."""


class Copier(Protocol):
    """One connection that copies chunks. One thread at a time.

    ``begin`` opens a transaction; ``commit`` or ``abort`` ends it.
    """

    def claim(self, table: Table) -> Chunk | None:
        """Make a pending chunk ``copying``, committed, before its range is read."""

    def begin(
        self,
        chunk: Chunk,
        table: Table,
        read_time: ClusterTime,
        *,
        careful: bool = False,
    ) -> None:
        """Open the chunk's transaction. Rows go straight into the table.

        Those of a resync do not: ``commit`` compares them with the table's. So a row
        that is equal is left untouched.
        read_time: the chunk was read at it or later.  careful: as in ``Batch``.
        From here to the end no structure change of the table passes, or ``commit``
        raises what ``begin`` would. Raises StructureChanged when the table's key is not
        that of ``table`` any more.
        """

    def write(self, batch: EncodedBatch) -> Sequence[Reject]:
        """Send rows; keep the batch's rejects as dead letters of this transaction.

        Returns, when careful, those of its rows that were refused and are dead letters
        too now; of a resync ``commit`` tells them. Raises RowsRefused otherwise, here
        or in ``commit``.
        """

    def commit(
        self,
        *,
        read_until: ClusterTime = 0,
        split_at: bytes | None = None,
        gone: bool = False,
    ) -> Committed:
        """Commit rows, dead letters, counters and ``done`` together.

        In a resync, rows of the chunk's range that were not written are rows of no
        document: they go, by the table's deletion strategy. With the last chunk, so do
        the dead letters that no chunk has met again.
        read_until: no row is newer than it, or the read time.  split_at: the chunk
        ends before this ``_id`` element, and the rest of its range becomes a new
        pending chunk.  gone: there is no collection any more; its rows stay.
        Raises Fenced when the schema or the chunk has another owner by now, RowsRefused
        and DestinationUnavailable (nothing was kept; ``abort``, then claim again),
        OutcomeUnknown, DestinationError. After any of them comes ``abort``.
        """

    def abort(self) -> None:
        """Roll back and hand the chunk back as ``pending``. Safe to call twice."""

    def close(self) -> None:
        """``abort``, and end the connection. Safe to call twice."""


class Applier(Protocol):
    """One connection that applies batches of the stream. One thread at a time."""

    def commit(self, batch: Batch) -> Mapping[str, Sequence[Reject]]:
        """Apply the batch and move its lanes' markers, in one transaction, once.

        Returns the rows that were refused and are dead letters now, by the table's
        name; none unless the batch is careful. When the outcome of COMMIT is unknown,
        the stored marker decides. Raises Fenced, StructureChanged (encode for the
        newest structure and call again), RowsRefused (nothing was applied; call again,
        careful), DestinationUnavailable (nothing was applied; the same call may be
        repeated), DestinationError, also for a position that is older than the stored
        one.
        """

    def close(self) -> None:
        """End the connection. Safe to call twice."""


class Destination(Protocol):
    """One schema of tables, with the position in the same transactions as the data.

    The calls that change structure come one at a time; copiers and appliers run beside
    them, each in its own thread.
    """

    def validate(self) -> bool:
        """Check reachability, version and rights. Raises PreconditionError.

        Changes nothing. True when the schema has a position to go on from.
        """

    def open(self, identity: SourceIdentity) -> list[Position]:
        """Prepare the metadata, take ownership, and return where each lane goes on.

        From here on every other owner is fenced. Chunks left ``copying`` are pending
        again. Empty when nothing was ever started. Raises Owned when the owner is
        another process that has given a sign of life within some seconds,
        PreconditionError when the stored marker belongs to another cluster.
        """

    def begin(self, position: Position, lanes: int) -> None:
        """Store this many markers, all at ``position``, and no other.

        At the very start, before anything is read; and when another number of lanes is
        wanted, while they all stand at one place.
        """

    def beat(self) -> None:
        """Give a sign of life. One thread, beside all others; every two seconds.

        Raises Fenced, DestinationError.
        """

    def tables(self) -> list[TableState]:
        """Every table of the schema, in its newest version, its chunks in order."""

    def ensure(self, table: Table) -> None:
        """Create the table and version 1 of its registry entry, in one transaction.

        Raises PreconditionError for a deletion strategy that the destination has not;
        whatever takes rows of the table raises it too, where the settings changed.
        """

    def evolve(self, table: Table, changes: Sequence[SchemaChange]) -> Table:
        """Apply the changes and store the next version, in one transaction.

        Raises LockTimeout when the table stays locked, StructureRefused when
        something outside forbids it; nothing has changed then. Once the key is
        rewritten, dead letters of ids that it can hold now are rows again. The same
        call again, after its answer was lost, changes nothing.
        """

    def leave(self, tables: Sequence[Table]) -> None:
        """This run does not follow these tables: they are ``left`` from now on."""

    def waiting_keys(self, table: Table) -> set[str]:
        """``cwarp_core.key_encoding`` of the ids that are pending dead letters because
        the table's key did not hold them."""

    def plan(self, table: Table, ranges: Sequence[ChunkRange]) -> list[Chunk]:
        """Store the chunks of a table's snapshot, once; those stored, in order."""

    def encoder(self, table: Table, *, keep: bool = False) -> BatchEncoder:
        """keep: its batches carry the rows' documents, as ``careful`` needs them."""

    def copier(self) -> Copier:
        """One more connection that copies chunks, beside any others."""

    def applier(self) -> Applier:
        """One more connection that applies batches, beside any others."""

    def failed(self, error: Exception, table: Table | None = None) -> None:
        """Keep why this run ends, or a table's copy, for whoever looks. Raises nothing.

        Telling the same error again does nothing.
        """

    def close(self) -> None:
        """Give up the ownership; a process that waits for it goes on at once.

        Safe to call twice.
        """


class SharedCopier(Copier, Protocol):
    """A copier of a process that helps the owner.

    It has no use for ``claim``. What it hands back is left to the owner.
    """

    def take(self) -> tuple[Table, Chunk] | None:
        """Claim a chunk of any table; None while there is none for it.

        It is committed before the call ends. Raises Fenced when it may claim nothing
        any more: the owner is another, or took this process for dead.
        """


class Membership(Protocol):
    """A process that helps the owner of one epoch. Any thread."""

    def beat(self) -> None:
        """Give a sign of life, every two seconds. Raises as ``SharedCopier.take``."""

    def admitted(self) -> bool:
        """May it claim chunks? Raises as ``SharedCopier.take``."""

    def copiers(self) -> Sequence[SharedCopier]:
        """Its connections."""

    def left(self) -> int:
        """Chunks of first copies that are not done, whoever has them."""

    def close(self) -> None:
        """Give up what is claimed, and leave. Safe to call twice."""


@runtime_checkable
class TakesHelp(Protocol):
    """A destination that a process can join without owning it."""

    def join(self, identity: SourceIdentity, connections: int) -> Membership:
        """Ask the present owner to be admitted, with so many connections.

        Raises Unowned, ConfigError where the owner is of another version or has other
        settings, PreconditionError where it copies another source.
        """
