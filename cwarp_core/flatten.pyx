"""The first pass over a document: names to slots, nothing copied, nothing converted.

Documents of one collection mostly share their field order, so the field that followed
last time is tried first (one compare); the hash table answers the rest.
"""

from libc.string cimport memcmp, memset

from cwarp_core.bson cimport (
    K_EMPTY,
    T_DOCUMENT,
    T_NULL,
    Cursor,
    Element,
    kind_of,
    next_element,
    open_document,
    read_name,
    read_value,
)
from cwarp_core.copybuf cimport CORRUPT, NOMEM, OK, put, put_byte, reserve
from cwarp_core.drift cimport Note, note_drift
from cwarp_core.endian cimport load_u32, load_u64
from cwarp_core.jsontext cimport M_CANONICAL, put_json
from cwarp_core.observe cimport MAX_LEVELS, Name, note_path
from cwarp_core.plan cimport KEY_SLOT, NO_SLOT, Field, hash_name, same_bytes
from cwarp_core.siblings cimport last_of, next_turn, remember
from cwarp_core.strings cimport put_json_string
from cwarp_core.utf8 cimport INVALID, text_class

cdef struct Level:
    Cursor cursor
    uint32_t parent          # where its document begins
    int32_t node             # -1: nothing below here is planned
    int32_t last             # field matched last, -1 before the first


cdef inline int32_t expected(
    const Field *fields, const int32_t *follows, int32_t index, Cursor *cur, Element *e
) noexcept nogil:
    """This field, or the one after it, if it is next; or -1.

    One compare tells the name and its end. The cursor moves only when it is found.
    """
    cdef const Field *field
    cdef size_t left = cur.end - cur.at
    cdef const uint8_t *name = cur.at + 1
    for _ in range(2):
        if index < 0:
            return -1
        field = &fields[index]
        if left > 8:
            if (load_u64(name) ^ field.head) & field.mask == 0 and (
                field.size < 8
                or (
                    field.size + 1 < left
                    and same_bytes(name + 8, field.name + 8, field.size - 7)
                )
            ):
                break
        elif field.size + 1 < left and same_bytes(name, field.name, field.size + 1):
            break
        index = follows[index]
    else:
        return -1
    e.type = cur.at[0]
    e.name = name
    e.name_size = field.size
    cur.at = name + field.size + 1
    return index


cdef int32_t look_up(
    RowPlan plan, Walk *walk, int32_t node, int32_t last, const Element *e
) noexcept nogil:
    """The field of this name in this node, or -1. Learns the order as it goes."""
    cdef const Field *field
    cdef int32_t index
    cdef uint32_t mask = plan.nodes[node].mask
    cdef int32_t at = plan.nodes[node].table
    cdef uint32_t place = hash_name(e.name, e.name_size) & mask
    while True:
        index = plan.buckets[at + <int32_t>place]
        if index < 0:
            return -1
        field = &plan.fields[index]
        if field.size == e.name_size and same_bytes(field.name, e.name, e.name_size):
            if last >= 0:
                walk.follows[last] = index
            return index
        place = (place + 1) & mask


cdef int put_escaped(Buffer *buf, const Name *name) noexcept nogil:
    """A path's step: dots and backslashes get a backslash, which JSON doubles."""
    cdef size_t i
    cdef size_t from_ = 0
    for i in range(name.size):
        if name.text[i] == 46 or name.text[i] == 92:
            if put_steps(buf, name.text + from_, i - from_) != OK:
                return NOMEM
            if name.text[i] == 46:
                if put(buf, b"\\\\.", 3) != OK:
                    return NOMEM
            elif put(buf, b"\\\\\\\\", 4) != OK:
                return NOMEM
            from_ = i + 1
    return put_steps(buf, name.text + from_, name.size - from_)


cdef inline int put_steps(Buffer *buf, const uint8_t *p, size_t size) noexcept nogil:
    """JSON text of p without its quotes."""
    cdef size_t start = buf.size
    cdef size_t i
    if put_json_string(buf, p, size) != OK:
        return NOMEM
    for i in range(start, buf.size - 2):
        buf.data[i] = buf.data[i + 1]
    buf.size -= 2
    return OK


cdef int stray(
    RowPlan plan, Walk *walk, const Name *names, int depth, const Element *e, int kind
) noexcept nogil:
    """A value without a column: counted as drift, and kept whole in ``_cwarp_extra``.

    A table that holds the whole document in a column needs no second copy of it.
    """
    cdef int i, status
    if kind == T_NULL:
        return OK
    # Room first: what is counted can always be taken back.
    if reserve(&walk.notes, sizeof(Note)) != OK:
        return NOMEM
    if note_path(&walk.strays, names, depth, kind, -1) != OK:
        return NOMEM
    if walk.strays.last >= 0 and note_drift(walk, walk.strays.last, e, kind) != OK:
        return NOMEM
    if plan.document >= 0:
        return OK
    walk.rescued += 1
    if put(&walk.extra, b',"', 2) != OK:
        return NOMEM
    for i in range(depth):
        if i and put_byte(&walk.extra, 46) != OK:
            return NOMEM
        if put_escaped(&walk.extra, &names[i]) != OK:
            return NOMEM
    if put(&walk.extra, b'":', 2) != OK:
        return NOMEM
    status = put_json(
        &walk.extra, e.type, e.value, e.size, M_CANONICAL, depth, &walk.fault
    )
    return status


