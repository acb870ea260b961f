from typing import Self, final

from .batch import EncodedBatch
from .event import ChangeEvent
from .plan import RowPlan
from .reply import Reply

@final
class BatchEncoder:
    """Raw BSON documents to COPY BINARY rows, the GIL released once a batch.

    One thread at a time: a second that calls while the first is inside gets
    RuntimeError. ``source_ts`` is a cluster time, (seconds << 32) | increment; 0
    writes NULL. On any fault of a document its row is taken back from
    the buffer whole and the document becomes a Reject; the others are untouched.
    With ``keep`` the documents of the rows are kept as well: ``EncodedBatch.raw``.
    """

    def __new__(cls, plan: RowPlan, keep: bool = False) -> Self: ...
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
