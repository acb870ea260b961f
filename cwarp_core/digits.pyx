"""Doubles, integers and decimal128 as decimal digits and as text.

Shortest digits of a double: Schubfach (R. Giulietti, "The Schubfach way to render
doubles", 2020). Its table of powers of ten is computed at import with exact integers.
Decimal128: IEEE 754-2008 binary integer decimal, as the BSON specification fixes it.
"""

from libc.math cimport fabs
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from cwarp_core.copybuf cimport NOMEM, OK, reserve
from cwarp_core.endian cimport load_u64, u128

cdef enum:
    POWER_MIN = -292
    POWER_MAX = 324
    EXACT_LIMBS = 128        # base 10^9: 1,152 digits, more than any double has
    LIMB = 1000000000

cdef const uint8_t *PAIRS = (
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    b"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    b"8081828384858687888990919293949596979899"
)

cdef uint64_t power_high[POWER_MAX - POWER_MIN + 1]
cdef uint64_t power_low[POWER_MAX - POWER_MIN + 1]


def _fill_powers():
    """ceil(10^k x 2^(127 - floor(log2 10^k))) for every k that a double can need."""
    cdef int index
    cdef object k, number, shift
    for k in range(POWER_MIN, POWER_MAX + 1):
        shift = 127 - ((k * 1741647) >> 19)
        if k >= 0:
            number = 10**k << shift if shift >= 0 else -(-(10**k) >> -shift)
        else:
            number = -(-(1 << shift) // 10**-k)
        index = k - POWER_MIN
        power_high[index] = number >> 64
        power_low[index] = number & 0xFFFFFFFFFFFFFFFF


_fill_powers()


cdef inline uint64_t round_to_odd(uint64_t high, uint64_t low, uint64_t cp) noexcept nogil:
    cdef u128 x = <u128>low * cp
    cdef u128 y = <u128>high * cp
    y = y + (x >> 64)
    return <uint64_t>(y >> 64) | (<uint64_t>y > 1)


cdef uint64_t shortest(uint64_t fraction, int biased, int *exponent) noexcept nogil:
    """The shortest decimal that reads back as this double, nearest to it."""
    cdef uint64_t c, cbl, cb, cbr, vbl, vb, vbr, lower, upper, s, sp, mid
    cdef int q, k, h, index
    cdef bint even, closer, up_inside, wp_inside, u_inside, w_inside, round_up
    if biased != 0:
        c = (<uint64_t>1 << 52) | fraction
        q = biased - 1075
        if 0 <= -q < 53 and (c & ((<uint64_t>1 << -q) - 1)) == 0:
            exponent[0] = 0
            return c >> -q
    else:
        c = fraction
        q = -1074
    even = c % 2 == 0
    closer = fraction == 0 and biased > 1
    cbl = 4 * c - 2 + closer
    cb = 4 * c
    cbr = 4 * c + 2
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = q + ((-k * 1741647) >> 19) + 1
    index = -k - POWER_MIN
    vbl = round_to_odd(power_high[index], power_low[index], cbl << h)
    vb = round_to_odd(power_high[index], power_low[index], cb << h)
    vbr = round_to_odd(power_high[index], power_low[index], cbr << h)
    lower = vbl + (not even)
    upper = vbr - (not even)
    s = vb // 4
    if s >= 10:
        sp = s // 10
        up_inside = lower <= 40 * sp
        wp_inside = 40 * sp + 40 <= upper
        if up_inside != wp_inside:
            exponent[0] = k + 1
            return sp + wp_inside
    u_inside = lower <= 4 * s
    w_inside = 4 * s + 4 <= upper
    exponent[0] = k
    if u_inside != w_inside:
        return s + w_inside
    mid = 4 * s + 2
    round_up = vb > mid or (vb == mid and (s & 1) != 0)
    return s + round_up


cdef inline int length_of(uint64_t x) noexcept nogil:
    """How many decimal digits x has; 0 for zero."""
    cdef int n = 0
    while x >= 10000:
        x = x // 10000
        n += 4
    if x >= 100:
        return n + (4 if x >= 1000 else 3)
    if x >= 10:
        return n + 2
    return n + (x != 0)


cdef inline int text_of(uint64_t x, uint8_t *out) noexcept nogil:
    """Decimal digits of x, most significant first; returns how many (0 for zero)."""
    cdef int n = length_of(x)
    cdef int at = n
    while at >= 2:
        at -= 2
        memcpy(out + at, PAIRS + 2 * (x % 100), 2)
        x = x // 100
    if at:
        out[0] = <uint8_t>(48 + x)
    return n


cdef void strip_zeros(Digits *d) noexcept nogil:
    while d.count and d.digit[d.count - 1] == 48:
        d.count -= 1
        d.exponent += 1
    if d.count == 0:
        d.exponent = 0


cdef void digits_of_int(int64_t x, Digits *d) noexcept nogil:
    d.negative = x < 0
    d.special = FINITE
    d.exponent = 0
    d.count = text_of(<uint64_t>0 - <uint64_t>x if x < 0 else <uint64_t>x, d.digit)


cdef inline bint open_double(double x, Digits *d, uint64_t *fraction, int *biased) noexcept nogil:
    """Sign and special values; True when fraction and exponent are to be read."""
    cdef uint64_t bits
    memcpy(&bits, &x, 8)
    fraction[0] = bits & 0xFFFFFFFFFFFFFULL
    biased[0] = <int>((bits >> 52) & 0x7FF)
    d.negative = (bits >> 63) != 0
    d.special = FINITE
    d.count = 0
    d.exponent = 0
    if biased[0] == 0x7FF:
        d.special = NAN if fraction[0] else INFINITE
        return False
    return biased[0] != 0 or fraction[0] != 0


cdef inline uint64_t ten_thousandths(double x) noexcept nogil:
    """10,000 x, when that says all of a positive x; else 0.

    Amounts and other numbers of few places, most doubles there are. Up to fifteen
    digits belong to one double alone, so digits that read back are the shortest.
    """
    cdef int64_t scaled
    if 1e-4 <= x < 1e11:
        scaled = <int64_t>(x * 1e4 + 0.5)
        if <double>scaled / 1e4 == x:
            return <uint64_t>scaled
    return 0


cdef void digits_of_double(double x, Digits *d) noexcept nogil:
    """Shortest round-trip digits, without trailing zeros."""
    cdef uint64_t fraction
    cdef int biased
    cdef uint64_t scaled
    if not open_double(x, d, &fraction, &biased):
        return
    scaled = ten_thousandths(fabs(x))
    if scaled:
        d.exponent = -4
        d.count = text_of(scaled, d.digit)
        strip_zeros(d)
        return
    d.count = text_of(shortest(fraction, biased, &d.exponent), d.digit)
    strip_zeros(d)


cdef void exact_digits_of_double(double x, Digits *d) noexcept nogil:
    """Every digit of the binary value: what MongoDB compares, so what a key needs."""
    cdef uint64_t fraction, carry
    cdef uint32_t limb[EXACT_LIMBS]
    cdef uint32_t factor
    cdef int biased, e, used, step, i, n
    cdef uint64_t m
    if not open_double(x, d, &fraction, &biased):
        return
    if biased:
        m = (<uint64_t>1 << 52) | fraction
        e = biased - 1075
    else:
        m = fraction
        e = -1074
    while e < 0 and m % 2 == 0:
        m >>= 1
        e += 1
    limb[0] = <uint32_t>(m % LIMB)
    limb[1] = <uint32_t>(m // LIMB)
    used = 2
    d.exponent = e if e < 0 else 0
    # m x 2^e for e > 0; m x 5^-e x 10^e otherwise.
    while e != 0:
        if e > 0:
            step = 29 if e > 29 else e
            factor = <uint32_t>1 << step
            e -= step
        else:
            step = 13 if -e > 13 else -e
            factor = 1
            for _ in range(step):
                factor *= 5
            e += step
        carry = 0
        for i in range(used):
            carry += <uint64_t>limb[i] * factor
            limb[i] = <uint32_t>(carry % LIMB)
            carry = carry // LIMB
        while carry:
            limb[used] = <uint32_t>(carry % LIMB)
            carry = carry // LIMB
            used += 1
    while used > 1 and limb[used - 1] == 0:
        used -= 1
    n = text_of(limb[used - 1], d.digit)
    for i in range(used - 2, -1, -1):
        for step in range(8, -1, -1):
            d.digit[n + step] = <uint8_t>(48 + limb[i] % 10)
            limb[i] = limb[i] // 10
        n += 9
    d.count = n
    strip_zeros(d)


cdef void digits_of_decimal128(const uint8_t *p, Digits *d) noexcept nogil:
    """Digits and exponent as stored: 1.10 keeps its zero, 1E3 its exponent."""
    cdef uint64_t low = load_u64(p), high = load_u64(p + 8)
    cdef u128 coefficient, limit
    cdef uint64_t top, bottom
    cdef int n
    d.negative = (high >> 63) != 0
    d.special = FINITE
    d.count = 0
    if ((high >> 61) & 3) == 3:
        if ((high >> 58) & 0x1F) == 0x1E:
            d.special = INFINITE
            return
        if ((high >> 58) & 0x1F) == 0x1F:
            d.special = NAN
            return
        # The second form's coefficient is past 34 digits, so it stands for zero.
        d.exponent = <int>((high >> 47) & 0x3FFF) - 6176
        return
    d.exponent = <int>((high >> 49) & 0x3FFF) - 6176
    coefficient = (<u128>(high & 0x1FFFFFFFFFFFFULL) << 64) | low
    limit = <u128>10000000000000000ULL * 1000000000000000000ULL
    if coefficient >= limit:
        return
    top = <uint64_t>(coefficient // 100000000000000000ULL)
    bottom = <uint64_t>(coefficient % 100000000000000000ULL)
    if top == 0:
        d.count = text_of(bottom, d.digit)
        return
    d.count = text_of(top, d.digit) + 17
    n = d.count
    for n in range(d.count - 1, d.count - 18, -1):
        d.digit[n] = <uint8_t>(48 + bottom % 10)
        bottom = bottom // 10


cdef int put_int(Buffer *buf, int64_t x) noexcept nogil:
    cdef uint64_t u = <uint64_t>0 - <uint64_t>x if x < 0 else <uint64_t>x
    if reserve(buf, 21) != OK:
        return NOMEM
    if x < 0:
        buf.data[buf.size] = 45
        buf.size += 1
    if u < 10:
        buf.data[buf.size] = <uint8_t>(48 + u)
        buf.size += 1
    else:
        buf.size += text_of(u, buf.data + buf.size)
    return OK


cdef int put_plain(Buffer *buf, const Digits *d) noexcept nogil:
    """Positional notation, as many places after the point as the exponent says."""
    cdef int point = d.count + d.exponent
    cdef size_t need = 4 + d.count
    cdef uint8_t *out
    need += d.exponent if d.exponent > 0 else -d.exponent
    if reserve(buf, need) != OK:
        return NOMEM
    out = buf.data + buf.size
    if d.negative:
        out[0] = 45
        out += 1
    if point <= 0:
        out[0] = 48
        out += 1
        if d.exponent < 0:
            out[0] = 46
            memset(out + 1, 48, -point)
            memcpy(out + 1 - point, d.digit, d.count)
            out += 1 - point + d.count
    elif d.exponent >= 0:
        memcpy(out, d.digit, d.count)
        if d.count:
            memset(out + d.count, 48, d.exponent)
            out += d.count + d.exponent
        else:
            out[0] = 48
            out += 1
    else:
        memcpy(out, d.digit, point)
        out[point] = 46
        memcpy(out + point + 1, d.digit + point, d.count - point)
        out += d.count + 1
    buf.size = out - buf.data
    return OK


cdef inline int put_exponent(
    Buffer *buf, const Digits *d, uint8_t letter, bint plus
) noexcept nogil:
    """d.ddd, the letter, and the exponent of the first digit."""
    cdef int power = d.count + d.exponent - 1
    if reserve(buf, d.count + 12) != OK:
        return NOMEM
    if d.negative:
        buf.data[buf.size] = 45
        buf.size += 1
    buf.data[buf.size] = d.digit[0]
    buf.size += 1
    if d.count > 1:
        buf.data[buf.size] = 46
        memcpy(buf.data + buf.size + 1, d.digit + 1, d.count - 1)
        buf.size += d.count
    buf.data[buf.size] = letter
    buf.size += 1
    if plus and power > 0:
        buf.data[buf.size] = 43
        buf.size += 1
    return put_int(buf, power)


cdef int put_amount(Buffer *buf, uint64_t scaled, bint negative) noexcept nogil:
    """scaled / 10,000 with at least one place after the point, and no zeros too many."""
    cdef uint32_t places = <uint32_t>(scaled % 10000)
    cdef int used = 4
    cdef uint8_t *out
    if reserve(buf, 24) != OK:
        return NOMEM
    out = buf.data + buf.size
    if negative:
        out[0] = 45
        out += 1
    scaled = scaled // 10000
    if scaled < 10:
        out[0] = <uint8_t>(48 + scaled)
        out += 1
    else:
        out += text_of(scaled, out)
    out[0] = 46
    memcpy(out + 1, PAIRS + 2 * (places // 100), 2)
    memcpy(out + 3, PAIRS + 2 * (places % 100), 2)
    while used > 1 and out[used] == 48:
        used -= 1
    buf.size = out + 1 + used - buf.data
    return OK


cdef int put_double(Buffer *buf, double x) noexcept nogil:
    """Shortest digits, always with ``.`` or ``e``. NaN, Infinity and -0.0 by name.

    From 1e16 on all digits are written and ``.0`` after them: jsonb would turn
    ``1e16`` into an integer, and integer and double must stay apart.
    """
    cdef Digits d
    cdef int power
    cdef uint64_t scaled = ten_thousandths(fabs(x))
    if scaled:
        return put_amount(buf, scaled, x < 0)
    digits_of_double(x, &d)
    if d.special == NAN:
        return put_name(buf, b"NaN", 3)
    if d.special == INFINITE:
        if d.negative:
            return put_name(buf, b"-Infinity", 9)
        return put_name(buf, b"Infinity", 8)
    if d.count == 0:
        if d.negative:
            return put_name(buf, b"-0.0", 4)
        return put_name(buf, b"0.0", 3)
    power = d.count + d.exponent - 1
    if power < -4:
        return put_exponent(buf, &d, 101, False)
    if put_plain(buf, &d) != OK:
        return NOMEM
    if d.exponent >= 0:
        return put_name(buf, b".0", 2)
    return OK


cdef inline int put_name(Buffer *buf, const char *name, int size) noexcept nogil:
    if reserve(buf, size) != OK:
        return NOMEM
    memcpy(buf.data + buf.size, name, size)
    buf.size += size
    return OK


cdef int put_decimal128(Buffer *buf, const Digits *d) noexcept nogil:
    """The canonical string of the BSON decimal128 specification."""
    cdef Digits zero
    cdef int power
    if d.special == NAN:
        return put_name(buf, b"NaN", 3)
    if d.special == INFINITE:
        if d.negative:
            return put_name(buf, b"-Infinity", 9)
        return put_name(buf, b"Infinity", 8)
    if d.count == 0:
        # A zero has one digit here: 0E+3 and 0.00 are different strings.
        zero.negative = d.negative
        zero.count = 1
        zero.exponent = d.exponent
        zero.digit[0] = 48
        if zero.exponent <= 0 and zero.exponent >= -6:
            return put_plain(buf, &zero)
        return put_exponent(buf, &zero, 69, True)
    power = d.count + d.exponent - 1
    if d.exponent <= 0 and power >= -6:
        return put_plain(buf, d)
    return put_exponent(buf, d, 69, True)
