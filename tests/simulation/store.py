"""What an in-memory PostgreSQL has committed, and the rules that every commit keeps.

Only ``destination`` writes here, a whole transaction at a time. A rule that is broken
raises ``Broken``, which ends the run as failed.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import bson
from msgspec import Struct

from cartridge_warp.model import ChunkRange, ClusterTime, Origin, Position, Table
from cwarp_core import KeyKindError, Reject, key_text

from .source import order_of, place_of
from .tablerows import POISON, Broken, Row, encoder_of, rows_of
from .world import EPOCH, FIRST, LAST, Entry, World, document_key

if TYPE_CHECKING:
    from .sharing import StoredWorker

LaneOf = Callable[[Entry], int]


class Letter(Struct, frozen=True):
    """A pending dead letter."""

    key: bytes
    code: str
    document: bytes


class StoredChunk(Struct):
    """claim: of whoever copies it, (epoch, number).  worker: of another process, by
    its number.  kept: one gave it up.  ordinal: the same in all parts of a chunk."""

    chunk_id: int
    range: ChunkRange
    state: str = "pending"
    documents: int = 0
    read_time: ClusterTime = 0
    read_until: ClusterTime = 0
    claim: tuple[int, int] | None = None
    resync: bool = False
    worker: int = 0
    kept: bool = False
    ordinal: int = 0


class Counters(Struct):
    """What all commits did, by the destination's own count."""

    events: int = 0
    copied: int = 0
    letters: int = 0


class Holder(Protocol):
    """An open transaction. cut: its connection is gone, and it with it."""

    cut: bool
    process: object


