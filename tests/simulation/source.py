"""``protocols.Source`` over the world, for one process."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import bson
from bson import Int64, Timestamp
from bson.raw_bson import RawBSONDocument

from cartridge_warp.errors import HistoryLost, SourceUnavailable
from cartridge_warp.model import (
    ChunkRange,
    ClusterTime,
    Collection,
    Position,
    SourceIdentity,
)
from cwarp_core import ChangeEvent, Reply, compare_keys, key_text, parse_events

from .gate import Gate
from .world import Entry, Incarnation, World

DATABASE = "shop"

#: How the source's own collections begin.
PASSING = "tmp."

#: Kinds of tokens: of a place between events, and of an event. At one time the first
#: sorts before.
_PLACE, _EVENT = 0, 128


def token_of(time: ClusterTime, index: int | None = None) -> bytes:
    """The token of an event, or without index of the place that a time is."""
    kind = _PLACE if index is None else _EVENT
    return bson.encode({"_data": f"{time:016X}{kind:02X}{index or 0:08X}"})


def order_of(token: bytes) -> bytes:
    return bytes.fromhex(bson.decode(token)["_data"])


def place_of(token: bytes) -> tuple[ClusterTime, int]:
    """The place in the world's history behind which a token stands."""
    data = order_of(token)
    time = int.from_bytes(data[:8])
    return time, int.from_bytes(data[9:]) if data[8] == _EVENT else -1


def position_of(token: bytes) -> Position:
    return Position(token, place_of(token)[0], "simulated")


def _timestamp(time: ClusterTime) -> Timestamp:
    return Timestamp(time >> 32, time & 0xFFFFFFFF)


def _reply(
    batch: Sequence[bytes], *, time: ClusterTime, token: bytes | None = None
) -> Reply:
    cursor: dict[str, Any] = {
        "nextBatch": [RawBSONDocument(each) for each in batch],
        "id": Int64(7),
        "ns": f"{DATABASE}.$cmd",
    }
    if token is not None:
        cursor["postBatchResumeToken"] = RawBSONDocument(token)
    raw = bson.encode({"cursor": cursor, "ok": 1.0, "operationTime": _timestamp(time)})
    return Reply(raw)


def event_of(entry: Entry) -> bytes:
    """A change event as a server sends it."""
    made: dict[str, Any] = {
        "_id": RawBSONDocument(token_of(entry.time, entry.index)),
        "operationType": entry.operation,
        "clusterTime": _timestamp(entry.time),
        "ns": {"db": DATABASE, "coll": entry.collection},
    }
    if entry.transaction is not None:
        made["lsid"] = {"id": bson.Binary(b"s" * 16, 4), "uid": b"u" * 32}
        made["txnNumber"] = Int64(entry.transaction)
    if entry.document is not None:
        made["fullDocument"] = RawBSONDocument(entry.document)
    if entry.to is not None:
        made["to"] = {"db": DATABASE, "coll": entry.to}
    event = bson.encode(made)
    if entry.key is None:
        return event
    # The element as it is, since a value may have lost its exact form by decoding.
    key = entry.key[:1] + b"_id\x00" + entry.key[1:]
    inner = (len(key) + 5).to_bytes(4, "little") + key + b"\x00"
    body = event[4:-1] + b"\x03documentKey\x00" + inner + b"\x00"
    return (len(body) + 4).to_bytes(4, "little") + body


@functools.lru_cache(maxsize=4096)
def parsed(entry: Entry) -> ChangeEvent:
    """The event as the engine gets it."""
    return parse_events(Reply.of_documents([event_of(entry)]))[0]


