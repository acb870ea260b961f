"""BatchEncoder: raw documents in, COPY BINARY rows out, the GIL released once a batch."""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from cwarp_core.bson cimport (
    KINDS,
    T_DOCUMENT,
    T_NULL,
    Element,
    check_document,
)
from cwarp_core.coerce cimport Slot, put_value
from cwarp_core.copybuf cimport (
    BESIDE,
    CORRUPT,
    MISFIT,
    NOMEM,
    OK,
    Buffer,
    begin_cell,
    buffer_free,
    buffer_trim,
    end_cell,
    put,
    put_16,
    put_byte,
    put_cell_64,
    put_nulls,
)
from cwarp_core.drift cimport (
    clear_drift,
    drift_of,
    keep_subtypes,
    note_misfit,
    take_back,
)
from cwarp_core.endian cimport __builtin_ctzll
from cwarp_core.event cimport ChangeEvent
from cwarp_core.flatten cimport (
    TWICE,
    Walk,
    fill,
    find_key,
    flatten,
)
from cwarp_core.jsontext cimport M_CANONICAL, put_json
from cwarp_core.key cimport canonical_key, put_key
from cwarp_core.observe cimport free_paths
from cwarp_core.plan cimport Column, RowPlan
from cwarp_core.reply cimport Reply
from cwarp_core.siblings cimport free_siblings

from cwarp_core.batch import EncodedBatch, Reject

cdef enum:
    MISSING_ID = 10
    KEY_KIND = 11
    TOO_LARGE = 12
    # PostgreSQL's own limit on a row's message and on one field, and jsonb's on one.
    MAX_ROW = 1073741823
    MAX_EXTRA = 268435455

cdef dict REJECT_CODES = {
    CORRUPT: "corrupt",
    MISSING_ID: "missing_id",
    KEY_KIND: "key_kind",
    MISFIT: "misfit",
    TOO_LARGE: "too_large",
}


cdef struct Dated:
    const uint8_t *data
    size_t size
    uint64_t time


