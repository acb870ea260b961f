"""BSON type x column type -> binary cell, or the word that it does not fit.

Each function writes one cell, its length included, or nothing. OK: the cell says it
all. BESIDE: stored, but the exact form belongs beside it. MISFIT: nothing written.
Wire forms: PostgreSQL's ``*_recv`` functions (src/backend/utils/adt).
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cwarp_core.bson cimport (
    K_UUID,
    K_UUID_LEGACY,
    T_BINARY,
    T_BOOL,
    T_DATE,
    T_DECIMAL,
    T_DOUBLE,
    T_INT32,
    T_INT64,
    T_OBJECTID,
    T_STRING,
    T_SYMBOL,
    T_TIMESTAMP,
    Element,
    kind_of,
)
from cwarp_core.copybuf cimport (
    BESIDE,
    MISFIT,
    NOMEM,
    OK,
    begin_cell,
    end_cell,
    put,
    put_byte,
    put_cell,
    put_cell_32,
    put_cell_64,
    reserve,
)
from cwarp_core.digits cimport (
    FINITE,
    Digits,
    digits_of_decimal128,
    digits_of_double,
    digits_of_int,
    put_decimal128,
    put_double,
    put_int,
)
from cwarp_core.endian cimport (
    load_double,
    load_i32,
    load_i64,
    load_u32,
    load_u64,
    store_32,
    store_word,
)
from cwarp_core.jsontext cimport put_json
from cwarp_core.numeric cimport are_exact, put_numeric, put_small_numeric
from cwarp_core.plan cimport (
    C_BIGINT,
    C_BOOLEAN,
    C_BYTEA,
    C_DOUBLE,
    C_INTEGER,
    C_JSONB,
    C_NUMERIC,
    C_TEXT,
    C_TIMESTAMPTZ,
    C_UUID,
    UUID_CSHARP,
    UUID_JAVA,
    UUID_NONE,
)
from cwarp_core.strings cimport put_hex
from cwarp_core.utf8 cimport PLAIN, load_short, text_class, unusual

# 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
cdef enum: EPOCH_SECONDS = 946684800


cdef inline int slot_kind(const Slot *slot) noexcept nogil:
    cdef Element e
    if slot.type != T_BINARY:
        # No column's own kind is MinKey or MaxKey, whose numbers alone differ.
        return slot.type
    e.type = T_BINARY
    e.value = slot.value
    e.size = slot.size
    return kind_of(&e)


cdef inline int stored(int status, const Column *column, const Slot *slot) noexcept nogil:
    """A stored value of another kind than the column's own needs its exact form beside."""
    if status != OK:
        return status
    return OK if slot_kind(slot) == column.native else BESIDE


