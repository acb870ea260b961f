from typing import NamedTuple, Self, final

from .event import ChangeEvent
from .plan import RowPlan
from .reply import Reply

class Reject(NamedTuple):
    """A document that became no row.

    code: "corrupt" (broken BSON), "missing_id", "key_kind" (its ``_id`` does not fit
        the key's encoding), "misfit" (a value does not fit and the plan says
        dead_letter), "too_large" (its row passes 1 GB).
    offset: byte offset in ``document`` where the fault was seen; -1 if it has none.
    key: canonical text of its ``_id``, None where that cannot be read.
    column: index in the plan's columns of a misfit, else -1.
    """

    document: bytes
    code: str
    offset: int
    key: str | None
    column: int

class Drift(NamedTuple):
    """Values outside the plan that were kept in ``_cwarp_extra``.

    column: index in the plan's columns, or -1 for a path that has none.
    kind: BSON kind (``$type`` alias, "uuid", "uuidLegacy", or "emptyObject").
    """

    path: tuple[str, ...]
    kind: str
    subtype: int
    column: int
    count: int  # type: ignore[assignment]  # the name tuple.count, on purpose

class EncodedBatch(NamedTuple):
    """Rows in COPY BINARY form, without the header and the trailer.

    rescued: values kept in ``_cwarp_extra``.  duplicate_keys: fields seen twice in
    one flattened document (the last one won).  documents: rows + len(rejects).
    """

    payload: bytes
    rows: int
    documents: int
    rejects: tuple[Reject, ...]
    drift: tuple[Drift, ...]
    rescued: int
    duplicate_keys: int

COPY_HEADER: bytes
COPY_TRAILER: bytes

@final
class BatchEncoder:
    """Raw BSON documents to COPY BINARY rows, the GIL released once a batch.

    One thread at a time. ``source_ts`` is a cluster time, (seconds << 32) |
    increment; 0 writes NULL. On any fault of a document its row is taken back from
    the buffer whole and the document becomes a Reject; the others are untouched.
    """

    def __new__(cls, plan: RowPlan) -> Self: ...
    @property
    def plan(self) -> RowPlan: ...
    @property
    def rows(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def add_reply(self, reply: Reply, source_ts: int) -> int:
        """Encode every document of the reply; return the number of rows made."""
    def add_document(self, document: bytes, source_ts: int) -> bool:
        """Encode one document; False when it was rejected."""
    def add_events(self, events: list[ChangeEvent]) -> int:
        """Encode the document of each event that has one, at the event's cluster
        time, from where the reply has it; return the number of rows made."""
    def take(self) -> EncodedBatch:
        """Everything since the last take; the encoder is empty afterwards."""