cdef void find_key(Slot *key, const uint8_t *data, size_t size) noexcept nogil:
    """The ``_id`` of a document, as far as that can be read."""
    cdef Cursor cur
    cdef Element e
    if open_document(&cur, data, size) == OK:
        while cur.at < cur.end and next_element(&cur, &e) == OK:
            if e.name_size == 3 and memcmp(e.name, b"_id", 3) == 0:
                key[0] = Slot(e.type, e.value, e.size, 1)


cdef int note_names(Walk *walk, Cursor cur, uint32_t parent) noexcept nogil:
    """Remember the last element of each name in a level."""
    cdef Element e
    cdef bint before
    while cur.at < cur.end:
        walk.fault = cur.at
        if next_element(&cur, &e) != OK:
            return CORRUPT
        if remember(&walk.siblings, parent, e.name - 1, e.name_size, &before) != OK:
            return NOMEM
    return OK


cdef int flatten(
    RowPlan plan, Walk *walk, const uint8_t *data, size_t size, bint settle
) noexcept nogil:
    """Fill the slots from one document. OK, CORRUPT (walk.fault tells where), NOMEM.

    Of fields of one name in one level the last counts, with all it holds. That costs
    something to know beforehand, so the first walk only notices it and says TWICE;
    the second, ``settle``, passes over all but the last.
    """
    cdef Level stack[MAX_LEVELS]
    cdef Name names[MAX_LEVELS]
    cdef Element e
    cdef Cursor cur
    cdef Slot *slot
    cdef const Field *field
    cdef const Field *fields = plan.fields
    cdef int depth = 1
    cdef int32_t node = 0
    cdef int32_t last = -1
    cdef int32_t index
    cdef uint32_t parent = 0
    cdef int status
    cdef bint enter, before
    walk.fault = data
    next_turn(&walk.siblings)
    if walk.siblings.turn == 1:
        memset(walk.met, 0, plan.field_count * sizeof(uint32_t))
    if size < 5 or load_u32(data) != size:
        return CORRUPT
    if open_document(&cur, data, size) != OK:
        return CORRUPT
    if settle:
        status = note_names(walk, cur, parent)
        if status != OK:
            return status
    while True:
        if cur.at == cur.end:
            depth -= 1
            if depth == 0:
                return OK
            cur = stack[depth].cursor
            parent = stack[depth].parent
            node = stack[depth].node
            last = stack[depth].last
            continue
        walk.fault = cur.at
        index = -1
        if node >= 0:
            index = walk.follows[last] if last >= 0 else plan.nodes[node].first
            index = expected(fields, walk.follows, index, &cur, &e)
        if index < 0:
            if read_name(&cur, &e) != OK:
                return CORRUPT
            if node >= 0:
                index = look_up(plan, walk, node, last, &e)
        field = NULL
        if index >= 0:
            field = &fields[index]
            last = index
        elif text_class(e.name, e.name_size) == INVALID:
            return CORRUPT
        if read_value(&cur, &e) != OK:
            return CORRUPT
        if settle:
            if last_of(&walk.siblings, parent, e.name - 1, e.name_size) != e.name - 1:
                walk.duplicate_keys += 1
                continue
        elif field != NULL:
            if walk.met[index] == walk.siblings.turn:
                return TWICE
            walk.met[index] = walk.siblings.turn
        elif remember(&walk.siblings, parent, e.name - 1, e.name_size, &before) != OK:
            return NOMEM
        elif before:
            return TWICE
        names[depth - 1].text = e.name
        names[depth - 1].size = e.name_size
        enter = e.type == T_DOCUMENT and depth < plan.max_depth
        if field != NULL and (
            not enter or field.whole or field.slot == KEY_SLOT
        ) and field.slot != NO_SLOT:
            if field.slot == KEY_SLOT:
                slot = &walk.key
            else:
                slot = &walk.slots[field.slot]
                fill(walk, field.slot)
            slot.type = e.type
            slot.value = e.value
            slot.size = e.size
            slot.depth = depth
        elif not enter:
            status = stray(plan, walk, names, depth, &e, kind_of(&e))
            if status != OK:
                return status
        elif e.size == 5:
            status = stray(plan, walk, names, depth, &e, K_EMPTY)
            if status != OK:
                return status
        else:
            stack[depth].cursor = cur
            stack[depth].parent = parent
            stack[depth].node = node
            stack[depth].last = last
            depth += 1
            if open_document(&cur, e.value, e.size) != OK:
                return CORRUPT
            parent = <uint32_t>(e.value - data)
            node = field.node if field != NULL else -1
            last = -1
            if settle:
                status = note_names(walk, cur, parent)
                if status != OK:
                    return status
