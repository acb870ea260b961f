"""UTF-8 validation (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF)."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from cwarp_core.endian cimport __builtin_ctzll, load_u32, load_u64

cdef enum:
    PLAIN = 0      # valid, no U+0000: fits text and jsonb
    HAS_NUL = 1    # valid, with U+0000
    INVALID = 2

cdef enum: HIGH = 0x8080808080808080
cdef enum: ONES = 0x0101010101010101
cdef enum: LETTERS = 0x6161616161616161


cdef inline uint64_t load_short(const uint8_t *p, size_t size) noexcept nogil:
    """1 to 7 bytes as a word's first bytes, plain letters after them."""
    cdef uint64_t v
    if size >= 4:
        v = load_u32(p) | <uint64_t>load_u32(p + size - 4) << (8 * (size - 4))
    else:
        v = p[0] | <uint64_t>p[size >> 1] << (8 * (size >> 1))
        v |= <uint64_t>p[size - 1] << (8 * (size - 1))
    return v | <uint64_t>LETTERS << (8 * size)


cdef inline uint64_t unusual(uint64_t v) noexcept nogil:
    """High bits from the first byte that is 0 or not ASCII; 0: there is none."""
    return (v | (v - <uint64_t>ONES)) & <uint64_t>HIGH


cdef inline size_t first_byte(uint64_t flags) noexcept nogil:
    """Which byte is the first that is flagged. A borrow only ever flags later ones."""
    return <size_t>__builtin_ctzll(flags) >> 3


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


cdef inline size_t skip_usual(const uint8_t *p, size_t i, size_t size) noexcept nogil:
    """Where the next byte lies that is 0 or not ASCII; ``size``: nowhere."""
    cdef uint64_t v, w
    while size - i >= 16:
        v = unusual(load_u64(p + i))
        w = unusual(load_u64(p + i + 8))
        if v:
            return i + first_byte(v)
        if w:
            return i + 8 + first_byte(w)
        i += 16
    if size - i >= 8:
        v = unusual(load_u64(p + i))
        if v:
            return i + first_byte(v)
        i += 8
    if i < size:
        v = unusual(load_short(p + i, size - i))
        if v:
            return i + first_byte(v)
    return size


cdef inline int text_class(const uint8_t *p, size_t size) noexcept nogil:
    cdef size_t i = 0
    cdef int found = PLAIN
    cdef int n
    while True:
        i = skip_usual(p, i, size)
        if i == size:
            return found
        if p[i] == 0:
            found = HAS_NUL
            i += 1
            continue
        # Texts that leave ASCII often stay outside for some letters.
        while True:
            n = sequence(p + i, size - i)
            if n == 0:
                return INVALID
            i += n
            if i == size or p[i] < 0x80:
                break
