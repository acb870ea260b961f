"""Reading what is there: a sample, the bounds, the chunk plan, a chunk, some keys."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from cwarp_core import Reply, asked_alone, compare_keys, in_filter

from ..model import ChunkRange, ClusterTime
from .errors import translating
from .link import Link, majority
from .reader import replies

#: A chunk holds about this much; small enough to be done again after a crash.
CHUNK_DOCUMENTS = 50_000
CHUNK_BYTES = 64 << 20

#: Ids sampled for each chunk, so that chunks come out nearly equal.
_SAMPLES_A_CHUNK = 40

#: So many chunks at the end are cut into so many pieces each: who copies beside others
#: finds something to do until all of them are nearly done.
_LAST_CHUNKS = 2
_PIECES = 5

#: From 5 % of a collection on, ``$sample`` reads all of it; so never more than 4 %.
_SAMPLED_OF = 25

#: Documents of a snapshot's first reply, and at most of a later one.
FIRST_BATCH = 500
_MAX_BATCH = 5000

#: Ids that one lookup command names, and their bytes: a command holds 16 MB.
LOOKUP_KEYS = 1000
LOOKUP_BYTES = 4 << 20

_NAMESPACE_NOT_FOUND = 26

#: The ends of the order of all values, as elements.
_MIN_KEY = b"\xff"
_MAX_KEY = b"\x7f"
_BY_ID = {"_id": 1}


def sample(link: Link, collection: str, size: int) -> Iterator[Reply]:
    """About ``size`` documents chosen at random by the server."""
    return _aggregate(link, collection, [{"$sample": {"size": size}}])


def key_bounds(link: Link, collection: str) -> tuple[bytes, bytes] | None:
    """The smallest and greatest ``_id`` element in index order; None when empty."""
    bounds = []
    for direction in (1, -1):
        command = {
            "find": collection,
            "sort": {"_id": direction},
            "projection": _BY_ID,
            "limit": 1,
            "singleBatch": True,
        }
        for reply in replies(link, command):
            bounds += _keys(reply)
    return (bounds[0], bounds[-1]) if len(bounds) == 2 else None


def size_of(link: Link, collection: str) -> tuple[int, int]:
    """The server's estimates: documents, and their bytes; zeros when it is gone."""
    stage: dict[str, Any] = {"$collStats": {"storageStats": {}}}
    documents = nbytes = 0
    with translating("collStats"):
        try:
            for shard in link.database[collection].aggregate([stage]):
                documents += shard["storageStats"].get("count", 0)
                nbytes += shard["storageStats"].get("size", 0)
        except OperationFailure as error:
            if error.code != _NAMESPACE_NOT_FOUND:
                raise
    return int(documents), int(nbytes)


