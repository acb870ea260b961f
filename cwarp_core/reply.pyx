"""One raw reply to ``find``, ``aggregate`` or ``getMore``, cut into its documents."""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdlib cimport free, realloc

from cwarp_core.bson cimport (
    MAX_DOCUMENT,
    T_ARRAY,
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
from cwarp_core.endian cimport load_i64, load_u64

from cwarp_core.bson import CorruptBSON


cdef str text_of(const Element *e, const uint8_t *start):
    """A BSON string as str; CorruptBSON, counted from ``start``, when it is not UTF-8."""
    try:
        return e.value[4 : e.size - 1].decode("utf-8")
    except UnicodeDecodeError:
        raise corrupt(e.value - start) from None


cdef bint is_whole(bytes document):
    """Whether the bytes are one document by its own length and its end."""
    cdef Cursor cur
    cdef const uint8_t *data = document
    if open_document(&cur, data, len(document)) != OK:
        return False
    return cur.end + 1 == data + len(document)


@cython.final
cdef class Reply:
    """The documents of one raw reply; copies nothing until ``document`` is called."""

    # Not __init__, which can be called again while events point into the bytes.
    def __cinit__(self, bytes raw not None):
        cdef Cursor top, inner
        cdef Element e, c
        cdef bint batch = False, cursor = False
        self.count = 0
        self.cursor_id = 0
        self.namespace = ""
        self.operation_time = 0
        self.raw = raw
        self.data = raw
        if not is_whole(raw) or open_document(&top, self.data, len(raw)) != OK:
            raise corrupt(0)
        while top.at < top.end:
            if next_element(&top, &e) != OK:
                raise corrupt(top.at - self.data)
            if e.type == T_TIMESTAMP and named(&e, b"operationTime"):
                self.operation_time = load_u64(e.value)
            elif e.type == T_DOCUMENT and named(&e, b"cursor"):
                if open_document(&inner, e.value, e.size) != OK:
                    raise corrupt(e.value - self.data)
                while inner.at < inner.end:
                    if next_element(&inner, &c) != OK:
                        raise corrupt(inner.at - self.data)
                    if c.type == T_ARRAY and (
                        named(&c, b"nextBatch") or named(&c, b"firstBatch")
                    ):
                        self.fill(c.value, c.size)
                        batch = True
                    elif c.type == T_INT64 and named(&c, b"id"):
                        self.cursor_id = load_i64(c.value)
                        cursor = True
                    elif c.type == T_STRING and named(&c, b"ns"):
                        self.namespace = text_of(&c, self.data)
                    elif c.type == T_DOCUMENT and named(&c, b"postBatchResumeToken"):
                        self.post_batch_resume_token = c.value[: c.size]
        if not batch or not cursor:
            raise CorruptBSON("not a reply: it holds no batch of a cursor", 0)

    def __dealloc__(self):
        free(self.offsets)
        free(self.sizes)

    cdef int fill(self, const uint8_t *array, size_t size) except -1:
        """Offset and size of each document of the batch array."""
        cdef Cursor cur
        cdef Element e
        cdef Py_ssize_t room = 0
        cdef void *moved
        if open_document(&cur, array, size) != OK:
            raise corrupt(array - self.data)
        while cur.at < cur.end:
            if next_element(&cur, &e) != OK or e.type != T_DOCUMENT:
                raise corrupt(cur.at - self.data)
            if self.count == room:
                room = room * 2 if room else 1024
                moved = realloc(self.offsets, room * sizeof(uint32_t))
                if moved == NULL:
                    raise MemoryError
                self.offsets = <uint32_t *>moved
                moved = realloc(self.sizes, room * sizeof(uint32_t))
                if moved == NULL:
                    raise MemoryError
                self.sizes = <uint32_t *>moved
            self.offsets[self.count] = <uint32_t>(e.value - self.data)
            self.sizes[self.count] = <uint32_t>e.size
            self.count += 1
        return 0

    @classmethod
    def of_documents(
        cls, list documents not None, operation_time=0, bytes token=None
    ):
        """A reply made of these documents, for sources that have no wire protocol."""
        cdef bytes document
        cdef uint64_t time = PyNumber_Index(operation_time)
        # What stands around the documents, and around each: type, number and a NUL.
        cdef size_t size = 256 + (0 if token is None else len(token))
        for document in documents:
            if document is None:
                raise TypeError("documents holds None")
            size += <size_t>len(document) + 12
        if size > <size_t>MAX_DOCUMENT:
            raise ValueError(f"a reply holds 2 GiB, and these documents are {size} bytes")
        parts = []
        for i, document in enumerate(documents):
            if not is_whole(document):
                raise corrupt(0, f"document {i}")
            parts.append(b"\x03%d\0%b" % (i, document))
        batch = b"\x04firstBatch\0" + _document(b"".join(parts))
        if token is not None and not is_whole(token):
            raise corrupt(0, "the token")
        place = b"" if token is None else b"\x03postBatchResumeToken\0" + token
        cursor = _document(batch + place + b"\x12id\0" + bytes(8))
        stamp = b"\x11operationTime\0" + int(time).to_bytes(8, "little")
        return cls(_document(b"\x03cursor\0" + cursor + stamp))

    def __len__(self):
        return self.count

    def document(self, Py_ssize_t index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.data[self.offsets[index] : self.offsets[index] + self.sizes[index]]

    def key(self, Py_ssize_t index):
        """The ``_id`` element of a document: its type byte, then its value's bytes."""
        cdef Cursor cur
        cdef Element e
        if not 0 <= index < self.count:
            raise IndexError(index)
        if open_document(&cur, self.data + self.offsets[index], self.sizes[index]) != OK:
            return None
        while cur.at < cur.end:
            if next_element(&cur, &e) != OK:
                return None
            if named(&e, b"_id"):
                return key_of(&e)
        return None

    @property
    def nbytes(self):
        return len(self.raw)


def _document(body):
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"
