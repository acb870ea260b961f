"""What a document had outside its columns, counted for its batch."""

from libc.stdint cimport int16_t, int32_t

from cwarp_core.bson cimport Element
from cwarp_core.flatten cimport Walk
from cwarp_core.plan cimport RowPlan

# One count of drift: an entry of the strays, or a column as -1 - column; the subtype
# of a binary, else -1.
cdef struct Note:
    int32_t place
    int16_t kind
    int16_t subtype

cdef int note_drift(Walk *walk, int32_t place, const Element *e, int kind) noexcept nogil
cdef int note_misfit(Walk *walk, int32_t column, const Element *e) noexcept nogil
cdef void keep_subtypes(Walk *walk) noexcept nogil
cdef void take_back(Walk *walk) noexcept nogil
cdef tuple drift_of(RowPlan plan, const Walk *walk)
cdef void clear_drift(RowPlan plan, Walk *walk) noexcept nogil
