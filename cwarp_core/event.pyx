"""The headers of change events, and where their documents lie in the reply."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from cwarp_core.bson cimport (
    T_BINARY,
    T_DOCUMENT,
    T_INT64,
    T_STRING,
    T_TIMESTAMP,
    Cursor,
    Element,
    corrupt,
    next_element,
    open_document,
)
from cwarp_core.copybuf cimport OK
from cwarp_core.endian cimport load_u64
from cwarp_core.reply cimport Reply, named, text_of

cdef struct Span:
    const uint8_t *start
    size_t size


cdef inline bytes bytes_of(Span span):
    return span.start[: span.size] if span.start != NULL else None


cdef class ChangeEvent:
    """The header of one change event. Holds its reply; documents are copied on demand."""

    cdef Reply reply
    cdef Span token_span
    cdef Span document_span
    cdef Span uuid_span
    cdef readonly str operation
    cdef readonly str database
    cdef readonly str collection
    cdef readonly bytes key
    cdef readonly object cluster_time
    cdef readonly bytes transaction
    cdef readonly str to_collection
    cdef readonly Py_ssize_t nbytes

    @property
    def token(self):
        """The event's resume token as one BSON document."""
        return bytes_of(self.token_span)

    @property
    def document(self):
        """``fullDocument``, or None when the event carries none."""
        return bytes_of(self.document_span)

    @property
    def collection_uuid(self):
        return bytes_of(self.uuid_span)


cdef class _Names:
    """The last text seen in one place of an event: most events repeat it."""

    cdef bytes raw
    cdef str text

    cdef str get(self, const Element *e, const uint8_t *start):
        cdef size_t size = e.size - 5
        cdef const uint8_t *p
        if self.raw is not None and <size_t>len(self.raw) == size:
            p = self.raw
            if memcmp(p, e.value + 4, size) == 0:
                return self.text
        self.text = text_of(e, start)
        self.raw = e.value[4 : 4 + size] if size else b""
        return self.text


cdef int member(const Element *document, const char *name, Element *found) noexcept nogil:
    """The member of this name; 1 found, 0 absent, -1 broken."""
    cdef Cursor cur
    if open_document(&cur, document.value, document.size) != OK:
        return -1
    while cur.at < cur.end:
        if next_element(&cur, found) != OK:
            return -1
        if named(found, name):
            return 1
    return 0


def parse_events(Reply reply not None):
    """The change events of a reply, in order. Raises CorruptBSON."""
    cdef Py_ssize_t i
    cdef Cursor cur
    cdef Element e, part
    cdef ChangeEvent event
    cdef Span lsid
    cdef Span number
    cdef int found
    cdef _Names operation = _Names(), database = _Names(), collection = _Names()
    events = []
    for i in range(reply.count):
        event = ChangeEvent.__new__(ChangeEvent)
        event.reply = reply
        event.operation = event.database = event.collection = ""
        event.cluster_time = 0
        event.nbytes = reply.sizes[i]
        lsid.start = number.start = NULL
        found = 0
        if open_document(&cur, reply.data + reply.offsets[i], reply.sizes[i]) != OK:
            raise corrupt(reply.offsets[i])
        while cur.at < cur.end:
            if next_element(&cur, &e) != OK:
                raise corrupt(cur.at - reply.data)
            if e.type == T_DOCUMENT:
                if named(&e, b"_id"):
                    event.token_span = Span(e.value, e.size)
                elif named(&e, b"fullDocument"):
                    event.document_span = Span(e.value, e.size)
                elif named(&e, b"documentKey"):
                    found = member(&e, b"_id", &part)
                    if found == 1:
                        event.key = bytes((part.type,)) + part.value[: part.size]
                elif named(&e, b"ns"):
                    found = member(&e, b"db", &part)
                    if found == 1 and part.type == T_STRING:
                        event.database = database.get(&part, reply.data)
                    if found >= 0:
                        found = member(&e, b"coll", &part)
                    if found == 1 and part.type == T_STRING:
                        event.collection = collection.get(&part, reply.data)
                elif named(&e, b"lsid"):
                    lsid = Span(e.value, e.size)
                elif named(&e, b"to"):
                    found = member(&e, b"coll", &part)
                    if found == 1 and part.type == T_STRING:
                        event.to_collection = text_of(&part, reply.data)
                if found < 0:
                    raise corrupt(e.value - reply.data)
            elif e.type == T_STRING and named(&e, b"operationType"):
                event.operation = operation.get(&e, reply.data)
            elif e.type == T_TIMESTAMP and named(&e, b"clusterTime"):
                event.cluster_time = load_u64(e.value)
            elif e.type == T_INT64 and named(&e, b"txnNumber"):
                number = Span(e.value, e.size)
            elif e.type == T_BINARY and named(&e, b"collectionUUID"):
                event.uuid_span = Span(e.value + 5, e.size - 5)
        if lsid.start != NULL and number.start != NULL:
            event.transaction = bytes_of(lsid) + bytes_of(number)
        if event.token_span.start == NULL:
            raise corrupt(reply.offsets[i])
        events.append(event)
    return events
