"""Bytes as text, written straight into a buffer. All return OK or NOMEM."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from cwarp_core.copybuf cimport Buffer

cdef int put_hex(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil
cdef int put_uuid(Buffer *buf, const uint8_t *p) noexcept nogil
cdef int put_base64(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil
cdef int put_json_string(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil
