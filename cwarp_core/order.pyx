"""The order in which MongoDB sorts ``_id``, and ranges of keys in that order.

Rules: BSONElement::compareElements and BSONObj::woCompare, src/mongo/bson, in the
server's source. A key is checked to its last byte before it is compared, so what is
read while comparing is known to be sound.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, strlen

from cwarp_core.bson cimport (
    MAX_NESTING,
    T_ARRAY,
    T_BINARY,
    T_BOOL,
    T_CODE,
    T_CODE_SCOPE,
    T_DATE,
    T_DBPOINTER,
    T_DECIMAL,
    T_DOCUMENT,
    T_DOUBLE,
    T_INT32,
    T_INT64,
    T_MINKEY,
    T_NULL,
    T_OBJECTID,
    T_REGEX,
    T_STRING,
    T_SYMBOL,
    T_TIMESTAMP,
    T_UNDEFINED,
    Cursor,
    Element,
    check_document,
    corrupt,
    next_element,
    open_document,
)
from cwarp_core.copybuf cimport OK
from cwarp_core.digits cimport (
    INFINITE,
    NAN,
    Digits,
    digits_of_decimal128,
    digits_of_int,
    exact_digits_of_double,
    strip_zeros,
)
from cwarp_core.endian cimport load_double, load_i32, load_i64, load_u64
from cwarp_core.key cimport split_key

# Canonical types in the order of canonicalizeBSONType (bsontypes.h).
cdef enum Rank:
    R_MINKEY
    R_UNDEFINED
    R_NULL
    R_NUMBER
    R_TEXT
    R_OBJECT
    R_ARRAY
    R_BINARY
    R_OBJECTID
    R_BOOL
    R_DATE
    R_TIMESTAMP
    R_REGEX
    R_DBPOINTER
    R_CODE
    R_CODE_SCOPE
    R_MAXKEY

# Two containers being compared, and whether their fields' names count.
cdef struct Pair:
    Cursor a
    Cursor b
    bint named


cdef inline int rank_of(uint8_t type) noexcept nogil:
    if type == T_OBJECTID:
        return R_OBJECTID
    elif type == T_DOUBLE or type == T_INT32 or type == T_INT64 or type == T_DECIMAL:
        return R_NUMBER
    elif type == T_STRING or type == T_SYMBOL:
        return R_TEXT
    elif type == T_DOCUMENT:
        return R_OBJECT
    elif type == T_ARRAY:
        return R_ARRAY
    elif type == T_BINARY:
        return R_BINARY
    elif type == T_BOOL:
        return R_BOOL
    elif type == T_DATE:
        return R_DATE
    elif type == T_TIMESTAMP:
        return R_TIMESTAMP
    elif type == T_NULL:
        return R_NULL
    elif type == T_UNDEFINED:
        return R_UNDEFINED
    elif type == T_REGEX:
        return R_REGEX
    elif type == T_DBPOINTER:
        return R_DBPOINTER
    elif type == T_CODE:
        return R_CODE
    elif type == T_CODE_SCOPE:
        return R_CODE_SCOPE
    elif type == T_MINKEY:
        return R_MINKEY
    return R_MAXKEY


cdef inline int order_i64(int64_t x, int64_t y) noexcept nogil:
    return (x > y) - (x < y)


cdef inline int order_size(size_t x, size_t y) noexcept nogil:
    return (x > y) - (x < y)


cdef inline int order_bytes(
    const uint8_t *p, size_t n, const uint8_t *q, size_t m
) noexcept nogil:
    cdef int order = memcmp(p, q, n if n < m else m)
    if order != 0:
        return 1 if order > 0 else -1
    return order_size(n, m)


cdef inline int order_double(double x, double y) noexcept nogil:
    if x < y:
        return -1
    if x > y:
        return 1
    return (y != y) - (x != x)


cdef int order_int_double(int64_t x, double y) noexcept nogil:
    """Without rounding x to a double: from 2^53 on several int64 share one."""
    cdef int64_t whole
    if y >= 9223372036854775808.0:
        return -1
    # NaN, the lowest number, fails this comparison as well.
    if not (y >= -9223372036854775808.0):
        return 1
    whole = <int64_t>y
    if x != whole:
        return order_i64(x, whole)
    return order_double(<double>whole, y)


cdef void digits_of(const Element *e, Digits *d) noexcept nogil:
    if e.type == T_DECIMAL:
        digits_of_decimal128(e.value, d)
    elif e.type == T_DOUBLE:
        exact_digits_of_double(load_double(e.value), d)
    else:
        digits_of_int(int_of(e), d)
    strip_zeros(d)


cdef int order_digits(const Element *a, const Element *b) noexcept nogil:
    """Numbers with a decimal128 among them, digit by digit."""
    cdef Digits x, y
    cdef int order, sign
    digits_of(a, &x)
    digits_of(b, &y)
    if x.special == NAN or y.special == NAN:
        return (y.special == NAN) - (x.special == NAN)
    sign = sign_of(&x)
    if sign != sign_of(&y) or sign == 0:
        return order_i64(sign, sign_of(&y))
    if x.special == INFINITE or y.special == INFINITE:
        return sign * ((x.special == INFINITE) - (y.special == INFINITE))
    # Where the first digit stands, then the digits; a longer tail is not all zeros.
    order = order_i64(x.count + x.exponent, y.count + y.exponent)
    if order == 0:
        order = order_bytes(x.digit, x.count, y.digit, y.count)
    return sign * order


cdef inline int sign_of(const Digits *d) noexcept nogil:
    if d.special != INFINITE and d.count == 0:
        return 0
    return -1 if d.negative else 1


cdef inline int64_t int_of(const Element *e) noexcept nogil:
    return load_i32(e.value) if e.type == T_INT32 else load_i64(e.value)


cdef int order_numbers(const Element *a, const Element *b) noexcept nogil:
    if a.type == T_DECIMAL or b.type == T_DECIMAL:
        return order_digits(a, b)
    if a.type == T_DOUBLE and b.type == T_DOUBLE:
        return order_double(load_double(a.value), load_double(b.value))
    if a.type == T_DOUBLE:
        return -order_int_double(int_of(b), load_double(a.value))
    if b.type == T_DOUBLE:
        return order_int_double(int_of(a), load_double(b.value))
    return order_i64(int_of(a), int_of(b))


cdef inline size_t counted(const uint8_t *p) noexcept nogil:
    """Bytes of a BSON string without its NUL."""
    return <size_t>load_i32(p) - 1


cdef int order_flat(const Element *a, const Element *b, int rank) noexcept nogil:
    """Two values of one rank; containers and scopes are equal so far."""
    cdef uint64_t t, u
    cdef size_t n, m
    cdef int order
    if rank == R_OBJECTID:
        return order_bytes(a.value, 12, b.value, 12)
    elif rank == R_NUMBER:
        return order_numbers(a, b)
    elif rank == R_TEXT or rank == R_CODE:
        return order_bytes(a.value + 4, a.size - 5, b.value + 4, b.size - 5)
    elif rank == R_BINARY:
        # Length, subtype, bytes; of subtype 2 the inner length counts as bytes.
        if a.size != b.size:
            return order_size(a.size, b.size)
        return order_bytes(a.value + 4, a.size - 4, b.value + 4, b.size - 4)
    elif rank == R_BOOL:
        return <int>a.value[0] - <int>b.value[0]
    elif rank == R_DATE:
        return order_i64(load_i64(a.value), load_i64(b.value))
    elif rank == R_TIMESTAMP:
        t = load_u64(a.value)
        u = load_u64(b.value)
        return (t > u) - (t < u)
    elif rank == R_REGEX:
        # Pattern, NUL, options, NUL: a shorter pattern meets its NUL first.
        return order_bytes(a.value, a.size, b.value, b.size)
    elif rank == R_DBPOINTER:
        # The index takes the namespace for a C string: its length, its bytes, the id.
        n = strlen(<const char *>a.value + 4)
        m = strlen(<const char *>b.value + 4)
        if n != m:
            return order_size(n, m)
        order = order_bytes(a.value + 4, n, b.value + 4, m)
        if order != 0:
            return order
        return order_bytes(a.value + a.size - 12, 12, b.value + b.size - 12, 12)
    elif rank == R_CODE_SCOPE:
        return order_bytes(
            a.value + 8, counted(a.value + 4), b.value + 8, counted(b.value + 4)
        )
    return 0


cdef inline const uint8_t *inside(const Element *e) noexcept nogil:
    """The document of a container or of a scope."""
    if e.type == T_CODE_SCOPE:
        return e.value + 8 + load_i32(e.value + 4)
    return e.value


cdef int order_elements(Element *a, Element *b) noexcept nogil:
    """-1, 0 or 1 for two sound elements. Their names do not count; both are used up."""
    cdef Pair stack[MAX_NESTING]
    cdef Pair *pair
    cdef int depth = 0
    cdef int rank, order
    cdef bint named = False
    while True:
        rank = rank_of(a.type)
        order = order_i64(rank, rank_of(b.type))
        if order == 0 and named:
            order = order_bytes(a.name, a.name_size, b.name, b.name_size)
        if order == 0:
            order = order_flat(a, b, rank)
        if order != 0:
            return order
        if rank == R_OBJECT or rank == R_ARRAY or rank == R_CODE_SCOPE:
            pair = &stack[depth]
            open_document(&pair.a, inside(a), a.value + a.size - inside(a))
            open_document(&pair.b, inside(b), b.value + b.size - inside(b))
            pair.named = rank != R_ARRAY
            depth += 1
        # The next two elements of the innermost pair that is not at its end.
        while True:
            if depth == 0:
                return 0
            pair = &stack[depth - 1]
            if pair.a.at < pair.a.end and pair.b.at < pair.b.end:
                break
            if pair.a.at < pair.a.end:
                return 1
            if pair.b.at < pair.b.end:
                return -1
            depth -= 1
        next_element(&pair.a, a)
        next_element(&pair.b, b)
        named = pair.named


cdef int read_key(bytes key, Element *e) except -1:
    """Check a whole key, nested values too; ``e`` points into it."""
    cdef const uint8_t *start = key
    cdef const uint8_t *fault = start
    e.type = <uint8_t>split_key(key, &e.size)
    e.value = start + 1
    if e.type == T_DOCUMENT or e.type == T_ARRAY or e.type == T_CODE_SCOPE:
        if check_document(
            inside(e), e.value + e.size - inside(e), False, &fault
        ) != OK:
            raise corrupt(fault - start)
    return 0


def compare_keys(bytes a not None, bytes b not None):
    """-1, 0 or 1 as MongoDB orders two ``_id`` elements under the simple collation."""
    cdef Element x, y
    read_key(a, &x)
    read_key(b, &y)
    return order_elements(&x, &y)


cdef bint holds_cut_pointer(const Element *e) noexcept nogil:
    """Whether a DBPointer of a sound value has a NUL inside its namespace."""
    cdef Cursor cur
    cdef Element field
    if e.type == T_DBPOINTER:
        return strlen(<const char *>e.value + 4) != counted(e.value)
    if e.type != T_DOCUMENT and e.type != T_ARRAY and e.type != T_CODE_SCOPE:
        return False
    if open_document(&cur, inside(e), e.value + e.size - inside(e)) != OK:
        return False
    while cur.at < cur.end:
        if next_element(&cur, &field) != OK:
            return False
        # As deep as documents nest, which the check of the key has bounded.
        if holds_cut_pointer(&field):
            return True
    return False


def asked_alone(bytes key not None):
    """Whether a look-up must not ask for this ``_id`` beside others."""
    cdef Element e
    read_key(key, &e)
    return holds_cut_pointer(&e)


@cython.final
cdef class KeyRanges:
    """Half-open ranges of ``_id`` that together hold every key there is."""

    cdef Element *lower          # into ``keys``; the first is never looked at
    cdef Py_ssize_t count
    cdef tuple keys

    def __cinit__(self, lowers not None):
        cdef Py_ssize_t i
        cdef Element a, b
        cdef bytes key
        self.keys = tuple(lowers)
        self.count = len(self.keys)
        if self.count == 0:
            raise ValueError("there is no range")
        self.lower = <Element *>calloc(self.count, sizeof(Element))
        if self.lower == NULL:
            raise MemoryError
        for i in range(self.count):
            key = self.keys[i]
            if key is None:
                if i:
                    raise ValueError(f"bound {i} is None, which only the first may be")
                continue
            read_key(key, &self.lower[i])
            if i and self.keys[i - 1] is not None:
                a, b = self.lower[i - 1], self.lower[i]
                if order_elements(&a, &b) >= 0:
                    raise ValueError(f"bound {i} is not above the one before it")

    def __dealloc__(self):
        free(self.lower)

    def __len__(self):
        return self.count

    def find(self, bytes key not None):
        """Index of the range that holds the key."""
        cdef Element given, a, b
        cdef Py_ssize_t first = 1
        cdef Py_ssize_t last = self.count
        cdef Py_ssize_t middle
        read_key(key, &given)
        # The number of bounds, after the first, that are not above the key.
        while first < last:
            middle = (first + last) // 2
            a, b = self.lower[middle], given
            if order_elements(&a, &b) > 0:
                last = middle
            else:
                first = middle + 1
        return first - 1
