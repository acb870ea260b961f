"""RowPlan: which path goes to which cell, compiled once per table version."""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from cwarp_core.bson cimport kind_names
from cwarp_core.copybuf cimport OK, buffer_free
from cwarp_core.jsontext cimport M_CANONICAL, M_PLAIN
from cwarp_core.key cimport encoding_names
from cwarp_core.observe cimport MAX_LEVELS
from cwarp_core.strings cimport put_json_string

from typing import NamedTuple

# PostgreSQL's own (MaxHeapAttributeNumber, src/include/access/htup_details.h).
cdef enum:
    MAX_WIDTH = 1600

cdef dict COLUMN_TYPES = {
    "boolean": C_BOOLEAN,
    "integer": C_INTEGER,
    "bigint": C_BIGINT,
    "double precision": C_DOUBLE,
    "numeric": C_NUMERIC,
    "text": C_TEXT,
    "uuid": C_UUID,
    "bytea": C_BYTEA,
    "timestamptz": C_TIMESTAMPTZ,
    "jsonb": C_JSONB,
    "json": C_JSON,
    "jsontext": C_JSON,
}
cdef dict LEGACY_UUIDS = {
    "": UUID_NONE, "standard": UUID_STANDARD, "java": UUID_JAVA, "csharp": UUID_CSHARP
}


class PlanColumn(NamedTuple):
    """One destination column fed by one document path."""

    path: tuple
    type: str
    native: str = ""
    subtype: int = 0


def _choice(what, value, choices):
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def _escaped(name):
    return name.replace("\\", "\\\\").replace(".", "\\.")


cdef bytes label_of(tuple path):
    """The path as a JSON member name and a colon: dots inside names are escaped."""
    cdef Buffer buf = Buffer(NULL, 0, 0, 0, False)
    text = ".".join(map(_escaped, path)).encode()
    try:
        if put_json_string(&buf, text, len(text)) != OK:
            raise MemoryError
        return buf.data[: buf.size] + b":"
    finally:
        buffer_free(&buf)


@cython.final
cdef class RowPlan:
    """One table's mapping, compiled once into C arrays. Immutable, shareable."""

    def __cinit__(
        self,
        str key not None,
        columns not None,
        *,
        max_depth=3,
        str json_mode="plain",
        str legacy_uuid="",
        str on_misfit="rescue",
        bint source_ts=True,
    ):
        self.encoding = encoding_names.index(_choice("key", key, encoding_names))
        _choice("json_mode", json_mode, ("plain", "canonical"))
        _choice("legacy_uuid", legacy_uuid, tuple(LEGACY_UUIDS))
        _choice("on_misfit", on_misfit, ("rescue", "dead_letter", "fail"))
        max_depth = PyNumber_Index(max_depth)
        if not 1 <= max_depth <= MAX_LEVELS:
            raise ValueError(f"max_depth must be 1 to {MAX_LEVELS}, not {max_depth}")
        self.key = key
        given = []
        for column in columns:
            given.append(PlanColumn(*column))
        self.columns = tuple(given)
        self.max_depth = max_depth
        self.json_mode = M_CANONICAL if json_mode == "canonical" else M_PLAIN
        self.legacy_uuid = LEGACY_UUIDS[legacy_uuid]
        self.rejecting = on_misfit != "rescue"
        self.source_ts = source_ts
        if len(self.columns) > MAX_WIDTH - 2 - source_ts:
            raise ValueError(
                f"a table has at most {MAX_WIDTH} columns, and this plan"
                f" {len(self.columns) + 2 + source_ts} with the key and our own"
            )
        self.column_count = len(self.columns)
        self.width = self.column_count + 2 + source_ts
        self.document = -1
        self.names = []
        seen = set()
        for column in self.columns:
            _choice("column type", column.type, tuple(COLUMN_TYPES))
            _choice("native kind", column.native, kind_names[:24])
            if column.path in seen:
                raise ValueError(f"two columns for the path {'.'.join(column.path)!r}")
            if column.path[:1] == ("_id",):
                raise ValueError("_id is the key: neither it nor a part of it is a column")
            if column.path == () and COLUMN_TYPES[column.type] not in (C_JSONB, C_JSON):
                raise ValueError("the whole document needs a column of a json type")
            if any("\0" in name for name in column.path):
                raise ValueError("a field name holds no U+0000")
            if not 0 <= PyNumber_Index(column.subtype) <= 255:
                raise ValueError(f"no binary subtype is {column.subtype}")
            seen.add(column.path)
        self.compile()

    cdef int compile(self) except -1:
        """Build the tree of names, then lay it out level by level."""
        cdef int32_t index, field, node, place
        cdef bytes name
        root = {"_id": [KEY_SLOT, None]}
        self.column = <Column *>calloc(self.column_count + 1, sizeof(Column))
        if self.column == NULL:
            raise MemoryError
        for index, column in enumerate(self.columns):
            self.column[index].type = COLUMN_TYPES[column.type]
            self.column[index].native = kind_names.index(column.native)
            self.column[index].subtype = column.subtype
            name = label_of(column.path)
            self.names.append(name)
            self.column[index].label = name
            self.column[index].label_size = len(name)
            if column.path == ():
                self.document = index
                continue
            level = root
            *parents, last = column.path
            for step in parents:
                entry = level.setdefault(step, [NO_SLOT, None])
                if entry[1] is None:
                    entry[1] = {}
                level = entry[1]
            level.setdefault(last, [NO_SLOT, None])[0] = index
        levels = [root]
        for level in levels:
            levels.extend([child for _, child in level.values() if child is not None])
        self.field_count = sum(map(len, levels))
        self.node_count = len(levels)
        sizes = []
        for level in levels:
            sizes.append(1 << (2 * len(level)).bit_length())
        self.nodes = <Node *>calloc(len(levels), sizeof(Node))
        self.fields = <Field *>calloc(self.field_count, sizeof(Field))
        self.buckets = <int32_t *>malloc(sum(sizes) * sizeof(int32_t))
        if self.nodes == NULL or self.fields == NULL or self.buckets == NULL:
            raise MemoryError
        memset(self.buckets, 0xFF, sum(sizes) * sizeof(int32_t))
        numbers = {id(level): number for number, level in enumerate(levels)}
        field = 0
        place = 0
        for node, level in enumerate(levels):
            self.nodes[node].first = field
            self.nodes[node].count = len(level)
            self.nodes[node].table = place
            self.nodes[node].mask = sizes[node] - 1
            for text, (slot, child) in level.items():
                name = text.encode()
                self.names.append(name)
                self.fields[field].name = name
                self.fields[field].size = len(name)
                head = (name + bytes(8))[:8]
                self.fields[field].head = int.from_bytes(head, "little")
                self.fields[field].mask = 0xFFFFFFFFFFFFFFFFULL
                if len(name) < 7:
                    self.fields[field].mask >>= 8 * (7 - len(name))
                self.fields[field].slot = slot
                self.fields[field].node = -1 if child is None else numbers[id(child)]
                self.fields[field].whole = slot >= 0 and self.column[<int>slot].type in (
                    C_JSONB, C_JSON
                )
                index = hash_name(self.fields[field].name, len(name)) & (sizes[node] - 1)
                while self.buckets[place + index] >= 0:
                    index = (index + 1) & (sizes[node] - 1)
                self.buckets[place + index] = field
                field += 1
            place += sizes[node]
        return 0

    def __dealloc__(self):
        free(self.fields)
        free(self.nodes)
        free(self.buckets)
        free(self.column)
