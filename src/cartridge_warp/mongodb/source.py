"""The MongoDB source: the contract of ``protocols.Source``, each part in its module."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cwarp_core import Reply

from ..config import SchemaSettings, SourceSettings
from ..model import ChunkRange, ClusterTime, Collection, Position, SourceIdentity
from . import changes, preflight, snapshot
from . import token as tokens
from .errors import translating
from .increments import MongoIncrements
from .link import Link
from .stage import Stage

#: Collections that the server makes on the way (seen on 6.0): of ``$out``, and of
#: renameCollection between databases and convertToCapped, after five random characters.
_PASSING = re.compile(
    r"tmp\.agg_out\.|tmp.{5}\.(renameCollection$|convertToCapped\.)", re.DOTALL
)

#: No change stream covers these, and their estimates mean nothing.
_WITHOUT_DOCUMENTS = frozenset({"view", "timeseries"})


#: How long a command of batch mode may be silent, in milliseconds: it may have to read
#: a whole collection. A server that is gone is noticed by the driver's monitor.
_PATIENT_MS = 6 * 3_600_000


class MongoSource:
    """One database of a replica set or a sharded cluster; in batch mode also of a
    standalone mongod.

    Making it connects to nothing; it raises ConfigError when the URI cannot be read.
    Any thread may call any method. Everything it raises later is a SourceError, from
    ``validate`` a PreconditionError.
    """

    def __init__(self, settings: SourceSettings, schema: SchemaSettings) -> None:
        self._settings = settings
        self._schema = schema
        self._link = Link(settings, schema.database)
        self._making = threading.Lock()
        self._patient: Link | None = None

    def validate(self, *, new: bool = True) -> SourceIdentity:
        """Check that the source can be read and followed. Raises PreconditionError.

        new: the database has to exist.
        """
        images = self._settings.full_document if self._schema.has_stream else None
        return preflight.check(self._link, images, new=new)

    def discover(self) -> list[Collection]:
        """The collections of the database, by name, system ones left out."""
        with translating("listCollections"):
            listed = [
                each
                for each in self._link.database.list_collections()
                if not each["name"].startswith("system.")
            ]
        return [self._collection(each) for each in sorted(listed, key=_name)]

    def _collection(self, listed: Mapping[str, Any]) -> Collection:
        name, kind = _name(listed), _kind(listed)
        if kind in _WITHOUT_DOCUMENTS:
            return Collection(name, kind)
        size = snapshot.size_of(self._link, name)
        # Where a collection is made anew it has another one.
        uuid = listed.get("info", {}).get("uuid", b"")
        return Collection(name, kind, *size, identity=bytes(uuid).hex())

    def passing(self, collection: str) -> bool:
        """Is this a collection of ``$out`` or the like, to be renamed at its end?"""
        return _PASSING.match(collection) is not None

    def position_now(self) -> Position:
        """The place in history after which nothing is missed from now on."""
        return changes.position_now(self._link, self._stage())

    def time_now(self) -> ClusterTime:
        """The newest time in the primary's oplog, once it is committed."""
        return self._link.committed_time()

    def newest_time(self) -> ClusterTime:
        """The newest time in the primary's oplog, committed or not.

        A stream tells of what is committed, and that is in every later primary's
        oplog; so no change that it has told of before this call is newer.
        """
        return self._link.newest_time()

    def confirmed_time(self) -> ClusterTime:
        """The same, of a primary that a majority confirms to be one.

        Whoever follows the stream knows of the newest primary, and its driver turns
        from a former one. A process that does not follow it could ask such a one, whose
        oplog lacks changes that the stream has told of.
        """
        return self._link.confirmed_time()

    def order(self, token: bytes) -> bytes:
        """What sorts tokens as the stream has them; only decodes."""
        return tokens.order(token)

    def oldest_time(self) -> ClusterTime | None:
        """The oldest time in the primary's oplog; None when it may not be read."""
        return self._link.oldest_time()

    def sample(self, collection: str, size: int) -> Iterator[Reply]:
        """About ``size`` documents chosen at random."""
        return snapshot.sample(self._link, collection, size)

    def key_bounds(self, collection: str) -> tuple[bytes, bytes] | None:
        """The smallest and greatest ``_id`` element; None for an empty collection."""
        return snapshot.key_bounds(self._link, collection)

    def plan_chunks(self, collection: str) -> list[ChunkRange]:
        """Ranges that together hold every ``_id`` exactly once, in order."""
        return snapshot.plan_chunks(self._link, collection)

    def snapshot(
        self, collection: str, chunk: ChunkRange, after: ClusterTime
    ) -> Iterator[Reply]:
        """A chunk's committed documents, in ``_id`` order, at ``after`` or later."""
        size = self._settings.snapshot_batch_bytes
        return snapshot.snapshot(self._link, collection, chunk, size, after)

    def changes(self, position: Position) -> changes.MongoChanges:
        """Everything after ``position``. Raises HistoryLost when that is gone.

        Some events at or before it may come again; see ``MongoChanges``.
        """
        size = self._settings.change_batch_size
        return changes.MongoChanges(self._link, position, self._stage(), size)

    def lookup(
        self, collection: str, keys: Sequence[bytes], after: ClusterTime
    ) -> Iterator[Reply]:
        """The committed documents with these ``_id`` elements, at ``after`` or later.

        A thousand ids a command, where the server's own ``updateLookup`` reads one
        document an event.
        """
        return snapshot.lookup(self._link, collection, keys, after)

    def increments(self, collection: str, column: str) -> MongoIncrements:
        """A collection as batch mode reads it."""
        with self._making:
            if self._patient is None:
                self._patient = Link(
                    self._settings, self._schema.database, silence_ms=_PATIENT_MS
                )
        size = self._settings.snapshot_batch_bytes
        return MongoIncrements(self._patient, collection, column, size)

    def _stage(self) -> Stage:
        return Stage.of(self._link, self._settings.full_document)

    def close(self) -> None:
        """End every connection; what is being read elsewhere fails."""
        self._link.close()
        if self._patient is not None:
            self._patient.close()


def _name(listed: Mapping[str, Any]) -> str:
    return str(listed["name"])


def _kind(listed: Mapping[str, Any]) -> str:
    options = listed.get("options", {})
    if (kind := str(listed.get("type", "collection"))) != "collection":
        return kind
    if options.get("capped"):
        return "capped"
    return "clustered" if "clusteredIndex" in options else "collection"
