"""Bytes as text: JSON strings, hex digits, UUIDs, base64."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from cwarp_core.copybuf cimport NOMEM, OK, put, put_byte, reserve
from cwarp_core.endian cimport load_u64, store_word
from cwarp_core.utf8 cimport first_byte, load_short, sequence

cdef const uint8_t *HEX = b"0123456789abcdef"
cdef const uint8_t *BASE64 = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)


cdef int put_hex(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    cdef size_t i
    if reserve(buf, 2 * size) != OK:
        return NOMEM
    for i in range(size):
        buf.data[buf.size + 2 * i] = HEX[p[i] >> 4]
        buf.data[buf.size + 2 * i + 1] = HEX[p[i] & 15]
    buf.size += 2 * size
    return OK


cdef int put_uuid(Buffer *buf, const uint8_t *p) noexcept nogil:
    """8-4-4-4-12 lower-case hex digits."""
    cdef int i
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            if put_byte(buf, 45) != OK:
                return NOMEM
        if put_hex(buf, p + i, 1) != OK:
            return NOMEM
    return OK


cdef int put_base64(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    cdef size_t i = 0
    cdef uint8_t *out
    cdef unsigned int v
    if reserve(buf, (size + 2) // 3 * 4) != OK:
        return NOMEM
    out = buf.data + buf.size
    while i < size:
        v = <unsigned int>p[i] << 16
        if i + 1 < size:
            v |= <unsigned int>p[i + 1] << 8
        if i + 2 < size:
            v |= p[i + 2]
        out[0] = BASE64[v >> 18]
        out[1] = BASE64[(v >> 12) & 63]
        out[2] = BASE64[(v >> 6) & 63] if i + 1 < size else 61
        out[3] = BASE64[v & 63] if i + 2 < size else 61
        out += 4
        i += 3
    buf.size = out - buf.data
    return OK


cdef int put_unfit_text(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    """A text that PostgreSQL cannot hold (U+0000, invalid UTF-8), byte for byte."""
    if put(buf, b'{"$text":{"base64":"', 20) != OK or put_base64(buf, p, size) != OK:
        return NOMEM
    return put(buf, b'"}}', 3)


cdef int put_json_string(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    """Validated and escaped in one pass, eight plain bytes at a time."""
    cdef size_t start = buf.size
    cdef size_t i = 0
    cdef uint8_t *out
    cdef uint64_t v, flags
    cdef int n
    # Words are stored whole, so up to seven bytes more than the text's are touched.
    if reserve(buf, size + 9) != OK:
        return NOMEM
    out = buf.data + buf.size
    out[0] = 34
    out += 1
    while i < size:
        if size - i >= 8:
            v = load_u64(p + i)
            flags = escaped(v)
            store_word(out, v)
            if flags == 0:
                out += 8
                i += 8
                continue
        else:
            v = load_short(p + i, size - i)
            flags = escaped(v)
            store_word(out, v)
            if flags == 0:
                out += size - i
                break
        n = <int>first_byte(flags)
        out += n
        i += n
        if p[i] >= 0x80:
            while True:
                n = sequence(p + i, size - i)
                if n == 0:
                    buf.size = start
                    return put_unfit_text(buf, p, size)
                memcpy(out, p + i, n)
                out += n
                i += n
                if i == size or p[i] < 0x80:
                    break
        elif p[i] == 0:
            buf.size = start
            return put_unfit_text(buf, p, size)
        else:
            # Only an escape takes more room than was reserved.
            buf.size = out - buf.data
            if reserve(buf, size - i + 14) != OK:
                return NOMEM
            out = buf.data + buf.size
            out += put_escape(out, p[i])
            i += 1
    out[0] = 34
    buf.size = out + 1 - buf.data
    return OK


cdef int put_escape(uint8_t *out, uint8_t c) noexcept nogil:
    """A backslash, and what stands for this byte; returns how many bytes that took."""
    out[0] = 92
    if c == 34 or c == 92:
        out[1] = c
    elif c == 8:
        out[1] = 98
    elif c == 9:
        out[1] = 116
    elif c == 10:
        out[1] = 110
    elif c == 12:
        out[1] = 102
    elif c == 13:
        out[1] = 114
    else:
        memcpy(out + 1, b"u00", 3)
        out[4] = HEX[c >> 4]
        out[5] = HEX[c & 15]
        return 6
    return 2
