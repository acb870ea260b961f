"""The type lattice as data: which column holds a BSON kind, and what two types make.

A kind is what ``cwarp_core.Observation`` and ``cwarp_core.Drift`` speak of: a
``$type`` alias of MongoDB, "uuid" (binary subtype 4 of 16 bytes), "uuidLegacy"
(subtype 3 of 16 bytes) or "emptyObject" (``{}`` where sub-documents are flattened).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Final

#: The lattice's name for any JSON; ``TableOptions.json_columns`` says which it becomes.
JSON: Final = "jsonb"

#: ``TableOptions.json_columns`` -> column type as ``cwarp_core.PlanColumn`` names it.
JSON_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"jsonb": "jsonb", "json": "json", "text": "jsontext"}
)

#: BSON kind -> the column type that holds every value of it.
NATURAL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bool": "boolean",
        "int": "integer",
        "long": "bigint",
        "double": "double precision",
        "decimal": "numeric",
        "string": "text",
        "symbol": "text",
        "objectId": "text",
        "date": "timestamptz",
        "timestamp": "timestamptz",
        "uuid": "uuid",
        "uuidLegacy": "bytea",
        "binData": "bytea",
        "object": JSON,
        "array": JSON,
        "undefined": JSON,
        "regex": JSON,
        "javascript": JSON,
        "javascriptWithScope": JSON,
        "dbPointer": JSON,
        "minKey": JSON,
        "maxKey": JSON,
    }
)

#: Kinds that ask for no column: NULL fits every type, and ``{}`` goes to
#: ``_cwarp_extra`` while its path is flattened.
SHAPELESS: Final = frozenset({"null", "emptyObject"})

#: The types of the lattice, narrow ones first.
TYPES: Final = (
    "boolean",
    "integer",
    "bigint",
    "double precision",
    "numeric",
    "timestamptz",
    "uuid",
    "bytea",
    "text",
    JSON,
)

#: Joins that no general rule of ``join`` gives. ``double precision`` holds every
#: int32 but not every int64, hence the numeric.
_JOINS: Final = {
    frozenset({"integer", "bigint"}): "bigint",
    frozenset({"integer", "double precision"}): "double precision",
    frozenset({"bigint", "double precision"}): "numeric",
    frozenset({"integer", "numeric"}): "numeric",
    frozenset({"bigint", "numeric"}): "numeric",
    frozenset({"double precision", "numeric"}): "numeric",
    frozenset({"uuid", "bytea"}): "bytea",
}

#: The kind a column of this type identifies when no kind it saw is natural to it.
_TYPICAL: Final = {
    "boolean": "bool",
    "integer": "int",
    "bigint": "long",
    "double precision": "double",
    "numeric": "decimal",
    "timestamptz": "date",
    "uuid": "uuid",
    "bytea": "binData",
    "text": "string",
    JSON: "object",
}


def natural(kind: str, legacy_uuid: str = "") -> str | None:
    """The column type of a BSON kind; None for a kind that asks for no column.

    legacy_uuid: as ``TableOptions.legacy_uuid``; when set, binary subtype 3 is a uuid.
    Raises KeyError for a kind that BSON does not have.
    """
    if kind in SHAPELESS:
        return None
    if kind == "uuidLegacy" and legacy_uuid:
        return "uuid"
    return NATURAL[kind]


def join(one: str, other: str) -> str:
    """The narrowest type of the lattice that holds the values of both.

    Commutative, associative and idempotent, so the order of documents never decides.
    Text cannot hold binary, and a bytea that met a string has no better common form
    than JSON: bytea with anything but a uuid is jsonb.
    """
    if one == other:
        return one
    if (known := _JOINS.get(frozenset({one, other}))) is not None:
        return known
    if JSON in (one, other) or "bytea" in (one, other):
        return JSON
    return "text"


def type_of(kinds: Iterable[str], legacy_uuid: str = "") -> str | None:
    """The type for a path with these kinds; None when none asks for a column."""
    types = (natural(kind, legacy_uuid) for kind in kinds)
    found = [type_ for type_ in types if type_ is not None]
    return reduce(join, found) if found else None


def native_of(type_: str, counts: Mapping[str, int], legacy_uuid: str = "") -> str:
    """The BSON kind that a column of ``type_`` stands for by itself.

    The most frequent kind that is natural to the type, so that the fewest values need
    their exact form beside them in ``_cwarp_extra``; the earliest in the table above
    among equals. counts: BSON kind -> number of values.
    """
    fitting = [
        kind
        for kind in NATURAL
        if counts.get(kind, 0) and natural(kind, legacy_uuid) == type_
    ]
    return max(fitting, key=lambda kind: counts[kind], default=_TYPICAL[type_])


def json_type(json_columns: str) -> str:
    """The PlanColumn type of JSON columns under ``TableOptions.json_columns``."""
    return JSON_TYPES[json_columns]
