"""The documents of one raw reply, by offset and size."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcmp, memcpy, strlen

from cwarp_core.bson cimport Element


cdef inline bint named(const Element *e, const char *name) noexcept nogil:
    return e.name_size == strlen(name) and memcmp(e.name, name, strlen(name)) == 0


cdef inline bytes key_of(const Element *e):
    """An ``_id`` element as a key: its type byte, then its value's bytes."""
    cdef bytes key = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>e.size + 1)
    cdef char *p = PyBytes_AS_STRING(key)
    p[0] = <char>e.type
    memcpy(p + 1, e.value, e.size)
    return key


cdef str text_of(const Element *e, const uint8_t *start)


cdef class Reply:
    cdef bytes raw
    cdef const uint8_t *data
    cdef Py_ssize_t count
    cdef uint32_t *offsets
    cdef uint32_t *sizes
    cdef readonly object cursor_id
    cdef readonly str namespace
    cdef readonly bytes post_batch_resume_token
    cdef readonly object operation_time
    cdef int fill(self, const uint8_t *array, size_t size) except -1
