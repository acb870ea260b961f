from typing import NamedTuple

class Reject(NamedTuple):
    """A document that became no row.

    code: "corrupt" (broken BSON), "missing_id", "key_kind" (its ``_id`` does not fit
        the key's encoding), "misfit" (a value does not fit and the plan does
        not rescue it), "too_large" (its row passes 1 GB, or its ``_cwarp_extra``
        256 MiB).
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

    Paths past the first 4,096 of a batch, and paths of more than 4,096 bytes, are kept
    there but not told.
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

    rescued: values kept in ``_cwarp_extra``.  duplicate_keys: fields of a flattened
    document that a later one of the same name hid; the last counts, with all it holds,
    as if it were alone.  documents: rows + len(rejects).
    raw: the documents of its rows, one after the other, where the encoder keeps them,
    else empty.
    """

    payload: bytes
    rows: int
    documents: int
    rejects: tuple[Reject, ...]
    drift: tuple[Drift, ...]
    rescued: int
    duplicate_keys: int
    raw: bytes = b""

COPY_HEADER: bytes
COPY_TRAILER: bytes

def row_offsets(payload: bytes) -> list[int]:
    """Where each row of a payload begins, and the payload's end: rows + 1 numbers.

    Raises ValueError when the payload is not whole rows and nothing else; the header
    and the trailer of a COPY are no rows.
    """
