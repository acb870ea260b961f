"""Documents, their ids and their changes as BSON bytes, for whoever writes a source."""

from __future__ import annotations

import functools
import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from cwarp_core import Reply, compare_keys, key_text

from .model import ChunkRange, ClusterTime

_REPLY: Final = 1000


def key_of(document: bytes) -> bytes:
    """The ``_id`` element of a document: type byte, then the value's bytes.

    Raises ValueError when it has none that can be read.
    """
    key = Reply.of_documents([document]).key(0)
    if key is None:
        raise ValueError("a document has no _id")
    return key


def in_order(documents: Iterable[bytes]) -> list[bytes]:
    """Documents in the order of their ids, which is MongoDB's."""
    order = functools.cmp_to_key(compare_keys)
    return sorted(documents, key=lambda each: order(key_of(each)))


def holds(chunk: ChunkRange, key: bytes) -> bool:
    """Does this ``_id`` element lie in the range?"""
    above = chunk.lower is None or compare_keys(key, chunk.lower) >= 0
    return above and (chunk.upper is None or compare_keys(key, chunk.upper) < 0)


def change_event(
    token: bytes,
    time: ClusterTime,
    operation: str,
    collection: str,
    key: bytes,
    document: bytes | None = None,
) -> bytes:
    """A change of one document in the form of MongoDB's change events, as BSON.

    token: of the place behind it, one BSON document.  operation: "insert", "update",
    "replace" or "delete"; "replace" does for a document that is new, too.  key: its
    ``_id`` element.  document: as it is after the change, or None where it has to be
    looked up.
    """
    place = [(b"\x02db", _text("")), (b"\x02coll", _text(collection))]
    fields = [
        (b"\x03_id", token),
        (b"\x02operationType", _text(operation)),
        (b"\x11clusterTime", struct.pack("<Q", time)),
        (b"\x03ns", _document(place)),
        (b"\x03documentKey", _document([(key[:1] + b"_id", key[1:])])),
    ]
    if document is not None:
        fields.append((b"\x03fullDocument", document))
    return _document(fields)


class WholeCollections(ABC):
    """The reads of ``protocols.Source`` for one that can hold a collection in memory.

    What is there now is as late as any time that was ever told of.
    """

    @abstractmethod
    def documents(self, collection: str) -> Collection[bytes]:
        """All that are there now, in any order."""

    @abstractmethod
    def newest_time(self) -> ClusterTime:
        """See ``protocols.Source``."""

    def sample(self, collection: str, size: int) -> Iterator[Reply]:
        found = list(self.documents(collection))
        return self._replies(random.sample(found, min(size, len(found))))

    def key_bounds(self, collection: str) -> tuple[bytes, bytes] | None:
        found = in_order(self.documents(collection))
        return (key_of(found[0]), key_of(found[-1])) if found else None

    def plan_chunks(self, collection: str) -> list[ChunkRange]:
        return [ChunkRange(None, None)]

    def snapshot(
        self, collection: str, chunk: ChunkRange, after: ClusterTime
    ) -> Iterator[Reply]:
        found = self.documents(collection)
        return self._replies(in_order(e for e in found if holds(chunk, key_of(e))))

    def lookup(
        self, collection: str, keys: Sequence[bytes], after: ClusterTime
    ) -> Iterator[Reply]:
        wanted = {_identity(each) for each in keys}
        found = self.documents(collection)
        return self._replies([e for e in found if _identity(key_of(e)) in wanted])

    def _replies(self, documents: Sequence[bytes]) -> Iterator[Reply]:
        now = self.newest_time()  # not older than any of them
        for at in range(0, len(documents), _REPLY):
            yield Reply.of_documents(list(documents[at : at + _REPLY]), now)


def _identity(key: bytes) -> str:
    return key_text(key, "canonical")


def _document(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(name + b"\0" + value for name, value in fields) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def _text(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<i", len(raw)) + raw
