"""An in-memory MongoDB: collections with their whole history, by cluster time.

A change has a cluster time; those of one transaction share it and count up by index.
What is committed by a majority trails behind, and readers see no more than that.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import bson

from cwarp_core import Reply, compare_keys, key_text

from .scheduler import Owner, Scheduler

Time = int

#: Before and behind every place there is.
FIRST = (0, 0)
LAST = (1 << 63, 0)

#: Second 0 of the simulation, as MongoDB counts.
EPOCH = 1_700_000_000


class Entry(NamedTuple):
    """One change event. index: its place among those of one time.

    version: the number of the document's state, 0 for what has none.
    """

    time: Time
    index: int
    operation: str
    collection: str
    key: bytes | None = None
    document: bytes | None = None
    transaction: int | None = None
    to: str | None = None
    version: int = 0

    @property
    def place(self) -> tuple[Time, int]:
        return self.time, self.index


class Version(NamedTuple):
    """A document from a time on; None once it is deleted."""

    time: Time
    document: bytes | None


class Incarnation:
    """A collection's documents, from its creation to its drop, whatever its name.

    key -> (the ``_id`` element, versions); keys by canonical text, so 1 is 1.0.
    number: of all collections.  left: the names it gave up, when, and whether by its
    end.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.versions: dict[str, tuple[bytes, list[Version]]] = {}
        self.left: list[tuple[str, Time, bool]] = []

    def at(self, key: str, time: Time) -> bytes | None:
        """A document at a time."""
        if key not in self.versions:
            return None
        return _at(self.versions[key][1], time)

    def documents(self, time: Time) -> list[tuple[bytes, bytes]]:
        """(``_id`` element, document) of all at a time, in the order of ids."""
        found = []
        for _, versions in self.versions.values():
            if (document := _at(versions, time)) is not None:
                found.append((document_key(document), document))
        return sorted(found, key=_BY_KEY)

    def put(self, key: bytes, time: Time, document: bytes | None) -> None:
        text = key_text(key, "canonical")
        self.versions.setdefault(text, (key, []))[1].append(Version(time, document))

    def had(self, key: str, state: int) -> bool:
        """Was this ever the state of its document?"""
        _, versions = self.versions.get(key, (b"", []))
        return any(
            each.document is not None and version_of(each.document) == state
            for each in versions
        )


_BY_KEY = functools.cmp_to_key(
    lambda one, other: compare_keys(one[0], other[0])  # type: ignore[index]
)


def _at(versions: list[Version], time: Time) -> bytes | None:
    place = bisect.bisect_right(versions, time, key=lambda each: each.time)
    return versions[place - 1].document if place else None


@functools.lru_cache(maxsize=4096)
def document_key(document: bytes) -> bytes:
    """The ``_id`` element of a document."""
    key = Reply.of_documents([document]).key(0)
    assert key is not None
    return key


@functools.lru_cache(maxsize=4096)
def version_of(document: bytes) -> int:
    """The number of the document's state."""
    return int(bson.decode(document)["n"])


def key_element(identity: object) -> bytes:
    """The ``_id`` element of a value."""
    return document_key(bson.encode({"_id": identity}))