class StoredTable:
    """A table with its rows by the text of their key.

    marked: the rows that are there still, and no document's state any more.  left,
    asked, gone, origin: as in ``TableState``.  unseen: dead letters, by canonical key,
    that the resync under way has not met.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.versions = {table.version: table}
        self.planned = False
        self.rows: dict[str, Row] = {}
        self.marked: dict[str, Row] = {}
        self.chunks: dict[int, StoredChunk] = {}
        self.letters: dict[str, Letter] = {}
        self.counters = Counters()
        self.left = self.asked = self.gone = False
        self.origin = Origin()
        self.unseen: set[str] = set()
        #: The newest state each document ever had here, by canonical key.
        self.seen: dict[str, int] = {}
        #: The last that happened to these was a delete.
        self.deleted: set[str] = set()
        #: Open transactions that hold the table's structure; who is changing it.
        self.holders: set[Holder] = set()
        self.altering: object = None

    def image(self) -> dict[str, Any]:
        """What is committed, as it is now."""
        return {
            name: copy.deepcopy(value)
            for name, value in vars(self).items()
            if name not in ("holders", "altering")
        }

    def restore(self, image: dict[str, Any]) -> None:
        """What was committed then. A chunk that is known stays the same object."""
        known = self.chunks
        vars(self).update(copy.deepcopy(image))
        for number, then in self.chunks.items():
            if (chunk := known.get(number)) is not None:
                for name in chunk.__struct_fields__:
                    setattr(chunk, name, getattr(then, name))
                self.chunks[number] = chunk

    def evolve(self, after: Table) -> None:
        """The next version; every key is rewritten where its encoding changes."""
        before, self.table = self.table, after
        self.versions[self.table.version] = self.table
        if self.table.key != before.key:
            every = len(self.rows) + len(self.marked)
            self.rows, self.marked = map(self._rewritten, (self.rows, self.marked))
            if len(self.rows | self.marked) != every:
                raise Broken("two keys are one after a rewrite")
            self._readmit()

    def _rewritten(self, rows: dict[str, Row]) -> dict[str, Row]:
        return {key_text(row.key, self.table.key): row for row in rows.values()}

    def _readmit(self) -> None:
        encoder = encoder_of(self.table)
        for canonical, letter in list(self.letters.items()):
            if letter.code != "key_kind" or canonical in self.unseen:
                continue
            encoder.add_document(letter.document, 0)
            batch = encoder.take()
            for text, row in rows_of(batch, self.table):
                if POISON in bson.decode(letter.document):
                    continue
                self.rows[text] = row
                self.marked.pop(text, None)
                self.seen[canonical] = row.version
                del self.letters[canonical]

    def resolve(self, canonical: str) -> None:
        self.letters.pop(canonical, None)
        self.unseen.discard(canonical)

    def plan(
        self, ranges: Sequence[ChunkRange], ids: Iterator[int], **more: bool
    ) -> None:
        """Chunks in the place of all there are."""
        self.planned = True
        made = [
            StoredChunk(next(ids), each, ordinal=number, **more)
            for number, each in enumerate(ranges)
        ]
        self.chunks = {each.chunk_id: each for each in made}

    def empty(self) -> None:
        """Remove every row and dead letter."""
        self.deleted |= {key_text(each.key, "canonical") for each in self.rows.values()}
        self.rows, self.marked = {}, {}
        self.letters, self.unseen = {}, set()

    def reject(self, rejects: Iterator[Reject] | list[Reject]) -> None:
        for reject in rejects:
            assert reject.key is not None
            key = document_key(reject.document)
            self.letters[reject.key] = Letter(key, reject.code, reject.document)
            self.unseen.discard(reject.key)
            self.counters.letters += 1


class Marker(Struct):
    seq: int
    position: Position


#: What of a store a standby has besides the tables.
_REPLICATED = (
    *("markers", "epoch", "owner", "alive_at"),
    *("claims", "chunk_ids", "counted", "_counted_for", "workers"),
)

Image = tuple[dict[str, dict[str, Any]], dict[str, Any]]


class Store:
    """One schema's committed state. owner: who may commit; its last sign of life.

    history: counts promotions, as PostgreSQL's timeline does.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, StoredTable] = {}
        self.markers: list[Marker] = []
        self.history = 1
        self.epoch = 0
        self.owner: str | None = None
        self.process: object = None
        self.alive_at = 0.0
        self.claims = 0
        self.chunk_ids = 0
        self.workers: dict[int, StoredWorker] = {}
        self.worker_ids = itertools.count(1)
        self.commits = 0
        self.takeovers = 0
        #: Events of the commits since the only lane's marker moved last.
        self.counted = 0
        #: Collections that had a table then.
        self._counted_for: set[str] = set()

    def told(self, position: Position) -> str:
        """A position for the trace."""
        time, index = place_of(position.token)
        return f"{(time >> 32) - EPOCH}.{time & 0xFFFFFFFF}.{index}"

    def ask(self, rng: random.Random) -> None:
        """Somebody asks for the resync of some table."""
        if self.tables:
            name = rng.choice(sorted(self.tables))
            self.tables[name].asked = True
            self.world.scheduler.note(f"a resync of {name} is asked for")

    def of_collection(self, name: str) -> StoredTable | None:
        for stored in self.tables.values():
            if stored.table.collection == name:
                return stored
        return None

    def numbers(self) -> Iterator[int]:
        """The ids of chunks to come."""
        while True:
            self.chunk_ids += 1
            yield self.chunk_ids

    def disconnect(self, process: object) -> None:
        """The connections of a process are gone, and their transactions."""
        for stored in self.tables.values():
            for holder in list(stored.holders):
                if holder.process is process:
                    holder.cut = True
                    stored.holders.discard(holder)
            if stored.altering is process:
                stored.altering = None
            self.world.scheduler.wake(stored)

    def image(self) -> Image:
        """What a standby has that follows no further."""
        tables = {name: stored.image() for name, stored in self.tables.items()}
        return tables, {
            name: copy.deepcopy(getattr(self, name)) for name in _REPLICATED
        }

    def promote(self, image: Image) -> None:
        """That standby takes the server's place: the rest was never committed."""
        tables, rest = image
        self.history += 1
        for name, stored in list(self.tables.items()):
            for process in {holder.process for holder in stored.holders}:
                self.disconnect(process)
            stored.altering = None
            self.world.scheduler.wake(stored)
            if name not in tables:
                del self.tables[name]
        for name, then in tables.items():
            self.tables.setdefault(name, StoredTable(then["table"])).restore(then)
        for name, value in copy.deepcopy(rest).items():
            setattr(self, name, value)

    # --- rows -------------------------------------------------------------------

    def upsert(self, stored: StoredTable, text: str, row: Row, how: str) -> None:
        """Write one row. Never an older state than the row had, unless the document
        was deleted and inserted again in between."""
        canonical = key_text(row.key, "canonical")
        before = stored.seen.get(canonical, 0)
        if row.version < before and not self._began_anew(stored, canonical, row):
            raise Broken(
                f"I6: {how} brings {stored.table.collection} {canonical} back from "
                f"state {before} to {row.version}"
            )
        stored.seen[canonical] = row.version
        stored.deleted.discard(canonical)
        if how == "copy" and text in stored.rows | stored.marked:
            raise Broken(
                f"a COPY meets a row that exists: {stored.table.collection} {canonical}"
            )
        stored.rows[text] = row
        stored.marked.pop(text, None)
        stored.resolve(canonical)

    def _began_anew(self, stored: StoredTable, canonical: str, row: Row) -> bool:
        """Is this an insert behind a delete that was made here, or that no marker has
        passed; or behind a drop, which deletes no row?

        Before that a look-up had brought what came after the insert. Or is it of
        another collection, which took the name later?
        """
        if self._of_another(stored, canonical, row):
            return True
        first = min(place_of(marker.position.token) for marker in self.markers)
        name = stored.table.collection
        deleted = canonical in stored.deleted
        for entry in self.world.between(FIRST, LAST):
            if entry.collection != name:
                continue
            if entry.operation in ("drop", "rename"):
                deleted = True
            elif entry.key is None or key_text(entry.key, "canonical") != canonical:
                continue
            elif entry.operation == "delete":
                deleted |= entry.place > first
            elif entry.version == row.version:
                return deleted and entry.operation == "insert"
        return False

    def _of_another(self, stored: StoredTable, canonical: str, row: Row) -> bool:
        before = stored.seen[canonical]
        had: dict[int, list[int]] = {before: [], row.version: []}
        incarnations = self.world.names.get(stored.table.collection, ())
        for number, (_, incarnation) in enumerate(incarnations):
            for state, places in had.items():
                if incarnation is not None and incarnation.had(canonical, state):
                    places.append(number)
        earlier, later = had[before], had[row.version]
        return bool(earlier and later) and min(earlier) < max(later)

    def delete(self, stored: StoredTable, text: str, strategy: str) -> None:
        row = stored.rows.pop(text, None)
        if row is not None:
            stored.deleted.add(key_text(row.key, "canonical"))
        if strategy != "soft":
            stored.marked.pop(text, None)
        elif not stored.table.deleted_column:
            raise Broken(f"{stored.table.name} has no columns for a soft delete")
        elif row is not None:
            stored.marked[text] = row
        for canonical, letter in list(stored.letters.items()):
            try:
                if key_text(letter.key, stored.table.key) == text:
                    stored.resolve(canonical)
            except KeyKindError:
                continue

    def check_deleted(self, table: Table, text: str, time: ClusterTime) -> None:
        """Was a document of this key deleted at this time?"""
        for entry in self.world.between((time, -1), (time, LAST[0])):
            if (entry.collection, entry.operation) == (table.collection, "delete"):
                assert entry.key is not None
                with suppress(KeyKindError):
                    if key_text(entry.key, table.key) == text:
                        return
        raise Broken(f"{table.name} {text} was not deleted at {time}")

    # --- markers ----------------------------------------------------------------

    def count(
        self, low: Position, high: Position, selects: Callable[[str], bool]
    ) -> None:
        """I5: with one lane, a commit stands for every event that it passes, once.

        Where the table was made meanwhile, the events before it may ask for nothing.
        """
        passed = self.world.between(place_of(low.token), place_of(high.token))
        synced = [
            entry.collection
            for entry in passed
            if entry.key is not None and selects(entry.collection)
        ]
        now = {stored.table.collection for stored in self.tables.values()}
        least = sum(name in now & self._counted_for for name in synced)
        most = sum(name in now for name in synced)
        if not least <= self.counted <= most:
            raise Broken(
                f"I5: {self.counted} events counted from {self.told(low)} to "
                f"{self.told(high)}, where {least} to {most} are"
            )
        self.counted = 0
        self._counted_for = now

    def move(
        self,
        lanes: tuple[int, ...],
        position: Position | None,
        lane_of: LaneOf | None,
        selects: Callable[[str], bool],
    ) -> None:
        """Count the lanes' markers on, and move them to the position.

        selects: is a collection followed?  lane_of: of an event, by the settings of
        whoever commits; None where a transaction may be cut for its size.
        """
        if not lanes or len(set(lanes)) != len(lanes):
            raise Broken(f"I4: a commit for lanes {lanes}")
        for lane in lanes:
            marker = self.markers[lane]
            marker.seq += 1
            if position is None:
                continue
            old, new = order_of(marker.position.token), order_of(position.token)
            back = position.cluster_time < marker.position.cluster_time
            if new < old or back:
                raise Broken(
                    f"I4: lane {lane} goes back from {place_of(marker.position.token)} "
                    f"to {place_of(position.token)}"
                )
            if len(self.markers) == 1:
                self.count(marker.position, position, selects)
            if lane_of is not None:
                self._check_whole(lane, lanes, marker.position, position, lane_of)
            marker.position = position

    def _check_whole(
        self,
        lane: int,
        lanes: tuple[int, ...],
        low: Position,
        high: Position,
        lane_of: LaneOf,
    ) -> None:
        """No source transaction may be over one commit and another."""
        world, end = self.world, place_of(high.token)
        here = [each for each in world.history if each.time == end[0]]
        inside = [each.place > end for each in here if each.transaction is not None]
        if end[1] >= 0 and any(inside) and not all(inside):
            raise Broken(f"lane {lane} stands inside a transaction, at {end}")
        if len(lanes) == len(self.markers):
            return
        owners: dict[int, set[int]] = {}
        for entry in world.between(place_of(low.token), end):
            if entry.transaction is not None and entry.key is not None:
                owners.setdefault(entry.transaction, set()).add(lane_of(entry))
        for number, those in owners.items():
            if len(those) > 1 and lane in those:
                raise Broken(
                    f"transaction {number} of lanes {sorted(those)} is split by a "
                    f"commit of lanes {lanes}"
                )
