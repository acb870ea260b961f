"""Documents for the suites: small ones, and one of every kind of ``_id``."""

from __future__ import annotations

import datetime
import functools
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import bson

from cwarp_core import Reply, compare_keys, key_text

_WHEN: Final = datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, datetime.UTC)

#: Ids of every kind, no two of them equal. MongoDB sorts them across kinds; numbers of
#: four types share one order, and compound ids differ by the order of their fields.
ZOO: Final[tuple[Any, ...]] = (
    *(None, False, True, bson.MinKey(), bson.MaxKey()),
    *(-1, 0, 3, bson.Int64(1 << 40), 2.5, -1e300, float("inf"), float("nan")),
    *(bson.Decimal128("2.6"), bson.Decimal128("1E+6000")),
    *("", "a", "a\n", "a b", "ä", "\N{GRINNING FACE}", "x" * 300),
    *(bson.ObjectId("0" * 24), bson.ObjectId("0123456789abcdef01234567")),
    *(b"", b"\0\1", bson.Binary.from_uuid(uuid.UUID(int=7)), bson.Binary(b"z", 128)),
    *(_WHEN, bson.Timestamp(1, 2), bson.Code("f")),
    *({}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": None}}, {"a": [1, "x"]}),
)


def document(
    key: Any, n: int = 0, note: str | None = None, more: Mapping[str, Any] | None = None
) -> bytes:
    """One document as BSON, its ``_id`` first; ``more``: further fields."""
    fields = {"n": bson.Int64(n), **({} if note is None else {"note": note})}
    return bson.encode({"_id": key, **fields, **(more or {})})


def element(raw: bytes) -> bytes:
    """The ``_id`` element of a document: type byte, then the value's bytes."""
    found = Reply.of_documents([raw]).key(0)
    assert found is not None
    return found


def canonical(raw: bytes) -> str:
    """The canonical text of a document's ``_id``, which tells it from all others."""
    return key_text(element(raw), "canonical")


def documents(replies: Iterable[Reply]) -> list[bytes]:
    """All documents of some replies, in order."""
    return [reply.document(at) for reply in replies for at in range(len(reply))]


def in_order(raw: Iterable[bytes]) -> list[bytes]:
    """Documents in the order of their ids."""

    def compare(one: bytes, other: bytes) -> int:
        return compare_keys(element(one), element(other))

    return sorted(raw, key=functools.cmp_to_key(compare))
