"""Change events as a server sends them, made by pymongo's own encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bson
from bson import Int64, Timestamp

from cwarp_core import ChangeEvent, Reply, parse_events


def token(number: int) -> bytes:
    """A resume token as one document."""
    return bson.encode({"_data": f"82{number:016X}"})


def event(
    operation: str,
    number: int,
    key: object = None,
    *,
    document: Mapping[str, Any] | None = None,
    collection: str = "orders",
    transaction: int | None = None,
    to: str | None = None,
) -> dict[str, Any]:
    """``number`` orders the events: their cluster time and their token."""
    made: dict[str, Any] = {
        "_id": bson.decode(token(number)),
        "operationType": operation,
        "clusterTime": Timestamp(number, 1),
        "ns": {"db": "shop", "coll": collection},
    }
    if transaction is not None:
        made["lsid"] = {"id": bson.Binary(b"s" * 16, 4), "uid": b"u" * 32}
        made["txnNumber"] = Int64(transaction)
    if key is not None:
        made["documentKey"] = {"_id": key}
    if document is not None:
        made["fullDocument"] = document
    if to is not None:
        made["to"] = {"db": "shop", "coll": to}
    return made


def parsed(*events: dict[str, Any]) -> list[ChangeEvent]:
    return parse_events(Reply.of_documents([bson.encode(each) for each in events]))
