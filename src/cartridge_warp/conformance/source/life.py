"""A source from its first check to its close."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ...errors import PreconditionError
from ..documents import document, element
from ..promise import Promise
from .hooks import SourceHooks

_KINDS = frozenset({"collection", "capped", "clustered", "view", "timeseries"})


class Life(SourceHooks):
    def test_it_can_be_read_and_followed(self) -> None:
        promise = Promise(
            "Source.validate", "Check that the source can be read and followed."
        )
        self.insert("c", [document(1)])
        identity = self.source().validate()
        promise.kept(identity.replica_set_id, "the source has no identity")

    def test_it_is_the_same_source_every_time(self) -> None:
        promise = Promise(
            "SourceIdentity", "Two deployments never share a ``replica_set_id``."
        )
        self.insert("c", [document(1)])
        source = self.source()
        first = source.validate().replica_set_id
        promise.equal(source.validate().replica_set_id, first)
        promise.equal(self.source().validate(new=False).replica_set_id, first)

    def test_nothing_to_copy_is_refused_at_the_very_start_alone(self) -> None:
        promise = Promise(
            "Source.validate",
            "new: nothing was ever copied, so what is to be copied has to be there."
            " Later it may have been dropped, which is history like any other.",
        )
        source = self.source()
        with promise.raises(PreconditionError):
            source.validate(new=True)
        source.validate(new=False)

    def test_collections_are_listed_by_name(self) -> None:
        promise = Promise(
            "Source.discover",
            "The collections of the database, by name, system ones left out.",
        )
        for name in ("b", "a", "c c", "ä"):
            self.insert(name, [document(1), document(2)])
        listed = self.source().discover()
        promise.equal([each.name for each in listed], ["a", "b", "c c", "ä"])
        for each in listed:
            promise.kept(each.kind in _KINDS, f"no kind is called {each.kind}")
            promise.kept(
                min(each.documents, each.nbytes) >= 0, f"{each} has less than none"
            )

    def test_a_collection_that_comes_later_is_listed_then(self) -> None:
        promise = Promise("Source.discover", "The collections of the database")
        self.insert("a", [document(1)])
        source = self.source()
        promise.equal([each.name for each in source.discover()], ["a"])
        self.insert("b", [document(1)])
        promise.equal([each.name for each in source.discover()], ["a", "b"])

    def test_every_method_from_any_thread(self) -> None:
        promise = Promise("Source", "Every method may be called from any thread.")
        stored = [document(n, n) for n in range(40)]
        self.insert("c", stored)
        source = self.source()
        keys = [element(each) for each in stored]

        def work(_: int) -> tuple[int, int, int, int]:
            time = source.time_now()
            sampled = sum(map(len, source.sample("c", 5)))
            found = sum(map(len, source.lookup("c", keys, time)))
            return (
                len(self.copied(source, "c")),
                found,
                min(sampled, 1),
                len(source.discover()),
            )

        with promise.allows(), ThreadPoolExecutor(4) as threads:
            for found in threads.map(work, range(12)):
                promise.equal(found, (40, 40, 1, 1))

    def test_it_may_be_closed_twice(self) -> None:
        promise = Promise("Source.close", "Safe to call twice.")
        self.insert("c", [document(1)])
        source = self.source()
        changes = source.changes(source.position_now())
        changes.close()
        changes.close()
        another = self.follow(source, source.position_now())
        self.insert("c", [document(2)])
        told = [each.key for each in another.count(1)]
        Promise("Changes.close", "Safe to call twice.").equal(
            told, [element(document(2))]
        )
        source.close()
        source.close()
        promise.equal(self.copied(self.source(), "c"), [document(1), document(2)])
