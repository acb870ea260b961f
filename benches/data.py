"""Seeded documents of five shapes, as BSON bytes. The same ones on every machine."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

SEED = 42

#: Different documents; made by Python they cost more than all that is measured.
_POOL = 100_000

_START = datetime(2024, 1, 1, tzinfo=UTC)
_ID = struct.Struct(">IQ")
_WORDS = (
    "amber birch cobalt dune ember fjord granite harbour indigo juniper krill lagoon "
    "meadow nectar ochre pebble quartz ripple saffron thistle umber velvet willow "
    "zürich ångström señor 東京 yarrow"
).split()
_STATES = ("new", "paid", "packed", "shipped", "returned")


def documents(shape: str, number: int) -> Iterator[bytes]:
    """``number`` documents of a shape in ascending ``_id``; see ``SHAPES``."""
    rng = random.Random(SEED)
    make = SHAPES[shape]
    for index in range(number):
        yield bson.encode(make(rng, index))


def many(shape: str, number: int) -> Iterator[bytes]:
    """As ``documents``, quickly: beyond a pool, only the ``_id`` is a new one."""
    pool = list(documents(shape, min(number, _POOL)))
    for index in range(number):
        document = pool[index % len(pool)]
        yield document[:9] + object_id(index).binary + document[21:]


def object_id(index: int) -> ObjectId:
    return ObjectId(_ID.pack(0x65920080 + index // 1000, index))


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


def _date(rng: random.Random) -> datetime:
    return _START + timedelta(milliseconds=rng.randrange(60_000_000_000))


def _money(rng: random.Random) -> Decimal128:
    return Decimal128(f"{rng.randrange(10_000_000) / 100:.2f}")


def _small(rng: random.Random, index: int) -> dict[str, Any]:
    return {
        "_id": object_id(index),
        "name": _text(rng, 2),
        "count": rng.randrange(100_000),
        "score": rng.random(),
        "at": _date(rng),
        "on": rng.random() < 0.5,
    }


def _item(rng: random.Random) -> dict[str, Any]:
    return {
        "sku": f"SKU-{rng.randrange(100_000):06}",
        "title": _text(rng, 4),
        "quantity": rng.randrange(1, 9),
        "price": rng.randrange(100_000) / 100,
        "gift": rng.random() < 0.1,
    }


def _medium(rng: random.Random, index: int) -> dict[str, Any]:
    """An order: about 1 KB in 17 to 20 fields, nulls and missing fields among them.

    29 columns with the key: 13 text, 2 numeric, 4 double precision, 1 integer, 2
    bigint, 3 timestamptz, 2 boolean, 2 jsonb.
    """
    address: dict[str, Any] = {
        "street": _text(rng, 3),
        "city": rng.choice(_WORDS),
        "zip": f"{rng.randrange(100_000):05}",
        "country": rng.choice(("DE", "SE", "JP", "US")),
        "lat": rng.random() * 90,
        "lon": rng.random() * 180,
    }
    if rng.random() < 0.5:
        address["attributes"] = {"floor": rng.randrange(30), "door": _text(rng, 1)}
    document: dict[str, Any] = {
        "_id": object_id(index),
        "number": Int64(10_000_000_000 + index),
        "status": rng.choice(_STATES),
        "total": _money(rng),
        "tax": _money(rng),
        "currency": rng.choice(("EUR", "USD", "JPY")),
        "created": _date(rng),
        "updated": _date(rng),
        "delivered": _date(rng) if rng.random() < 0.8 else None,
        "priority": rng.randrange(5),
        "weight": rng.random() * 40,
        "paid": rng.random() < 0.7,
        "gift": rng.random() < 0.1,
        "customer": {
            "id": Int64(rng.randrange(10**9)),
            "name": _text(rng, 2),
            "email": f"{rng.choice(_WORDS)}{rng.randrange(10_000)}@example.org",
            "address": address,
        },
        "items": [_item(rng) for _ in range(rng.randint(1, 4))],
        "channel": rng.choice(("web", "shop", "phone")),
        "source": _text(rng, 1) if rng.random() < 0.8 else None,
        "note": _text(rng, 34) if rng.random() < 0.8 else None,
        "discount": rng.random() if rng.random() < 0.8 else None,
        "reference": f"{rng.getrandbits(128):032x}",
    }
    for name in ("discount", "channel", "source"):
        if rng.random() < 0.1:
            del document[name]
    return document


def _large(rng: random.Random, index: int) -> dict[str, Any]:
    """About 16 KB in 100 columns."""
    document: dict[str, Any] = {"_id": object_id(index)}
    for at in range(80):
        document[f"text_{at:02}"] = _text(rng, 25)
    for at in range(20):
        document[f"number_{at:02}"] = rng.random()
    return document


def _array_heavy(rng: random.Random, index: int) -> dict[str, Any]:
    """Long arrays of numbers, of text and of sub-documents: JSON is all the work."""
    return {
        "_id": object_id(index),
        "readings": [rng.random() for _ in range(50)],
        "tags": rng.choices(_WORDS, k=20),
        "items": [_item(rng) for _ in range(12)],
    }


def _deep(rng: random.Random, index: int) -> dict[str, Any]:
    """Twelve levels, nine of them below what is flattened."""
    inner: dict[str, Any] = {"value": rng.random()}
    for level in range(12, 0, -1):
        inner = {"level": level, "name": rng.choice(_WORDS), "below": inner}
    return {"_id": object_id(index), **inner}


SHAPES: dict[str, Callable[[random.Random, int], dict[str, Any]]] = {
    "small": _small,
    "medium": _medium,
    "large": _large,
    "array-heavy": _array_heavy,
    "deep": _deep,
}
