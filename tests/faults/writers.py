"""Seeded writers: what an application does to MongoDB while a sync runs."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, Int64, ObjectId
from pymongo import (
    DeleteOne,
    InsertOne,
    MongoClient,
    ReplaceOne,
    UpdateOne,
)
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError

Document = dict[str, Any]

#: Strings that may be in rows, and nowhere else.
CANARY_VALUE = "canary-value-7f3a"
CANARY_ID = "canary-id-91cc"

#: Collections by the kind of their ids. A counter's ``n`` only grows, and its
#: documents stay, so that no row of them may ever go back.
COUNTERS = "counters"
COLLECTIONS = ("orders", "items", "notes", COUNTERS)

_TRANSIENT = "TransientTransactionError"


class Writers:
    """Every operation follows from the seed; not so the moments they happen at."""

    def __init__(
        self, client: MongoClient[Document], database: Database[Document], seed: int
    ) -> None:
        self._client = client
        self._db = database
        self._random = random.Random(seed)
        self._alive: dict[str, list[Any]] = {name: [] for name in COLLECTIONS}
        self._number = 0
        #: Write operations done.
        self.done = 0

    def fill(self, documents: int) -> None:
        """So many documents in each collection."""
        for name in COLLECTIONS:
            self._insert(name, documents)

    def burst(self, steps: int) -> None:
        """So many operations of about five writes each, one after the other."""
        for _ in range(steps):
            self._step()

    def swell(self, kilobytes: int) -> None:
        """Documents of random text, which nothing makes smaller, of this size in all.

        Not while ``writing``.
        """
        for _ in range(max(1, kilobytes // 100)):
            document = self._document("notes", self._identity("notes"))
            document["text"] = self._random.randbytes(50_000).hex()
            self._db["notes"].insert_one(document)
            self._alive["notes"].append(document["_id"])
            self.done += 1

    @contextlib.contextmanager
    def writing(
        self, *, pause: float = 0.02, through: type[Exception] | None = None
    ) -> Iterator[None]:
        """Write in a thread, all through the block; an error fails the test.

        through: but for these, after which it goes on.
        """
        over = threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                while not over.wait(pause):
                    try:
                        self._step()
                    except Exception as error:
                        if through is None or not isinstance(error, through):
                            raise
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, name="writers")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if errors:
            raise errors[0]

    def _step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (25, lambda: self._insert(self._name(), self._random.randrange(1, 8))),
            (25, lambda: self._update(self._name())),
            (10, lambda: self._replace(self._name())),
            (10, lambda: self._delete(self._name())),
            (20, self._count),
            (5, self._transact),
            (5, lambda: self._again(self._name())),
        ]
        weights = [weight for weight, _ in steps]
        (step,) = self._random.choices([each for _, each in steps], weights)
        step()

    def _name(self) -> str:
        return self._random.choice(COLLECTIONS[:-1])

    def _some(self, name: str) -> list[Any]:
        alive = self._alive[name]
        return self._random.sample(alive, min(len(alive), 5))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _identity(self, name: str) -> Any:
        number = self._next()
        if name == "orders":
            return ObjectId(f"{self._random.getrandbits(64):016x}{number:08x}")
        if name == "items":
            return f"{CANARY_ID}-{self._random.randrange(10**6)}-{number}"
        return number

    def _document(self, name: str, identity: Any) -> Document:
        number, rng = self._next(), self._random
        if name == COUNTERS:
            return {"_id": identity, "n": 0}
        document: Document = {
            "_id": identity,
            "n": number,
            "text": f"{CANARY_VALUE} {rng.randrange(1000)}",
            "price": Decimal128(f"{rng.randrange(10**6)}.{rng.randrange(100):02}"),
            "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
            "place": {"city": rng.choice("abc"), "geo": {"x": rng.random()}},
            "tags": [rng.randrange(9) for _ in range(rng.randrange(4))],
        }
        if rng.random() < 0.05:
            document["text"] = Int64(number)  # a value that does not fit its column
        if rng.random() < 0.02:
            document[f"new_{rng.randrange(12)}"] = number
        return document

    def _insert(self, name: str, number: int) -> None:
        ids = [self._identity(name) for _ in range(number)]
        if ids:
            self._db[name].insert_many([self._document(name, each) for each in ids])
        self._alive[name] += ids
        self.done += number

    def _update(self, name: str) -> None:
        self._write(
            name,
            [
                UpdateOne(
                    {"_id": each},
                    {"$set": {"n": self._next(), "place.city": "updated"}},
                )
                for each in self._some(name)
            ],
        )

    def _replace(self, name: str) -> None:
        self._write(
            name,
            [
                ReplaceOne({"_id": each}, self._document(name, each))
                for each in self._some(name)
            ],
        )

    def _delete(self, name: str) -> None:
        gone = self._some(name)
        self._alive[name] = [each for each in self._alive[name] if each not in gone]
        self._write(name, [DeleteOne({"_id": each}) for each in gone])

    def _again(self, name: str) -> None:
        """Delete and insert the same ids at once."""
        writes: list[Any] = []
        for each in self._some(name):
            writes.append(DeleteOne({"_id": each}))
            writes.append(InsertOne(self._document(name, each)))
        self._write(name, writes)

    def _count(self) -> None:
        if self._random.random() < 0.2:
            self._insert(COUNTERS, 1)
        updates = [
            UpdateOne({"_id": each}, {"$inc": {"n": self._random.randrange(1, 9)}})
            for each in self._some(COUNTERS)
        ]
        self._write(COUNTERS, updates * self._random.randrange(1, 4))

    def _write(self, name: str, writes: list[Any]) -> None:
        if writes:
            self._db[name].bulk_write(writes)
            self.done += len(writes)

    def _transact(self) -> None:
        """Several documents of two collections, or none of them."""
        moved = self._some("orders")
        identity = self._identity("items")
        document = self._document("items", identity)
        orders, items = self._db["orders"], self._db["items"]
        while True:
            try:
                self._try(orders, items, moved, document)
            except PyMongoError as error:
                if not error.has_error_label(_TRANSIENT):
                    raise
                time.sleep(0.01)
            else:
                break
        self._alive["items"].append(identity)
        self.done += 1 + len(moved)

    def _try(
        self,
        orders: Collection[Document],
        items: Collection[Document],
        moved: list[Any],
        document: Document,
    ) -> None:
        with self._client.start_session() as session, session.start_transaction():
            items.insert_one(document, session=session)
            if moved:
                orders.update_many(
                    {"_id": {"$in": moved}},
                    {"$set": {"moved_to": document["_id"]}},
                    session=session,
                )
