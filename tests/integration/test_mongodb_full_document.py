"""``source.full_document``: which events bring their document."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from pymongo.database import Database

from cartridge_warp.errors import PreconditionError
from cwarp_core import ChangeEvent
from mongodb_kit import Client, failing, follow, make

Mongo = Database[dict[str, Any]]


def two_updates_and_a_delete(
    database: Mongo, uri: str, mode: str, collection: str = "c"
) -> list[ChangeEvent]:
    source = make(uri, database.name, full_document=mode)
    start = source.position_now()
    database[collection].insert_one({"_id": 1, "v": 0})
    for value in (1, 2):
        database[collection].update_one({"_id": 1}, {"$set": {"v": value}})
    database[collection].insert_one({"_id": 2})
    database[collection].update_one({"_id": 2}, {"$set": {"v": 3}})
    database[collection].delete_one({"_id": 2})
    changes = source.changes(start)
    events = follow(changes, lambda seen: len(seen) >= 6)
    changes.close()
    source.close()
    return events


def values(events: list[ChangeEvent]) -> list[int | None]:
    """The field v of each update's document; None: there was no document."""
    updates = [each for each in events if each.operation == "update"]
    # Asked in both ways, for the engine asks without a copy.
    assert [each.document is not None for each in updates] == [
        each.has_document for each in updates
    ]
    return [each.document and bson.decode(each.document)["v"] for each in updates]


def test_lookup_leaves_updates_without(mongo_db: Mongo, mongo_uri: str) -> None:
    mongo_db.c.insert_one({"_id": 0})
    events = two_updates_and_a_delete(mongo_db, mongo_uri, "lookup")
    assert values(events) == [None, None, None]
    assert [each.has_document for each in events if each.operation == "insert"] == [
        True,
        True,
    ]


def test_update_lookup_brings_what_is_there_now(
    mongo_db: Mongo, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({"_id": 0})
    events = two_updates_and_a_delete(mongo_db, mongo_uri, "update_lookup")
    # The document that is gone is ``fullDocument: null``, which is no document.
    assert values(events) == [2, 2, None]


def test_post_image_brings_what_was_there_then(mongo_db: Mongo, mongo_uri: str) -> None:
    images = {"enabled": True}
    mongo_db.create_collection("c", changeStreamPreAndPostImages=images)
    mongo_db.create_collection("plain")
    events = two_updates_and_a_delete(mongo_db, mongo_uri, "post_image")
    assert values(events) == [1, 2, 3]
    plain = two_updates_and_a_delete(mongo_db, mongo_uri, "post_image", "plain")
    assert values(plain) == [None, None, None]


def test_post_image_is_refused_by_a_server_that_keeps_none(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({"_id": 0})
    source = make(mongo_uri, mongo_db.name, full_document="post_image")
    source.validate()
    mongo_client.admin.command({"setFeatureCompatibilityVersion": "5.0"})
    try:
        with pytest.raises(PreconditionError, match="post_image needs") as raised:
            source.validate()
    finally:
        mongo_client.admin.command({"setFeatureCompatibilityVersion": "6.0"})
    source.close()
    assert "lookup" in raised.value.hint


def test_another_fault_is_not_blamed_on_the_images(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({"_id": 0})
    source = make(mongo_uri, mongo_db.name, full_document="post_image")
    broken = {"failCommands": ["aggregate"], "errorCode": 13}
    with (
        failing(mongo_client, {"times": 1}, **broken),
        pytest.raises(PreconditionError) as raised,
    ):
        source.validate()
    source.close()
    assert "post_image" not in str(raised.value)
