"""One BSON value into one PostgreSQL cell."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from cwarp_core.copybuf cimport Buffer
from cwarp_core.plan cimport Column, RowPlan

# A value found by the walk: where it lies, not what it is worth. ``type`` 0: nothing.
cdef struct Slot:
    int type
    const uint8_t *value
    size_t size
    int depth                # documents open above it

cdef int put_value(
    Buffer *buf, const Column *column, const Slot *slot, int json_mode, int legacy_uuid,
    const uint8_t **fault,
) noexcept nogil
