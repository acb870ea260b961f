"""BSON values as JSON text: readable, canonical Extended JSON v2, or key form.

Nested documents are walked with a stack of their own, never by recursion, and every
length is checked on the way, so that a value written here is a value that is sound.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strcmp, strlen

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
from cwarp_core.copybuf cimport CORRUPT, NOMEM, OK, buffer_free, put, put_byte, reserve
from cwarp_core.digits cimport (
    FINITE,
    INFINITE,
    NAN,
    Digits,
    digits_of_decimal128,
    exact_digits_of_double,
    put_decimal128,
    put_double,
    put_int,
    put_plain,
    strip_zeros,
)
from cwarp_core.endian cimport (
    load_double,
    load_i32,
    load_i64,
    load_u32,
    load_u64,
    store_word,
)
from cwarp_core.strings cimport escaped, put_base64, put_hex, put_json_string, put_uuid
from cwarp_core.utf8 cimport INVALID, LETTERS, load_short, text_class


# The first names of the forms below, and of what stands for a document that begins
# like one of them.
cdef const char *FORMS = (
    b"$oid\0$date\0$code\0$text\0$scope\0$binary\0$minKey\0$maxKey\0$symbol\0"
    b"$literal\0$timestamp\0$dbPointer\0$undefined\0$numberInt\0$numberLong\0"
    b"$numberDouble\0$numberDecimal\0$regularExpression\0"
)


cdef struct Frame:
    Cursor cursor
    bint is_array
    int braces               # that close what stands around it


cdef bint like_a_form(const Cursor *cur) noexcept nogil:
    """Whether a document's first field is named as one of the forms begins.

    The document's own NUL ends the name, if nothing does before.
    """
    cdef const char *form = FORMS
    if cur.at == cur.end or cur.at[1] != 36:
        return False
    while form[0]:
        if strcmp(form, <const char *>cur.at + 1) == 0:
            return True
        form += strlen(form) + 1
    return False


cdef inline int lit(Buffer *buf, const char *text, size_t size) noexcept nogil:
    return put(buf, text, size)


cdef int put_wrapped(Buffer *buf, const char *head, size_t size, int64_t x) noexcept nogil:
    """``{"$name":"`` number ``"}``"""
    if lit(buf, head, size) != OK or put_int(buf, x) != OK:
        return NOMEM
    return lit(buf, b'"}', 2)


cdef inline void two_digits(uint8_t *out, int x) noexcept nogil:
    out[0] = <uint8_t>(48 + x // 10)
    out[1] = <uint8_t>(48 + x % 10)


cdef int put_date(Buffer *buf, int64_t ms, int mode) noexcept nogil:
    """ISO 8601 with milliseconds for years 0000-9999, else Extended JSON."""
    cdef int64_t days, rest, z, era, doe, yoe, doy, mp, year
    cdef int month, day, left
    cdef uint8_t *out
    if mode != M_PLAIN or ms < -62167219200000LL or ms >= 253402300800000LL:
        if put_wrapped(buf, b'{"$date":{"$numberLong":"', 25, ms) != OK:
            return NOMEM
        return put_byte(buf, 125)
    days = ms // 86400000
    rest = ms - days * 86400000
    if rest < 0:
        rest += 86400000
        days -= 1
    # Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
    z = days + 719468
    era = (z if z >= 0 else z - 146096) // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = <int>(doy - (153 * mp + 2) // 5 + 1)
    month = <int>(mp + 3 if mp < 10 else mp - 9)
    year = yoe + era * 400 + (1 if month <= 2 else 0)
    if reserve(buf, 26) != OK:
        return NOMEM
    out = buf.data + buf.size
    memcpy(out, b'"0000-00-00T00:00:00.000Z"', 26)
    two_digits(out + 1, <int>(year // 100))
    two_digits(out + 3, <int>(year % 100))
    two_digits(out + 6, month)
    two_digits(out + 9, day)
    left = <int>(rest // 1000)
    two_digits(out + 12, left // 3600)
    two_digits(out + 15, left // 60 % 60)
    two_digits(out + 18, left % 60)
    left = <int>(rest % 1000)
    out[21] = <uint8_t>(48 + left // 100)
    two_digits(out + 22, left % 100)
    buf.size += 26
    return OK


cdef int put_number_key(Buffer *buf, Digits *d) noexcept nogil:
    """A number inside a key: by exact value, so that 1, 1L and 1.0 are one text."""
    if d.special == NAN:
        return lit(buf, b'{"$numberDouble":"NaN"}', 23)
    if d.special == INFINITE:
        if d.negative:
            return lit(buf, b'{"$numberDouble":"-Infinity"}', 29)
        return lit(buf, b'{"$numberDouble":"Infinity"}', 28)
    strip_zeros(d)
    if d.count == 0:
        d.negative = False
    return put_plain(buf, d)


cdef int put_double_json(Buffer *buf, double x, int mode) noexcept nogil:
    cdef Digits d
    cdef bint wrap
    if mode == M_KEY:
        exact_digits_of_double(x, &d)
        return put_number_key(buf, &d)
    wrap = mode == M_CANONICAL or x != x or x - x != 0 or (x == 0 and 1 / x < 0)
    if not wrap:
        return put_double(buf, x)
    if lit(buf, b'{"$numberDouble":"', 18) != OK or put_double(buf, x) != OK:
        return NOMEM
    return lit(buf, b'"}', 2)


cdef int put_decimal_json(Buffer *buf, const uint8_t *p, int mode) noexcept nogil:
    cdef Digits d
    digits_of_decimal128(p, &d)
    if mode == M_KEY:
        return put_number_key(buf, &d)
    if mode == M_PLAIN and d.special == FINITE and not (d.count == 0 and d.negative):
        return put_decimal128(buf, &d)
    if lit(buf, b'{"$numberDecimal":"', 19) != OK or put_decimal128(buf, &d) != OK:
        return NOMEM
    return lit(buf, b'"}', 2)


cdef int put_binary_json(Buffer *buf, const uint8_t *p, size_t size, int mode) noexcept nogil:
    """``p`` is the BSON value: int32 length, subtype, bytes."""
    cdef uint8_t subtype = p[4]
    cdef size_t skip = 9 if subtype == 2 else 5
    if mode == M_PLAIN and subtype == 4 and size == 21:
        if put_byte(buf, 34) != OK or put_uuid(buf, p + 5) != OK:
            return NOMEM
        return put_byte(buf, 34)
    if lit(buf, b'{"$binary":{"base64":"', 22) != OK:
        return NOMEM
    if put_base64(buf, p + skip, size - skip) != OK:
        return NOMEM
    if lit(buf, b'","subType":"', 13) != OK or put_hex(buf, &subtype, 1) != OK:
        return NOMEM
    return lit(buf, b'"}}', 3)


cdef int put_regex_json(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    cdef size_t pattern = 0
    while p[pattern]:
        pattern += 1
    if lit(buf, b'{"$regularExpression":{"pattern":', 33) != OK:
        return NOMEM
    if put_json_string(buf, p, pattern) != OK or lit(buf, b',"options":', 11) != OK:
        return NOMEM
    if put_json_string(buf, p + pattern + 1, size - pattern - 2) != OK:
        return NOMEM
    return lit(buf, b"}}", 2)


cdef int put_dbpointer_json(
    Buffer *buf, const uint8_t *p, size_t size, int mode
) noexcept nogil:
    # Of an id MongoDB's index takes the namespace for a C string.
    cdef size_t namespace = strlen(<const char *>p + 4) if mode == M_KEY else size - 17
    if lit(buf, b'{"$dbPointer":{"$ref":', 22) != OK:
        return NOMEM
    if put_json_string(buf, p + 4, namespace) != OK:
        return NOMEM
    if lit(buf, b',"$id":{"$oid":"', 16) != OK or put_hex(buf, p + size - 12, 12) != OK:
        return NOMEM
    return lit(buf, b'"}}}', 4)


cdef int put_leaf(
    Buffer *buf, int type, const uint8_t *p, size_t size, int mode
) noexcept nogil:
    """Any value that holds no other value."""
    if type == T_STRING:
        return put_json_string(buf, p + 4, size - 5)
    elif type == T_INT32:
        if mode == M_CANONICAL:
            return put_wrapped(buf, b'{"$numberInt":"', 15, load_i32(p))
        return put_int(buf, load_i32(p))
    elif type == T_INT64:
        if mode == M_CANONICAL:
            return put_wrapped(buf, b'{"$numberLong":"', 16, load_i64(p))
        return put_int(buf, load_i64(p))
    elif type == T_DOUBLE:
        return put_double_json(buf, load_double(p), mode)
    elif type == T_BOOL:
        return lit(buf, b"true", 4) if p[0] else lit(buf, b"false", 5)
    elif type == T_NULL:
        return lit(buf, b"null", 4)
    elif type == T_OBJECTID:
        if mode == M_PLAIN:
            if put_byte(buf, 34) != OK or put_hex(buf, p, 12) != OK:
                return NOMEM
            return put_byte(buf, 34)
        if lit(buf, b'{"$oid":"', 9) != OK or put_hex(buf, p, 12) != OK:
            return NOMEM
        return lit(buf, b'"}', 2)
    elif type == T_DATE:
        return put_date(buf, load_i64(p), mode)
    elif type == T_DECIMAL:
        return put_decimal_json(buf, p, mode)
    elif type == T_BINARY:
        return put_binary_json(buf, p, size, mode)
    elif type == T_TIMESTAMP:
        if lit(buf, b'{"$timestamp":{"t":', 19) != OK:
            return NOMEM
        if put_int(buf, load_u32(p + 4)) != OK or lit(buf, b',"i":', 5) != OK:
            return NOMEM
        if put_int(buf, load_u32(p)) != OK:
            return NOMEM
        return lit(buf, b"}}", 2)
    elif type == T_SYMBOL:
        # As an id it is the string: MongoDB keeps no two of them.
        if mode != M_CANONICAL:
            return put_json_string(buf, p + 4, size - 5)
        if lit(buf, b'{"$symbol":', 11) != OK:
            return NOMEM
        if put_json_string(buf, p + 4, size - 5) != OK:
            return NOMEM
        return put_byte(buf, 125)
    elif type == T_CODE:
        if lit(buf, b'{"$code":', 9) != OK:
            return NOMEM
        if put_json_string(buf, p + 4, size - 5) != OK:
            return NOMEM
        return put_byte(buf, 125)
    elif type == T_REGEX:
        return put_regex_json(buf, p, size)
    elif type == T_DBPOINTER:
        return put_dbpointer_json(buf, p, size, mode)
    elif type == T_UNDEFINED:
        return lit(buf, b'{"$undefined":true}', 19)
    elif type == T_MINKEY:
        return lit(buf, b'{"$minKey":1}', 13)
    return lit(buf, b'{"$maxKey":1}', 13)


cdef inline int put_name(Buffer *buf, const uint8_t *name, size_t size) noexcept nogil:
    """A member's name and its colon; CORRUPT when the name is not UTF-8."""
    cdef uint8_t *out
    cdef uint64_t v
    cdef size_t i = 0
    # The last word is stored whole: up to seven bytes past the name's end.
    if reserve(buf, size + 11) != OK:
        return NOMEM
    out = buf.data + buf.size
    out[0] = 34
    while size - i >= 8:
        v = load_u64(name + i)
        if escaped(v):
            break
        store_word(out + 1 + i, v)
        i += 8
    else:
        v = load_short(name + i, size - i) if i < size else <uint64_t>LETTERS
        if not escaped(v):
            store_word(out + 1 + i, v)
            out[size + 1] = 34
            out[size + 2] = 58
            buf.size += size + 3
            return OK
    if text_class(name, size) == INVALID:
        return CORRUPT
    if put_json_string(buf, name, size) != OK:
        return NOMEM
    return put_byte(buf, 58)


