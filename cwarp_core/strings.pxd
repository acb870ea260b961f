"""Bytes as text, written straight into a buffer. All return OK or NOMEM."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from cwarp_core.copybuf cimport Buffer
from cwarp_core.utf8 cimport HIGH, ONES

cdef int put_hex(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil
cdef int put_uuid(Buffer *buf, const uint8_t *p) noexcept nogil
cdef int put_base64(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil
cdef int put_json_string(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil


cdef inline uint64_t escaped(uint64_t v) noexcept nogil:
    """High bits from the first byte JSON does not take as it is, or that is not ASCII."""
    return (
        v
        | (v - <uint64_t>0x2020202020202020ULL)
        | ((v ^ <uint64_t>0x2222222222222222ULL) - <uint64_t>ONES)
        | ((v ^ <uint64_t>0x5C5C5C5C5C5C5C5CULL) - <uint64_t>ONES)
    ) & <uint64_t>HIGH
