"""Keys in MongoDB's order: mongod sorts them, the oracle says why."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cmp_to_key
from itertools import pairwise, product
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.database import Database

from cwarp_core import CorruptBSON, KeyRanges, Reply, asked_alone, compare_keys
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
    decimal_bits,
    document,
    double,
    int32,
    int64,
    max_key,
    min_key,
    null,
    obj,
    oid,
    regex,
    string,
    symbol,
    timestamp,
    undefined,
)
from tests.core.samples import SAMPLES, SIXTEEN
from tests.core.strategies import VALUES

_NEAR = [
    number + step
    for number in (0, 1, 2**31, 2**53, 2**62, 2**63 - 2, -(2**53), -(2**63) + 2, 10**15)
    for step in (-2, -1, 0, 1)
]
NUMBERS = [
    *(int64(each) for each in _NEAR),
    *(int32(each) for each in _NEAR if abs(each) < 2**31),
    *(double(float(each)) for each in _NEAR),
    *(decimal(str(each)) for each in _NEAR),
    *(decimal(f"{each}.5") for each in _NEAR),
    *(decimal(f"{each}.00") for each in _NEAR),
    *map(
        double, (2.0**53 + 2, 2.0**63, -(2.0**63), -(2.0**63) - 2048, 0.1, 0.3, 5e-324)
    ),
    *map(double, (1.7976931348623157e308, 1e22, 1e23, 0.5, -0.5, 9.999999999999999e22)),
    # Around the double 0.1, which is no decimal, and past every double.
    decimal("0.1000000000000000055511151231257827"),
    decimal("0.1000000000000000055511151231257828"),
    decimal("4.940656458412465441765687928682213E-324"),
    decimal("4.940656458412465441765687928682214E-324"),
    decimal("1.797693134862315708145274237317043E+308"),
    decimal("1.797693134862315708145274237317044E+308"),
    *map(decimal, ("1E+309", "-1E+309", "1E+6144", "1E-6176", "-1E-6176", "1E-400")),
    *map(
        decimal, ("1E+22", "1E+23", "99999999999999991611392", "18446744073709551616")
    ),
    *SAMPLES["double"],
    *SAMPLES["decimal"],
    decimal_bits(0x6C11 << 112 | 9),
]
TEXTS = [
    *(string(text) for text in (b"", b"a", b"a\0", b"a\0b", b"ab", b"b", b"A", b"aa")),
    *(string(text) for text in ("\u00e9", "z", "\U0001f600", "\uffff", "\x7f", "\x80")),
    string(b"x" * 300 + b"a"),
    string(b"x" * 300 + b"b"),
    *(symbol(text) for text in ("", "a", "ab", "\u00e9")),
]
BINARIES = [
    binary(data, subtype)
    for data, subtype in product(
        (b"", b"\0", b"\xff", b"\x7f\0", b"\0\0\0\0", b"\x80" * 5, SIXTEEN),
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 127, 128, 255),
    )
]
TIMES = [
    *(date(each) for each in (0, 1, -1, 2**63 - 1, -(2**63), 255, 256, -256)),
    *(
        timestamp(*each)
        for each in product(
            (0, 1, 2**31 - 1, 2**31, 2**32 - 1), (0, 1, 2**31, 2**32 - 1)
        )
    ),
]
_ONE, _TWO = ("a", int32(1)), ("b", int32(2))
COMPOUND = [
    obj(),
    obj(_ONE),
    obj(_TWO),
    obj(_ONE, _TWO),
    obj(_TWO, _ONE),
    obj(("a", double(1.0)), _TWO),
    obj(("a", int64(2))),
    obj(("a", string("1"))),
    obj(("b", null())),
    obj(("a", obj())),
    obj(("a", obj(_ONE)), _TWO),
    obj(("a", obj(_ONE, _TWO))),
    obj(("a", array())),
    obj(("a", array(int32(1)))),
    obj(("a", array(int32(1), int32(2)))),
    obj(("a", array(array(), obj()))),
    obj(("", int32(1))),
    obj(("", int32(1)), ("", int32(2))),
    obj(("aa", int32(1))),
    obj(("\u00e9", int32(1))),
    obj(("tenant", string("x")), ("at", date(5)), ("n", int64(7))),
    obj(("tenant", string("x")), ("at", date(-5)), ("n", int64(7))),
]
OTHERS = [
    *(
        oid(each)
        for each in (b"\0" * 12, b"\xff" * 12, b"\x7f" * 12, b"\0" * 11 + b"\1")
    ),
    *(boolean(False), boolean(True), null(), min_key(), max_key()),
    *(code(each) for each in ("", "f", "g", b"f\0")),
    code_with_scope(""),
    code_with_scope("f"),
    code_with_scope("f", _ONE),
    code_with_scope("f", _ONE, _TWO),
    code_with_scope("f", _TWO),
    code_with_scope("g", ("x", obj(_ONE))),
    *(
        db_pointer(name, data * 12)
        for name in (b"", b"\0x", b"d.c", b"d.d", b"e", b"e\0", b"d.c\0\xff", b"d\0.cc")
        for data in (b"\0", b"\xff")
    ),
]
#: What mongod takes as ``_id``.
IDS = [*NUMBERS, *TEXTS, *BINARIES, *TIMES, *COMPOUND, *OTHERS]
#: What it takes in a field alone.
REFUSED = [
    undefined(),
    *(regex(*each) for each in ((b"", b""), (b"a", b""), (b"a", b"i"), (b"ab", b""))),
    *(regex(*each) for each in ((b"a", b"im"), (b"b", b""), ("\u00e9".encode(), b""))),
    *(array(), array(int32(1)), array(double(1.0), null()), array(int32(2))),
    *(array(array()), array(obj(_ONE)), array(obj(_TWO)), array(min_key(), max_key())),
]
_EVERYTHING = [*IDS, *REFUSED, *(value for each in SAMPLES.values() for value in each)]
_RAW: CodecOptions[Any] = CodecOptions(RawBSONDocument)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _oracle(a: bytes, b: bytes) -> int:
    x, y = (oracle.order_key(oracle.read_element(each)) for each in (a, b))
    return (x > y) - (x < y)


def _stored(collection: Collection[Any], raw: Sequence[bytes]) -> None:
    """All of them, and mongod has not changed a byte."""
    collection.insert_many([RawBSONDocument(each) for each in raw])
    found = collection.with_options(_RAW).find()
    assert sorted(bytes(each.raw) for each in found) == sorted(raw)


def _agree(ordered: Sequence[bytes], places: Sequence[int]) -> int:
    """Every pair of neighbours and many of the rest; returns the pairs compared."""
    rng = random.Random(len(ordered))
    pairs = [(at, at + 1) for at in range(len(ordered) - 1)]
    pairs += [
        (rng.randrange(len(ordered)), rng.randrange(len(ordered)))
        for _ in range(20_000)
    ]
    for x, y in pairs:
        expected = _sign(places[x] - places[y])
        a, b = ordered[x], ordered[y]
        assert compare_keys(a, b) == expected, (a.hex(), b.hex())
        assert compare_keys(b, a) == -expected, (a.hex(), b.hex())
    return len(pairs)


def test_ids_are_in_the_order_of_the_index(
    mongo_db: Database[dict[str, Any]], say: Callable[[str], None]
) -> None:
    """One of each set of equal ids, as mongod keeps no two of them."""
    unique: dict[Any, Raw] = {}
    for each in IDS:
        unique.setdefault(oracle.order_key(oracle.read_element(each.key)), each)
    ids = list(unique.values())
    random.shuffle(ids)
    collection = mongo_db["ids"]
    _stored(collection, [document(("_id", each)) for each in ids])
    found = collection.with_options(_RAW).find().sort("_id", 1).hint([("_id", 1)])
    reply = Reply.of_documents([bytes(each.raw) for each in found])
    ordered = [reply.key(at) or b"" for at in range(len(reply))]
    assert len(ordered) == len(ids)
    pairs = _agree(ordered, range(len(ordered)))
    say(f"order of keys: {len(ordered)} ids sorted by mongod, {pairs} pairs compared")


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in an object"])
def test_values_are_in_the_order_of_the_index(
    mongo_db: Database[dict[str, Any]], say: Callable[[str], None], wrapped: bool
) -> None:
    """All types, equal ones too. An array is sorted by its elements unless wrapped."""
    values = [
        obj(("x", each)) if wrapped else each
        for each in _EVERYTHING
        # mongod puts its own time for a zero timestamp that is a field of the root.
        if wrapped or (each[0] != 0x04 and each != timestamp(0, 0))
    ]
    random.shuffle(values)
    collection = mongo_db["values"]
    collection.create_index("v")
    _stored(
        collection,
        [document(("_id", int32(at)), ("v", each)) for at, each in enumerate(values)],
    )
    found = collection.find({}, {"_id": 1}).sort("v", 1).hint([("v", 1)])
    ordered = [each["_id"] for each in found]
    assert sorted(ordered) == list(range(len(values)))
    # Which of the neighbours are equal, mongod says in another way.
    ranked = collection.aggregate(
        [
            {
                "$setWindowFields": {
                    "sortBy": {"v": 1},
                    "output": {"place": {"$denseRank": {}}},
                }
            },
            {"$project": {"place": 1}},
        ]
    )
    place = {each["_id"]: each["place"] for each in ranked}
    places = [place[each] for each in ordered]
    assert places == sorted(places)
    assert len(set(places)) < len(values)
    pairs = _agree([values[each].key for each in ordered], places)
    say(f"order of values: {len(values)} sorted by mongod, {pairs} pairs compared")


def test_ids_that_are_asked_for_alone() -> None:
    """Wherever a DBPointer with a NUL inside its namespace lies, and no others."""
    whole = [db_pointer(name, b"\0" * 12) for name in ("", "d.c")]
    cut = [db_pointer(name, b"x" * 12) for name in ("\0", "d.c\0", "d\0c")]
    for value in (*IDS, *REFUSED, *whole, *cut):
        alone = value[0] == 0x0C and 0 in value[1][4:-13]
        deep = value
        for _ in range(65):
            deep = obj(("a", null()), ("b", array(code_with_scope("f", ("c", deep)))))
        for each in (value, obj(("a", value)), array(null(), value), deep):
            assert asked_alone(each.key) == alone, each
    assert not asked_alone(obj((b"\x0c", binary(cut[0].key))).key)
    for broken in (b"", cut[0].key[:-1], obj(("a", cut[0])).key[:-1]):
        with pytest.raises(CorruptBSON):
            asked_alone(broken)


def test_oracle_agrees_on_every_pair() -> None:
    keys = [each.key for each in _EVERYTHING if len(each[1]) < 1000]
    known = [oracle.order_key(oracle.read_element(key)) for key in keys]
    for x, a in enumerate(keys):
        for y, b in enumerate(keys[: x + 1]):
            expected = (known[x] > known[y]) - (known[x] < known[y])
            assert compare_keys(a, b) == expected, (a.hex(), b.hex())
            assert compare_keys(b, a) == -expected, (a.hex(), b.hex())


@given(VALUES, VALUES, VALUES)
def test_order_is_total(a: Raw, b: Raw, c: Raw) -> None:
    x, y, z = sorted((a.key, b.key, c.key), key=cmp_to_key(compare_keys))
    for one, two in ((x, y), (y, z), (x, z)):
        assert compare_keys(one, two) == _oracle(one, two) <= 0
        assert compare_keys(two, one) == -compare_keys(one, two)
    assert compare_keys(x, x) == 0


@pytest.mark.parametrize("shape", ["object", "array", "scope"])
def test_nested_to_the_cap(shape: str) -> None:
    """200 containers; one more is broken, as everywhere."""

    def nested(levels: int, last: Raw) -> bytes:
        for _ in range(levels):
            if shape == "scope":
                last = code_with_scope("", ("0", last))
            else:
                last = obj(("0", last)) if shape == "object" else array(last)
        return last.key

    one, two = nested(200, int32(1)), nested(200, int32(2))
    assert (compare_keys(one, two), compare_keys(two, one)) == (-1, 1)
    assert compare_keys(one, one) == 0
    for levels in (201, 5000):
        with pytest.raises(CorruptBSON):
            compare_keys(nested(levels, int32(1)), one)


def test_broken_bytes_are_refused_wherever_they_lie() -> None:
    """Also where a comparison would have ended before the fault."""
    sound = int32(5).key
    inputs = 0
    for value in _EVERYTHING:
        key = value.key
        for broken in (
            *(key[:size] for size in range(min(len(key), 400))),
            key + b"\0",
        ):
            for pair in ((broken, sound), (sound, broken), (broken, key)):
                with pytest.raises(CorruptBSON):
                    compare_keys(*pair)
            with pytest.raises(CorruptBSON):
                KeyRanges([broken])
            with pytest.raises(CorruptBSON):
                KeyRanges([None]).find(broken)
            inputs += 1
    assert inputs > 5000
    inner = Raw(
        0x03, obj(("a", int32(1)), ("b", string("x")))[1].replace(b"x\0", b"x\1")
    )
    with pytest.raises(CorruptBSON) as caught:
        compare_keys(inner.key, sound)
    assert caught.value.offset == 12


def test_flipped_bits_are_read_or_refused() -> None:
    """No crash, and what is sound is ordered as the oracle orders it."""
    ordered = 0
    for value in (*COMPOUND, *OTHERS, *BINARIES[::7], *TEXTS):
        for bit in range(8 * min(len(value.key), 60)):
            flipped = bytearray(value.key)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            try:
                found = compare_keys(bytes(flipped), value.key)
            except CorruptBSON:
                with pytest.raises(oracle.Corrupt):
                    oracle.read_element(bytes(flipped))
            else:
                assert found == _oracle(bytes(flipped), value.key), flipped.hex()
                ordered += 1
    assert ordered > 1000


def _distinct(values: Sequence[Raw]) -> list[bytes]:
    """In ascending order, one of each set of equal ones."""
    keys = sorted((each.key for each in values), key=cmp_to_key(compare_keys))
    return [
        keys[0],
        *(b for a, b in pairwise(keys) if compare_keys(a, b) < 0),
    ]


@pytest.mark.parametrize("opened", [True, False], ids=["open", "with a first bound"])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 100, 1000])
def test_ranges_are_found_as_by_a_scan(number: int, opened: bool) -> None:
    rng = random.Random(number)
    keys = _distinct(_EVERYTHING)
    bounds = sorted(rng.sample(range(len(keys)), min(number, len(keys))))
    lowers: list[bytes | None] = [keys[at] for at in bounds]
    if opened:
        lowers[0] = None
    ranges = KeyRanges(lowers)
    assert len(ranges) == len(lowers)
    for at, key in enumerate(keys):
        assert ranges.find(key) == max(0, bisect_right(bounds, at) - 1)


def test_a_bound_belongs_to_the_range_it_opens() -> None:
    ranges = KeyRanges([None, int32(10).key, double(20.0).key, obj().key])
    for value, index in (
        *((min_key(), 0), (double(9.99), 0), (int64(10), 1), (double(19.0), 1)),
        *((decimal("20.0"), 2), (string("x"), 2), (obj(), 3), (oid(b"\0" * 12), 3)),
    ):
        assert ranges.find(value.key) == index


@pytest.mark.parametrize(
    "lowers",
    [
        [],
        [None, None],
        [int32(1).key, None],
        [int32(1).key, int64(1).key],
        [int32(2).key, int32(1).key],
        [None, int32(2).key, string("x").key, double(2.5).key],
    ],
    ids=["none", "two open", "open later", "equal", "descending", "one too low"],
)
def test_bounds_that_do_not_ascend_are_refused(lowers: list[bytes | None]) -> None:
    with pytest.raises(ValueError, match=r"range|bound"):
        KeyRanges(lowers)


@given(st.lists(VALUES, min_size=1, max_size=8), VALUES)
def test_any_ranges_are_found_as_by_a_scan(bounds: list[Raw], given_: Raw) -> None:
    lowers = _distinct(bounds)
    below = [at for at, key in enumerate(lowers) if compare_keys(key, given_.key) <= 0]
    assert KeyRanges(lowers).find(given_.key) == max(below, default=0)
