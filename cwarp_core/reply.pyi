from typing import Self, final

@final
class Reply:
    """The documents of one raw reply to ``find``, ``aggregate`` or ``getMore``.

    Keeps the reply's bytes and the offset and length of each document; copies
    nothing until ``document`` is called. Raises CorruptBSON when the reply itself
    is not sound (a corrupt document inside it is found later, by its reader).
    """

    def __new__(cls, raw: bytes) -> Self: ...
    @classmethod
    def of_documents(
        cls,
        documents: list[bytes],
        operation_time: int = 0,
        token: bytes | None = None,
    ) -> Reply:
        """A reply made of these documents, for sources that have no wire protocol.

        token: its ``post_batch_resume_token``, one BSON document. Raises ValueError
        for more than 2 GiB, which no reply holds, OverflowError for a time outside 64
        bits, CorruptBSON when the outer length of a document is not its own: it names
        the document, from 0, or the token, and ``offset`` counts from its start.
        """
    def __len__(self) -> int: ...
    def document(self, index: int) -> bytes:
        """Raises IndexError; an index below zero is none."""
    def key(self, index: int) -> bytes | None:
        """The ``_id`` element of a document: its type byte, then its value's bytes.

        The first one; None when there is none or what lies before it is broken. Raises
        IndexError.
        """
    @property
    def cursor_id(self) -> int: ...
    @property
    def namespace(self) -> str: ...
    @property
    def post_batch_resume_token(self) -> bytes | None:
        """The token as one BSON document."""
    @property
    def operation_time(self) -> int:
        """``operationTime`` as (seconds << 32) | increment; 0 when absent."""
    @property
    def nbytes(self) -> int: ...
