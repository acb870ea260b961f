"""``_id`` values as keys: COPY cells, their text, and the look-up filter."""

from libc.stdint cimport int64_t, uint64_t

from cwarp_core.bson cimport (
    K_UUID,
    MAX_DOCUMENT,
    T_BINARY,
    T_DECIMAL,
    T_DOUBLE,
    T_INT32,
    T_INT64,
    T_OBJECTID,
    T_STRING,
    T_SYMBOL,
    Element,
    corrupt,
    kind_of,
    value_size,
)
from cwarp_core.copybuf cimport MISFIT, NOMEM, OK, buffer_free, put, put_byte, reserve
from cwarp_core.digits cimport (
    FINITE,
    INFINITE,
    NAN,
    Digits,
    digits_of_decimal128,
    digits_of_int,
    exact_digits_of_double,
    put_int,
    put_plain,
    strip_zeros,
)
from cwarp_core.endian cimport load_double, load_i32, load_i64, store_64
from cwarp_core.jsontext cimport M_KEY, put_json
from cwarp_core.numeric cimport put_numeric
from cwarp_core.strings cimport put_hex, put_uuid
from cwarp_core.utf8 cimport PLAIN, text_class

from cwarp_core.bson import CorruptBSON


class KeyKindError(ValueError):
    """An ``_id`` of a kind that the table's key encoding does not hold."""


cdef tuple encoding_names = (
    "objectId", "string", "uuid", "bigint", "numeric", "canonical"
)


cdef int put_key_number(
    Buffer *buf, int type, const uint8_t *value, bint as_text
) noexcept nogil:
    """A number by its exact value, as MongoDB compares it: 1, 1L and 1.0 are one key."""
    cdef Digits d
    if type == T_DOUBLE:
        exact_digits_of_double(load_double(value), &d)
    elif type == T_DECIMAL:
        digits_of_decimal128(value, &d)
        strip_zeros(&d)
    elif type == T_INT32:
        digits_of_int(load_i32(value), &d)
    elif type == T_INT64:
        digits_of_int(load_i64(value), &d)
    else:
        return MISFIT
    if d.special == FINITE and d.count == 0:
        d.negative = False
        d.exponent = 0
    if not as_text:
        return put_numeric(buf, &d, -d.exponent if d.exponent < 0 else 0)
    if d.special == NAN:
        return put(buf, b"NaN", 3)
    if d.special == INFINITE:
        return put(buf, b"-Infinity", 9) if d.negative else put(buf, b"Infinity", 8)
    return put_plain(buf, &d)


cdef bint as_int64(int type, const uint8_t *value, int64_t *x) noexcept nogil:
    """The number as an int64; False when it is none, or has another exact value."""
    cdef Digits d
    cdef double real
    cdef uint64_t magnitude = 0
    cdef int i, digit
    if type == T_INT32:
        x[0] = load_i32(value)
        return True
    if type == T_INT64:
        x[0] = load_i64(value)
        return True
    if type == T_DOUBLE:
        real = load_double(value)
        # 2^63 is a double and no int64; NaN fails both comparisons.
        if not (-9223372036854775808.0 <= real < 9223372036854775808.0):
            return False
        x[0] = <int64_t>real
        return <double>x[0] == real
    if type != T_DECIMAL:
        return False
    digits_of_decimal128(value, &d)
    strip_zeros(&d)
    if d.special != FINITE or d.exponent < 0 or d.count + d.exponent > 19:
        return False
    for i in range(d.count + d.exponent):
        digit = d.digit[i] - 48 if i < d.count else 0
        # 19 digits never pass 2^64.
        magnitude = magnitude * 10 + <uint64_t>digit
    if magnitude > 9223372036854775807ULL + <uint64_t>d.negative:
        return False
    x[0] = <int64_t>(<uint64_t>0 - magnitude if d.negative else magnitude)
    return True


