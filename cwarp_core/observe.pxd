"""A table of paths and the BSON kinds seen there, filled without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from cwarp_core.bson cimport KINDS
from cwarp_core.copybuf cimport Buffer

cdef enum:
    MAX_LEVELS = 32          # flattened levels, as RowPlan allows
    MAX_PATHS = 4096         # paths told apart in one table; further ones are let go,
    MAX_PATH = 4096          # and so are paths of more bytes than this

cdef struct Name:
    const uint8_t *text
    size_t size

cdef struct PathEntry:
    size_t path              # offset of its names in ``names``, joined by NUL
    size_t size
    uint32_t hash
    uint32_t counts[KINDS]
    uint64_t subtypes[4]

cdef struct PathTable:
    Buffer names
    Buffer entries           # PathEntry, in the order first seen
    int32_t *buckets         # index of an entry, -1 empty
    int used
    int32_t last             # entry counted last, -1 when it was let go

cdef int note_path(
    PathTable *table, const Name *names, int depth, int kind, int subtype
) noexcept nogil
cdef void clear_paths(PathTable *table) noexcept nogil
cdef void free_paths(PathTable *table) noexcept nogil
cdef tuple path_of(const PathTable *table, const PathEntry *entry)
