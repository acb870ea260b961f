"""Run by test_allocation.py with failing_malloc.so preloaded.

Each piece of work is done with its first allocation failing, then its second, and so
on until none is left. Every time it says MemoryError or gives the right result, and
afterwards it can be done again. Prints one line a piece: name, failures, results.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from itertools import count

from cwarp_core import (
    BatchEncoder,
    EncodedBatch,
    KeyRanges,
    Observation,
    PlanColumn,
    Reply,
    RowPlan,
    check,
    compare_keys,
    in_filter,
    json_text,
    key_text,
    parse_events,
    row_offsets,
)
from tests.core.build import (
    Raw,
    array,
    binary,
    boolean,
    code_with_scope,
    date,
    double,
    int32,
    int64,
    null,
    obj,
    oid,
    regex,
    string,
    timestamp,
    wrap,
)
from tests.core.build import document as bson
from tests.core.copyrows import read_rows
from tests.core.samples import SAMPLES

#: A value for a column of each type.
FITTING = {
    "boolean": boolean(True),
    "integer": int32(-7),
    "bigint": int64(2**40),
    "double precision": double(0.1),
    "numeric": double(-1.25),
    "text": double(1e-7),
    "uuid": binary(b"\1" * 16, 4),
    "bytea": binary(b"\1"),
    "timestamptz": date(1),
    "jsonb": obj(("a", array(date(1), string("\n")))),
    "json": code_with_scope("f", ("a", int32(1))),
    "jsontext": regex(b"a", b"i"),
}
#: Longer than the first piece of memory that a buffer takes.
LONG = string("x" * 70_000 + "\u00e9\n")
PLAN = RowPlan(
    "canonical",
    [
        PlanColumn(("a",), "text", "string"),
        PlanColumn(("b", "c"), "integer", "int"),
        PlanColumn(("d",), "bytea", "binData"),
        PlanColumn(("e",), "jsonb", "array"),
    ],
)
REFUSED = wrap(b"\x10_id\0\1\0\0\0\x03e\0\x05\0\0\0\1")
DOCUMENTS = [
    bson(("_id", int32(1)), ("a", string("x")), ("e", array(int32(1)))),
    bson(("_id", string("k")), ("a", double(0.5)), ("b", obj(("c", LONG)))),
    REFUSED,
    bson(("_id", obj(("x", LONG))), ("b", obj(("f.g", int64(1)), ("h", obj())))),
    bson(("a", LONG)),
    bson(("_id", int32(2)), ("d", binary(b"x" * 300_000, 5)), ("new", LONG)),
    bson(("_id", int32(3)), ("e", obj(("deep", array(obj(("s", LONG))))))),
    bson(
        ("_id", int32(4)),
        *((f"n{at % 290}", null()) for at in range(300)),
        *(("b", each) for each in (int32(1), obj(("d", int32(2))))),
    ),
]
#: Those that become rows.
KEPT = [raw for at, raw in enumerate(DOCUMENTS) if at not in (2, 4)]
EVENT = bson(
    ("_id", obj(("_data", string("8263")))),
    ("operationType", string("insert")),
    ("clusterTime", timestamp(1, 2)),
    ("txnNumber", int64(1)),
    ("lsid", obj(("id", binary(b"\1" * 16, 4)))),
    ("ns", obj(("db", string("d")), ("coll", string("c")))),
    ("to", obj(("coll", string("e")))),
    ("documentKey", obj(("_id", oid(b"\3" * 12)))),
    ("fullDocument", Raw(0x03, DOCUMENTS[0])),
)
RAW_REPLY = bson(
    (
        "cursor",
        obj(
            ("firstBatch", array(*[obj(("_id", int32(at))) for at in range(1500)])),
            ("id", int64(5)),
            ("ns", string("d.c")),
            ("postBatchResumeToken", obj(("_data", string("82")))),
        ),
    ),
)


def again(step: Callable[[], object]) -> object:
    """What a step gives, tried once more when memory is short."""
    try:
        return step()
    except MemoryError:
        return step()


def encoded() -> EncodedBatch:
    """Documents one by one; a step that fails leaves no trace and can be repeated."""
    encoder = BatchEncoder(PLAN, keep=True)
    for raw in DOCUMENTS:
        again(lambda raw=raw: encoder.add_document(raw, 1))
    batch = again(encoder.take)
    assert isinstance(batch, EncodedBatch)
    return batch


_REPLY = Reply.of_documents(DOCUMENTS)


def encoded_reply() -> EncodedBatch:
    """A whole reply; when memory is short the rows so far are whole ones."""
    encoder = BatchEncoder(PLAN, keep=True)
    try:
        encoder.add_reply(_REPLY, 1)
    except MemoryError:
        partial = again(encoder.take)
        assert isinstance(partial, EncodedBatch)
        assert len(read_rows(partial.payload, PLAN.width)) == partial.rows
        assert partial.documents == partial.rows + len(partial.rejects)
        assert EXPECTED.payload.startswith(partial.payload)
        assert partial.raw == b"".join(KEPT[: partial.rows])
        raise
    batch = again(encoder.take)
    assert isinstance(batch, EncodedBatch)
    return batch


def planned() -> int:
    paths = [("a", "b"), ("a", "c"), ("d",), ("e", "x" * 70_000)]
    columns = [PlanColumn(path, "text") for path in paths]
    return BatchEncoder(RowPlan("objectId", columns, max_depth=2)).plan.width


def replied() -> list[bytes | None]:
    reply = Reply(RAW_REPLY)
    return [reply.document(0), reply.key(1499), reply.post_batch_resume_token]


def parsed() -> list[object]:
    event = parse_events(Reply.of_documents([EVENT] * 3))[2]
    return [event.token, event.document, event.key, event.transaction, event.operation]


def observed() -> list[object]:
    observation = Observation(2)
    for raw in DOCUMENTS:
        observation.add_document(raw)
    return [*observation.paths(), observation.documents, observation.corrupt]


def written() -> list[str]:
    check(DOCUMENTS[3])
    return [json_text(DOCUMENTS[3]), json_text(DOCUMENTS[5], "canonical")]


def keyed() -> list[object]:
    keys = [LONG.key, oid(b"\3" * 12).key, double(1e300).key]
    return [[key_text(key, "canonical") for key in keys], in_filter(keys)]


def ordered() -> list[object]:
    keys = [double(0.5).key, LONG.key, obj(("a", array(LONG, int32(1)))).key]
    ranges = KeyRanges([None, *keys])
    found = [ranges.find(key) for key in keys]
    return [found, compare_keys(keys[1], keys[2]), row_offsets(EXPECTED.payload)]


WORK: list[Callable[[], object]] = [
    *(encoded, encoded_reply, planned, replied, parsed, observed, written, keyed),
    ordered,
]
EXPECTED = encoded()


def at_every_byte(arm: Callable[[int, int, int], None]) -> tuple[int, int]:
    """The second growth of the row's buffer fails, wherever in the row it falls.

    The first piece of memory is 65,536 bytes; the binary before the values of every
    kind is shortened until all of them fit into it.
    """
    values = [min(each, key=lambda value: len(value[1])) for each in SAMPLES.values()]
    fields = [(f"k{at}", value) for at, value in enumerate(values)]
    columns = [PlanColumn(("pad",), "bytea", "binData")]
    columns += [PlanColumn((name,), "jsonb") for name, _ in fields]
    # With these natives nothing is kept beside: the row is all that takes memory.
    natives = {"boolean": "bool", "text": "double", "uuid": "uuid"}
    natives["timestamptz"] = "date"
    columns += [PlanColumn((kind,), kind, natives.get(kind, "")) for kind in FITTING]
    fields += FITTING.items()
    failures = results = 0
    for mode in ("plain", "canonical"):
        plan = RowPlan("bigint", columns, json_mode=mode)
        for size in range(65_530, 63_500, -1):
            pad = binary(bytes(size))
            raw = bson(("_id", int32(1)), ("pad", pad), *fields)
            encoder = BatchEncoder(plan)
            arm(2, 0, 0)
            try:
                encoder.add_document(raw, 1)
            except MemoryError:
                failures += 1
            else:
                results += 1
            arm(1 << 62, 0, 0)
            batch = encoder.take()
            assert len(read_rows(batch.payload, plan.width)) == batch.rows
            assert batch.rows == batch.documents
    return failures, results


def main(everyone: bool, for_good: bool) -> None:
    shim = ctypes.CDLL(None)
    shim.arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
    shim.arm.restype = None
    if not everyone and not for_good:
        print(at_every_byte.__name__, *at_every_byte(shim.arm))
        shim.disarm()
    for work in WORK:
        expected = work()
        failures = results = 0
        for nth in count(1):
            found = None
            shim.arm(nth, everyone, for_good)
            try:
                found = work()
            except MemoryError:
                failures += 1
            seen = shim.disarm()
            assert found is None or found == expected, (work.__name__, nth)
            results += found is not None
            if nth % 16 == 1:
                assert work() == expected, (work.__name__, nth)
            if seen < nth:
                break
        assert work() == expected, work.__name__
        print(work.__name__, failures, results)


if __name__ == "__main__":
    main("everyone" in sys.argv, "for_good" in sys.argv)
