"""Change events whose documents stay where the reply has them."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from cwarp_core.reply cimport Reply

cdef struct Span:
    const uint8_t *start
    size_t size


cdef class ChangeEvent:
    cdef Reply reply
    cdef Span token_span
    cdef Span document_span
    cdef Span uuid_span
    cdef uint64_t time
    cdef readonly str operation
    cdef readonly str database
    cdef readonly str collection
    cdef readonly bytes key
    cdef readonly bytes transaction
    cdef readonly str to_collection
    cdef readonly Py_ssize_t nbytes
