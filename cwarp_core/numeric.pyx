"""Decimal digits as PostgreSQL's binary ``numeric``.

Wire form: ``numeric_recv`` (src/backend/utils/adt/numeric.c).
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp

from cwarp_core.copybuf cimport NOMEM, OK, put_16, reserve
from cwarp_core.digits cimport FINITE, INFINITE, NAN, exact_digits_of_double
from cwarp_core.endian cimport store_16

cdef enum:
    NUMERIC_POSITIVE = 0x0000
    NUMERIC_NEGATIVE = 0x4000
    NUMERIC_NAN = 0xC000
    NUMERIC_INFINITY = 0xD000
    NUMERIC_MINUS_INFINITY = 0xF000


cdef int put_small_numeric(
    Buffer *buf, uint64_t coefficient, int scale, bint negative
) noexcept nogil:
    """``numeric`` of coefficient / 10^scale; 0 < coefficient < 10^16, scale 0 to 12."""
    cdef uint16_t group[5]
    cdef int behind = (scale + 3) // 4
    cdef int count = 0
    cdef int first = 0
    cdef int i
    cdef uint8_t *out
    if reserve(buf, 18) != OK:
        return NOMEM
    # Groups of four digits line up with the point.
    for _ in range(4 * behind - scale):
        coefficient *= 10
    while coefficient:
        group[count] = <uint16_t>(coefficient % 10000)
        coefficient = coefficient // 10000
        count += 1
    while group[first] == 0:
        first += 1
    out = buf.data + buf.size
    store_16(out, <uint16_t>(count - first))
    store_16(out + 2, <uint16_t>(count - behind - 1))
    store_16(out + 4, NUMERIC_NEGATIVE if negative else NUMERIC_POSITIVE)
    store_16(out + 6, <uint16_t>scale)
    out += 8
    for i in range(count - 1, first - 1, -1):
        store_16(out, group[i])
        out += 2
    buf.size = out - buf.data
    return OK


cdef bint are_exact(double x, const Digits *d) noexcept nogil:
    """Whether these digits, the shortest of x, are its exact value."""
    cdef Digits all_of_x
    # Whole numbers below 2^53 are.
    if d.exponent >= 0 and -9007199254740992.0 < x < 9007199254740992.0:
        return True
    exact_digits_of_double(x, &all_of_x)
    return (
        all_of_x.count == d.count
        and all_of_x.exponent == d.exponent
        and memcmp(all_of_x.digit, d.digit, d.count) == 0
    )


cdef int put_numeric(Buffer *buf, const Digits *d, int scale) noexcept nogil:
    """The binary numeric: int16 ndigits, weight, sign, dscale, base-10000 digits.

    ``scale``: digits shown after the point; zero never has a sign in PostgreSQL.
    """
    cdef int sign, lead, total, groups, i, place, value, weight, point
    if reserve(buf, 8) != OK:
        return NOMEM
    if d.special != FINITE or d.count == 0:
        sign = NUMERIC_POSITIVE
        if d.special == NAN:
            sign = NUMERIC_NAN
        elif d.special == INFINITE:
            sign = NUMERIC_MINUS_INFINITY if d.negative else NUMERIC_INFINITY
        put_16(buf, 0)
        put_16(buf, 0)
        put_16(buf, sign)
        return put_16(buf, 0 if d.special != FINITE else scale)
    point = d.count + d.exponent
    # Weight of the first group: ceil(point / 4) - 1, for either sign of point.
    weight = (point + 3) // 4 - 1 if point > 0 else -((-point) // 4) - 1
    lead = (weight + 1) * 4 - point
    total = lead + d.count
    groups = (total + 3) // 4
    i = d.count
    while i > 0 and d.digit[i - 1] == 48:
        i -= 1
    groups = (lead + i + 3) // 4
    put_16(buf, groups)
    put_16(buf, weight)
    put_16(buf, NUMERIC_NEGATIVE if d.negative else NUMERIC_POSITIVE)
    put_16(buf, scale)
    if reserve(buf, 2 * groups) != OK:
        return NOMEM
    place = -lead
    for _ in range(groups):
        value = 0
        for _ in range(4):
            value *= 10
            if 0 <= place < d.count:
                value += d.digit[place] - 48
            place += 1
        put_16(buf, value)
    return OK
