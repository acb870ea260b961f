"""The documents of one raw reply, by offset and size."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cwarp_core.bson cimport Element

cdef bint named(const Element *e, const char *name) noexcept nogil
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
