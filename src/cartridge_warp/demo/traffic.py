"""Live changes: inserts, updates, replaces and deletes, of real documents.

New documents are copies of present ones under new ids; updates put one document's value
into another; so every value is one that the collection knows. From ``new_field`` on the
changes also carry a field that no document had before.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Self

from bson import Binary, ObjectId, Timestamp
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

Document = dict[str, Any]
_Operation = InsertOne[Document] | UpdateOne | ReplaceOne[Document] | DeleteOne

NEW_FIELD = "touched"
_POOL = 200
_ROUND_SECONDS = 0.02
_OPERATIONS = 20
#: One round in so many is a transaction over two collections.
_TRANSACTION = 10


@dataclass
class Counts:
    """What happened to one collection."""

    inserts: int = 0
    updates: int = 0
    replaces: int = 0
    deletes: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


class _Life:
    """One collection: the ids that live now, and documents to draw values from."""

    def __init__(self, name: str, ids: list[Any], pool: list[Document]) -> None:
        self.name = name
        self.ids = ids
        self.pool = pool
        self.copies = 0
        self.highest = max((each for each in ids if _whole(each)), default=0)

    def forget(self, choice: random.Random) -> Any:
        """Take a living id out, in constant time."""
        at = choice.randrange(len(self.ids))
        self.ids[at], self.ids[-1] = self.ids[-1], self.ids[at]
        return self.ids.pop()


class Traffic:
    """A thread that changes documents of some collections until it is stopped."""

    def __init__(
        self,
        client: MongoClient[Document],
        database: str,
        collections: Iterable[str],
        *,
        seed: int = 1,
    ) -> None:
        self.counts = {name: Counts() for name in collections}
        self.last_change: Timestamp | None = None
        self._client = client
        self._database: Database[Document] = client[database]
        self._choice = random.Random(seed)
        self._over = threading.Event()
        self._appeared = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def total(self) -> int:
        return sum(counts.total for counts in self.counts.values())

    def new_field(self) -> None:
        """From now on changes carry the new field."""
        self._appeared.set()

    def stop(self) -> None:
        """Wait for the last change. Raises what ended the thread early, if anything."""
        self._over.set()
        self._thread.join()
        if self._fault:
            raise self._fault

    def check(self) -> None:
        """Raise what ended the thread early, if anything."""
        if self._fault:
            raise self._fault

    def _run(self) -> None:
        try:
            self._change_until_over()
        except BaseException as fault:
            self._fault = fault

    def _change_until_over(self) -> None:
        lives = [_life(self._database, each) for each in self.counts]
        lives = [life for life in lives if life.ids]
        if not lives:
            return
        # A square root, so that a small collection has its share.
        weights = [len(life.ids) ** 0.5 for life in lives]
        number = 0
        with self._client.start_session() as session:
            while not self._over.wait(_ROUND_SECONDS):
                number += 1
                chosen = self._choice.choices(lives, weights, k=2)
                if number % _TRANSACTION == 0:
                    self._transaction(session, chosen)
                else:
                    self._write(session, chosen[0], _OPERATIONS)
                self.last_change = session.operation_time

    def _transaction(self, session: ClientSession, lives: list[_Life]) -> None:
        # Nothing else writes here, so a transaction meets no conflict to retry after.
        with session.start_transaction():
            for life in lives:
                self._write(session, life, _OPERATIONS // 4)

    def _write(self, session: ClientSession, life: _Life, size: int) -> None:
        counts = Counts()
        batch = [
            operation
            for _ in range(size)
            if (operation := self._operation(life, counts)) is not None
        ]
        if not batch:
            return
        self._database[life.name].bulk_write(batch, session=session)
        total = self.counts[life.name]
        for field in fields(Counts):
            more = getattr(total, field.name) + getattr(counts, field.name)
            setattr(total, field.name, more)

    def _operation(self, life: _Life, counts: Counts) -> _Operation | None:
        luck = self._choice.random()
        model = self._choice.choice(life.pool)
        if luck < 0.30 or len(life.ids) < 2:
            key = _new_id(model["_id"], life)
            if key is None:
                return None
            life.ids.append(key)
            counts.inserts += 1
            return InsertOne({**model, "_id": key, **self._touch("insert")})
        if luck < 0.45:
            counts.deletes += 1
            return DeleteOne({"_id": life.forget(self._choice)})
        key = self._choice.choice(life.ids)
        rest = {name: value for name, value in model.items() if name != "_id"}
        # MongoDB inserts top-level names that begin with $, and replaces with none.
        if luck < 0.55 and not any(name.startswith("$") for name in rest):
            counts.replaces += 1
            return ReplaceOne({"_id": key}, {**rest, **self._touch("replace")})
        change = self._touch("update")
        if plain := [name for name in rest if name and not set(name) & set(".$")]:
            name = self._choice.choice(plain)
            change[name] = rest[name]
        if not change:
            return None
        counts.updates += 1
        return UpdateOne({"_id": key}, {"$set": change})

    def _touch(self, how: str) -> Document:
        if not self._appeared.is_set():
            return {}
        now = datetime.now(UTC)
        return {
            NEW_FIELD: {
                "how": how,
                "at": now.replace(microsecond=now.microsecond // 1000 * 1000),
                "luck": self._choice.random(),
            }
        }


def _life(database: Database[Document], name: str) -> _Life:
    collection = database[name]
    ids = [each["_id"] for each in collection.find({}, {"_id": 1})]
    pool = list(collection.aggregate([{"$sample": {"size": _POOL}}]))
    for document in pool:
        document.pop(NEW_FIELD, None)
    return _Life(name, ids, pool)


def _new_id(like: Any, life: _Life) -> Any:
    """A new id of the same kind; None when the kind leaves no room for copies."""
    life.copies += 1
    stamp = f"{time.time_ns():x}{life.copies}"
    for kind, make in _NEW_IDS:
        if isinstance(like, kind):
            return make(like, stamp, life)
    return None


def _next_number(like: int, _stamp: str, life: _Life) -> int:
    life.highest += 1
    return type(like)(life.highest)


def _whole(key: Any) -> bool:
    return isinstance(key, int) and not isinstance(key, bool)


_NEW_IDS: tuple[tuple[type, Callable[[Any, str, _Life], Any]], ...] = (
    (bool, lambda *_: None),
    (ObjectId, lambda *_: ObjectId()),
    (str, lambda like, stamp, _: f"{like}~{stamp}"),
    (int, _next_number),
    (uuid.UUID, lambda *_: uuid.uuid4()),
    (Binary, lambda *_: None),
    (dict, lambda like, stamp, _: {**like, "copy": stamp}),
)
