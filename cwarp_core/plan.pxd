"""A table's mapping as C arrays: a tree of field names, and a list of columns."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from cwarp_core.copybuf cimport Buffer
from cwarp_core.endian cimport load_u64
from cwarp_core.utf8 cimport load_short

cdef enum ColumnType:
    C_BOOLEAN = 0
    C_INTEGER = 1
    C_BIGINT = 2
    C_DOUBLE = 3
    C_NUMERIC = 4
    C_TEXT = 5
    C_UUID = 6
    C_BYTEA = 7
    C_TIMESTAMPTZ = 8
    C_JSONB = 9
    C_JSON = 10          # json, and JSON text in a text column

cdef enum Uuid:
    UUID_NONE = 0
    UUID_STANDARD = 1
    UUID_JAVA = 2
    UUID_CSHARP = 3

cdef enum:
    NO_SLOT = -1
    KEY_SLOT = -2

# A field name inside one node. ``slot`` is a column, KEY_SLOT or NO_SLOT; ``node`` the
# node of the sub-document's fields, or -1; ``whole``: a sub-document goes to the column.
cdef struct Field:
    const uint8_t *name      # with a NUL behind it, as BSON has it
    size_t size
    uint64_t head            # the first eight bytes of name and NUL,
    uint64_t mask            # and which of them count
    int32_t slot
    int32_t node
    bint whole

# The fields of one flattened level: ``count`` of them from ``first``, and a hash table
# of ``mask`` + 1 places from ``table``.
cdef struct Node:
    int32_t first
    int32_t count
    int32_t table
    uint32_t mask

cdef struct Column:
    int type
    int native
    int subtype
    const uint8_t *label     # `"path":` as it stands in _cwarp_extra
    size_t label_size


cdef inline uint32_t hash_name(const uint8_t *name, size_t size) noexcept nogil:
    """First word, last word and length: names of one level seldom share all three."""
    cdef uint64_t h = size
    if size >= 8:
        h += load_u64(name) + 3 * load_u64(name + size - 8)
    elif size:
        h += load_short(name, size)
    h *= <uint64_t>0x9E3779B97F4A7C15ULL
    return <uint32_t>(h >> 32)


cdef inline bint same_bytes(
    const uint8_t *a, const uint8_t *b, size_t size
) noexcept nogil:
    """memcmp for what is short: field names mostly are."""
    if size >= 8:
        while size > 8:
            if load_u64(a) != load_u64(b):
                return False
            a += 8
            b += 8
            size -= 8
            if size < 8:
                a -= 8 - size
                b -= 8 - size
                size = 8
        return load_u64(a) == load_u64(b)
    return size == 0 or load_short(a, size) == load_short(b, size)


cdef class RowPlan:
    cdef readonly str key
    cdef readonly tuple columns
    cdef readonly int width
    cdef readonly int max_depth
    cdef int encoding
    cdef int json_mode
    cdef int legacy_uuid
    cdef bint rejecting
    cdef bint source_ts
    cdef int32_t document    # the column of the whole document, or -1
    cdef int32_t column_count
    cdef int32_t field_count
    cdef int32_t node_count
    cdef Field *fields
    cdef Node *nodes
    cdef int32_t *buckets
    cdef Column *column
    cdef list names          # keeps the bytes that fields and labels point into
    cdef int compile(self) except -1
