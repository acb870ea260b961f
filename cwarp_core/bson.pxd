"""A bounds-checked cursor over one BSON document (bsonspec.org, version 1.1).

No byte outside the document is read. Every length is compared with what remains,
never added to a pointer first, so that no length can overflow.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memchr

from cwarp_core.copybuf cimport CORRUPT, OK
from cwarp_core.endian cimport load_i32, load_u64
from cwarp_core.utf8 cimport HIGH, ONES, first_byte

# Documents, arrays and scopes open at once, the root included (the server's own cap).
cdef enum:
    MAX_NESTING = 200

# The most that a document's own length can say.
cdef enum:
    MAX_DOCUMENT = 2147483647

cdef enum:
    T_DOUBLE = 0x01
    T_STRING = 0x02
    T_DOCUMENT = 0x03
    T_ARRAY = 0x04
    T_BINARY = 0x05
    T_UNDEFINED = 0x06
    T_OBJECTID = 0x07
    T_BOOL = 0x08
    T_DATE = 0x09
    T_NULL = 0x0A
    T_REGEX = 0x0B
    T_DBPOINTER = 0x0C
    T_CODE = 0x0D
    T_SYMBOL = 0x0E
    T_CODE_SCOPE = 0x0F
    T_INT32 = 0x10
    T_TIMESTAMP = 0x11
    T_INT64 = 0x12
    T_DECIMAL = 0x13
    T_MAXKEY = 0x7F
    T_MINKEY = 0xFF

# A BSON type, told apart further where a column type depends on it. The numbers of
# the first nineteen are BSON's own type bytes; the names are in ``kind_names``.
cdef enum:
    K_MINKEY = 20
    K_MAXKEY = 21
    K_UUID = 22
    K_UUID_LEGACY = 23
    K_EMPTY = 24
    KINDS = 25

cdef struct Element:
    uint8_t type
    const uint8_t *name
    size_t name_size
    const uint8_t *value
    size_t size

cdef struct Cursor:
    const uint8_t *at
    const uint8_t *end

# Where reading failed, for the reject: set by whoever returns CORRUPT.
cdef int value_size(uint8_t kind, const uint8_t *p, size_t left, size_t *size) noexcept nogil
cdef int check_document(
    const uint8_t *data, size_t size, bint strict, const uint8_t **fault
) noexcept nogil
cdef tuple kind_names
cdef object corrupt(Py_ssize_t offset, str what=*)


cdef inline int open_document(Cursor *cur, const uint8_t *p, size_t left) noexcept nogil:
    """Start reading the document at ``p``; ``end`` is its terminator."""
    cdef int32_t length
    if left < 5:
        return CORRUPT
    length = load_i32(p)
    if length < 5 or <size_t>length > left or p[length - 1] != 0:
        return CORRUPT
    cur.at = p + 4
    cur.end = p + length - 1
    return OK


cdef inline int read_value(Cursor *cur, Element *e) noexcept nogil:
    """The value of an element whose name has just been read."""
    cdef size_t left = cur.end - cur.at
    cdef int32_t length
    e.value = cur.at
    # The types that most values have, in line; the rest behind a call.
    if e.type == T_STRING:
        if left < 5:
            return CORRUPT
        length = load_i32(cur.at)
        if length < 1 or <size_t>length > left - 4 or cur.at[3 + length] != 0:
            return CORRUPT
        e.size = 4 + <size_t>length
    elif e.type == T_INT32:
        if left < 4:
            return CORRUPT
        e.size = 4
    elif e.type == T_DOUBLE or e.type == T_INT64 or e.type == T_DATE:
        if left < 8:
            return CORRUPT
        e.size = 8
    elif value_size(e.type, cur.at, left, &e.size) != OK:
        return CORRUPT
    cur.at += e.size
    return OK


cdef inline int read_name(Cursor *cur, Element *e) noexcept nogil:
    """Type and name of the next element; the caller has seen that ``at < end``."""
    cdef const uint8_t *stop
    cdef uint64_t v, zeros
    e.type = cur.at[0]
    e.name = cur.at + 1
    if cur.end - e.name >= 8:
        v = load_u64(e.name)
        zeros = (v - <uint64_t>ONES) & ~v & <uint64_t>HIGH
        if zeros:
            e.name_size = first_byte(zeros)
            cur.at = e.name + e.name_size + 1
            return OK
    stop = <const uint8_t *>memchr(e.name, 0, cur.end - e.name)
    if stop == NULL:
        return CORRUPT
    e.name_size = stop - e.name
    cur.at = stop + 1
    return OK


cdef inline int next_element(Cursor *cur, Element *e) noexcept nogil:
    if read_name(cur, e) != OK:
        return CORRUPT
    return read_value(cur, e)


cdef inline int kind_of(const Element *e) noexcept nogil:
    if e.type == T_BINARY:
        if e.size == 21 and e.value[4] == 4:
            return K_UUID
        if e.size == 21 and e.value[4] == 3:
            return K_UUID_LEGACY
        return T_BINARY
    if e.type == T_MINKEY:
        return K_MINKEY
    if e.type == T_MAXKEY:
        return K_MAXKEY
    return e.type
