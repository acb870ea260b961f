"""The values that travel between the wings. No behaviour beyond their own shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from cwarp_core import EncodedBatch, Reject

#: A MongoDB cluster time: (seconds << 32) | increment.
ClusterTime = int

#: The column of layouts "document" and "both" that holds the whole document.
DOCUMENT: Final = "document"
#: When a row was marked as deleted; beside ``Table.deleted_column``.
DELETED_AT: Final = "deleted_at"
#: Columns of our own: a field of such a name gets another one.
OWN_COLUMNS: Final = frozenset(
    {"_id", "_cwarp_synced_at", "_cwarp_source_ts", "_cwarp_extra"}
    | {"is_deleted", DELETED_AT}
)
#: Source names that start so never keep their form.
RESERVED_PREFIX: Final = "_cwarp_"
#: "System Columns" in PostgreSQL's manual; no table may have a column of that name.
SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


class Position(Struct, frozen=True):
    """A place in the source's history.

    token: the resume token as one BSON document, opaque.
    cluster_time: the time that the token stands for.
    stream: fingerprint of the kind of stream that gave the token. A token of another
    kind is not used: the stream is opened at the time instead.
    """

    token: bytes
    cluster_time: ClusterTime
    stream: str = ""


class SourceIdentity(Struct, frozen=True):
    """Which cluster this is. Two deployments never share a ``replica_set_id``."""

    replica_set_id: str
    version: str


class Collection(Struct, frozen=True):
    """A collection as the source lists it.

    kind: "collection", "capped", "clustered", "view" or "timeseries".
    documents, nbytes: the server's estimates.  identity: another one than that of
    every other collection that ever had the name; "" where the source does not tell.
    """

    name: str
    kind: str = "collection"
    documents: int = 0
    nbytes: int = 0
    identity: str = ""


class Column(Struct, frozen=True):
    """One column of a table. ``type``, ``native`` and ``subtype`` as in PlanColumn."""

    name: str
    path: tuple[str, ...]
    type: str
    native: str = ""
    subtype: int = 0


class TableOptions(Struct, frozen=True):
    """How one collection becomes one table; resolved from the cascade once.

    deletion_strategy: "hard", "soft" or "both".  soft_delete_column: what "soft" calls
    its column in a table that has none yet.
    """

    layout: str = "columns"
    naming: str = "preserve"
    max_document_depth: int = 3
    json_columns: str = "jsonb"
    json_mode: str = "plain"
    legacy_uuid: str = ""
    on_misfit: str = "rescue"
    max_columns: int = 250
    source_ts: bool = True
    synced_at: bool = True
    deletion_strategy: str = "hard"
    soft_delete_column: str = "is_deleted"


class Table(Struct, frozen=True):
    """A table as the schema registry holds it.

    schema, name: the PostgreSQL table.  collection: the MongoDB collection.
    key: encoding of ``_id`` (see ``cwarp_core.RowPlan``).  version: counts up from 1
    with every structure change.  deleted_column: true in the rows of documents that
    are gone, whose ``deleted_at`` is set then; "" for a table that has neither.
    """

    schema: str
    name: str
    collection: str
    key: str
    columns: tuple[Column, ...]
    options: TableOptions = TableOptions()
    version: int = 1
    deleted_column: str = ""


class SchemaChange(Struct, frozen=True):
    """One step of a table's evolution.

    kind: "add_column"; "rewrite_key": ``_id`` is in the encoding ``column.type`` from
    now on; "soft_delete": ``column`` becomes the ``deleted_column``.  safety: "SAFE",
    "RISKY", "DANGEROUS" or "INCOMPATIBLE".
    """

    kind: str
    column: Column
    safety: str = "SAFE"


class ChunkRange(Struct, frozen=True):
    """A half-open range of ``_id``: ``lower`` inside, ``upper`` outside, None open.

    Bounds are ``_id`` elements: type byte, then the value's bytes.  whole: it can end
    at its own bounds alone, since its ids are read or stored in another order.
    """

    lower: bytes | None
    upper: bytes | None
    whole: bool = False


class Chunk(Struct, frozen=True):
    """A chunk of a table's snapshot as the destination stores it.

    state: "pending", "copying" or "done".  documents: read so far, rejects included.
    read_time: what was committed up to here is in its rows; read_until: nothing newer
    is. Both 0 until it is done.  resync: the table may have rows in its range; they
    are made equal to what is read. Else there is none before it is done.
    """

    chunk_id: int
    range: ChunkRange
    state: str = "pending"
    documents: int = 0
    read_time: ClusterTime = 0
    read_until: ClusterTime = 0
    resync: bool = False


class Committed(Struct, frozen=True):
    """What the commit of a chunk did.

    rest: the new chunk of what it left of its range.  refused: rows that are dead
    letters now, and were not told of before.  written, removed: rows that differed,
    and rows that no document stood for.
    """

    rest: Chunk | None = None
    refused: Sequence[Reject] = ()
    written: int = 0
    removed: int = 0


class Origin(Struct, frozen=True):
    """Which collection a table's rows are of.

    since: what happened to its name up to this time is behind the rows, or behind the
    chunks that will be read.  identity: as in ``Collection``.
    """

    since: ClusterTime = 0
    identity: str = ""


class BatchMarker(Struct, frozen=True):
    """How far the passes over a table of batch mode are.

    value: the last document's value of the change detection column, as the one field of
    a BSON document.  key: its ``_id`` element.  time: what the value stands for, in
    milliseconds since 1970; markers are compared by it.
    """

    value: bytes
    key: bytes
    time: int


class BatchState(Struct, frozen=True):
    """A table of batch mode as the destination stores it.

    column: the one that its marker is of, "" where none is used.  marker: None while
    everything is still to be read.  passes: those that came to their end.  began,
    ended: of the last of them, in seconds since 1970; 0 before.  unread: documents that
    it could not see, because the column holds no time.
    """

    column: str = ""
    marker: BatchMarker | None = None
    passes: int = 0
    began: float = 0.0
    ended: float = 0.0
    unread: int = 0


class BatchStep(Struct, frozen=True):
    """What one commit adds to a table's pass.

    table: the table's name.  marker: where the pass is now; None: where it was.  end:
    the pass is over with this commit.
    """

    table: str
    marker: BatchMarker | None = None
    end: PassEnd | None = None


class PassEnd(Struct, frozen=True):
    """The end of a pass; times in seconds since 1970.

    due: when the next one begins.  unread: as in ``BatchState``.  news: the error log
    should say so.
    """

    began: float
    ended: float
    due: float
    unread: int = 0
    news: bool = False


class TableState(Struct, frozen=True):
    """A table the destination knows, and how far its snapshot is.

    planned: its chunks are stored.  chunks: all of them.  pending_letters: its dead
    letters that nothing has resolved.  left: some run did not follow it, and changes
    of that time are missing.  batch: None for a table that is streamed.  asked: a
    resync of it is asked for.  gone: its rows are those of a collection that is there
    no more.
    """

    table: Table
    planned: bool
    chunks: tuple[Chunk, ...] = ()
    pending_letters: int = 0
    left: bool = False
    batch: BatchState | None = None
    asked: bool = False
    gone: bool = False
    origin: Origin = Origin()

    @property
    def complete(self) -> bool:
        """Every chunk is done."""
        return self.planned and all(each.state == "done" for each in self.chunks)

    @property
    def documents(self) -> int:
        """Copied so far, rejects included."""
        return sum(each.documents for each in self.chunks)


class Keys(Struct, frozen=True):
    """Some ids of a table.

    texts: of those that its key can hold (``cwarp_core.key_text``).  unheld: canonical
    texts of the others.
    """

    texts: tuple[str, ...] = ()
    unheld: tuple[str, ...] = ()


class Absent(Struct, frozen=True):
    """What a table has of documents that are gone.

    rows: key texts.  letters: canonical texts of ids that have a pending dead letter.
    more: there are more such rows; ask again once these are deleted.
    """

    rows: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    more: bool = False


class TableChanges(Struct, frozen=True):
    """What one batch does to one table. No key is in both ``upserts`` and ``deletes``.

    deletes: key texts (``cwarp_core.key_text``) of deleted documents. What becomes of
    their rows is ``TableOptions.deletion_strategy``: "hard" removes them; "soft" marks
    them, and leaves one that is marked as it is; "both" removes them and keeps each
    one's last state. A row that is brought in is marked no more.
    delete_times: when each of them was deleted.
    unheld: canonical texts of deleted ids that the key's encoding cannot hold, which
    may have a dead letter but no row.
    stale: key texts of documents that are rejects now: what the table has under them is
    an older state. It is removed, or marked with "soft", and never kept elsewhere.
    events: change events this stands for, so that read = applied + superseded +
    rejected can be checked.
    """

    table: Table
    upserts: tuple[EncodedBatch, ...] = ()
    deletes: tuple[str, ...] = ()
    events: int = 0
    unheld: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    delete_times: tuple[ClusterTime, ...] = ()


class Batch(Struct, frozen=True):
    """What commits together: the changes of some tables and the position after them.

    position: None for the first parts of a batch too large for one commit: the marker
    counts on and its position stays.  lanes: whose markers move.  guarded: many rows
    are in the tables already as they are, and equal ones are left untouched.
    careful: a row was refused before; find the refused ones, and make dead letters of
    them (the encoded batches carry their documents).  step: of a pass of batch mode,
    which has no lanes.
    """

    position: Position | None
    tables: tuple[TableChanges, ...] = ()
    lanes: tuple[int, ...] = (0,)
    guarded: bool = False
    careful: bool = False
    step: BatchStep | None = None

    @property
    def markers(self) -> tuple[int | str, ...]:
        """Those that it moves: lanes by number, tables of batch mode by name."""
        return self.lanes if self.step is None else (*self.lanes, self.step.table)
