"""What an encoder gives: rows, rejects and drift."""

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, int32_t, uint8_t

from cwarp_core.endian cimport load_be16, load_be32

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
    raw: bytes = b""


cdef int row_size(const uint8_t *p, size_t left, size_t *size) noexcept nogil:
    """Bytes of the row at ``p``, 0 OK; -1 when it passes the end or is none."""
    cdef size_t at = 2
    cdef int32_t length
    if left < 2 or <int16_t>load_be16(p) < 0:
        return -1
    for _ in range(load_be16(p)):
        if left - at < 4:
            return -1
        length = <int32_t>load_be32(p + at)
        at += 4
        if length == -1:
            continue
        if length < 0 or <size_t>length > left - at:
            return -1
        at += <size_t>length
    size[0] = at
    return 0


def row_offsets(bytes payload not None):
    """Where each row of a payload begins, and the payload's end: rows + 1 numbers."""
    cdef const uint8_t *data = payload
    cdef size_t total = len(payload)
    cdef size_t at = 0
    cdef size_t size = 0
    offsets = [0]
    while at < total:
        if row_size(data + at, total - at, &size) != 0:
            raise ValueError(f"no whole row at byte {at} of the payload")
        at += size
        offsets.append(at)
    return offsets
