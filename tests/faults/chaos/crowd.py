"""Several writers at once, and what they do to whole collections."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from zoo import FAMILIES, IDS, document, value

import totals
from writers import COUNTERS, Document

#: Collections that are written to, and the names that others may get beside them.
STREAMED = tuple(f"c{number}" for number in range(5))
BATCHED = ("b0", "b1")
NEW = ("r0", "r1", "r2")

_WRITERS = 2
#: After so many steps a writer's documents have other fields.
_ERA = 150


class Plot(NamedTuple):
    """A database that is written to. families: the kind of ids by collection."""

    db: Database[Document]
    families: dict[str, str]
    batched: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*STREAMED, *self.batched)


class Crowd:
    """Every operation follows from the seed; not so the moments they happen at.

    An operation may fail, where a collection is renamed below it: what MongoDB has in
    the end is what counts.
    """

    def __init__(
        self, client: MongoClient[Document], plots: list[Plot], seed: int
    ) -> None:
        self.client = client
        self._plots = plots
        self._seed = seed
        self._random = random.Random(seed + 1)
        self._lock = threading.Lock()
        #: Write operations that were done, and those that failed by their code.
        self.done = 0
        self.failed: Counter[str] = Counter()

    def fill(self, documents: int) -> None:
        """At most so many documents in each collection, which some have twice."""
        writer = _Writer(self, random.Random(self._seed))
        for plot in self._plots:
            plot.db[COUNTERS].insert_many(
                [{"_id": number, "n": 0} for number in range(50)]
            )
            for name in plot.names:
                for _ in range(documents // 50):
                    writer.insert(plot, name, 50)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write all through the block; what is no refusal of MongoDB fails the test."""
        over = threading.Event()
        errors: list[BaseException] = []

        def work(number: int) -> None:
            rng = random.Random(self._seed * 31 + number)
            writer = _Writer(self, rng)
            try:
                while not over.wait(rng.random() * 0.03):
                    writer.step(rng.choice(self._plots))
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=(number,), name=f"writer-{number}")
            for number in range(_WRITERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def attempt(self, write: Callable[[], int]) -> None:
        """Count what is done, and what MongoDB refuses."""
        try:
            number = write()
        except BulkWriteError as error:
            result = error.details or {}
            number = sum(
                result.get(name, 0)
                for name in ("nInserted", "nModified", "nRemoved", "nUpserted")
            )
        except PyMongoError as error:
            with self._lock:
                self.failed[_code(error)] += 1
            return
        with self._lock:
            self.done += number

    # --- whole collections ------------------------------------------------------

    def upheaval(self) -> str:
        """Something happens to a collection that is streamed. What, in words."""
        rng = self._random
        plot = rng.choice(self._plots)
        there = set(plot.db.list_collection_names()) & {*STREAMED, *NEW}
        name = rng.choice(sorted(there) or STREAMED[:1])
        other = rng.choice([each for each in (*STREAMED, *NEW) if each != name])
        events: list[tuple[int, str, Callable[[], object]]] = [
            (3, f"drop {name}", plot.db[name].drop),
            (3, f"drop and make {name}", lambda: self._again(plot, name)),
            (
                4,
                f"rename {name} to {other}{'' if other not in there else ', over it'}",
                lambda: plot.db[name].rename(other, dropTarget=True),
            ),
            (
                3,
                f"$out {name} to {other}",
                lambda: list(plot.db[name].aggregate([{"$out": other}])),
            ),
            (1, f"collMod {name}", lambda: self._modify(plot, name)),
            (
                1,
                f"convertToCapped {name}",
                lambda: plot.db.command("convertToCapped", name, size=1 << 20),
            ),
        ]
        if plot is not self._plots[0]:
            events.append((1, "dropDatabase", lambda: self._forget(plot)))
        weights = [weight for weight, _, _ in events]
        ((_, what, happen),) = rng.choices(events, weights)
        said = f"{plot.db.name}: {what}"
        try:
            happen()
        except PyMongoError as error:
            return f"{said}: refused, {_code(error)}"
        totals.count("structure events", what.partition(" ")[0])
        return said

    def _again(self, plot: Plot, name: str) -> None:
        plot.db[name].drop()
        _Writer(self, random.Random(self._random.random())).insert(plot, name, 100)

    def _modify(self, plot: Plot, name: str) -> None:
        plot.db[name].create_index("n")
        plot.db.command("collMod", name, index={"name": "n_1", "hidden": True})

    def _forget(self, plot: Plot) -> None:
        self.client.drop_database(plot.db)


class _Writer:
    """One of the crowd: a seed and a time."""

    def __init__(self, crowd: Crowd, rng: random.Random) -> None:
        self._crowd = crowd
        self._random = rng
        self._steps = 0

    def step(self, plot: Plot) -> None:
        """Some writes to one database."""
        rng, self._steps = self._random, self._steps + 1
        name = rng.choice(plot.names)
        steps: list[tuple[int, Callable[[], None]]] = [
            (30, lambda: self.insert(plot, name, rng.randrange(1, 10))),
            (30, lambda: self._bulk(plot, name, [self._update] * rng.randrange(1, 8))),
            (10, lambda: self._bulk(plot, name, [self._replace] * rng.randrange(1, 5))),
            (12, lambda: self._bulk(plot, name, [self._delete] * rng.randrange(1, 8))),
            (8, lambda: self._bulk(plot, name, self._anything())),
            (5, lambda: self._transact(plot)),
            (5, lambda: self._count(plot)),
        ]
        weights = [weight for weight, _ in steps]
        (step,) = rng.choices([each for _, each in steps], weights)
        step()

    def insert(self, plot: Plot, name: str, number: int) -> None:
        self._bulk(plot, name, [self._insert] * number)

    def _identity(self, plot: Plot, name: str) -> Any:
        family = plot.families[name]
        return FAMILIES[family](self._random, self._random.randrange(IDS))

    def _document(self, identity: Any) -> Document:
        return document(self._random, identity, era=self._steps // _ERA)

    def _insert(self, identity: Any) -> Any:
        return InsertOne(self._document(identity))

    def _replace(self, identity: Any) -> Any:
        upsert = self._random.random() < 0.3
        return ReplaceOne({"_id": identity}, self._document(identity), upsert=upsert)

    def _delete(self, identity: Any) -> Any:
        return DeleteOne({"_id": identity})

    def _update(self, identity: Any) -> Any:
        rng = self._random
        now = {"$currentDate": {"updated_at": True}}
        changes: dict[str, Any] = rng.choice(
            [
                {"$set": {"n": rng.randrange(1000), "place.city": "updated"}},
                {"$set": {f"later_{rng.randrange(6)}": value(rng)}},
                {"$unset": {"text": 1}, "$set": {"place.more": value(rng)}},
                {"$rename": {"p_0": "q_0", "p_1": "q_1"}},
                {"$push": {"list": rng.randrange(9)}},
            ]
        )
        return UpdateOne({"_id": identity}, {**changes, **now})

    def _anything(self) -> list[Callable[[Any], Any]]:
        makers = [self._insert, self._update, self._replace, self._delete]
        return self._random.choices(makers, k=self._random.randrange(5, 40))

    def _bulk(self, plot: Plot, name: str, makers: list[Callable[[Any], Any]]) -> None:
        writes = [make(self._identity(plot, name)) for make in makers]

        def write() -> int:
            return _changed(plot.db[name].bulk_write(writes, ordered=False))

        self._crowd.attempt(write)

    def _transact(self, plot: Plot) -> None:
        """Documents of several collections, or none of them."""
        rng = self._random
        names = rng.sample(plot.names, 3)
        writes = [(name, self._identity(plot, name)) for name in names for _ in "123"]
        aborted = rng.random() < 0.1

        def write() -> int:
            with self._crowd.client.start_session() as session:
                with session.start_transaction():
                    for name, identity in writes:
                        plot.db[name].replace_one(
                            {"_id": identity},
                            self._document(identity),
                            upsert=True,
                            session=session,
                        )
                    if aborted:
                        session.abort_transaction()
            return 0 if aborted else len(writes)

        self._crowd.attempt(write)

    def _count(self, plot: Plot) -> None:
        """Documents whose ``n`` only grows."""
        ids = self._random.sample(range(60), 5)
        writes = [
            UpdateOne({"_id": each}, {"$inc": {"n": 1}}, upsert=True) for each in ids
        ] * 2

        def write() -> int:
            return _changed(plot.db[COUNTERS].bulk_write(writes))

        self._crowd.attempt(write)


def _changed(result: Any) -> int:
    done = result.inserted_count + result.modified_count
    return int(done + result.deleted_count + result.upserted_count)


def _code(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure):
        return str((error.details or {}).get("codeName") or error.code)
    return type(error).__name__
