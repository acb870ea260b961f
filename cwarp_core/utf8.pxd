"""UTF-8 validation (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF)."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    PLAIN = 0      # valid, no U+0000: fits text and jsonb
    HAS_NUL = 1    # valid, with U+0000
    INVALID = 2

cdef enum: HIGH = 0x8080808080808080
cdef enum: ONES = 0x0101010101010101


cdef inline int sequence(const uint8_t *p, size_t left) noexcept nogil:
    """Length of the valid multi-byte sequence at ``p``; 0 when there is none."""
    cdef uint8_t a = p[0]
    if a < 0xC2:
        return 0
    if a < 0xE0:
        if left >= 2 and (p[1] & 0xC0) == 0x80:
            return 2
        return 0
    if a < 0xF0:
        if left < 3 or (p[1] & 0xC0) != 0x80 or (p[2] & 0xC0) != 0x80:
            return 0
        if a == 0xE0 and p[1] < 0xA0:
            return 0
        if a == 0xED and p[1] > 0x9F:
            return 0
        return 3
    if a > 0xF4 or left < 4:
        return 0
    if (p[1] & 0xC0) != 0x80 or (p[2] & 0xC0) != 0x80 or (p[3] & 0xC0) != 0x80:
        return 0
    if a == 0xF0 and p[1] < 0x90:
        return 0
    if a == 0xF4 and p[1] > 0x8F:
        return 0
    return 4


cdef inline int text_class(const uint8_t *p, size_t size) noexcept nogil:
    cdef size_t i = 0
    cdef int found = PLAIN
    cdef int n
    cdef uint64_t v
    while i < size:
        # Eight plain ASCII bytes at a time, the usual case.
        while size - i >= 8:
            memcpy(&v, p + i, 8)
            if (v | (v - <uint64_t>ONES)) & <uint64_t>HIGH:
                break
            i += 8
        if i >= size:
            break
        if p[i] < 0x80:
            if p[i] == 0:
                found = HAS_NUL
            i += 1
            continue
        n = sequence(p + i, size - i)
        if n == 0:
            return INVALID
        i += n
    return found
