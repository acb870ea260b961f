"""The one key encoder: cells, texts, encodings, filters."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from pymongo.database import Database

import cwarp_core
from cwarp_core import KeyKindError
from tests import oracle
from tests.core.build import (
    Raw,
    array,
    binary,
    boolean,
    code,
    code_with_scope,
    date,
    db_pointer,
    decimal,
    document,
    double,
    int32,
    int64,
    null,
    obj,
    oid,
    regex,
    string,
    symbol,
    undefined,
)
from tests.core.differential import assert_same
from tests.core.samples import SAMPLES, SIXTEEN
from tests.core.strategies import VALUES
from tests.core.test_order import IDS

ENCODINGS = ("objectId", "string", "uuid", "bigint", "numeric", "canonical")


def _as_parts(kind: str) -> list[Raw]:
    """The samples of a kind, alone and inside a compound id."""
    values = SAMPLES[kind]
    return [*values, *(obj(("b", array(each)), ("a", each)) for each in values)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", SAMPLES)
def test_key_cell_is_the_oracles(kind: str, encoding: str) -> None:
    documents = [document(("x", null()), ("_id", each)) for each in _as_parts(kind)]
    assert_same(documents, oracle.Plan(encoding, ()))


@pytest.mark.parametrize("kind", SAMPLES)
def test_key_text_and_encoding_are_the_oracles(kind: str) -> None:
    for raw in _as_parts(kind):
        value = oracle.read_element(raw.key)
        assert cwarp_core.key_encoding(raw.key) == oracle.key_encoding(value), raw
        for encoding in ENCODINGS:
            try:
                expected = oracle.key_text(value, encoding)
            except oracle.KeyKind:
                with pytest.raises(KeyKindError):
                    cwarp_core.key_text(raw.key, encoding)
            else:
                assert cwarp_core.key_text(raw.key, encoding) == expected


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        (oid(SIXTEEN[:12]), "objectId", SIXTEEN[:12].hex()),
        (string("s"), "string", "s"),
        (binary(SIXTEEN, 4), "uuid", "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"),
        (int64(-(2**63)), "bigint", "-9223372036854775808"),
        (double(3.0), "bigint", "3"),
        (double(-0.0), "bigint", "0"),
        (double(-(2.0**63)), "bigint", "-9223372036854775808"),
        (decimal("9.223372036854775807E+18"), "bigint", "9223372036854775807"),
        (decimal("-0E+5"), "bigint", "0"),
        (
            double(0.1),
            "numeric",
            "0.1000000000000000055511151231257827021181583404541015625",
        ),
        (decimal("-1.50E+3"), "numeric", "-1500"),
        (decimal("-0.00"), "numeric", "0"),
        (double(math.nan), "numeric", "NaN"),
        (string('"\n'), "canonical", '"\\"\\n"'),
        (string(b"\0"), "canonical", '{"$text":{"base64":"AA=="}}'),
        (null(), "canonical", "null"),
        (boolean(True), "canonical", "true"),
        (date(-1), "canonical", '{"$date":{"$numberLong":"-1"}}'),
        (decimal("Infinity"), "canonical", '{"$numberDouble":"Infinity"}'),
        (symbol("s"), "canonical", '"s"'),
        (symbol("s"), "string", "s"),
        (
            obj(("b", double(1.0)), ("a", array(oid(b"\0" * 12), int64(2)))),
            "canonical",
            '{"b":1,"a":[{"$oid":"000000000000000000000000"},2]}',
        ),
    ],
)
def test_key_text_reads(raw: Raw, encoding: str, text: str) -> None:
    assert cwarp_core.key_text(raw.key, encoding) == text


@pytest.mark.parametrize(
    "raw",
    [
        *map(double, (3.5, 2.0**63, math.nan, math.inf, -math.inf)),
        *map(decimal, ("3.5", "9223372036854775808", "1E+19", "NaN", "Infinity")),
        string("3"),
        boolean(True),
    ],
)
def test_what_is_no_int64_does_not_fit_a_bigint(raw: Raw) -> None:
    with pytest.raises(KeyKindError):
        cwarp_core.key_text(raw.key, "bigint")


EQUAL_INTEGERS = [
    (int32(1), int64(1), double(1.0), decimal("1"), decimal("1.00")),
    (int32(0), double(-0.0), decimal("-0E+5"), decimal("0.000")),
    (int64(10**15), double(1e15), decimal("1E+15")),
    (int64(-(2**63)), double(-(2.0**63)), decimal("-9223372036854775808")),
]
EQUAL_NUMBERS = [
    *EQUAL_INTEGERS,
    (double(0.5), decimal("0.5"), decimal("5000E-4")),
    (double(2.0**63), decimal("9223372036854775808")),
    (double(math.nan), decimal("NaN")),
]
EQUAL_TEXTS = [(string(text), symbol(text)) for text in ("", "a", '"\u2603\n')]
EQUAL_OTHERS = [
    (string(b"a\0"), symbol(b"a\0")),
    (string(b"\xff"), symbol(b"\xff")),
    (array(string("a"), int32(1)), array(symbol("a"), double(1.0))),
    (obj(("a", symbol("x"))), obj(("a", string("x")))),
    (obj(("a", obj(("b", int32(0))))), obj(("a", obj(("b", double(-0.0)))))),
    (
        code_with_scope("f", ("a", int32(1)), ("b", obj(("c", symbol("x"))))),
        code_with_scope("f", ("a", decimal("1.0")), ("b", obj(("c", string("x"))))),
    ),
    tuple(db_pointer(name, b"x" * 12) for name in (b"d.c", b"d.c\0", b"d.c\0\xff")),
    tuple(obj(("a", db_pointer(name, b"x" * 12))) for name in (b"", b"\0", b"\0d")),
]


@pytest.mark.parametrize(
    ("encoding", "equal"),
    [
        *(("bigint", each) for each in EQUAL_INTEGERS),
        *(("numeric", each) for each in EQUAL_NUMBERS),
        *(("string", each) for each in EQUAL_TEXTS),
        *(
            ("canonical", each)
            for each in (*EQUAL_NUMBERS, *EQUAL_TEXTS, *EQUAL_OTHERS)
        ),
    ],
)
def test_ids_that_mongodb_holds_equal_have_one_key(
    encoding: str, equal: tuple[Raw, ...]
) -> None:
    assert len({cwarp_core.key_text(each.key, encoding) for each in equal}) == 1
    cells = {_key_cell(each, encoding) for each in equal}
    assert len(cells) == 1


def _key_cell(value: Raw, encoding: str) -> bytes:
    encoder = cwarp_core.BatchEncoder(cwarp_core.RowPlan(encoding, []))
    assert encoder.add_document(document(("_id", value)), 0)
    return encoder.take().payload


#: What looks like another value, or like the form of one.
_LIKE_OTHERS = [
    *(obj((name, string("5"))) for name in ("$numberInt", "$oid", "$text", "$ref")),
    obj(("$literal", obj(("$numberInt", string("5"))))),
    obj(("$date", obj(("$numberLong", string("0"))))),
    obj(("$code", string("f")), ("$scope", obj())),
    obj(("a", int32(1)), ("a", int32(2))),
    *(regex(b"a", options) for options in (b"im", b"mi")),
    *(binary(b"\2\0\0\0ab", subtype) for subtype in (0, 2)),
    *(binary(b"ab", subtype) for subtype in (0, 2)),
    *(Raw(4, document((name, string("a")))) for name in ("0", "5")),
    *(each for some in EQUAL_OTHERS for each in some),
    *(string("f"), symbol("f"), code("f"), code_with_scope("f"), null(), undefined()),
]


@pytest.mark.parametrize("shape", ["alone", "in a document", "in an array", "deep"])
def test_keys_are_equal_exactly_when_mongod_holds_ids_equal(
    mongo_db: Database[dict[str, Any]], say: Callable[[str], None], shape: str
) -> None:
    """Each id is stored or refused as a duplicate; its key text is new or known."""
    values = [
        *_LIKE_OTHERS,
        *IDS,
        *(each for some in SAMPLES.values() for each in some),
    ]
    wrapped = {
        "alone": lambda value: value,
        "in a document": lambda value: obj(("a", value)),
        "in an array": lambda value: obj(("a", array(value))),
        "deep": lambda value: obj(("b", null()), ("a", obj(("c", array(value))))),
    }[shape]
    random.shuffle(values)
    # Its answer quotes the id, whatever that is.
    options: CodecOptions[Any] = CodecOptions(
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        unicode_decode_error_handler="replace",
    )
    texts: set[str] = set()
    known = refused = 0
    for value in map(wrapped, values):
        insert = {
            "insert": "ids",
            "documents": [RawBSONDocument(document(("_id", value)))],
        }
        answer = mongo_db.command(insert, codec_options=options)
        (error,) = answer.get("writeErrors", [None])
        text = cwarp_core.key_text(value.key, "canonical")
        if error is None:
            assert text not in texts, text
            texts.add(text)
        elif error["code"] == 11000:
            assert text in texts, text
            known += 1
        else:
            # Kinds that are no ids, and names that begin with a dollar.
            assert error["code"] in (2, 52, 53), error
            refused += 1
    assert known > 50
    say(f"ids {shape}: {len(texts)} different, {known} equal to one, {refused} refused")


def test_no_two_values_that_differ_have_one_canonical_text() -> None:
    """What mongod refuses as an id too: names that begin with a dollar."""
    values = [
        *_LIKE_OTHERS,
        *IDS,
        *(each for some in SAMPLES.values() for each in some),
    ]
    values += [obj(("a", each)) for each in values]
    orders = {oracle.order_key(oracle.read_element(each.key)) for each in values}
    texts = {cwarp_core.key_text(each.key, "canonical") for each in values}
    assert len(texts) == len(orders)


@given(VALUES, VALUES)
def test_keys_are_equal_exactly_when_the_order_says_so(a: Raw, b: Raw) -> None:
    for one, other in ((a, b), (obj(("k", a)), obj(("k", b))), (array(a), array(b))):
        texts = {cwarp_core.key_text(each.key, "canonical") for each in (one, other)}
        equal = cwarp_core.compare_keys(one.key, other.key) == 0
        assert (len(texts) == 1) == equal


def test_compound_ids_in_two_orders_are_two_keys() -> None:
    first = obj(("a", int32(1)), ("b", int32(2)))
    second = obj(("b", int32(2)), ("a", int32(1)))
    texts = [cwarp_core.key_text(each.key, "canonical") for each in (first, second)]
    assert texts == ['{"a":1,"b":2}', '{"b":2,"a":1}']


def test_filter_holds_the_ids_in_order() -> None:
    ids = [int32(1), string("x"), obj(("a", null())), *SAMPLES["decimal"]]
    built = cwarp_core.in_filter([each.key for each in ids])
    assert built == document(("_id", obj(("$in", array(*ids)))))
    assert bson.decode(cwarp_core.in_filter([])) == {"_id": {"$in": []}}


def test_filter_of_more_than_its_length_can_say_is_refused() -> None:
    key = binary(bytes(1 << 20)).key
    with pytest.raises(ValueError, match="2 GiB"):
        cwarp_core.in_filter([key] * 2048)
    with pytest.raises(TypeError):
        cwarp_core.in_filter([None])  # type: ignore[list-item]


BROKEN = pytest.mark.parametrize(
    "key",
    [b"", b"\x02", b"\x08\x02", int32(1).key[:-1], int32(1).key + b"\0", b"\x66abc"],
    ids=["empty", "type only", "bool 2", "short", "long", "unknown type"],
)


@BROKEN
def test_broken_key_is_refused(key: bytes) -> None:
    with pytest.raises(cwarp_core.CorruptBSON):
        cwarp_core.key_encoding(key)
    with pytest.raises(cwarp_core.CorruptBSON):
        cwarp_core.key_text(key, "canonical")


@BROKEN
def test_filter_names_the_key_that_is_broken(key: bytes) -> None:
    good = int32(1).key
    for keys, number in (([key], 0), ([good, good, key, good], 2)):
        with pytest.raises(cwarp_core.CorruptBSON, match=f"of key {number}$") as caught:
            cwarp_core.in_filter(keys)
        assert caught.value.offset == 0


def test_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("hex")):
        cwarp_core.key_text(int32(1).key, "hex")
