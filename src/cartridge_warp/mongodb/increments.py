"""A collection as batch mode reads it: what changed since a place, or all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from cwarp_core import Observation, Reply

from ..model import BatchMarker, ClusterTime
from . import moments, snapshot
from .errors import translating
from .link import Command, Link, majority
from .reader import replies

#: Levels of fields that are looked at for times.
_DEPTH: Final = 4

_CODEC: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
_EPOCH: Final = datetime(1970, 1, 1)
_MILLISECOND: Final = timedelta(milliseconds=1)

#: The field of a marker's value.
_VALUE: Final = "v"


class MongoIncrements:
    """See ``powers.Increments``.

    Works on whatever can be found in: collections of every kind, views, time-series,
    of a replica set, a sharded cluster or a standalone mongod. A column holds values
    of one kind of ``moments``: that of the marker, or the first that is found. An array
    counts by its values.

    link: one that waits long: without an index on the column mongod reads the whole
    collection before it says anything.  batch_bytes: of a reply, about.
    """

    def __init__(
        self, link: Link, collection: str, column: str, batch_bytes: int
    ) -> None:
        self._link = link
        self._collection = collection
        self._column = column
        self._batch_bytes = batch_bytes
        self._kind: str | None = None

    def exists(self) -> bool:
        return self._type() is not None

    def usable(self) -> bool:
        return self._find_kind() is not None

    def newest(self) -> BatchMarker | None:
        if (kind := self._find_kind()) is None:
            return None
        bound = self._clock()
        query = {
            "$type": kind,
            "$lt": moments.after(kind, bound),
            "$not": {"$type": "array"},
        }
        command = self._first({self._column: query}, self._column)
        command["sort"] = {self._column: -1}
        for reply in replies(self._link, command):
            return self._place(reply, kind, bound)
        return None

    def since(
        self, marker: BatchMarker | None, overlap: float, after: ClusterTime
    ) -> Iterator[tuple[Reply, BatchMarker | None]]:
        bound = self._clock()
        if marker is None:
            kind = self._known_kind()
            lowest = moments.LOWEST[kind]
        else:
            kind = self._kind = _kind_of(marker)
            lowest = moments.at(kind, marker.time - round(overlap * 1000))
        command = self._find({self._column: {"$gte": lowest}}, after)
        command["sort"] = {self._column: 1, "_id": 1}
        # The order has no index, as a rule, and what is sorted may be large.
        command["allowDiskUse"] = True
        for reply in self._replies(command):
            yield reply, self._place(reply, kind, bound)

    def unseen(self, after: ClusterTime) -> Iterator[Reply]:
        return self._replies(self._find(self._not_seen(), after))

    def count_unseen(self) -> int:
        reply = self._link.ask({"count": self._collection, "query": self._not_seen()})
        return int(reply["n"])

    def whole(self, after: ClusterTime) -> Iterator[Reply]:
        return self._replies(self._find({}, after))

    def keys(self, after: ClusterTime) -> Iterator[Reply]:
        command = {**self._find({}, after), "projection": {"_id": 1}}
        if self._type() == "collection":
            # The index alone answers.
            command["hint"] = {"_id": 1}
        return self._replies(command)

    def times(self, sample: int) -> Mapping[str, str]:
        seen = Observation(_DEPTH)
        for reply in snapshot.sample(self._link, self._collection, sample):
            seen.add_reply(reply)
        found: dict[str, str] = {}
        for each in seen.paths():
            name = ".".join(each.path)
            for kind in moments.KINDS:
                # Any other ObjectId is the time of another document.
                if kind in each.counts and (kind != "objectId" or name == "_id"):
                    found.setdefault(name, kind)
        return found

    # --- small things -----------------------------------------------------------

    def _find(self, query: Mapping[str, Any], after: ClusterTime = 0) -> Command:
        return {
            "find": self._collection,
            "filter": query,
            "batchSize": snapshot.FIRST_BATCH,
            "readConcern": majority(after),
        }

    def _first(self, query: Mapping[str, Any], field: str) -> Command:
        """One document, with nothing but this field and its id."""
        one = {"projection": {field: 1}, "limit": 1, "singleBatch": True}
        return {**self._find(query), **one}

    def _replies(self, command: Command) -> Iterator[Reply]:
        def batch(reply: Reply) -> int:
            return snapshot.fitting(reply, self._batch_bytes)

        return replies(self._link, command, batch=batch)

    def _not_seen(self) -> dict[str, Any]:
        """Nothing else than "not from the lowest value on" finds in an index all that
        is of another kind."""
        lowest = moments.LOWEST[self._known_kind()]
        return {self._column: {"$not": {"$gte": lowest}}}

    def _known_kind(self) -> str:
        return self._find_kind() or moments.KINDS[0]

    def _find_kind(self) -> str | None:
        """The kind that the column's values are of; None while there is none."""
        for kind in moments.KINDS:
            if self._kind is not None:
                break
            command = self._first({self._column: {"$type": kind}}, "_id")
            if any(map(len, replies(self._link, command))):
                self._kind = kind
        return self._kind

    def _type(self) -> str | None:
        with translating("listCollections"):
            named = {"name": self._collection}
            listed = list(self._link.database.list_collections(filter=named))
        return str(listed[0].get("type", "collection")) if listed else None

    def _clock(self) -> int:
        """The source's time."""
        now = self._link.ask({"hello": 1}, admin=True)["localTime"]
        return int((now.replace(tzinfo=None) - _EPOCH) // _MILLISECOND)

    def _place(self, reply: Reply, kind: str, bound: int) -> BatchMarker | None:
        """The place of the last document of a reply whose time has come."""
        for index in reversed(range(len(reply))):
            try:
                value = self._value(reply.document(index))
            except BSONError:
                continue  # a dead letter, which the encoder makes
            if moments.kind_of(value) != kind or moments.time_of(value) > bound:
                continue
            place = bson.encode({_VALUE: value})
            return BatchMarker(place, reply.key(index) or b"", moments.time_of(value))
        return None

    def _value(self, document: bytes) -> object:
        found: Any = RawBSONDocument(document, _CODEC)
        for name in self._column.split("."):
            if not isinstance(found, RawBSONDocument):
                return None
            found = found.get(name)
        return found


def _kind_of(marker: BatchMarker) -> str:
    value = bson.decode(marker.value, _CODEC)[_VALUE]
    kind = moments.kind_of(value)
    if kind is None:
        raise ValueError("a marker's value tells no time")
    return kind
