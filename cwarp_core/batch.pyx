"""What an encoder gives: rows, rejects and drift."""

from typing import NamedTuple

# Signature, no flags, no header extension; and the file trailer (COPY, "Binary Format").
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"


class Reject(NamedTuple):
    """A document that became no row."""

    document: bytes
    code: str
    offset: int
    key: object
    column: int


class Drift(NamedTuple):
    """Values outside the plan that were kept in ``_cwarp_extra``."""

    path: tuple
    kind: str
    subtype: int
    column: int
    count: int


class EncodedBatch(NamedTuple):
    """Rows in COPY BINARY form, without the header and the trailer."""

    payload: bytes
    rows: int
    documents: int
    rejects: tuple
    drift: tuple
    rescued: int
    duplicate_keys: int
