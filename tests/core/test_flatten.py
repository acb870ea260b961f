"""Which value goes to which cell, and what is left for ``_cwarp_extra``."""

from __future__ import annotations

import json
import struct

import bson
import pytest

from tests.core.build import (
    Raw,
    array,
    document,
    double,
    int32,
    int64,
    null,
    obj,
    string,
    undefined,
)
from tests.core.differential import assert_same, encode
from tests.oracle import Column, Plan

ID = ("_id", int32(1))
NESTED = obj(("b", obj(("c", obj(("d", int32(1)))))), ("e", int32(2)))


def cells(payload: bytes) -> list[bytes | None]:
    """The cells of the one row of a payload."""
    count, at = struct.unpack_from(">h", payload)[0], 2
    found: list[bytes | None] = []
    for _ in range(count):
        size = struct.unpack_from(">i", payload, at)[0]
        at += 4
        found.append(None if size < 0 else payload[at : at + size])
        at += max(size, 0)
    assert at == len(payload)
    return found


def extra(raw: bytes, plan: Plan) -> str | None:
    """The text of ``_cwarp_extra``, after the oracle has agreed to the whole row."""
    last = cells(assert_same([raw], plan).payload)[-1]
    if last is None:
        return None
    assert last[:1] == b"\1"
    return last[1:].decode()


def plan(*columns: Column, max_depth: int = 3, **options: str) -> Plan:
    return Plan("bigint", columns, max_depth, **options)


@pytest.mark.parametrize(
    ("max_depth", "expected"),
    [
        (1, '{"a":{"b":{"c":{"d":{"$numberInt":"1"}}},"e":{"$numberInt":"2"}}}'),
        (2, '{"a.b":{"c":{"d":{"$numberInt":"1"}}},"a.e":{"$numberInt":"2"}}'),
        (3, '{"a.b.c":{"d":{"$numberInt":"1"}},"a.e":{"$numberInt":"2"}}'),
        (4, '{"a.b.c.d":{"$numberInt":"1"},"a.e":{"$numberInt":"2"}}'),
        (32, '{"a.b.c.d":{"$numberInt":"1"},"a.e":{"$numberInt":"2"}}'),
    ],
)
def test_document_is_entered_below_the_depth(max_depth: int, expected: str) -> None:
    assert extra(document(ID, ("a", NESTED)), plan(max_depth=max_depth)) == expected


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.b", "a\\\\.b"),
        ("a\\b", "a\\\\\\\\b"),
        (".", "\\\\."),
        ("", ""),
        ("$x", "$x"),
        ('q"', 'q\\"'),
        ("\u2603", "\u2603"),
        ("_cwarp_extra", "_cwarp_extra"),
        (" _id", " _id"),
    ],
)
def test_name_in_extra_is_escaped(name: str, written: str) -> None:
    raw = document(ID, (name, obj((name, int32(1)))))
    assert extra(raw, plan()) == f'{{"{written}.{written}":{{"$numberInt":"1"}}}}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (obj(), '{"a":{}}'),
        (obj(("b", obj())), '{"a.b":{}}'),
        (obj(("b", null())), None),
        (null(), None),
        (undefined(), '{"a":{"$undefined":true}}'),
        (array(), '{"a":[]}'),
    ],
    ids=["{}", "{b: {}}", "{b: null}", "null", "undefined", "[]"],
)
def test_nothing_is_mistaken_for_nothing(value: Raw, expected: str | None) -> None:
    assert extra(document(ID, ("a", value)), plan()) == expected
    scalar = plan(Column(("a",), "integer", "int"))
    assert extra(document(ID, ("a", value)), scalar) == expected


def test_scalar_column_lets_documents_through() -> None:
    """The path was a scalar first: its column is NULL, the leaves go their own way."""
    columns = (Column(("a",), "integer", "int"), Column(("a", "b"), "integer", "int"))
    raw = document(ID, ("a", obj(("b", int32(7)), ("c", int32(8)))))
    assert extra(raw, plan(*columns)) == '{"a.c":{"$numberInt":"8"}}'
    payload = assert_same([raw], plan(*columns)).payload
    assert cells(payload)[1:3] == [None, struct.pack(">i", 7)]
    assert extra(raw, plan(columns[0])) == (
        '{"a.b":{"$numberInt":"7"},"a.c":{"$numberInt":"8"}}'
    )