cdef inline int put_string(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    """A BSON string as text: looked at while it is copied, up to where ASCII ends."""
    cdef uint8_t *out
    cdef uint64_t v
    cdef size_t i = 0
    # The last word is stored whole: up to seven bytes past the text's end.
    if reserve(buf, size + 12) != OK:
        return NOMEM
    out = buf.data + buf.size
    store_32(out, <uint32_t>size)
    out += 4
    while size - i >= 8:
        v = load_u64(p + i)
        if unusual(v):
            break
        store_word(out + i, v)
        i += 8
    else:
        if i < size:
            v = load_short(p + i, size - i)
            if not unusual(v):
                store_word(out + i, v)
                i = size
    if i < size:
        if text_class(p + i, size - i) != PLAIN:
            return MISFIT
        memcpy(out + i, p + i, size - i)
    buf.size += size + 4
    return OK


cdef int put_text(Buffer *buf, const Slot *s) noexcept nogil:
    """Scalars as text; MISFIT for what has no plain text."""
    cdef size_t start
    cdef Digits d
    cdef int status = MISFIT
    if s.type == T_STRING or s.type == T_SYMBOL:
        return put_string(buf, s.value + 4, s.size - 5)
    if s.type not in (T_OBJECTID, T_INT32, T_INT64, T_DOUBLE, T_DECIMAL, T_BOOL):
        return MISFIT
    if begin_cell(buf, &start) != OK:
        return NOMEM
    if s.type == T_OBJECTID:
        status = put_hex(buf, s.value, 12)
    elif s.type == T_INT32:
        status = put_int(buf, load_i32(s.value))
    elif s.type == T_INT64:
        status = put_int(buf, load_i64(s.value))
    elif s.type == T_DOUBLE:
        status = put_double(buf, load_double(s.value))
    elif s.type == T_DECIMAL:
        digits_of_decimal128(s.value, &d)
        status = put_decimal128(buf, &d)
    elif s.value[0]:
        status = put(buf, b"true", 4)
    else:
        status = put(buf, b"false", 5)
    end_cell(buf, start)
    return status


cdef int put_number(Buffer *buf, const Slot *s) noexcept nogil:
    """Any number as numeric.

    Beside goes the exact form of what it does not show: numeric has no -0, and the
    digits that a double reads back from (0.1) are mostly not its exact value.
    """
    cdef Digits d
    cdef size_t start
    cdef bint exact = True
    cdef uint64_t high
    cdef int scale
    if s.type == T_DECIMAL:
        # An amount: 16 digits at most, 12 of them at most behind the point.
        high = load_u64(s.value + 8)
        scale = 6176 - <int>((high >> 49) & 0x3FFF)
        if (high & 0x1FFFFFFFFFFFFULL) == 0 and 0 <= scale <= 12:
            if 0 < load_u64(s.value) < 10000000000000000ULL:
                if begin_cell(buf, &start) != OK:
                    return NOMEM
                if put_small_numeric(
                    buf, load_u64(s.value), scale, (high >> 63) != 0
                ) != OK:
                    return NOMEM
                end_cell(buf, start)
                return OK
    if s.type == T_INT32:
        digits_of_int(load_i32(s.value), &d)
    elif s.type == T_INT64:
        digits_of_int(load_i64(s.value), &d)
    elif s.type == T_DOUBLE:
        digits_of_double(load_double(s.value), &d)
        exact = are_exact(load_double(s.value), &d)
    elif s.type == T_DECIMAL:
        digits_of_decimal128(s.value, &d)
    else:
        return MISFIT
    if d.special == FINITE and d.count == 0 and d.negative:
        exact = False
    if begin_cell(buf, &start) != OK:
        return NOMEM
    if put_numeric(buf, &d, -d.exponent if d.exponent < 0 else 0) != OK:
        return NOMEM
    end_cell(buf, start)
    return OK if exact else BESIDE


cdef int put_time(Buffer *buf, const Slot *s) noexcept nogil:
    """Microseconds since 2000-01-01. PostgreSQL holds 4713 BC to 294276 AD."""
    cdef int64_t ms
    cdef uint32_t increment
    if s.type == T_DATE:
        ms = load_i64(s.value)
        if ms < -210866803200000LL or ms >= 9224318016000000LL:
            return MISFIT
        return put_cell_64(buf, <uint64_t>((ms - EPOCH_SECONDS * 1000LL) * 1000))
    if s.type == T_TIMESTAMP:
        increment = load_u32(s.value)
        if increment >= 1000000:
            return MISFIT
        return put_cell_64(
            buf,
            <uint64_t>(
                (<int64_t>load_u32(s.value + 4) - EPOCH_SECONDS) * 1000000 + increment
            ),
        )
    return MISFIT


cdef inline void reverse(const uint8_t *p, uint8_t *out, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        out[i] = p[size - 1 - i]


cdef int put_uuid_cell(Buffer *buf, const Slot *s, int legacy) noexcept nogil:
    """Subtype 4 as it is; subtype 3 in the byte order its old driver wrote."""
    cdef const uint8_t *p = s.value + 5
    cdef uint8_t out[16]
    cdef int kind = slot_kind(s)
    if kind == K_UUID:
        return put_cell(buf, p, 16)
    if kind != K_UUID_LEGACY or legacy == UUID_NONE:
        return MISFIT
    if legacy == UUID_JAVA:
        reverse(p, out, 8)
        reverse(p + 8, out + 8, 8)
        return put_cell(buf, out, 16)
    if legacy == UUID_CSHARP:
        reverse(p, out, 4)
        reverse(p + 4, out + 4, 2)
        reverse(p + 6, out + 6, 2)
        if put_cell(buf, p, 16) != OK:
            return NOMEM
        for legacy in range(8):
            buf.data[buf.size - 16 + legacy] = out[legacy]
        return OK
    return put_cell(buf, p, 16)


cdef int put_json_cell(
    Buffer *buf, const Column *column, const Slot *s, int mode, const uint8_t **fault
) noexcept nogil:
    cdef size_t start
    cdef int status
    if begin_cell(buf, &start) != OK:
        return NOMEM
    if column.type == C_JSONB and put_byte(buf, 1) != OK:
        return NOMEM
    status = put_json(buf, s.type, s.value, s.size, mode, s.depth, fault)
    if status == OK:
        end_cell(buf, start)
    return status


cdef int put_value(
    Buffer *buf, const Column *column, const Slot *slot, int json_mode, int legacy_uuid,
    const uint8_t **fault,
) noexcept nogil:
    """The cell of a value that is neither missing nor null."""
    cdef int type = column.type
    cdef size_t skip
    fault[0] = slot.value
    if type == C_TEXT:
        return stored(put_text(buf, slot), column, slot)
    elif type == C_DOUBLE:
        if slot.type == T_DOUBLE:
            return put_cell_64(buf, load_u64(slot.value))
        if slot.type == T_INT32:
            return put_double_cell(buf, load_i32(slot.value))
        return MISFIT
    elif type == C_INTEGER:
        if slot.type == T_INT32:
            return put_cell_32(buf, load_u32(slot.value))
        return MISFIT
    elif type == C_BIGINT:
        if slot.type == T_INT32:
            return put_cell_64(buf, <uint64_t><int64_t>load_i32(slot.value))
        if slot.type == T_INT64:
            return put_cell_64(buf, load_u64(slot.value))
        return MISFIT
    elif type == C_NUMERIC:
        return put_number(buf, slot)
    elif type == C_TIMESTAMPTZ:
        return stored(put_time(buf, slot), column, slot)
    elif type == C_BOOLEAN:
        if slot.type != T_BOOL:
            return MISFIT
        return stored(put_cell(buf, slot.value, 1), column, slot)
    elif type == C_UUID:
        return stored(put_uuid_cell(buf, slot, legacy_uuid), column, slot)
    elif type == C_BYTEA:
        if slot.type != T_BINARY:
            return MISFIT
        skip = 9 if slot.value[4] == 2 else 5
        if put_cell(buf, slot.value + skip, slot.size - skip) != OK:
            return NOMEM
        return OK if slot.value[4] == column.subtype else BESIDE
    return put_json_cell(buf, column, slot, json_mode, fault)


cdef inline int put_double_cell(Buffer *buf, double x) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &x, 8)
    return put_cell_64(buf, bits)
