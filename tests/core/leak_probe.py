"""Run by test_leaks.py: the same work over and over, and what is allocated after it.

Prints one line a round: bytes that libc's allocator has given out, and the number of
blocks that tracemalloc has seen and that are not freed.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tracemalloc
from array import array

from cwarp_core import (
    BatchEncoder,
    CorruptBSON,
    KeyKindError,
    KeyRanges,
    Observation,
    Reply,
    RowPlan,
    asked_alone,
    check,
    compare_keys,
    in_filter,
    json_text,
    key_text,
    parse_events,
    row_offsets,
)
from tests.core.allocation_probe import DOCUMENTS, EVENT, PLAN, RAW_REPLY, REFUSED
from tests.core.build import document, int32, obj
from tests.core.samples import SAMPLES

DEEP = obj(("a", obj(("b", obj(("c", int32(1))))))).key
_VALUES = [value for values in SAMPLES.values() for value in values]


class Mallinfo2(ctypes.Structure):
    """As malloc.h has it."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def work() -> None:
    """Every class and function, on the good and on the refused."""
    batch = [
        *DOCUMENTS,
        EVENT,
        *(document(("_id", each), ("a", each)) for each in _VALUES),
    ]
    plan = RowPlan("canonical", PLAN.columns, on_misfit="dead_letter")
    encoder = BatchEncoder(plan, keep=True)
    for raw in batch:
        encoder.add_document(raw, 1)
    encoder.add_reply(Reply.of_documents(batch), 0)
    row_offsets(encoder.take().payload)
    encoder.add_document(batch[0], 0)
    observation = Observation(6)
    observation.add_reply(Reply.of_documents(batch))
    observation.paths()
    for raw in (*batch, REFUSED, b"", b"\5\0\0\0\1"):
        for function in (check, json_text, Reply):
            try:
                function(raw)
            except CorruptBSON:
                continue
    events = parse_events(Reply.of_documents([EVENT] * 20))
    assert events[3].document == DOCUMENTS[0]
    for wrong in ([EVENT, document(("_id", int32(1)))], [REFUSED]):
        try:
            parse_events(Reply.of_documents(wrong))
        except CorruptBSON:
            continue
    reply = Reply(RAW_REPLY)
    in_filter([reply.key(at) or b"" for at in range(len(reply))])
    for value in _VALUES:
        for encoding in ("string", "numeric", "canonical"):
            try:
                key_text(value.key, encoding)
            except KeyKindError:
                continue
        compare_keys(value.key, _VALUES[0].key)
        asked_alone(value.key)
    ranges = KeyRanges([None, int32(5).key, DEEP])
    ranges.find(DEEP)
    for lowers in ([DEEP, int32(5).key], [None, DEEP[:-1]]):
        try:
            KeyRanges(lowers)
        except ValueError:
            continue
    for payload in (b"\0", b"\xff\xff"):
        try:
            row_offsets(payload)
        except ValueError:
            continue


def main(rounds: int) -> None:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    # Flat, so that keeping a figure takes no memory.
    given = array("q", bytes(8 * rounds))
    # First everything that is made once: caches of types, of strings, of code.
    for _ in range(5):
        work()
    for at in range(rounds):
        work()
        gc.collect()
        now = mallinfo2()
        given[at] = now.uordblks + now.hblkhd
    # Counting blocks takes memory too, so that is done apart.
    tracemalloc.start()
    for at in range(rounds):
        work()
        gc.collect()
        print(given[at], len(tracemalloc.take_snapshot().traces))


if __name__ == "__main__":
    main(int(sys.argv[1]))
