"""The one encoder of ``_id``: the same text or cell wherever a key is written."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from cwarp_core.copybuf cimport Buffer

cdef enum Encoding:
    E_OBJECTID = 0
    E_STRING = 1
    E_UUID = 2
    E_BIGINT = 3
    E_NUMERIC = 4
    E_CANONICAL = 5

cdef tuple encoding_names

cdef int put_key(
    Buffer *buf, int encoding, int type, const uint8_t *value, size_t size, bint as_text,
    const uint8_t **fault,
) noexcept nogil
cdef object canonical_key(int type, const uint8_t *value, size_t size)
cdef int split_key(bytes key, size_t *size) except -1
