"""BSON values as JSON text, written straight into a buffer."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from cwarp_core.copybuf cimport Buffer

cdef enum Mode:
    M_PLAIN = 0       # the readable form of 20-mapping: plain numbers, strings, ISO dates
    M_CANONICAL = 1   # canonical Extended JSON v2
    M_KEY = 2         # as canonical, but equal ids have equal text

cdef int put_json(
    Buffer *buf, int type, const uint8_t *value, size_t size, int mode, int depth,
    const uint8_t **fault,
) noexcept nogil
