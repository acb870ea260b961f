"""Our source passes the suite that is shipped, on a real MongoDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from cartridge_warp.conformance.source import (
    BatchReads,
    ConfirmedTimes,
    HeadRoom,
    LostHistory,
    PassingCollections,
    SourceSuite,
    Structure,
    Transactions,
    Updates,
)
from cartridge_warp.mongodb.source import MongoSource
from mongodb_kit import Client, failing, make

RAW: Any = bson.CodecOptions(document_class=RawBSONDocument)


class TestMongoSource(
    SourceSuite,
    Updates,
    Transactions,
    Structure,
    LostHistory,
    ConfirmedTimes,
    HeadRoom,
    BatchReads,
    PassingCollections,
):
    settings: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture
    def place(
        self, mongo_db: Database[dict[str, Any]], mongo_client: Client, mongo_uri: str
    ) -> None:
        self.db, self.client, self.uri = mongo_db, mongo_client, mongo_uri

    def connect(self) -> MongoSource:
        return make(self.uri, self.db.name, **self.settings)

    def insert(self, collection: str, new: Sequence[bytes]) -> None:
        self._majority(collection).insert_many([RawBSONDocument(raw) for raw in new])

    def replace(self, collection: str, document: bytes) -> None:
        raw = RawBSONDocument(document)
        self._majority(collection).replace_one(self._one(document), raw)

    def delete(self, collection: str, document: bytes) -> None:
        assert self._majority(collection).delete_one(self._one(document)).deleted_count

    def update(self, collection: str, document: bytes) -> None:
        n = bson.decode(document)["n"]
        change = {"$set": {"n": bson.Int64(n)}}
        self._majority(collection).update_one(self._one(document), change)

    def insert_together(self, new: Sequence[tuple[str, bytes]]) -> None:
        with self.client.start_session() as session, session.start_transaction():
            for name, raw in new:
                self.db[name].insert_one(RawBSONDocument(raw), session=session)

    def drop(self, collection: str) -> None:
        self.db.drop_collection(collection)

    def rename(self, collection: str, to: str) -> None:
        self.db[collection].rename(to)

    def passing(self) -> Sequence[str]:
        return (
            "tmp.agg_out.c4c0f3a0-0b0b",
            "tmpAbC12.renameCollection",
            "tmpAbC12.convertToCapped.c",
        )

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """A real oplog rolls over in ``tests/faults``; here the server says it has."""
        names = ["aggregate", "getMore"]
        with failing(self.client, {"times": 2}, failCommands=names, errorCode=286):
            yield

    def _majority(self, collection: str) -> Any:
        return self.db[collection].with_options(codec_options=RAW)

    def _one(self, document: bytes) -> Any:
        """A filter of a document's very ``_id``."""
        return RawBSONDocument(bson.encode({"_id": RawBSONDocument(document)["_id"]}))


class TestMongoSourceWithSmallReplies(TestMongoSource):
    """Two changes a reply, and documents that come with their changes."""

    settings = MappingProxyType(
        {"change_batch_size": 2, "full_document": "update_lookup"}
    )
