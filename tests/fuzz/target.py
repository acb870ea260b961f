"""What holds for any bytes: the properties that the fuzzer tries to break.

An input is a plan number, a byte of flags, then bytes that become a document. Each
entry of the core gets them; an assertion that fails is a finding, as a crash is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle

import cwarp_core
from cwarp_core import (
    BatchEncoder,
    CorruptBSON,
    KeyKindError,
    KeyRanges,
    Observation,
    Reply,
    RowPlan,
    asked_alone,
    compare_keys,
    in_filter,
    json_text,
    key_encoding,
    key_text,
    parse_events,
    row_offsets,
)
from tests import oracle
from tests.core.build import array, double, int32, obj, wrap
from tests.core.copyrows import read_rows
from tests.core.differential import row_plan
from tests.core.samples import COLUMN_TYPES, SAMPLES
from tests.oracle import Column, Plan

#: Flags: make the outer length true, put an ``_id`` first.
WRAP, WITH_ID = 1, 2
_ID = b"\x10_id\0\x07\0\0\0"
#: The oracle costs most of the time, so it judges small inputs only.
_JUDGED = 400

#: An object that others are compared with.
_MIDDLE = obj(("a", int32(1)), ("b", array(double(0.5)))).key
ENCODINGS = ("canonical", "objectId", "string", "uuid", "bigint", "numeric")
NAMES = ("a", "b", "d", "i", "x", "")
PATHS = (
    *((name,) for name in NAMES),
    ("a", "a"),
    ("a", "b"),
    ("d", "d", "a"),
    ("d", "d", "d", "d", "d", "a"),
)


def _plans() -> list[Plan]:
    """Every column type at several depths; whole documents; every key; every policy."""
    keys, depths = cycle(("canonical", "bigint")), cycle((1, 2, 3, 4, 5, 6))
    modes, uuids = cycle(("plain", "canonical")), cycle(("", "standard", "java"))
    natives = cycle(SAMPLES)
    found = []
    for at, type_ in enumerate((*COLUMN_TYPES, *COLUMN_TYPES)):
        columns = [Column(path, type_, next(natives)) for path in PATHS]
        if at % 4 == 3:
            columns.append(Column((), ("jsonb", "json", "jsontext")[at % 3], "object"))
        policy = "dead_letter" if at % 5 == 4 else "rescue"
        found.append(
            Plan(
                next(keys),
                tuple(columns),
                next(depths),
                next(modes),
                next(uuids),
                policy,
                at % 2 == 0,
            )
        )
    found += [Plan(key, (), legacy_uuid="csharp") for key in ENCODINGS]
    found.append(Plan("canonical", (Column((), "jsonb", "object"),)))
    return found


PLANS = _plans()
_COMPILED = [row_plan(plan) for plan in PLANS]


def one_input(data: bytes) -> None:
    """Raises AssertionError on a broken promise; anything but its own errors passes."""
    if len(data) < 2:
        return
    number, flags, raw = data[0] % len(PLANS), data[1], data[2:]
    if flags & WRAP:
        raw = wrap((_ID if flags & WITH_ID else b"") + raw)
    readable = _texts(raw)
    _rows(raw, number, readable)
    _observation(raw, readable)
    _keys(raw)
    _order(raw)
    _offsets(raw)
    _replies(raw, _COMPILED[number])


def _texts(raw: bytes) -> bool:
    """Whether the document can be read; ``check`` asks for sound texts on top."""
    sound = _fault(raw, lambda: cwarp_core.check(raw)) is None
    if _fault(raw, lambda: json_text(raw)) is not None:
        assert not sound
        return False
    plain = json_text(raw)
    for text in (plain, json_text(raw, "canonical")):
        assert "\\u0000" not in text.replace("\\\\", "")
        json.loads(text)
    return True


def _fault(raw: bytes, call: Callable[[], object]) -> int | None:
    """Where the bytes are broken, None if they are not."""
    try:
        call()
    except CorruptBSON as error:
        offset = error.offset
    else:
        return None
    assert 0 <= offset <= len(raw)
    return offset


def _rows(raw: bytes, number: int, readable: bool) -> None:
    plan, compiled = PLANS[number], _COMPILED[number]
    encoder = BatchEncoder(compiled, keep=True)
    stored = encoder.add_document(raw, 1)
    first = encoder.take()
    assert first.raw == (raw if stored else b"")
    assert len(read_rows(first.payload, compiled.width)) == first.rows == stored
    assert first.documents == 1 == stored + len(first.rejects)
    for reject in first.rejects:
        assert reject.document == raw
        assert -1 <= reject.offset <= len(raw)
        assert not (readable and reject.code == "corrupt")
    # What the encoder has learned of the field order changes nothing.
    neighbour = wrap(_ID + b"\x10a\0\0\0\0\0")
    encoder.add_document(neighbour, 1)
    before = encoder.nbytes
    assert encoder.add_document(raw, 1) is stored
    assert encoder.nbytes == before + len(first.payload)
    both = encoder.take()
    assert both.payload[before:] == first.payload
    # A key of another kind than the plan's makes no row of the neighbour.
    assert both.raw == (neighbour if before else b"") + first.raw
    assert row_offsets(both.payload) == sorted({0, before, len(both.payload)})
    if len(raw) > _JUDGED:
        return
    expected = oracle.encode(raw, plan, 1)
    if isinstance(expected, oracle.Rejected):
        assert [(r.code, r.column) for r in first.rejects] == [expected]
    else:
        assert first.payload == expected.row
        assert first.duplicate_keys == expected.duplicates


def _observation(raw: bytes, readable: bool) -> None:
    for depth in (1, 6):
        observation = Observation(depth)
        observation.add_document(raw)
        assert (observation.documents, observation.corrupt) == (readable, not readable)
        for path in observation.paths():
            assert 1 <= len(path.path) <= depth
            assert readable


def _keys(raw: bytes) -> None:
    """The bytes as an ``_id`` element: a type byte, then the value."""
    try:
        encoding = key_encoding(raw)
    except CorruptBSON:
        return
    for each in ENCODINGS:
        try:
            key_text(raw, each)
        except (KeyKindError, CorruptBSON):
            assert each in ("canonical", *ENCODINGS[1:])
            assert each != encoding or each == "canonical"
    # The first name inside the filter is "0", so any sound element makes it sound.
    assert Reply.of_documents([in_filter([raw])]).key(0) is not None


def _order(raw: bytes) -> None:
    """The bytes as one key, and cut in two as two."""
    for a, b in (
        (raw, raw),
        (raw, _MIDDLE),
        (raw[: len(raw) // 2], raw[len(raw) // 2 :]),
    ):
        try:
            found = compare_keys(a, b)
        except CorruptBSON:
            continue
        assert compare_keys(b, a) == -found
        assert not asked_alone(a) or b"\x0c" in a
        try:
            texts = {key_text(each, "canonical") for each in (a, b)}
        except CorruptBSON:
            # A key that stands alone may be a level deeper than one in a document.
            assert len(raw) > _JUDGED
        else:
            assert (len(texts) == 1) == (found == 0)
        assert KeyRanges([None, b]).find(a) == (found >= 0)
        if len(raw) <= _JUDGED:
            x, y = (oracle.order_key(oracle.read_element(each)) for each in (a, b))
            assert (x > y) - (x < y) == found


def _offsets(raw: bytes) -> None:
    try:
        found = row_offsets(raw)
    except ValueError:
        return
    assert (found[0], found[-1]) == (0, len(raw))
    assert found == sorted(set(found))


def _replies(raw: bytes, plan: RowPlan) -> None:
    """The bytes as a reply of the server, and as a document inside one."""
    for build in (Reply, lambda each: Reply.of_documents([each, each])):
        try:
            reply = build(raw)
        except CorruptBSON:
            continue
        for index in range(len(reply)):
            assert len(reply.document(index)) <= reply.nbytes
            reply.key(index)
        encoder = BatchEncoder(plan)
        rows = encoder.add_reply(reply, 1)
        batch = encoder.take()
        assert len(read_rows(batch.payload, plan.width)) == rows == batch.rows
        assert batch.documents == len(reply) == rows + len(batch.rejects)
        observation = Observation()
        observation.add_reply(reply)
        assert observation.documents + observation.corrupt == len(reply)
        try:
            events = parse_events(reply)
        except CorruptBSON:
            continue
        assert len(events) == len(reply)
        for event in events:
            assert event.token
            assert event.document is None or len(event.document) >= 5
