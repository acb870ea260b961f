"""``numeric`` cells without their length. Those that write return OK or NOMEM."""

from libc.stdint cimport uint64_t

from cwarp_core.copybuf cimport Buffer
from cwarp_core.digits cimport Digits

cdef int put_small_numeric(
    Buffer *buf, uint64_t coefficient, int scale, bint negative
) noexcept nogil
cdef bint are_exact(double x, const Digits *d) noexcept nogil
cdef int put_numeric(Buffer *buf, const Digits *d, int scale) noexcept nogil