@pytest.mark.parametrize("column_type", ["jsonb", "json", "jsontext"])
def test_json_column_takes_the_document_whole(column_type: str) -> None:
    columns = (Column(("a",), column_type, "object"), Column(("a", "e"), "integer"))
    raw = document(ID, ("a", NESTED))
    payload = assert_same([raw], plan(*columns)).payload
    text = b'{"b":{"c":{"d":1}},"e":2}'
    version = b"\1" if column_type == "jsonb" else b""
    assert cells(payload)[1:3] == [version + text, None]
    assert extra(raw, plan(*columns)) is None
    assert extra(document(ID, ("a", obj())), plan(*columns)) is None


def test_document_at_the_depth_misfits_a_scalar_column() -> None:
    raw = document(ID, ("a", obj(("b", int32(1)))))
    column = Column(("a",), "text", "string")
    assert extra(raw, plan(column, max_depth=1)) == '{"a":{"b":{"$numberInt":"1"}}}'


def test_path_below_a_missing_or_scalar_parent_is_null() -> None:
    column = Column(("a", "b"), "integer", "int")
    assert extra(document(ID), plan(column)) is None
    assert extra(document(ID, ("a", int32(1))), plan(column)) == (
        '{"a":{"$numberInt":"1"}}'
    )
    assert extra(document(ID, ("a", array(obj(("b", int32(1)))))), plan(column)) == (
        '{"a":[{"b":{"$numberInt":"1"}}]}'
    )


def test_extra_holds_unplanned_leaves_then_columns() -> None:
    columns = (Column(("z",), "integer", "int"), Column(("a",), "text", "string"))
    raw = document(
        ("m", int32(1)), ("a", int32(2)), ID, ("z", string("x")), ("b", double(0.5))
    )
    assert extra(raw, plan(*columns)) == (
        '{"m":{"$numberInt":"1"},"b":{"$numberDouble":"0.5"},'
        '"z":"x","a":{"$numberInt":"2"}}'
    )


def test_fields_in_any_order_reach_their_columns() -> None:
    """Field order is only predicted; a wrong guess must not matter."""
    names = ["a", "ab", "abc", "b", "", "\u2603", "a.b", "long" * 40]
    columns = [Column((name,), "integer", "int") for name in names]
    columns += [Column(("s", name), "bigint", "long") for name in names]
    documents = []
    for turn in range(len(names)):
        order = names[turn:] + names[:turn]
        inner = obj(*((name, int64(at)) for at, name in enumerate(reversed(order))))
        fields = [(name, int32(at)) for at, name in enumerate(order)]
        fields.insert(turn, ("s", inner))
        documents.append(document(*fields[:turn], ID, *fields[turn:]))
        documents.append(document(ID, *fields[: turn + 1]))
    batch = assert_same(documents, plan(*columns))
    assert batch.drift == ()


def test_many_columns() -> None:
    """As many as PostgreSQL allows, with the key and our own two."""
    columns = [Column((f"f{at}",), "integer", "int") for at in range(1597)]
    fields = [(f"f{at}", int32(at)) for at in range(1598)]
    batch = assert_same([document(ID, *fields)], plan(*columns))
    assert [drift.path for drift in batch.drift] == [("f1597",)]


def test_id_inside_a_document_is_a_field() -> None:
    raw = document(ID, ("a", obj(("_id", int32(3)))))
    assert extra(raw, plan()) == '{"a._id":{"$numberInt":"3"}}'


def test_of_duplicate_fields_the_last_wins() -> None:
    column = Column(("a",), "integer", "int")
    raw = document(ID, ("a", int32(1)), ("b", int32(2)), ("a", int32(3)))
    batch = assert_same([raw], plan(column))
    assert cells(batch.payload)[1] == struct.pack(">i", 3)
    assert batch.duplicate_keys == 1
    gone = document(ID, ("a", string("misfit")), ("a", null()))
    assert extra(gone, plan(column)) is None


_V, _B5, _C7 = Column(("v",), "integer", "int"), ("b", int32(5)), ("c", int32(7))


