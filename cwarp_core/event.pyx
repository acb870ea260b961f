"""The headers of change events, and where their documents lie in the reply."""

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from cwarp_core.bson cimport (
    T_BINARY,
    T_BOOL,
    T_DATE,
    T_DOCUMENT,
    T_INT64,
    T_OBJECTID,
    T_STRING,
    T_SYMBOL,
    T_TIMESTAMP,
    Cursor,
    Element,
    corrupt,
    next_element,
    open_document,
)
from cwarp_core.copybuf cimport OK
from cwarp_core.endian cimport load_u64
from cwarp_core.key cimport canonical_key
from cwarp_core.reply cimport Reply, key_of, named, text_of

cdef bytes STRING = bytes([T_STRING])


cdef inline bytes bytes_of(Span span):
    return span.start[: span.size] if span.start != NULL else None


# No cycle can run through an event, so the collector needs not look at it.
@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class ChangeEvent:
    """The header of one change event. Holds its reply; documents are copied on demand."""

    # Only whoever calls the class gets here; ``parse_events`` goes past it.
    def __init__(self):
        raise TypeError("parse_events makes change events")

    @property
    def cluster_time(self):
        return self.time

    @property
    def token(self):
        """The event's resume token as one BSON document."""
        return bytes_of(self.token_span)

    @property
    def document(self):
        """``fullDocument``, or None when the event carries none."""
        return bytes_of(self.document_span)

    @property
    def identity(self):
        cdef const uint8_t *key
        if self.key is None:
            return None
        key = self.key
        if key[0] in (
            T_STRING, T_BINARY, T_OBJECTID, T_BOOL, T_DATE, T_TIMESTAMP
        ):
            return self.key
        # A symbol is the same id as the string of its text.
        if key[0] == T_SYMBOL:
            return STRING + self.key[1:]
        # Numbers of different types can be equal (1, 1L, 1.0), and a document or an
        # array may hold such numbers.
        return canonical_key(key[0], key + 1, len(self.key) - 1)

    @property
    def has_document(self):
        return self.document_span.start != NULL

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


cdef inline bint key_element(const Element *document, Element *found) noexcept nogil:
    """The ``_id`` of a documentKey; type 0 when it has none. False: broken."""
    cdef Cursor cur
    found.type = 0
    if open_document(&cur, document.value, document.size) != OK:
        return False
    while cur.at < cur.end:
        if next_element(&cur, found) != OK:
            return False
        if named(found, b"_id"):
            return True
    found.type = 0
    return True


cdef inline bint namespace_of(
    const Element *document, Element *database, Element *collection
) noexcept nogil:
    """``db`` and ``coll``; type 0 for one that is absent or no string. False: broken."""
    cdef Cursor cur
    cdef Element e
    database.type = collection.type = 0
    if open_document(&cur, document.value, document.size) != OK:
        return False
    while cur.at < cur.end:
        if next_element(&cur, &e) != OK:
            return False
        if e.type == T_STRING and named(&e, b"db"):
            database[0] = e
        elif e.type == T_STRING and named(&e, b"coll"):
            collection[0] = e
    return True


def parse_events(Reply reply not None):
    """The change events of a reply, in order. Raises CorruptBSON."""
    cdef Py_ssize_t i
    cdef Cursor cur
    cdef Element e, part, coll
    cdef ChangeEvent event
    cdef Span lsid
    cdef Span number
    cdef bint sound
    cdef _Names operation = _Names(), database = _Names(), collection = _Names()
    events = []
    for i in range(reply.count):
        event = ChangeEvent.__new__(ChangeEvent)
        event.reply = reply
        event.operation = event.database = event.collection = ""
        event.nbytes = reply.sizes[i]
        lsid.start = number.start = NULL
        if open_document(&cur, reply.data + reply.offsets[i], reply.sizes[i]) != OK:
            raise corrupt(reply.offsets[i])
        while cur.at < cur.end:
            if next_element(&cur, &e) != OK:
                raise corrupt(cur.at - reply.data)
            if e.type == T_DOCUMENT:
                sound = True
                if named(&e, b"_id"):
                    event.token_span = Span(e.value, e.size)
                elif named(&e, b"fullDocument"):
                    event.document_span = Span(e.value, e.size)
                elif named(&e, b"documentKey"):
                    sound = key_element(&e, &part)
                    if sound and part.type:
                        event.key = key_of(&part)
                elif named(&e, b"ns"):
                    sound = namespace_of(&e, &part, &coll)
                    if sound and part.type:
                        event.database = database.get(&part, reply.data)
                    if sound and coll.type:
                        event.collection = collection.get(&coll, reply.data)
                elif named(&e, b"lsid"):
                    lsid = Span(e.value, e.size)
                elif named(&e, b"to"):
                    sound = namespace_of(&e, &part, &coll)
                    if sound and coll.type:
                        event.to_collection = text_of(&coll, reply.data)
                if not sound:
                    raise corrupt(e.value - reply.data)
            elif e.type == T_STRING and named(&e, b"operationType"):
                event.operation = operation.get(&e, reply.data)
            elif e.type == T_TIMESTAMP and named(&e, b"clusterTime"):
                event.time = load_u64(e.value)
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