cdef int put_json(
    Buffer *buf, int type, const uint8_t *value, size_t size, int mode, int depth,
    const uint8_t **fault,
) noexcept nogil:
    """Any value, nested ones with all they hold.

    ``depth``: documents open above this value. On CORRUPT ``fault`` is where.
    """
    cdef Frame stack[MAX_NESTING]
    cdef Frame *top = &stack[0]
    cdef Cursor cur
    cdef Element e
    cdef const uint8_t *inner
    cdef int level = -1
    cdef int scope = MAX_NESTING
    cdef bint first = True
    cdef int status
    cur.at = cur.end = NULL
    e.type = <uint8_t>type
    e.value = value
    e.size = size
    while True:
        if e.type == T_DOCUMENT or e.type == T_ARRAY or e.type == T_CODE_SCOPE:
            inner = e.value
            if e.type == T_CODE_SCOPE:
                inner = e.value + 8 + load_i32(e.value + 4)
                if lit(buf, b'{"$code":', 9) != OK:
                    return NOMEM
                status = put_json_string(buf, e.value + 8, inner - e.value - 9)
                if status != OK or lit(buf, b',"$scope":', 10) != OK:
                    return NOMEM
            if level >= 0:
                top.cursor = cur
            level += 1
            fault[0] = inner
            if level + depth >= MAX_NESTING:
                return CORRUPT
            top = &stack[level]
            if open_document(&cur, inner, e.value + e.size - inner) != OK:
                return CORRUPT
            top.is_array = e.type == T_ARRAY
            top.braces = e.type == T_CODE_SCOPE
            if e.type == T_CODE_SCOPE and mode == M_PLAIN and level < scope:
                # Code is data of a program: what it closes over stays canonical.
                scope = level
            if (mode != M_PLAIN or level >= scope) and not top.is_array:
                if like_a_form(&cur):
                    if lit(buf, b'{"$literal":', 12) != OK:
                        return NOMEM
                    top.braces += 1
            first = True
            if put_byte(buf, 91 if top.is_array else 123) != OK:
                return NOMEM
        elif put_leaf(
            buf, e.type, e.value, e.size, M_CANONICAL if level >= scope else mode
        ) != OK:
            return NOMEM
        # Close what has ended, then go to the next element.
        while cur.at == cur.end:
            if level < 0:
                return OK
            if put_byte(buf, 93 if top.is_array else 125) != OK:
                return NOMEM
            for _ in range(top.braces):
                if put_byte(buf, 125) != OK:
                    return NOMEM
            if level == scope:
                scope = MAX_NESTING
            level -= 1
            if level < 0:
                return OK
            first = False
            top = &stack[level]
            cur = top.cursor
        fault[0] = cur.at
        if next_element(&cur, &e) != OK:
            return CORRUPT
        if not first and put_byte(buf, 44) != OK:
            return NOMEM
        first = False
        if not top.is_array:
            status = put_name(buf, e.name, e.name_size)
            if status != OK:
                return status
        # An array's own field names are not kept, but they must be text too.
        elif text_class(e.name, e.name_size) == INVALID:
            return CORRUPT


def json_text(bytes document not None, str mode="plain"):
    """A BSON document as JSON text, as the core writes it into jsonb."""
    cdef const uint8_t *data = document
    cdef size_t size = len(document)
    cdef const uint8_t *fault = data
    cdef Buffer buf = Buffer(NULL, 0, 0, 0, False)
    cdef int status
    cdef int wanted
    if mode not in ("plain", "canonical"):
        raise ValueError(f"mode must be plain or canonical, not {mode!r}")
    wanted = M_CANONICAL if mode == "canonical" else M_PLAIN
    if size < 5 or <size_t>load_i32(data) != size:
        raise corrupt(0)
    if check_document(data, size, False, &fault) != OK:
        raise corrupt(fault - data)
    with nogil:
        status = put_json(&buf, T_DOCUMENT, data, size, wanted, 0, &fault)
    try:
        if status == NOMEM:
            raise MemoryError
        if status != OK:
            raise corrupt(fault - data)
        return buf.data[: buf.size].decode("utf-8")
    finally:
        buffer_free(&buf)
