"""BSON documents, checked: the out-of-line half of the cursor."""

from cwarp_core.endian cimport load_i32
from cwarp_core.utf8 cimport INVALID, text_class


class CorruptBSON(ValueError):
    """BSON that cannot be read. ``offset`` is the byte where that was seen."""

    def __init__(self, message, offset=-1):
        super().__init__(message)
        self.offset = offset


cdef tuple kind_names = (
    "", "double", "string", "object", "array", "binData", "undefined", "objectId",
    "bool", "date", "null", "regex", "dbPointer", "javascript", "symbol",
    "javascriptWithScope", "int", "timestamp", "long", "decimal",
    "minKey", "maxKey", "uuid", "uuidLegacy", "emptyObject",
)


cdef object corrupt(Py_ssize_t offset, str what=None):
    """``what``: in which of several things given the byte is counted."""
    of = f" of {what}" if what is not None else ""
    return CorruptBSON(f"broken BSON at byte {offset}{of}", offset)


cdef inline int string_size(const uint8_t *p, size_t left, size_t *size) noexcept nogil:
    """int32 length (its NUL counted), bytes, NUL."""
    cdef int32_t length
    if left < 5:
        return CORRUPT
    length = load_i32(p)
    if length < 1 or <size_t>length > left - 4 or p[4 + length - 1] != 0:
        return CORRUPT
    size[0] = 4 + <size_t>length
    return OK


cdef inline int fixed(size_t wanted, size_t left, size_t *size) noexcept nogil:
    if left < wanted:
        return CORRUPT
    size[0] = wanted
    return OK


cdef int value_size(uint8_t kind, const uint8_t *p, size_t left, size_t *size) noexcept nogil:
    """Bytes that the value at ``p`` takes; what it holds is checked one level deep."""
    cdef size_t a, b
    cdef int32_t length
    cdef const uint8_t *stop
    cdef Cursor scope
    if kind == T_STRING or kind == T_CODE or kind == T_SYMBOL:
        return string_size(p, left, size)
    elif kind == T_INT32:
        return fixed(4, left, size)
    elif kind == T_DOUBLE or kind == T_INT64 or kind == T_DATE or kind == T_TIMESTAMP:
        return fixed(8, left, size)
    elif kind == T_OBJECTID:
        return fixed(12, left, size)
    elif kind == T_BOOL:
        if left < 1 or p[0] > 1:
            return CORRUPT
        size[0] = 1
        return OK
    elif kind == T_NULL or kind == T_UNDEFINED or kind == T_MINKEY or kind == T_MAXKEY:
        size[0] = 0
        return OK
    elif kind == T_DOCUMENT or kind == T_ARRAY:
        if left < 5:
            return CORRUPT
        length = load_i32(p)
        if length < 5 or <size_t>length > left or p[length - 1] != 0:
            return CORRUPT
        size[0] = <size_t>length
        return OK
    elif kind == T_DECIMAL:
        return fixed(16, left, size)
    elif kind == T_BINARY:
        if left < 5:
            return CORRUPT
        length = load_i32(p)
        if length < 0 or <size_t>length > left - 5:
            return CORRUPT
        # Subtype 2 holds its length a second time.
        if p[4] == 2 and (length < 4 or load_i32(p + 5) != length - 4):
            return CORRUPT
        size[0] = 5 + <size_t>length
        return OK
    elif kind == T_REGEX:
        stop = <const uint8_t *>memchr(p, 0, left)
        if stop == NULL:
            return CORRUPT
        a = stop - p + 1
        stop = <const uint8_t *>memchr(p + a, 0, left - a)
        if stop == NULL:
            return CORRUPT
        size[0] = stop - p + 1
        return OK
    elif kind == T_DBPOINTER:
        if string_size(p, left, &a) != OK or left - a < 12:
            return CORRUPT
        size[0] = a + 12
        return OK
    elif kind == T_CODE_SCOPE:
        # int32 total, string, document; the three must agree exactly.
        if left < 14:
            return CORRUPT
        length = load_i32(p)
        if length < 14 or <size_t>length > left:
            return CORRUPT
        if string_size(p + 4, length - 4, &a) != OK:
            return CORRUPT
        b = <size_t>length - 4 - a
        if open_document(&scope, p + 4 + a, b) != OK:
            return CORRUPT
        if scope.end + 1 != p + length:
            return CORRUPT
        size[0] = <size_t>length
        return OK
    return CORRUPT


cdef int check_texts(const Element *e) noexcept nogil:
    """Whether every text inside one value is UTF-8."""
    cdef size_t a
    if e.type == T_STRING or e.type == T_CODE or e.type == T_SYMBOL:
        return text_class(e.value + 4, e.size - 5) != INVALID
    if e.type == T_DBPOINTER:
        return text_class(e.value + 4, e.size - 17) != INVALID
    if e.type == T_REGEX:
        return text_class(e.value, e.size) != INVALID
    if e.type == T_CODE_SCOPE:
        a = <size_t>load_i32(e.value + 4)
        return text_class(e.value + 8, a - 1) != INVALID
    return True


cdef int check_document(
    const uint8_t *data, size_t size, bint strict, const uint8_t **fault
) noexcept nogil:
    """Walk a whole document. ``strict`` refuses texts that are not UTF-8 as well."""
    cdef Cursor stack[MAX_NESTING]
    cdef Element e
    cdef Cursor *cur
    cdef int depth = 0
    cdef const uint8_t *inner
    fault[0] = data
    if open_document(&stack[0], data, size) != OK:
        return CORRUPT
    while depth >= 0:
        cur = &stack[depth]
        if cur.at == cur.end:
            depth -= 1
            continue
        fault[0] = cur.at
        if next_element(cur, &e) != OK:
            return CORRUPT
        if text_class(e.name, e.name_size) == INVALID:
            return CORRUPT
        if strict and not check_texts(&e):
            return CORRUPT
        if e.type == T_DOCUMENT or e.type == T_ARRAY or e.type == T_CODE_SCOPE:
            inner = e.value
            if e.type == T_CODE_SCOPE:
                inner = e.value + 8 + load_i32(e.value + 4)
            if depth + 1 == MAX_NESTING:
                return CORRUPT
            depth += 1
            if open_document(&stack[depth], inner, e.value + e.size - inner) != OK:
                return CORRUPT
    return OK


def check(bytes document not None):
    """Walk one whole document, nested ones too; raise CorruptBSON where it is broken."""
    cdef const uint8_t *data = document
    cdef size_t size = len(document)
    cdef const uint8_t *fault = data
    if size < 5 or load_i32(data) != <int32_t>size:
        raise corrupt(0)
    if check_document(data, size, True, &fault) != OK:
        raise corrupt(fault - data)