@pytest.mark.parametrize(
    "columns",
    [
        (),
        (_V,),
        (Column(("v", "b"), "integer", "int"),),
        (_V, Column(("v", "b"), "integer", "int"), Column(("v", "c"), "text", "")),
        (Column(("v",), "jsonb", "object"), Column(("v", "b"), "integer", "int")),
    ],
    ids=["no column", "scalar", "inner", "scalar and inner", "JSON and inner"],
)
@pytest.mark.parametrize("parents", [0, 1])
@pytest.mark.parametrize(
    ("values", "hidden"),
    [
        ((int32(1), obj(_B5)), 1),
        ((obj(_B5), int32(1)), 1),
        ((obj(_B5, ("c", int32(6))), obj(_C7)), 1),
        ((obj(_B5), null()), 1),
        ((null(), obj(_B5)), 1),
        ((obj(_B5), obj()), 1),
        ((obj(), obj(_B5)), 1),
        ((array(obj(_B5)), obj(_C7)), 1),
        ((obj(_B5), array()), 1),
        ((obj(_B5, _B5), int32(1), obj(_B5, _C7)), 2),
        ((int32(1), obj(_B5, _C7, ("b", obj(_C7)))), 2),
    ],
)
def test_the_last_wins_as_a_whole(
    columns: tuple[Column, ...], parents: int, values: tuple[Raw, ...], hidden: int
) -> None:
    """Whatever shapes two fields of one name have: as a driver decodes them."""
    inner = [("v", each) for each in values]
    inner.insert(1, ("w", int32(3)))
    fields = [("p", obj(*inner))] if parents else inner
    below = tuple(
        column._replace(path=("p",) * parents + column.path) for column in columns
    )
    twice = assert_same([document(*fields, ID)], plan(*below, max_depth=4))
    decoded = bson.encode({"_id": 1, **bson.decode(document(*fields))})
    once = encode([decoded], plan(*below, max_depth=4))
    assert _leaves(twice.payload) == _leaves(once.payload)
    # A document that a JSON column takes whole is written as it is.
    if not any(column.type == "jsonb" for column in columns):
        assert twice.duplicate_keys == hidden
    assert once.duplicate_keys == 0


def _leaves(payload: bytes) -> list[object]:
    """The cells of a row, JSON as it reads."""
    return [
        json.loads(cell[1:]) if cell is not None and cell[:1] == b"\1" else cell
        for cell in cells(payload)
    ]


def test_what_comes_twice_in_a_document_that_is_hidden_counts_once() -> None:
    raw = document(ID, ("v", obj(_B5, _B5, _B5)), ("v", int32(1)))
    assert assert_same([raw], plan(_V)).duplicate_keys == 1


def test_names_that_come_twice_among_many() -> None:
    """Without a column, and more of them than a small table of names holds."""
    names = [f"{at * 7919 % 3000:06}{'x' * (at % 30)}" for at in range(3000)]
    fields = [(name, int32(at)) for at, name in enumerate([*names, *names[::-7]])]
    batch = assert_same([document(ID, *fields), document(ID)], plan())
    assert batch.duplicate_keys == len(names[::-7])


def test_a_broken_value_under_a_name_that_comes_again_is_found() -> None:
    rotten = Raw(0x03, document(("b", Raw(0x08, b"\2"))))
    for fields in ((("v", rotten), ("v", null())), (("w", rotten), ("w", int32(1)))):
        assert encode([document(ID, *fields)], plan(_V)).rejects[0].code == "corrupt"


def test_drift_is_counted_by_path_kind_and_column() -> None:
    column = Column(("a",), "integer", "int")
    documents = [
        document(("_id", int32(at)), ("a", value), ("n", obj(("b", other))))
        for at, (value, other) in enumerate(
            [(int32(1), int32(1)), (string("x"), int32(1)), (string("y"), string("z"))]
        )
    ]
    batch = assert_same(documents, plan(column))
    assert {
        (each.path, each.kind, each.column, each.count) for each in batch.drift
    } == {
        (("a",), "string", 0, 2),
        (("n", "b"), "int", -1, 2),
        (("n", "b"), "string", -1, 1),
    }
    assert batch.rescued == 5


@pytest.mark.parametrize("source_ts", [0, 1, 1_600_000_000 << 32 | 7, 2**64 - 1])
def test_source_time_is_a_cell(source_ts: int) -> None:
    raw = document(ID)
    with_cell = assert_same([raw], plan(), source_ts).payload
    assert len(cells(with_cell)) == 3
    without = Plan("bigint", (), source_ts=False)
    assert len(cells(assert_same([raw], without, source_ts).payload)) == 2


@pytest.mark.parametrize("depth", [1, 3])
def test_whole_document_column(depth: int) -> None:
    raw = document(("a", NESTED), ID, ("z", int64(1)))
    columns = (Column((), "jsonb", "object"), Column(("z",), "bigint", "long"))
    payload = assert_same([raw], plan(*columns, max_depth=depth)).payload
    assert cells(payload)[1] == (b'\1{"a":{"b":{"c":{"d":1}},"e":2},"_id":1,"z":1}')


def test_empty_batch() -> None:
    batch = encode([], plan())
    assert batch == (b"", 0, 0, (), (), 0, 0, b"")