cdef int put_key(
    Buffer *buf, int encoding, int type, const uint8_t *value, size_t size, bint as_text,
    const uint8_t **fault,
) noexcept nogil:
    """The bytes of a key cell, or its text as PostgreSQL prints it.

    Returns OK, MISFIT (another kind than the encoding holds), CORRUPT or NOMEM.
    """
    cdef Element e
    cdef int64_t x
    if encoding == E_CANONICAL:
        return put_json(buf, type, value, size, M_KEY, 1, fault)
    if encoding == E_OBJECTID:
        if type != T_OBJECTID:
            return MISFIT
        return put_hex(buf, value, 12)
    if encoding == E_STRING:
        if type != T_STRING and type != T_SYMBOL:
            return MISFIT
        if text_class(value + 4, size - 5) != PLAIN:
            return MISFIT
        return put(buf, value + 4, size - 5)
    if encoding == E_UUID:
        e.type = <uint8_t>type
        e.value = value
        e.size = size
        if type != T_BINARY or kind_of(&e) != K_UUID:
            return MISFIT
        return put_uuid(buf, value + 5) if as_text else put(buf, value + 5, 16)
    if encoding == E_NUMERIC:
        return put_key_number(buf, type, value, as_text)
    if not as_int64(type, value, &x):
        return MISFIT
    if as_text:
        return put_int(buf, x)
    if reserve(buf, 8) != OK:
        return NOMEM
    store_64(buf.data + buf.size, <unsigned long long>x)
    buf.size += 8
    return OK


cdef int split_key(bytes key, size_t *size) except -1:
    """Check a key element's bytes; returns its type."""
    cdef const uint8_t *p = key
    cdef size_t total = len(key)
    if total < 1 or value_size(p[0], p + 1, total - 1, size) != OK or size[0] != total - 1:
        raise corrupt(0)
    return p[0]


cdef object text_of_key(int encoding, int type, const uint8_t *value, size_t size):
    cdef Buffer buf = Buffer(NULL, 0, 0, 0, False)
    cdef const uint8_t *fault = value
    cdef int status = put_key(&buf, encoding, type, value, size, True, &fault)
    try:
        if status == NOMEM:
            raise MemoryError
        if status == MISFIT:
            raise KeyKindError(f"_id does not fit a key of {encoding_names[encoding]}")
        if status != OK:
            raise corrupt(fault - value)
        return buf.data[: buf.size].decode("utf-8") if buf.size else ""
    finally:
        buffer_free(&buf)


cdef object canonical_key(int type, const uint8_t *value, size_t size):
    """Canonical text of an ``_id`` for people and dead letters; None if it is broken."""
    try:
        return text_of_key(E_CANONICAL, type, value, size)
    except ValueError:
        return None


def key_encoding(bytes key not None):
    """The encoding for a table of ids of this one's kind."""
    cdef Element e
    e.type = <uint8_t>split_key(key, &e.size)
    e.value = <const uint8_t *>key + 1
    if e.type == T_OBJECTID:
        return "objectId"
    if e.type == T_STRING or e.type == T_SYMBOL:
        if text_class(e.value + 4, e.size - 5) != PLAIN:
            return "canonical"
        return "string"
    if e.type == T_BINARY and kind_of(&e) == K_UUID:
        return "uuid"
    if e.type == T_INT32 or e.type == T_INT64:
        return "bigint"
    if e.type == T_DOUBLE or e.type == T_DECIMAL:
        return "numeric"
    return "canonical"


def key_text(bytes key not None, str encoding not None):
    """The text form of the key cell, exactly what PostgreSQL prints for it."""
    cdef size_t size
    cdef int type = split_key(key, &size)
    if encoding not in encoding_names:
        raise ValueError(f"unknown key encoding {encoding!r}")
    return text_of_key(
        encoding_names.index(encoding), type, <const uint8_t *>key + 1, size
    )


def in_filter(keys):
    """The BSON document ``{"_id": {"$in": [...]}}`` of these ``_id`` elements."""
    cdef Buffer buf = Buffer(NULL, 0, 0, 0, False)
    cdef size_t size
    cdef bytes key
    cdef const uint8_t *element
    cdef int64_t index = 0
    # What stands around the keys, and around each: its number and a NUL.
    cdef size_t total = 64
    for key in keys:
        if key is None:
            raise TypeError("keys holds None")
        total += <size_t>len(key) + 12
    if total > <size_t>MAX_DOCUMENT:
        raise ValueError(f"a filter holds 2 GiB, and these keys are {total} bytes")
    try:
        for key in keys:
            split_key(key, &size)
            element = key
            if (
                put_byte(&buf, element[0]) != OK
                or put_int(&buf, index) != OK
                or put_byte(&buf, 0) != OK
                or put(&buf, element + 1, len(key) - 1) != OK
            ):
                raise MemoryError
            index += 1
        elements = buf.data[: buf.size] if buf.size else b""
    except CorruptBSON as error:
        raise corrupt(error.offset, f"key {index}") from None
    finally:
        buffer_free(&buf)
    array = _document(elements)
    return _document(b"\x03_id\0" + _document(b"\x04$in\0" + array))


def _document(body):
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"
