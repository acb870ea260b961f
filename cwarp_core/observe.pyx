"""BSON kinds per path: what inference and drift are decided on."""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from cwarp_core.bson cimport (
    K_EMPTY,
    T_BINARY,
    T_DOCUMENT,
    Cursor,
    Element,
    check_document,
    kind_names,
    kind_of,
    next_element,
    open_document,
)
from cwarp_core.copybuf cimport CORRUPT, NOMEM, OK, buffer_free, put, put_byte, reserve
from cwarp_core.endian cimport load_u32
from cwarp_core.reply cimport Reply

from typing import NamedTuple

cdef enum:
    BUCKETS = 8192           # a power of two, at least twice MAX_PATHS


class ObservedPath(NamedTuple):
    """One path and the BSON kinds seen there."""

    path: tuple
    counts: dict
    subtypes: frozenset


cdef int note_path(
    PathTable *table, const Name *names, int depth, int kind, int subtype
) noexcept nogil:
    """Count one value at the path of these names. Past MAX_PATHS it is let go."""
    cdef size_t start = table.names.size
    cdef size_t size = <size_t>depth - 1
    cdef size_t i
    cdef uint32_t hash = 2166136261
    cdef uint32_t at
    cdef PathEntry *entry
    cdef int level
    table.last = -1
    for level in range(depth):
        size += names[level].size
    if size > MAX_PATH:
        return OK
    if table.buckets == NULL:
        table.buckets = <int32_t *>malloc(BUCKETS * sizeof(int32_t))
        if table.buckets == NULL:
            return NOMEM
        memset(table.buckets, 0xFF, BUCKETS * sizeof(int32_t))
    for level in range(depth):
        if level and put_byte(&table.names, 0) != OK:
            return NOMEM
        if put(&table.names, names[level].text, names[level].size) != OK:
            return NOMEM
    for i in range(start, start + size):
        hash = (hash ^ table.names.data[i]) * 16777619
    at = hash & (BUCKETS - 1)
    while table.buckets[at] >= 0:
        entry = <PathEntry *>table.entries.data + table.buckets[at]
        if entry.hash == hash and entry.size == size and memcmp(
            table.names.data + entry.path, table.names.data + start, size
        ) == 0:
            table.names.size = start
            table.last = table.buckets[at]
            break
        at = (at + 1) & (BUCKETS - 1)
    else:
        if table.used == MAX_PATHS:
            table.names.size = start
            return OK
        if reserve(&table.entries, sizeof(PathEntry)) != OK:
            return NOMEM
        entry = <PathEntry *>table.entries.data + table.used
        memset(entry, 0, sizeof(PathEntry))
        entry.path = start
        entry.size = size
        entry.hash = hash
        table.entries.size += sizeof(PathEntry)
        table.buckets[at] = table.used
        table.last = table.used
        table.used += 1
    entry.counts[kind] += 1
    if subtype >= 0:
        entry.subtypes[subtype >> 6] |= <uint64_t>1 << (subtype & 63)
    return OK


cdef void clear_paths(PathTable *table) noexcept nogil:
    if table.used:
        memset(table.buckets, 0xFF, BUCKETS * sizeof(int32_t))
    table.names.size = 0
    table.entries.size = 0
    table.used = 0


cdef void free_paths(PathTable *table) noexcept nogil:
    buffer_free(&table.names)
    buffer_free(&table.entries)
    free(table.buckets)
    table.buckets = NULL
    table.used = 0


cdef tuple path_of(const PathTable *table, const PathEntry *entry):
    cdef const uint8_t *p = table.names.data + entry.path
    names = p[: entry.size] if entry.size else b""
    return tuple(names.decode("utf-8").split("\0"))


cdef int observe_document(
    PathTable *table, const uint8_t *data, int max_depth
) noexcept nogil:
    """Walk a document that has been checked. Returns OK or NOMEM."""
    cdef Cursor stack[MAX_LEVELS]
    cdef Name names[MAX_LEVELS]
    cdef Element e
    cdef int level = 0
    cdef int kind
    if open_document(&stack[0], data, load_u32(data)) != OK:
        return CORRUPT
    while level >= 0:
        if stack[level].at == stack[level].end:
            level -= 1
            continue
        if next_element(&stack[level], &e) != OK:
            return CORRUPT
        names[level].text = e.name
        names[level].size = e.name_size
        kind = kind_of(&e)
        if e.type == T_DOCUMENT and level + 1 < max_depth and not (
            level == 0 and e.name_size == 3 and memcmp(e.name, b"_id", 3) == 0
        ):
            if e.size > 5:
                level += 1
                if open_document(&stack[level], e.value, e.size) != OK:
                    return CORRUPT
                continue
            kind = K_EMPTY
        if note_path(
            table, names, level + 1, kind, e.value[4] if e.type == T_BINARY else -1
        ) != OK:
            return NOMEM
    return OK


@cython.final
cdef class Observation:
    """The BSON kinds of every path down to ``max_depth``, for inference."""

    cdef PathTable table
    cdef int max_depth
    cdef readonly long documents
    cdef readonly long corrupt
    cdef bint busy

    def __cinit__(self, max_depth=3):
        max_depth = PyNumber_Index(max_depth)
        if not 1 <= max_depth <= MAX_LEVELS:
            raise ValueError(f"max_depth must be 1 to {MAX_LEVELS}, not {max_depth}")
        self.max_depth = max_depth

    def __dealloc__(self):
        free_paths(&self.table)

    cdef int alone(self) except -1:
        if self.busy:
            raise RuntimeError("another thread is using this Observation")
        return 0

    cdef int note(self, const uint8_t *data, size_t size) except -1:
        cdef const uint8_t *fault
        cdef int status
        if check_document(data, size, False, &fault) != OK or load_u32(data) != size:
            self.corrupt += 1
            return 0
        self.alone()
        self.busy = True
        with nogil:
            status = observe_document(&self.table, data, self.max_depth)
        self.busy = False
        if status != OK:
            raise MemoryError
        self.documents += 1
        return 0

    def add_reply(self, Reply reply not None):
        cdef Py_ssize_t i
        for i in range(reply.count):
            self.note(reply.data + reply.offsets[i], reply.sizes[i])

    def add_document(self, bytes document not None):
        self.note(document, len(document))

    def paths(self):
        """In the order first seen."""
        cdef PathEntry *entry
        cdef int i, k
        self.alone()
        found = []
        for i in range(self.table.used):
            entry = <PathEntry *>self.table.entries.data + i
            counts = {kind_names[k]: entry.counts[k] for k in range(KINDS) if entry.counts[k]}
            subtypes = set()
            for k in range(256):
                if (entry.subtypes[k >> 6] >> (k & 63)) & 1:
                    subtypes.add(k)
            found.append(
                ObservedPath(path_of(&self.table, entry), counts, frozenset(subtypes))
            )
        return found
