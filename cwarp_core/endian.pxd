"""Unaligned loads and stores: BSON is little-endian, COPY BINARY big-endian."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define CWARP_LE32(x) __builtin_bswap32(x)
    #define CWARP_LE64(x) __builtin_bswap64(x)
    #define CWARP_BE16(x) (x)
    #define CWARP_BE32(x) (x)
    #define CWARP_BE64(x) (x)
    #else
    #define CWARP_LE32(x) (x)
    #define CWARP_LE64(x) (x)
    #define CWARP_BE16(x) __builtin_bswap16(x)
    #define CWARP_BE32(x) __builtin_bswap32(x)
    #define CWARP_BE64(x) __builtin_bswap64(x)
    #endif
    typedef unsigned __int128 cwarp_u128;
    """
    uint32_t CWARP_LE32(uint32_t x) nogil
    uint64_t CWARP_LE64(uint64_t x) nogil
    uint16_t CWARP_BE16(uint16_t x) nogil
    uint32_t CWARP_BE32(uint32_t x) nogil
    uint64_t CWARP_BE64(uint64_t x) nogil
    # The width given here only ranks it above the other integers; C knows the truth.
    ctypedef unsigned long long u128 "cwarp_u128"
    int __builtin_ctzll(unsigned long long x) nogil


cdef inline uint32_t load_u32(const uint8_t *p) noexcept nogil:
    cdef uint32_t x
    memcpy(&x, p, 4)
    return CWARP_LE32(x)


cdef inline int32_t load_i32(const uint8_t *p) noexcept nogil:
    return <int32_t>load_u32(p)


cdef inline uint64_t load_u64(const uint8_t *p) noexcept nogil:
    cdef uint64_t x
    memcpy(&x, p, 8)
    return CWARP_LE64(x)


cdef inline int64_t load_i64(const uint8_t *p) noexcept nogil:
    return <int64_t>load_u64(p)


cdef inline double load_double(const uint8_t *p) noexcept nogil:
    cdef uint64_t bits = load_u64(p)
    cdef double x
    memcpy(&x, &bits, 8)
    return x


cdef inline uint16_t load_be16(const uint8_t *p) noexcept nogil:
    cdef uint16_t x
    memcpy(&x, p, 2)
    return CWARP_BE16(x)


cdef inline uint32_t load_be32(const uint8_t *p) noexcept nogil:
    cdef uint32_t x
    memcpy(&x, p, 4)
    return CWARP_BE32(x)


cdef inline void store_16(uint8_t *p, uint16_t x) noexcept nogil:
    x = CWARP_BE16(x)
    memcpy(p, &x, 2)


cdef inline void store_32(uint8_t *p, uint32_t x) noexcept nogil:
    x = CWARP_BE32(x)
    memcpy(p, &x, 4)


cdef inline void store_64(uint8_t *p, uint64_t x) noexcept nogil:
    x = CWARP_BE64(x)
    memcpy(p, &x, 8)


cdef inline void store_word(uint8_t *p, uint64_t x) noexcept nogil:
    """What ``load_u64`` loaded, byte for byte."""
    x = CWARP_LE64(x)
    memcpy(p, &x, 8)
