"""Random documents of all kinds, and plans made from a part of their paths."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.core import build
from tests.core.build import Raw
from tests.core.samples import COLUMN_TYPES, SAMPLES
from tests.oracle import Column, Fields, Plan, Value, key_encoding, read_document

# Few names, so that plans and documents meet; some that need escaping.
NAMES = st.sampled_from(["a", "b", "a.b", "ab", "", "\u00e9", '"', "\\", "_id", "$x"])
NUMBERS = st.one_of(
    st.integers(-(2**31), 2**31 - 1).map(build.int32),
    st.integers(-(2**63), 2**63 - 1).map(build.int64),
    st.floats().map(build.double),
    st.binary(min_size=16, max_size=16).map(lambda raw: Raw(0x13, raw)),
)
_SAMPLES = [value for values in SAMPLES.values() for value in values]
SCALARS = st.one_of(
    NUMBERS,
    st.integers(0, len(_SAMPLES) - 1).map(lambda index: _SAMPLES[index]),
    st.text(max_size=20).map(build.string),
    st.binary(max_size=20).map(build.string),
    st.binary(min_size=12, max_size=12).map(build.oid),
    st.integers(-(2**63), 2**63 - 1).map(build.date),
    st.tuples(st.binary(max_size=20), st.integers(0, 255)).map(
        lambda drawn: build.binary(*drawn)
    ),
)


def _containers(inner: st.SearchStrategy[Raw]) -> st.SearchStrategy[Raw]:
    # One name may come twice.
    fields = st.lists(st.tuples(NAMES, inner), max_size=5)
    return st.one_of(
        fields.map(lambda drawn: build.obj(*drawn)),
        fields.map(lambda drawn: build.obj(*drawn)),
        st.lists(inner, max_size=4).map(lambda drawn: build.array(*drawn)),
        fields.map(lambda drawn: build.code_with_scope("f", *drawn)),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=12)


@st.composite
def documents(draw: st.DrawFn, key: st.SearchStrategy[Raw] = VALUES) -> bytes:
    names = NAMES.filter(lambda name: name != "_id")
    fields = draw(st.lists(st.tuples(names, VALUES), max_size=6))
    fields.insert(draw(st.integers(0, len(fields))), ("_id", draw(key)))
    return build.document(*fields)


def _paths(fields: Fields, base: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = set()
    for name, value in fields:
        path = (*base, name)
        if path != ("_id",):
            found.add(path)
            if value.kind == "object":
                found |= _paths(value.data, path)
    return found


@st.composite
def plans(draw: st.DrawFn, batch: list[bytes]) -> Plan:
    trees = [read_document(raw) for raw in batch]
    known = sorted(set().union(*map(_paths, trees)))
    paths = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    columns = tuple(
        Column(
            path,
            draw(st.sampled_from(COLUMN_TYPES)),
            draw(st.sampled_from(["", *SAMPLES])),
            draw(st.sampled_from([0, 2, 3, 4, 5])),
        )
        for path in paths
    )
    ids: list[Value] = [dict(tree)["_id"] for tree in trees]
    keys = [*map(key_encoding, ids), "canonical", "canonical"]
    return Plan(
        draw(st.sampled_from(keys)),
        columns,
        draw(st.integers(1, 5)),
        draw(st.sampled_from(["plain", "canonical"])),
        draw(st.sampled_from(["", "standard", "java", "csharp"])),
        draw(st.sampled_from(["rescue", "rescue", "dead_letter", "fail"])),
        draw(st.booleans()),
    )
