"""Numbers as decimal digits: the common form between BSON numbers, text and numeric.

A value is (-1)^negative x digit string x 10^exponent, without leading zeros;
``count`` 0 is zero.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from cwarp_core.copybuf cimport Buffer

# 5^1074 x 2^53 needs 767 significant digits; limbs round that up.
cdef enum:
    EXACT_DIGITS = 800
    DECIMAL128_DIGITS = 34

cdef enum Special:
    FINITE = 0
    NAN = 1
    INFINITE = 2

cdef struct Digits:
    bint negative
    int special
    int count
    int exponent
    uint8_t digit[EXACT_DIGITS]   # '0'..'9'

cdef void digits_of_int(int64_t x, Digits *d) noexcept nogil
cdef void digits_of_double(double x, Digits *d) noexcept nogil
cdef void exact_digits_of_double(double x, Digits *d) noexcept nogil
cdef void digits_of_decimal128(const uint8_t *p, Digits *d) noexcept nogil
cdef void strip_zeros(Digits *d) noexcept nogil
cdef int put_int(Buffer *buf, int64_t x) noexcept nogil
cdef int put_double(Buffer *buf, double x) noexcept nogil
cdef int put_decimal128(Buffer *buf, const Digits *d) noexcept nogil
cdef int put_plain(Buffer *buf, const Digits *d) noexcept nogil
