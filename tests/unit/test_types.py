"""The lattice: every kind has a column, and the order of documents never decides."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from cartridge_warp.schema import types

#: Every ``$type`` alias of MongoDB's manual, and the three kinds the core adds.
ALIASES = (
    "double string object array binData undefined objectId bool date null regex"
    " dbPointer javascript symbol javascriptWithScope int timestamp long decimal"
    " minKey maxKey"
).split()


@pytest.mark.parametrize("kind", [*ALIASES, "uuid", "uuidLegacy", "emptyObject"])
def test_every_kind_is_known(kind: str) -> None:
    natural = types.natural(kind)
    assert (natural is None) == (kind in ("null", "emptyObject"))
    assert natural is None or natural in types.TYPES


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        types.natural("float")


def test_legacy_uuids_are_binary_until_their_byte_order_is_told() -> None:
    assert types.natural("uuidLegacy") == "bytea"
    assert types.natural("uuidLegacy", "java") == "uuid"
    assert types.type_of(["uuid", "uuidLegacy"], "java") == "uuid"
    assert types.type_of(["uuid", "uuidLegacy"]) == "bytea"


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("int", "integer"),
        ("int long", "bigint"),
        ("int long decimal", "numeric"),
        ("int double", "double precision"),
        ("long double", "numeric"),
        ("int long double", "numeric"),
        ("double decimal", "numeric"),
        ("date timestamp", "timestamptz"),
        ("string objectId", "text"),
        ("int string", "text"),
        ("bool int", "text"),
        ("date string", "text"),
        ("uuid string", "text"),
        ("uuid binData", "bytea"),
        ("binData string", "jsonb"),
        ("binData int", "jsonb"),
        ("uuid string binData", "jsonb"),
        ("regex", "jsonb"),
        ("regex string", "jsonb"),
        ("object int", "jsonb"),
        ("array string", "jsonb"),
        ("null int", "integer"),
        ("emptyObject int", "integer"),
        ("null emptyObject", None),
        ("null", None),
        ("", None),
    ],
)
def test_the_joins_of_the_design(kinds: str, expected: str | None) -> None:
    for order in permutations(kinds.split()):
        assert types.type_of(order) == expected


def test_join_is_a_semilattice() -> None:
    for one, two in product(types.TYPES, repeat=2):
        joined = types.join(one, two)
        assert joined in types.TYPES
        assert joined == types.join(two, one)
        assert types.join(joined, one) == joined
    for one, two, three in product(types.TYPES, repeat=3):
        left = types.join(types.join(one, two), three)
        assert left == types.join(one, types.join(two, three))
    for one in types.TYPES:
        assert types.join(one, one) == one
        assert types.join(one, types.JSON) == types.JSON


def test_native_is_the_most_frequent_natural_kind() -> None:
    assert types.native_of("text", {"string": 2, "objectId": 5, "int": 99}) == (
        "objectId"
    )
    assert types.native_of("text", {"objectId": 3, "string": 3}) == "string"
    assert types.native_of("timestamptz", {"date": 1, "timestamp": 2}) == "timestamp"
    assert types.native_of("jsonb", {"array": 4, "object": 1, "int": 9}) == "array"
    assert types.native_of("uuid", {"uuidLegacy": 4}, "csharp") == "uuidLegacy"
    assert types.native_of("bytea", {"uuidLegacy": 4, "binData": 1}) == "uuidLegacy"


def test_native_of_a_type_no_kind_is_natural_to() -> None:
    assert types.native_of("text", {"int": 1, "bool": 1}) == "string"
    assert types.native_of("numeric", {"long": 1, "double": 1}) == "decimal"
    assert types.native_of("jsonb", {"binData": 1, "int": 1}) == "object"
    for type_ in types.TYPES:
        assert types.natural(types.native_of(type_, {})) == type_


def test_json_columns() -> None:
    assert [types.json_type(word) for word in ("jsonb", "json", "text")] == [
        "jsonb",
        "json",
        "jsontext",
    ]
    with pytest.raises(KeyError):
        types.json_type("xml")