class SimulatedSource:
    """Reads see the state at any time between what they ask for and what is
    committed; one read after another may see an older one, as members differ."""

    def __init__(
        self, world: World, gate: Gate, *, by_time: float, chunks: int = 4
    ) -> None:
        self._world = world
        self._gate = gate
        self._chunks = chunks
        self._by_time = by_time

    def validate(self, *, new: bool = True) -> SourceIdentity:
        self._gate.before("source.validate")
        return SourceIdentity("simulated", "7.0")

    def discover(self) -> list[Collection]:
        self._gate.before("discover")
        world = self._world
        found = []
        for name in world.listed(world.committed):
            incarnation = world.collection(name, world.committed)
            assert incarnation is not None
            number = len(incarnation.documents(world.committed))
            identity = f"collection {incarnation.number}"
            found.append(Collection(name, documents=number, identity=identity))
        self._gate.after("discover")
        return found

    def passing(self, collection: str) -> bool:
        self._gate.touch("passing")
        return collection.startswith(PASSING)

    def position_now(self) -> Position:
        self._gate.before("position_now")
        time = self._world.newest
        self._world.await_commit(time)
        self._gate.after("position_now")
        # What is of this very time comes with the stream once more.
        return position_of(token_of(time))

    def time_now(self) -> ClusterTime:
        self._gate.before("time_now")
        time = self._world.newest
        self._world.await_commit(time)
        self._gate.after("time_now")
        return time

    def newest_time(self) -> ClusterTime:
        self._gate.before("newest_time")
        time = self._world.newest
        self._gate.after("newest_time")
        return time

    def order(self, token: bytes) -> bytes:
        self._gate.touch("order")
        return order_of(token)

    def sample(self, collection: str, size: int) -> Iterator[Reply]:
        self._gate.before("sample")
        time = self._world.committed
        found = self._documents(collection, time)
        chosen = self._gate.rng.sample(found, min(len(found), size, 3))
        self._gate.after("sample")
        yield _reply([document for _, document in chosen], time=time)

    def key_bounds(self, collection: str) -> tuple[bytes, bytes] | None:
        self._gate.before("key_bounds")
        found = self._documents(collection, self._world.committed)
        return (found[0][0], found[-1][0]) if found else None

    def plan_chunks(self, collection: str) -> list[ChunkRange]:
        self._gate.before("plan_chunks")
        found = self._documents(collection, self._world.committed)
        number = self._gate.rng.randrange(min(len(found), self._chunks) or 1)
        places = sorted(self._gate.rng.sample(range(1, len(found)), number))
        bounds = [None, *(found[place][0] for place in places), None]
        self._gate.after("plan_chunks")
        return [ChunkRange(bounds[at], bounds[at + 1]) for at in range(len(bounds) - 1)]

    def snapshot(
        self, collection: str, chunk: ChunkRange, after: ClusterTime
    ) -> Iterator[Reply]:
        opened: Incarnation | None = None
        last: bytes | None = None
        time = after
        while True:
            self._gate.before("snapshot read")
            time = self._readable(time)
            here = self._world.collection(collection, time)
            if opened is not None and here is not opened:
                raise SourceUnavailable("the cursor's collection is gone")
            if here is None:
                yield _reply([], time=self._heard(time))
                return
            opened = here
            documents = [
                (key, document)
                for key, document in here.documents(time)
                if _within(key, chunk) and (last is None or compare_keys(key, last) > 0)
            ]
            size = self._gate.rng.choice((1, 2, 3, 5))
            some = documents[:size]
            self._gate.after(f"snapshot read {len(some)}")
            yield _reply([document for _, document in some], time=self._heard(time))
            if len(documents) <= size:
                return
            last = some[-1][0]

    def lookup(
        self, collection: str, keys: Sequence[bytes], after: ClusterTime
    ) -> Iterator[Reply]:
        self._gate.before("lookup")
        time = self._readable(after)
        here = self._world.collection(collection, time)
        found = []
        for text in dict.fromkeys(key_text(key, "canonical") for key in keys):
            document = None if here is None else here.at(text, time)
            if document is not None:
                found.append(document)
        self._gate.rng.shuffle(found)
        cut = self._gate.rng.randrange(len(found) + 1)
        for part in (found[:cut], found[cut:]):
            if part:
                yield _reply(part, time=self._heard(time))
                self._gate.after("lookup")

    def changes(self, position: Position) -> SimulatedChanges:
        self._gate.before("changes")
        place = place_of(position.token)
        token = position.token
        _check_history(self._world, place)
        if by_time := self._gate.rng.random() < self._by_time:
            place, token = (place[0], -1), token_of(place[0])
        return SimulatedChanges(self._world, self._gate, place, token, new=by_time)

    def close(self) -> None:
        self._gate.touch("source.close")

    # --- small things -----------------------------------------------------------

    def _documents(self, name: str, time: ClusterTime) -> list[tuple[bytes, bytes]]:
        here = self._world.collection(name, time)
        return [] if here is None else here.documents(time)

    def _readable(self, after: ClusterTime) -> ClusterTime:
        """Some committed time from ``after`` on."""
        world = self._world
        world.await_commit(after)
        rng = self._gate.rng
        if world.committed == after or rng.random() < 0.3:
            return after
        times = [each.time for each in world.after((after, 1 << 30))]
        return rng.choice([after, world.committed, *times[-20:]])

    def _heard(self, time: ClusterTime) -> ClusterTime:
        """The operation time of a reply: not before what its documents show."""
        newest = self._world.newest
        return self._gate.rng.choice((time, newest, max(time, self._world.committed)))


class SimulatedChanges:
    """A change stream's cursor.

    place, token: what it has read up to.  new: its first reply tells of no event.
    """

    def __init__(
        self,
        world: World,
        gate: Gate,
        place: tuple[ClusterTime, int],
        token: bytes,
        *,
        new: bool,
    ) -> None:
        self._world = world
        self._gate = gate
        self._place = place
        self._token = token
        self._new = new and gate.rng.random() < 0.5

    def read(self, patience: float = 1.0) -> Reply:
        self._gate.before("changes.read")
        _check_history(self._world, self._place)
        world, rng = self._world, self._gate.rng
        if self._new:
            self._new = False
            return _reply([], time=world.newest, token=self._token)
        if next(world.after(self._place), None) is None:
            self._gate.scheduler.sleep(patience * rng.random(), "changes.read")
        wanted = rng.choice((1, 2, 3, 5, 10, 50))
        some: list[Entry] = []
        ended = True
        for entry in world.after(self._place):
            if len(some) == wanted:
                ended = False
                break
            some.append(entry)
        if some:
            self._place = some[-1].place
            self._token = token_of(*self._place)
        if ended and (world.committed, -1) > self._place and rng.random() < 0.9:
            # The oplog was read to its end, which is no event of this database.
            self._place = world.committed, -1
            self._token = token_of(world.committed)
        self._gate.after(f"changes.read {len(some)}")
        return _reply(
            [event_of(each) for each in some], time=world.newest, token=self._token
        )

    def position_of(self, token: bytes) -> Position:
        self._gate.touch("position_of")
        return position_of(token)

    def close(self) -> None:
        self._gate.touch("changes.close")


def _check_history(world: World, place: tuple[ClusterTime, int]) -> None:
    if place[0] < world.oldest:
        raise HistoryLost("the history behind the place is forgotten")


def _within(key: bytes, chunk: ChunkRange) -> bool:
    return (chunk.lower is None or compare_keys(key, chunk.lower) >= 0) and (
        chunk.upper is None or compare_keys(key, chunk.upper) < 0
    )
