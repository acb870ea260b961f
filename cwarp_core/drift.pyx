"""Counts of drift. A document that becomes no row takes its own back."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cwarp_core.bson cimport (
    K_UUID,
    K_UUID_LEGACY,
    KINDS,
    T_BINARY,
    kind_names,
    kind_of,
)
from cwarp_core.copybuf cimport NOMEM, OK, put
from cwarp_core.observe cimport PathEntry, clear_paths, path_of

from cwarp_core.batch import Drift


cdef int note_drift(Walk *walk, int32_t place, const Element *e, int kind) noexcept nogil:
    """Remember a count, so that a document that is rejected leaves no drift behind."""
    cdef Note note = Note(
        place, <int16_t>kind, <int16_t>(e.value[4] if e.type == T_BINARY else -1)
    )
    return put(&walk.notes, &note, sizeof(Note))


cdef int note_misfit(Walk *walk, int32_t column, const Element *e) noexcept nogil:
    """Count a value that its column does not hold, or does not tell exactly."""
    cdef int kind = kind_of(e)
    if note_drift(walk, -1 - column, e, kind) != OK:
        return NOMEM
    walk.misfits[column * KINDS + kind] += 1
    walk.any_misfit = True
    return OK


cdef void keep_subtypes(Walk *walk) noexcept nogil:
    """The binary subtypes in the drift of a document that became a row."""
    cdef const Note *note = <const Note *>walk.notes.data
    cdef PathEntry *entry
    cdef size_t i
    for i in range(walk.notes.size // sizeof(Note)):
        if note[i].subtype < 0:
            continue
        if note[i].place < 0:
            walk.misfit_subtype[-1 - note[i].place] = note[i].subtype
        else:
            entry = <PathEntry *>walk.strays.entries.data + note[i].place
            entry.subtypes[note[i].subtype >> 6] |= <uint64_t>1 << (note[i].subtype & 63)


cdef void take_back(Walk *walk) noexcept nogil:
    """Undo what a document has counted that is walked again, or becomes no row."""
    cdef const Note *note = <const Note *>walk.notes.data
    cdef PathEntry *entries = <PathEntry *>walk.strays.entries.data
    cdef size_t i
    for i in range(walk.notes.size // sizeof(Note)):
        if note[i].place < 0:
            walk.misfits[(-1 - note[i].place) * KINDS + note[i].kind] -= 1
        else:
            entries[note[i].place].counts[note[i].kind] -= 1
    walk.notes.size = 0


cdef inline int subtype_of(int kind, int seen) noexcept:
    if kind == K_UUID:
        return 4
    if kind == K_UUID_LEGACY:
        return 3
    return seen if kind == T_BINARY else 0


cdef tuple drift_of(RowPlan plan, const Walk *walk):
    """All of a batch: paths without a column as first seen, then the columns."""
    cdef const PathEntry *entry
    cdef int i, kind
    found = []
    for i in range(walk.strays.used):
        entry = <const PathEntry *>walk.strays.entries.data + i
        subtype = 0
        for kind in range(256):
            if (entry.subtypes[kind >> 6] >> (kind & 63)) & 1:
                subtype = kind
        path = path_of(&walk.strays, entry)
        for kind in range(KINDS):
            if entry.counts[kind]:
                found.append(
                    Drift(
                        path, kind_names[kind], subtype_of(kind, subtype), -1,
                        entry.counts[kind],
                    )
                )
    if walk.any_misfit:
        for i in range(plan.column_count):
            for kind in range(KINDS):
                if walk.misfits[i * KINDS + kind]:
                    found.append(
                        Drift(
                            plan.columns[i].path,
                            kind_names[kind],
                            subtype_of(kind, walk.misfit_subtype[i]),
                            i,
                            walk.misfits[i * KINDS + kind],
                        )
                    )
    return tuple(found)


cdef void clear_drift(RowPlan plan, Walk *walk) noexcept nogil:
    """Begin a batch."""
    clear_paths(&walk.strays)
    if walk.any_misfit:
        memset(walk.misfits, 0, plan.column_count * KINDS * sizeof(walk.misfits[0]))
        walk.any_misfit = False
