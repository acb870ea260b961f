"""Powers that only some sources have: a source names those that it has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ...errors import HistoryLost
from ...powers import ConfirmsTime, KnowsPassing
from ...protocols import KnowsOldest
from ..documents import document, documents, element
from ..promise import Promise
from .hooks import SourceHooks

_EVERYTHING = Promise("Source.changes", "Everything after ``position``.")


class Updates(SourceHooks):
    """It can change a part of a document, and may tell only that it did."""

    @abstractmethod
    def update(self, collection: str, document: bytes) -> None:
        """Make the document with this one's ``_id`` this one, by changing ``n``."""

    def test_an_update_is_told_and_can_be_looked_up(self) -> None:
        self.insert("c", [document(1, 1, "x")])
        source = self.source()
        reader = self.follow(source, source.position_now())
        self.update("c", document(1, 2, "x"))
        [event] = reader.count(1)
        _EVERYTHING.equal(event.key, element(document(1)))
        _EVERYTHING.kept(event.document in (None, document(1, 2, "x")))
        found = source.lookup("c", [event.key or b""], event.cluster_time)
        Promise(
            "Source.lookup", "The committed documents with these ``_id`` elements"
        ).equal(documents(found), [document(1, 2, "x")])


class Transactions(SourceHooks):
    """Several changes of it can be one, which must not be seen in parts."""

    @abstractmethod
    def insert_together(self, new: Sequence[tuple[str, bytes]]) -> None:
        """Store documents, each in its collection, in one transaction."""

    def test_a_transaction_is_told_as_one(self) -> None:
        promise = Promise(
            "Changes",
            "The events of one source transaction come together, marked by"
            " the same ``ChangeEvent.transaction``.",
        )
        self.insert("a", [document("before")])
        self.insert("b", [document("before")])
        source = self.source()
        start = source.position_now()
        self.insert("a", [document(0)])
        self.insert_together(
            [("a", document(1)), ("b", document(2)), ("a", document(3))]
        )
        self.insert_together([("b", document(4)), ("b", document(5))])
        marks = [e.transaction for e in self.follow(source, start).count(6)]
        promise.equal(marks[0], None)
        promise.kept(None not in marks[1:], "an event of a transaction has no mark")
        promise.equal((len({*marks[1:4]}), len({*marks[4:]}), len({*marks})), (1, 1, 3))


class Structure(SourceHooks):
    """Its collections can be dropped and renamed."""

    @abstractmethod
    def drop(self, collection: str) -> None:
        """Drop a collection."""

    @abstractmethod
    def rename(self, collection: str, to: str) -> None:
        """Give a collection another name, which is free."""

    def test_structure_is_told_in_its_place(self) -> None:
        self.insert("c", [document(1)])
        source = self.source()
        reader = self.follow(source, source.position_now())
        self.insert("c", [document(2)])
        self.rename("c", "d")
        self.insert("d", [document(3)])
        self.drop("d")
        self.insert("d", [document(4)])
        reader.count(3)
        told = [
            (each.operation, each.collection, each.to_collection)
            for each in reader.every
            if each.operation in ("insert", "rename", "drop")
        ]
        _EVERYTHING.equal(
            told,
            [
                ("insert", "c", None),
                ("rename", "c", "d"),
                ("insert", "d", None),
                ("drop", "d", None),
                ("insert", "d", None),
            ],
        )

    def test_what_is_gone_has_no_documents(self) -> None:
        promise = Promise("Source.snapshot", "The committed documents of a chunk")
        self.insert("c", [document(1)])
        self.insert("other", [document(1)])
        source = self.source()
        self.drop("c")
        promise.equal(self.copied(source, "c"), [])
        promise.equal([each.name for each in source.discover()], ["other"])


class LostHistory(SourceHooks):
    """Its history does not reach back for ever."""

    @abstractmethod
    def forgetting(self) -> AbstractContextManager[None]:
        """Inside the block every change made until now is gone from the history."""

    def test_a_position_that_is_gone_is_said_to_be_gone(self) -> None:
        promise = Promise("Source.changes", "Raises HistoryLost when that is gone.")
        self.insert("c", [document(1)])
        source = self.source()
        start = source.position_now()
        self.insert("c", [document(2)])
        with self.forgetting():
            for each in (source, self.source()):
                with promise.raises(HistoryLost):
                    self.follow(each, start).count(1)


class HeadRoom(SourceHooks):
    """It is a ``protocols.KnowsOldest``."""

    def test_its_oldest_time_is_not_newer_than_its_newest(self) -> None:
        promise = Promise(
            "KnowsOldest.oldest_time",
            "The oldest cluster time whose changes it still has",
        )
        self.insert("c", [document(1)])
        source = self.source()
        promise.kept(isinstance(source, KnowsOldest), "it has no oldest_time")
        assert isinstance(source, KnowsOldest)
        oldest = source.oldest_time()
        promise.kept(
            oldest is None or oldest <= source.newest_time(), f"it says {oldest}"
        )


class ConfirmedTimes(SourceHooks):
    """It is a ``powers.ConfirmsTime``."""

    def test_a_confirmed_time_is_behind_what_was_told(self) -> None:
        promise = Promise(
            "ConfirmsTime.confirmed_time",
            "As ``Source.newest_time``, whoever the stream has told.",
        )
        source, other = self.source(), self.source()
        followed = self.follow(source, source.position_now())
        self.insert("c", [document(1)])
        told = followed.count(1)[-1].cluster_time
        promise.kept(isinstance(other, ConfirmsTime), "it has no confirmed_time")
        assert isinstance(other, ConfirmsTime)
        promise.kept(other.confirmed_time() >= told, "it is older")


class PassingCollections(SourceHooks):
    """It is a ``powers.KnowsPassing``."""

    @abstractmethod
    def passing(self) -> Sequence[str]:
        """Names of collections that the source makes for its own use."""

    def test_its_own_collections_are_told_apart(self) -> None:
        promise = Promise(
            "KnowsPassing.passing", "Is this one of those, soon to be renamed or"
        )
        self.insert("c", [document(1)])
        source = self.source()
        promise.kept(isinstance(source, KnowsPassing), "it has no passing")
        assert isinstance(source, KnowsPassing)
        names = [*self.passing()]
        promise.kept(names, "it names none")
        for name in names:
            promise.kept(source.passing(name), f"{name} is one")
        for name in ("c", "orders", "tmp", "missing"):
            promise.kept(not source.passing(name), f"{name} is none")