class World:
    """The database. ``newest``: the last time given.  ``committed``: by a majority.

    ``names``: collection name -> its incarnations by the time they took the name;
    None: nothing has the name from then on.  ``oldest``: older changes are forgotten.
    expanded: the stream tells of collections that are made.
    """

    def __init__(self, scheduler: Scheduler, *, expanded: bool = True) -> None:
        self.scheduler = scheduler
        self.expanded = expanded
        self.oldest: Time = 0
        self._incarnations = 0
        self.owner = Owner("world")
        self.newest: Time = EPOCH << 32
        self.committed: Time = self.newest
        self.history: list[Entry] = []
        self.names: dict[str, list[tuple[Time, Incarnation | None]]] = {}
        self._version = 0
        self._transactions = 0
        self.moved = object()

    # --- time -------------------------------------------------------------------

    def tick(self) -> Time:
        """The next cluster time."""
        seconds = EPOCH + int(self.scheduler.now)
        self.newest = max(self.newest + 1, (seconds << 32) | 1)
        return self.newest

    def forget(self) -> None:
        """Nothing that was committed by now can be read from a stream any more."""
        self.oldest = self.committed

    def commit(self, time: Time) -> None:
        """A majority has everything up to this time."""
        self.committed = max(self.committed, time)
        self.scheduler.wake(self.moved)

    def await_commit(self, time: Time) -> None:
        """Wait until a majority has it."""
        while self.committed < time:
            self.scheduler.block(self.moved, None, "majority")

    # --- reading ----------------------------------------------------------------

    def collection(self, name: str, time: Time) -> Incarnation | None:
        """What had this name at a time."""
        found: Incarnation | None = None
        for since, incarnation in self.names.get(name, ()):
            if since > time:
                break
            found = incarnation
        return found

    def gone_since(self, name: str, time: Time) -> bool:
        """Has nothing had this name since then?"""
        last, found = self.names[name][-1]
        return found is None and last <= time

    def listed(self, time: Time) -> list[str]:
        return sorted(
            name for name in self.names if self.collection(name, time) is not None
        )

    def after(self, place: tuple[Time, int]) -> Iterator[Entry]:
        """The committed events behind a place, in order."""
        first = bisect.bisect_right(self.history, place, key=lambda each: each.place)
        for index in range(first, len(self.history)):
            entry = self.history[index]
            if entry.time > self.committed:
                return
            yield entry

    def after_committed(self) -> list[Entry]:
        """What no majority has yet."""
        first = bisect.bisect_right(
            self.history, (self.committed, 1 << 30), key=lambda each: each.place
        )
        return self.history[first:]

    def between(self, low: tuple[Time, int], high: tuple[Time, int]) -> list[Entry]:
        """Events behind ``low``, up to ``high``."""
        first = bisect.bisect_right(self.history, low, key=lambda each: each.place)
        last = bisect.bisect_right(self.history, high, key=lambda each: each.place)
        return self.history[first:last]

    # --- writing ----------------------------------------------------------------

    def version(self) -> int:
        self._version += 1
        return self._version

    def write(self, changes: Sequence[Callable[[Writing], None]]) -> None:
        """Make changes: one alone, or several as a transaction.

        A collection that is made for one change is made before it; one made inside a
        transaction is made by it.
        """
        before = self.tick()
        writing = Writing(self, self.tick(), before if len(changes) == 1 else 0)
        for change in changes:
            change(writing)
        if len(changes) > 1 and len(writing.entries) > 1:
            self._transactions += 1
            number = self._transactions
            writing.entries = [
                entry._replace(transaction=number) for entry in writing.entries
            ]
        self.history += writing.entries

    def create(self, name: str, time: Time) -> Incarnation:
        """A new collection; nothing has the name."""
        self._incarnations += 1
        made = Incarnation(self._incarnations)
        self.names.setdefault(name, []).append((time, made))
        return made

    def drop(self, name: str) -> None:
        time = self.tick()
        if self._leave(name, time, ends=True) is not None:
            self.history.append(Entry(time, 0, "drop", name))

    def drop_all(self) -> None:
        """The database."""
        for name in self.listed(self.newest):
            self.drop(name)
        self.history.append(Entry(self.tick(), 0, "dropDatabase", ""))

    def rename(self, name: str, to: str) -> None:
        """What has the new name is dropped, in the same moment."""
        time = self.tick()
        found = self._leave(name, time)
        if found is None:
            return
        self._leave(to, time, ends=True)
        self.names.setdefault(to, []).append((time, found))
        self.history.append(Entry(time, 0, "rename", name, to=to))

    def _leave(
        self, name: str, time: Time, *, ends: bool = False
    ) -> Incarnation | None:
        """What has a name gives it up."""
        found = self.collection(name, time)
        if found is not None:
            found.left.append((name, time, ends))
            self.names[name].append((time, None))
        return found


class Writing:
    """One transaction's changes, all at one time.

    before: when a collection is made for them, 0 for the same time.
    """

    def __init__(self, world: World, time: Time, before: Time) -> None:
        self.time = time
        self.entries: list[Entry] = []
        self._world = world
        self._before = before or time

    def current(self, name: str, identity: object) -> dict[str, Any] | None:
        """The document as it is, with what this transaction did to it."""
        found = self._world.collection(name, self.time)
        if found is None:
            return None
        document = found.at(key_text(key_element(identity), "canonical"), self.time)
        return None if document is None else bson.decode(document)

    def put(
        self, operation: str, name: str, identity: object, document: dict[str, Any]
    ) -> None:
        """Insert, update or replace; the document gets its version number."""
        version = self._world.version()
        stored = bson.encode({"_id": identity, "n": version, **document})
        self._add(operation, name, identity, stored, version)

    def delete(self, name: str, identity: object) -> None:
        self._add("delete", name, identity, None, 0)

    def _add(
        self,
        operation: str,
        name: str,
        identity: object,
        document: bytes | None,
        version: int,
    ) -> None:
        key = key_element(identity)
        found = self._world.collection(name, self.time)
        if found is None:
            found = self._world.create(name, self._before)
            if self._world.expanded:
                index = 0 if self._before < self.time else len(self.entries)
                self.entries.append(Entry(self._before, index, "create", name))
        found.put(key, self.time, document)
        carried = document if operation in ("insert", "replace") else None
        self.entries.append(
            Entry(
                self.time,
                sum(each.time == self.time for each in self.entries),
                operation,
                name,
                key,
                carried,
                version=version,
            )
        )
