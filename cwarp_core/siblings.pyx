"""A hash table of (level, field name); nothing of a document stays in it for the next."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset, strcmp, strlen

from cwarp_core.copybuf cimport NOMEM, OK
from cwarp_core.endian cimport load_u64, u128
from cwarp_core.utf8 cimport load_short

cdef enum:
    FIRST_PLACES = 256
    # More than this is let go after the document that needed it.
    KEPT_PLACES = 65536


# Python's own secret of this process: nobody can choose names that meet in one place.
cdef uint64_t SEED = <uint64_t>(hash(b"siblings") & 0xFFFFFFFFFFFFFFFF)


cdef inline uint64_t mixed(uint64_t a) noexcept nogil:
    cdef u128 product = <u128>a * <uint64_t>0x9E3779B97F4A7C15ULL
    return <uint64_t>product ^ <uint64_t>(product >> 64)


cdef inline uint32_t hash_of(
    uint32_t parent, const uint8_t *name, size_t size
) noexcept nogil:
    cdef uint64_t h = mixed(SEED ^ parent ^ <uint64_t>size << 32)
    while size >= 8:
        h = mixed(h ^ load_u64(name))
        name += 8
        size -= 8
    if size:
        h = mixed(h ^ load_short(name, size))
    return <uint32_t>h


cdef Sibling *place_of(
    const Siblings *table, uint32_t parent, const uint8_t *element, size_t size
) noexcept nogil:
    """Where this name of this level is, or would be. The table is never full."""
    cdef Sibling *place
    cdef uint32_t at = hash_of(parent, element + 1, size)
    while True:
        place = &table.places[at & table.mask]
        # Every name has its NUL inside the document, so strcmp stays in it.
        if place.turn != table.turn or (
            place.parent == parent
            and strcmp(<const char *>place.element + 1, <const char *>element + 1) == 0
        ):
            return place
        at += 1


cdef int grow(Siblings *table) noexcept nogil:
    """Twice as many places, or the first ones."""
    cdef Siblings wider = table[0]
    cdef uint32_t number = 2 * (table.mask + 1) if table.places else FIRST_PLACES
    cdef const Sibling *place
    cdef uint32_t i
    wider.places = <Sibling *>calloc(number, sizeof(Sibling))
    if wider.places == NULL:
        return NOMEM
    wider.mask = number - 1
    if table.places != NULL:
        for i in range(table.mask + 1):
            place = &table.places[i]
            if place.turn == table.turn:
                place_of(
                    &wider, place.parent, place.element,
                    strlen(<const char *>place.element + 1),
                )[0] = place[0]
    free(table.places)
    table[0] = wider
    return OK


cdef int remember(
    Siblings *table, uint32_t parent, const uint8_t *element, size_t size, bint *before
) noexcept nogil:
    """The element as the last of its name; ``before``: whether there was one already."""
    cdef Sibling *place
    if table.places == NULL or table.used > table.mask >> 1:
        if grow(table) != OK:
            return NOMEM
    place = place_of(table, parent, element, size)
    before[0] = place.turn == table.turn
    table.used += not before[0]
    place[0] = Sibling(element, parent, table.turn)
    return OK


cdef const uint8_t *last_of(
    const Siblings *table, uint32_t parent, const uint8_t *element, size_t size
) noexcept nogil:
    """The last element of this name, which has been remembered."""
    return place_of(table, parent, element, size).element


cdef void next_turn(Siblings *table) noexcept nogil:
    """Forget everything."""
    if table.places != NULL and table.mask >= KEPT_PLACES:
        free(table.places)
        table.places = NULL
    table.used = 0
    table.turn += 1
    if table.turn == 0:
        # Places of four billion turns ago would seem to be of this one.
        table.turn = 1
        if table.places != NULL:
            memset(table.places, 0, (<size_t>table.mask + 1) * sizeof(Sibling))


cdef void free_siblings(Siblings *table) noexcept nogil:
    free(table.places)
    table.places = NULL