@cython.final
cdef class BatchEncoder:
    """Raw BSON documents to COPY BINARY rows. One thread at a time."""

    cdef readonly RowPlan plan
    cdef readonly Py_ssize_t rows
    cdef Py_ssize_t documents
    cdef int32_t words               # of walk.filled
    cdef Buffer out
    cdef bint busy                   # a thread is inside
    cdef bint keep
    cdef Buffer kept                 # the documents of the rows, if ``keep``
    cdef Walk walk
    cdef int misfit_column           # where a "misfit" reject was seen
    cdef list rejects

    def __cinit__(self, RowPlan plan not None, bint keep=False):
        cdef int32_t i
        self.plan = plan
        self.keep = keep
        self.rejects = []
        self.walk.extra.limit = MAX_EXTRA
        self.words = (plan.column_count + 63) // 64
        self.walk.slots = <Slot *>calloc(plan.column_count + 1, sizeof(Slot))
        self.walk.filled = <uint64_t *>calloc(self.words + 1, sizeof(uint64_t))
        self.walk.follows = <int32_t *>calloc(plan.field_count + 1, sizeof(int32_t))
        self.walk.met = <uint32_t *>calloc(plan.field_count + 1, sizeof(uint32_t))
        self.walk.misfits = <uint32_t *>calloc(
            (plan.column_count + 1) * KINDS, sizeof(uint32_t)
        )
        self.walk.misfit_subtype = <int32_t *>calloc(plan.column_count + 1, sizeof(int32_t))
        if (
            self.walk.slots == NULL
            or self.walk.filled == NULL
            or self.walk.follows == NULL
            or self.walk.met == NULL
            or self.walk.misfits == NULL
            or self.walk.misfit_subtype == NULL
        ):
            raise MemoryError
        # First guess: the order of the plan, inside each node.
        for i in range(plan.field_count):
            self.walk.follows[i] = i + 1
        for i in range(plan.node_count):
            self.walk.follows[plan.nodes[i].first + plan.nodes[i].count - 1] = -1

    def __dealloc__(self):
        free(self.walk.slots)
        free(self.walk.filled)
        free(self.walk.follows)
        free(self.walk.met)
        free(self.walk.misfits)
        free(self.walk.misfit_subtype)
        buffer_free(&self.out)
        buffer_free(&self.kept)
        buffer_free(&self.walk.extra)
        buffer_free(&self.walk.notes)
        free_paths(&self.walk.strays)
        free_siblings(&self.walk.siblings)

    @property
    def nbytes(self):
        return self.out.size

    cdef int set_aside(self, int index, const Column *column, const Slot *slot) noexcept nogil:
        """The exact form of a column's value into ``_cwarp_extra``, counted as drift."""
        cdef Element e
        e.type = <uint8_t>slot.type
        e.value = slot.value
        e.size = slot.size
        if note_misfit(&self.walk, index, &e) != OK:
            return NOMEM
        self.walk.rescued += 1
        if put_byte(&self.walk.extra, 44) != OK:
            return NOMEM
        if put(&self.walk.extra, column.label, column.label_size) != OK:
            return NOMEM
        return put_json(
            &self.walk.extra, e.type, e.value, e.size, M_CANONICAL, slot.depth,
            &self.walk.fault,
        )

    cdef int put_key_cell(self) noexcept nogil:
        cdef size_t start
        cdef int status
        if self.walk.key.type == 0:
            return MISSING_ID
        if begin_cell(&self.out, &start) != OK:
            return NOMEM
        self.walk.fault = self.walk.key.value
        status = put_key(
            &self.out, self.plan.encoding, self.walk.key.type, self.walk.key.value,
            self.walk.key.size, False, &self.walk.fault,
        )
        if status == MISFIT:
            return KEY_KIND
        end_cell(&self.out, start)
        return status

    cdef int put_cells(self, uint64_t source_ts) noexcept nogil:
        """The second pass: every cell of the row in order, then what was set aside."""
        cdef const Column *column
        cdef const Slot *slot
        cdef size_t start
        cdef uint64_t bits
        cdef int32_t next = 0
        cdef int32_t word, i
        cdef int status
        # From one filled column to the next: a wide table is mostly empty.
        for word in range(self.words):
            bits = self.walk.filled[word]
            while bits:
                i = 64 * word + __builtin_ctzll(bits)
                bits &= bits - 1
                slot = &self.walk.slots[i]
                if slot.type == T_NULL:
                    continue
                if i != next and put_nulls(&self.out, i - next) != OK:
                    return NOMEM
                next = i + 1
                column = &self.plan.column[i]
                status = put_value(
                    &self.out, column, slot, self.plan.json_mode, self.plan.legacy_uuid,
                    &self.walk.fault,
                )
                if status == OK:
                    continue
                if status == MISFIT:
                    if self.plan.rejecting:
                        self.misfit_column = i
                        return MISFIT
                    if put_nulls(&self.out, 1) != OK:
                        return NOMEM
                elif status != BESIDE:
                    return status
                status = self.set_aside(i, column, slot)
                if status != OK:
                    return status
        if put_nulls(&self.out, self.plan.column_count - next) != OK:
            return NOMEM
        if self.plan.source_ts:
            if source_ts == 0:
                status = put_nulls(&self.out, 1)
            else:
                # The increment stands for microseconds, as a timestamp column has it.
                status = put_cell_64(
                    &self.out,
                    <uint64_t>(
                        (<int64_t>(source_ts >> 32) - 946684800) * 1000000
                        + <int64_t>(source_ts & 0xFFFFFFFFULL)
                    ),
                )
            if status != OK:
                return status
        if self.walk.extra.size == 0:
            return put_nulls(&self.out, 1)
        if begin_cell(&self.out, &start) != OK or put(&self.out, b"\x01{", 2) != OK:
            return NOMEM
        if put(&self.out, self.walk.extra.data + 1, self.walk.extra.size - 1) != OK:
            return NOMEM
        if put_byte(&self.out, 125) != OK:
            return NOMEM
        end_cell(&self.out, start)
        return OK

    cdef void clear(self) noexcept nogil:
        """Nothing is known of a document yet."""
        cdef int32_t word
        for word in range(self.words):
            self.walk.filled[word] = 0
        self.walk.key.type = 0
        self.walk.extra.size = 0
        self.walk.notes.size = 0

    cdef int too_large(self, const uint8_t *data, size_t size) noexcept nogil:
        """The reject of a document whose row met a limit, perhaps before its ``_id``."""
        self.out.full = self.walk.extra.full = False
        buffer_trim(&self.walk.extra)
        if self.walk.key.type == 0:
            find_key(&self.walk.key, data, size)
        return TOO_LARGE if self.walk.key.type else MISSING_ID

    cdef int encode(self, const uint8_t *data, size_t size, uint64_t source_ts) noexcept nogil:
        """One document to one row, or nothing at all and the reason."""
        cdef size_t start = self.out.size
        cdef uint64_t rescued = self.walk.rescued
        cdef uint64_t duplicates = self.walk.duplicate_keys
        cdef int status
        self.clear()
        self.out.limit = start + MAX_ROW
        status = put_16(&self.out, self.plan.width)
        if status == OK:
            status = flatten(self.plan, &self.walk, data, size, False)
        if status == TWICE:
            take_back(&self.walk)
            self.walk.rescued = rescued
            self.clear()
            status = flatten(self.plan, &self.walk, data, size, True)
        if status == OK and self.plan.document >= 0:
            fill(&self.walk, self.plan.document)
            self.walk.slots[self.plan.document] = Slot(T_DOCUMENT, data, size, 0)
        if status == OK:
            status = self.put_key_cell()
        if status == OK:
            status = self.put_cells(source_ts)
        if status == NOMEM and (self.out.full or self.walk.extra.full):
            status = self.too_large(data, size)
        # Values that were not written have not been looked into, and a broken document
        # is told as one, whatever else is wrong with it.
        if (
            status == MISSING_ID
            or status == TOO_LARGE
            or status == KEY_KIND
            or status == MISFIT
            or (status == OK and self.walk.duplicate_keys != duplicates)
        ) and check_document(data, size, False, &self.walk.fault) != OK:
            status = CORRUPT
        if status == OK and self.keep:
            status = put(&self.kept, data, size)
        if status != OK:
            self.out.size = start
            self.walk.rescued = rescued
            self.walk.duplicate_keys = duplicates
            take_back(&self.walk)
        else:
            keep_subtypes(&self.walk)
            self.rows += 1
        return status

    cdef int reject(self, const uint8_t *data, size_t size, int status) except -1:
        if status == NOMEM:
            raise MemoryError
        offset = -1
        key = None
        if status == CORRUPT:
            offset = self.walk.fault - data
        if self.walk.key.type:
            key = canonical_key(self.walk.key.type, self.walk.key.value, self.walk.key.size)
            if status == KEY_KIND:
                offset = self.walk.key.value - data
        column = -1
        if status == MISFIT:
            column = self.misfit_column
            offset = self.walk.slots[self.misfit_column].value - data
        self.rejects.append(
            Reject(data[:size] if size else b"", REJECT_CODES[status], offset, key, column)
        )
        return 0

    cdef int enter(self) except -1:
        """Whoever is inside may be without the GIL, so a second one must not come in."""
        if self.busy:
            raise RuntimeError("another thread is using this BatchEncoder")
        self.busy = True
        return 0

    def add_reply(self, Reply reply not None, source_ts):
        """Encode every document of the reply; return the number of rows made."""
        cdef uint64_t time = PyNumber_Index(source_ts)
        cdef Py_ssize_t before, i
        cdef int status
        self.enter()
        before = self.rows
        try:
            with nogil:
                for i in range(reply.count):
                    status = self.encode(
                        reply.data + reply.offsets[i], reply.sizes[i], time
                    )
                    if status != OK:
                        with gil:
                            self.reject(
                                reply.data + reply.offsets[i], reply.sizes[i], status
                            )
                    self.documents += 1
        finally:
            self.busy = False
        return self.rows - before

    def add_document(self, bytes document not None, source_ts):
        """Encode one document; False when it was rejected."""
        cdef const uint8_t *data = document
        cdef size_t size = len(document)
        cdef uint64_t time = PyNumber_Index(source_ts)
        cdef int status
        self.enter()
        try:
            with nogil:
                status = self.encode(data, size, time)
            if status != OK:
                self.reject(data, size, status)
            # Only now: out of memory, the document is neither a row nor a reject.
            self.documents += 1
        finally:
            self.busy = False
        return status == OK

    def add_events(self, list events not None):
        """Encode the document of each event at its cluster time; the number of rows."""
        # The events hold the bytes, whatever becomes of the list meanwhile.
        cdef tuple held = tuple(events)
        cdef Py_ssize_t used = 0
        cdef Py_ssize_t before, i
        cdef ChangeEvent event
        cdef int status
        cdef Dated *dated
        self.enter()
        before = self.rows
        dated = <Dated *>malloc(len(held) * sizeof(Dated) + 1)
        try:
            if dated == NULL:
                raise MemoryError
            for event in held:
                if event is None:
                    raise TypeError("events holds None")
                if event.document_span.start != NULL:
                    dated[used] = Dated(
                        event.document_span.start, event.document_span.size, event.time
                    )
                    used += 1
            with nogil:
                for i in range(used):
                    self.documents += 1
                    status = self.encode(dated[i].data, dated[i].size, dated[i].time)
                    if status != OK:
                        with gil:
                            self.reject(dated[i].data, dated[i].size, status)
        finally:
            self.busy = False
            free(dated)
        return self.rows - before

    def take(self):
        """Everything since the last take; the encoder is empty afterwards."""
        self.enter()
        try:
            return self.taken()
        finally:
            self.busy = False

    cdef object taken(self):
        # All that can fail comes first: a MemoryError takes nothing.
        rejects = []
        batch = EncodedBatch(
            self.out.data[: self.out.size] if self.out.size else b"",
            self.rows,
            self.documents,
            tuple(self.rejects),
            drift_of(self.plan, &self.walk),
            self.walk.rescued,
            self.walk.duplicate_keys,
            self.kept.data[: self.kept.size] if self.kept.size else b"",
        )
        buffer_trim(&self.out)
        buffer_trim(&self.kept)
        buffer_trim(&self.walk.extra)
        buffer_trim(&self.walk.notes)
        self.rows = 0
        self.documents = 0
        self.rejects = rejects
        self.walk.rescued = 0
        self.walk.duplicate_keys = 0
        clear_drift(self.plan, &self.walk)
        return batch
