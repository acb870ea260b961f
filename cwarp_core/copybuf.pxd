"""A growable byte buffer, and the COPY BINARY frames written into it.

Every writer reserves before it stores and returns OK or NOMEM. A row that fails is
taken back by setting ``size`` to where the row began.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cwarp_core.endian cimport store_16, store_32, store_64

# What a writer can say. CORRUPT ends the document, MISFIT and BESIDE the cell.
cdef enum Status:
    NOMEM = -1
    OK = 0
    CORRUPT = 1
    MISFIT = 2
    BESIDE = 3

# ``limit``: it never grows past that (0: past what memory there is), and is ``full``
# once it was asked to; the writer has got NOMEM then.
cdef struct Buffer:
    uint8_t *data
    size_t size
    size_t capacity
    size_t limit
    bint full

cdef int buffer_grow(Buffer *buf, size_t extra) noexcept nogil
cdef void buffer_free(Buffer *buf) noexcept nogil
cdef void buffer_trim(Buffer *buf) noexcept nogil


cdef inline int reserve(Buffer *buf, size_t extra) noexcept nogil:
    """Room for ``extra`` bytes. ``data`` is not NULL afterwards, even for none at all."""
    if buf.capacity - buf.size > extra:
        return OK
    return buffer_grow(buf, extra)


cdef inline int put(Buffer *buf, const void *data, size_t size) noexcept nogil:
    if reserve(buf, size) != OK:
        return NOMEM
    memcpy(buf.data + buf.size, data, size)
    buf.size += size
    return OK


cdef inline int put_byte(Buffer *buf, uint8_t byte) noexcept nogil:
    if reserve(buf, 1) != OK:
        return NOMEM
    buf.data[buf.size] = byte
    buf.size += 1
    return OK


cdef inline int put_16(Buffer *buf, uint16_t x) noexcept nogil:
    if reserve(buf, 2) != OK:
        return NOMEM
    store_16(buf.data + buf.size, x)
    buf.size += 2
    return OK


cdef inline int put_nulls(Buffer *buf, size_t count) noexcept nogil:
    """As many cells of length -1."""
    if reserve(buf, 4 * count) != OK:
        return NOMEM
    # One is the usual number, and a call of memset costs more than its store.
    if count == 1:
        store_32(buf.data + buf.size, <uint32_t>-1)
    else:
        memset(buf.data + buf.size, 0xFF, 4 * count)
    buf.size += 4 * count
    return OK


cdef inline int put_cell_32(Buffer *buf, uint32_t x) noexcept nogil:
    if reserve(buf, 8) != OK:
        return NOMEM
    store_32(buf.data + buf.size, 4)
    store_32(buf.data + buf.size + 4, x)
    buf.size += 8
    return OK


cdef inline int put_cell_64(Buffer *buf, uint64_t x) noexcept nogil:
    if reserve(buf, 12) != OK:
        return NOMEM
    store_32(buf.data + buf.size, 8)
    store_64(buf.data + buf.size + 4, x)
    buf.size += 12
    return OK


cdef inline int put_cell(Buffer *buf, const void *data, size_t size) noexcept nogil:
    if reserve(buf, size + 4) != OK:
        return NOMEM
    store_32(buf.data + buf.size, <uint32_t>size)
    memcpy(buf.data + buf.size + 4, data, size)
    buf.size += size + 4
    return OK


cdef inline int begin_cell(Buffer *buf, size_t *start) noexcept nogil:
    """Leave room for a cell's length; ``end_cell`` writes it once it is known."""
    if reserve(buf, 4) != OK:
        return NOMEM
    buf.size += 4
    start[0] = buf.size
    return OK


cdef inline void end_cell(Buffer *buf, size_t start) noexcept nogil:
    store_32(buf.data + start - 4, <uint32_t>(buf.size - start))
