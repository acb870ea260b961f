"""The names that the levels of one document have had, to find those that come again."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t

# The last element of a name in one level: its type byte, the name and its NUL behind.
# ``parent`` tells the levels of a document apart; in another turn the place is free.
cdef struct Sibling:
    const uint8_t *element
    uint32_t parent
    uint32_t turn

cdef struct Siblings:
    Sibling *places
    uint32_t mask            # their number, a power of two, less one
    uint32_t used            # in this turn
    uint32_t turn

cdef int remember(
    Siblings *table, uint32_t parent, const uint8_t *element, size_t size, bint *before
) noexcept nogil
cdef const uint8_t *last_of(
    const Siblings *table, uint32_t parent, const uint8_t *element, size_t size
) noexcept nogil
cdef void next_turn(Siblings *table) noexcept nogil
cdef void free_siblings(Siblings *table) noexcept nogil
