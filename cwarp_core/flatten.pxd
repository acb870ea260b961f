"""One document against a plan: each planned value into its slot, the rest aside."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from cwarp_core.coerce cimport Slot
from cwarp_core.copybuf cimport Buffer
from cwarp_core.observe cimport PathTable
from cwarp_core.plan cimport RowPlan
from cwarp_core.siblings cimport Siblings

cdef enum:
    TWICE = 20               # a level has a name twice: walk again, to settle it

# What the walk of one document leaves, and what lives through a batch of them.
cdef struct Walk:
    Slot *slots              # one per column
    uint64_t *filled         # a bit per column: its slot is of this document
    Slot key
    int32_t *follows         # field -> the field that came after it last time
    uint32_t *met            # field -> the turn of ``siblings`` in which it was seen
    Siblings siblings        # names without a field, or all of them when one is twice
    Buffer extra             # members of _cwarp_extra, each with a comma before it
    PathTable strays         # paths without a column
    Buffer notes             # drift.Note: what this document counted so far
    uint32_t *misfits        # column x kind, values kept in _cwarp_extra
    int32_t *misfit_subtype  # of the last misfit binary of a column
    bint any_misfit
    uint64_t rescued
    uint64_t duplicate_keys
    const uint8_t *fault

cdef inline void fill(Walk *walk, int32_t column) noexcept nogil:
    """Mark the column's slot as filled."""
    walk.filled[column >> 6] |= <uint64_t>1 << (column & 63)


cdef void find_key(Slot *key, const uint8_t *data, size_t size) noexcept nogil
cdef int flatten(
    RowPlan plan, Walk *walk, const uint8_t *data, size_t size, bint settle
) noexcept nogil
