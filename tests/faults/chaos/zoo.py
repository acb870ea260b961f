"""Ids of every kind and documents that change their shape, drawn from a seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson import DatetimeMS, Decimal128, Int64, ObjectId

from writers import CANARY_ID, CANARY_VALUE, Document

#: Ids that a collection may have.
IDS = 1000

#: Spreads numbers over all of an id's range.
_SPREAD = 0x9E3779B97F4A7C15


def _spread(number: int) -> int:
    return number * _SPREAD % 2**64


def _number(rng: random.Random, number: int) -> Any:
    """One id in one of the spellings that are equal to MongoDB."""
    if number % 10 == 0:
        return rng.choice([number + 0.5, Decimal128(f"{number}.50")])
    spellings = (number, Int64(number), float(number), Decimal128(f"{number}.0"))
    return rng.choice(spellings)


def _compound(rng: random.Random, number: int) -> Any:
    """Both orders of two fields are two ids."""
    one, two = ("a", "b") if number % 2 else ("b", "a")
    return {one: number // 2, two: "x"}


_ODD: tuple[Any, ...] = (
    *(None, True, False, bson.MinKey(), bson.MaxKey(), {}, ""),
    *(
        float("nan"),
        float("inf"),
        "nul\0inside",
        bson.Timestamp(1, 2),
        bson.Code("f()"),
    ),
    *(
        bson.Binary(b"\0\1"),
        bson.Binary(b"\0\1", 5),
        {"a": {"deep": 1.5}},
        {"a": [1, None]},
    ),
)


def _mixed(rng: random.Random, number: int) -> Any:
    if number < len(_ODD):
        return _ODD[number]
    families = [each for name, each in FAMILIES.items() if name != "mixed"]
    return families[number % len(families)](rng, number)


#: An id by its number; the same one each time, if spelled in several ways.
FAMILIES: dict[str, Callable[[random.Random, int], Any]] = {
    "objectId": lambda _, n: ObjectId(f"{_spread(n):016x}{n:08x}"),
    "string": lambda _, n: f"{CANARY_ID}-{_spread(n) % 997}-{n}",
    "integer": lambda rng, n: rng.choice([n, Int64(n)]),
    "number": _number,
    "uuid": lambda _, n: uuid.UUID(int=_spread(n) << 64 | n),
    "compound": _compound,
    "date": lambda _, n: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
    "mixed": _mixed,
}

_VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.randrange(2**31),
    lambda rng: Int64(rng.randrange(2**62)),
    lambda rng: rng.choice([rng.random(), -0.0, 1e300, float("nan"), float("-inf")]),
    lambda rng: f"{CANARY_VALUE} {rng.randrange(1000)}",
    lambda rng: rng.choice(["", 'quote " \\ \n é 🚀', "nul\0inside", "x" * 900]),
    lambda rng: Decimal128(
        rng.choice(["NaN", "Infinity", f"{rng.randrange(10**9)}.50"])
    ),
    lambda rng: DatetimeMS(rng.choice([0, rng.randrange(2**41), -(2**62), 2**60])),
    lambda rng: rng.random() < 0.5,
    lambda rng: rng.choice([None, {}]),
    lambda rng: {"a": {"b": {"c": rng.randrange(9)}}, "d": rng.random()},
    lambda rng: [rng.randrange(9), "x", {"y": None}],
    lambda rng: bson.Binary(rng.randbytes(5), rng.choice([0, 5, 128])),
    lambda rng: uuid.UUID(int=rng.getrandbits(128)),
    lambda rng: ObjectId(rng.randbytes(12)),
    lambda rng: bson.Timestamp(rng.randrange(2**31), rng.randrange(100)),
    lambda rng: rng.choice(
        [bson.MinKey(), bson.MaxKey(), bson.Code("f()"), bson.Regex("x", "i")]
    ),
)


def value(rng: random.Random) -> Any:
    """Of any kind, at an edge of it now and then."""
    return rng.choice(_VALUES)(rng)


def document(rng: random.Random, identity: Any, *, era: int = 0) -> Document:
    """era: with it the kinds of the fields change, and new fields come."""
    usual = random.Random(era)
    made: Document = {
        "_id": identity,
        "n": rng.randrange(1000),
        "text": f"{CANARY_VALUE} {rng.randrange(1000)}",
        "place": {"city": rng.choice("abc"), "geo": {"x": rng.random()}},
        "updated_at": datetime.now(UTC),
    }
    for name in usual.sample("pqrstuvw", 4):
        make = usual.choice(_VALUES)
        made[f"{name}_{usual.randrange(3)}"] = make(rng)
    if rng.random() < 0.1:
        made[rng.choice(["n", "text", "place"])] = value(rng)
    return made
