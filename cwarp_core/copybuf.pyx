"""Growth and release of the byte buffer; the rest is inline in copybuf.pxd."""

from libc.stdlib cimport free, realloc

# First allocation: large enough that a batch of ordinary rows grows a few times only.
cdef enum:
    FIRST_CAPACITY = 65536
    # What an empty buffer may keep for the next batch.
    KEPT_CAPACITY = 67108864


cdef int buffer_grow(Buffer *buf, size_t extra) noexcept nogil:
    """Make room for ``extra`` more bytes, at least doubling. Leaves buf as it was on NOMEM."""
    cdef size_t need = buf.size + extra
    cdef size_t capacity
    cdef void *data
    if need < buf.size:
        return NOMEM
    capacity = buf.capacity * 2 if buf.capacity else <size_t>FIRST_CAPACITY
    if buf.limit:
        if need > buf.limit:
            buf.full = True
            return NOMEM
        if capacity > buf.limit:
            capacity = buf.limit
    if capacity < need:
        capacity = need
    data = realloc(buf.data, capacity)
    if data == NULL:
        return NOMEM
    buf.data = <uint8_t *>data
    buf.capacity = capacity
    return OK


cdef void buffer_trim(Buffer *buf) noexcept nogil:
    """Empty it, and let go what a row of unusual size has made of it."""
    buf.size = 0
    if buf.capacity > KEPT_CAPACITY:
        buffer_free(buf)


cdef void buffer_free(Buffer *buf) noexcept nogil:
    free(buf.data)
    buf.data = NULL
    buf.size = 0
    buf.capacity = 0
