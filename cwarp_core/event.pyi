from typing import NoReturn, final

from .reply import Reply

@final
class ChangeEvent:
    """The header of one change event, and where its document lies.

    operation: MongoDB's ``operationType``, whatever it is.
    key: the ``_id`` element of ``documentKey`` (type byte, then value bytes), or None.
    cluster_time: (seconds << 32) | increment.
    transaction: the bytes of ``lsid`` and ``txnNumber``, equal for all events of one
        source transaction; None outside one.

    ``parse_events`` makes them; calling the class is a TypeError.
    """

    def __init__(self, *args: object, **kwargs: object) -> NoReturn: ...
    @property
    def operation(self) -> str: ...
    @property
    def database(self) -> str: ...
    @property
    def collection(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def identity(self) -> bytes | str | None:
        """What tells this event's ``_id`` from others, as MongoDB compares them: its
        bytes, or where equal ids can have different ones (1 and 1.0) its canonical
        text. None when there is no key, or it cannot be read."""
    @property
    def cluster_time(self) -> int: ...
    @property
    def transaction(self) -> bytes | None: ...
    @property
    def token(self) -> bytes:
        """The event's resume token as one BSON document."""
    @property
    def document(self) -> bytes | None:
        """``fullDocument``, or None when the event carries none."""
    @property
    def has_document(self) -> bool:
        """Whether ``document`` is there; asks without a copy of it."""
    @property
    def to_collection(self) -> str | None:
        """The new name of a rename event (``to.coll``)."""
    @property
    def collection_uuid(self) -> bytes | None: ...
    @property
    def nbytes(self) -> int: ...

def parse_events(reply: Reply) -> list[ChangeEvent]:
    """The change events of a reply, in order. Raises CorruptBSON."""