def plan_chunks(link: Link, collection: str) -> list[ChunkRange]:
    """Ranges that hold every ``_id`` once: the first and the last are open.

    The inner bounds are sampled ids. The server sorts them, and merges those that are
    equal (1 and 1.0). Where the collection has a collation, its order of ids is not
    that of their bytes, and nobody but the server could say in which range one lies.
    """
    if _collated(link, collection):
        return [ChunkRange(None, None, whole=True)]
    documents, nbytes = size_of(link, collection)
    chunks = max(
        math.ceil(documents / CHUNK_DOCUMENTS), math.ceil(nbytes / CHUNK_BYTES), 1
    )
    inner: list[bytes] = []
    if chunks > 1:
        size = min(chunks * _SAMPLES_A_CHUNK, max(documents // _SAMPLED_OF, 1))
        pipeline: list[dict[str, Any]] = [
            {"$sample": {"size": size}},
            {"$group": {"_id": "$_id"}},
            {"$sort": _BY_ID},
        ]
        found = [
            key
            for reply in _aggregate(link, collection, pipeline)
            for key in _keys(reply)
        ]
        # Its order of DBPointers is not the index's (seen on 6.0).
        found.sort(key=cmp_to_key(compare_keys))
        places = {int(each * len(found)) for each in _cuts(chunks)}
        inner = [found[place] for place in sorted(places) if 0 < place < len(found)]
    return [ChunkRange(*pair) for pair in pairwise([None, *inner, None])]


def _cuts(chunks: int) -> Iterator[float]:
    """Where a collection is cut, as fractions of its documents."""
    last = max(chunks - _LAST_CHUNKS, 0)
    for number in range(1, last + 1):
        yield number / chunks
    pieces = (chunks - last) * _PIECES
    for number in range(1, pieces):
        yield (last + number / _PIECES) / chunks


def snapshot(
    link: Link,
    collection: str,
    chunk: ChunkRange,
    batch_bytes: int,
    after: ClusterTime,
) -> Iterator[Reply]:
    """The committed documents of a chunk in ``_id`` order, at ``after`` or later.

    ``min`` and ``max`` are bounds of the index, so that every id, of whatever type,
    lies in exactly one range; ``$gte`` would hold ids of one type alone.

    The ends of the order need care (seen on 6.0). Bounds with nothing between them
    are refused. With ``min`` alone an ordinary collection leaves MaxKey out and a
    clustered one does not, so MaxKey is always read by itself.
    """
    if chunk.upper == _MIN_KEY:
        return
    command: dict[str, Any] = {
        "find": collection,
        "hint": _BY_ID,
        "sort": _BY_ID,
        "batchSize": FIRST_BATCH,
        "readConcern": majority(after),
    }

    def batch(reply: Reply) -> int:
        return fitting(reply, batch_bytes)

    bounds: dict[str, Any] = {}
    if chunk.lower is not None:
        bounds["min"] = _by_key(chunk.lower)
    if chunk.upper is not None or chunk.lower is not None:
        bounds["max"] = _by_key(chunk.upper or _MAX_KEY)
    if chunk.lower != _MAX_KEY:
        yield from replies(link, {**command, **bounds}, batch=batch)
    if chunk.lower is not None and chunk.upper is None:
        yield from replies(link, {**command, "filter": _by_key(_MAX_KEY)})


def fitting(reply: Reply, batch_bytes: int) -> int:
    """How many documents to ask for, when they are as large as those of a reply."""
    documents = batch_bytes * len(reply) // max(reply.nbytes, 1)
    return min(max(documents, 1), _MAX_BATCH)


def lookup(
    link: Link, collection: str, keys: Sequence[bytes], after: ClusterTime
) -> Iterator[Reply]:
    """The committed documents with these ``_id`` elements, at ``after`` or later."""
    for part in _parts(keys):
        command = {
            "find": collection,
            "filter": RawBSONDocument(in_filter(part)),
            # One more than can be found, so that the first reply ends the cursor.
            "batchSize": len(part) + 1,
            "readConcern": majority(after),
        }
        yield from replies(link, command)


def _parts(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Keys that one command can name."""
    part: list[bytes] = []
    nbytes = 0
    for key in keys:
        if asked_alone(key):
            yield [key]
            continue
        if part and (len(part) == LOOKUP_KEYS or nbytes + len(key) > LOOKUP_BYTES):
            yield part
            part, nbytes = [], 0
        part.append(key)
        nbytes += len(key)
    if part:
        yield part


def _collated(link: Link, collection: str) -> bool:
    """Its ids sort by a collation. The simple one is never listed."""
    with translating("listCollections"):
        listed = link.database.list_collections(filter={"name": collection})
        return any("collation" in each.get("options", {}) for each in listed)


def _aggregate(
    link: Link, collection: str, pipeline: list[dict[str, Any]]
) -> Iterator[Reply]:
    return replies(link, {"aggregate": collection, "pipeline": pipeline, "cursor": {}})


def _keys(reply: Reply) -> list[bytes]:
    keys = (reply.key(index) for index in range(len(reply)))
    return [key for key in keys if key is not None]


def _by_key(key: bytes) -> RawBSONDocument:
    """``{_id: <key>}``, the key's bytes untouched."""
    element = key[:1] + b"_id\0" + key[1:]
    return RawBSONDocument(struct.pack("<i", len(element) + 5) + element + b"\0")
