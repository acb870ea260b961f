"""What is there: samples, bounds, chunks, look-ups."""

from __future__ import annotations

from itertools import pairwise

from cwarp_core import compare_keys

from ...model import ChunkRange
from ..documents import canonical, document, documents, element, in_order
from ..promise import Promise
from .hooks import SourceHooks


class Copying(SourceHooks):
    def zoo(self) -> list[bytes]:
        """A document of every id, stored in ``zoo``; in the order of the ids."""
        stored = [document(each, n) for n, each in enumerate(self.ids)]
        self.insert("zoo", stored)
        return in_order(stored)

    # --- for the choice of columns ----------------------------------------------

    def test_a_sample_is_of_the_collection(self) -> None:
        promise = Promise("Source.sample", "About ``size`` documents chosen at random.")
        stored = {document(n, n, "x" * n) for n in range(60)}
        self.insert("c", sorted(stored))
        self.insert("other", [document("not this one")])
        source = self.source()
        for size in (1, 10, 1000):
            found = documents(source.sample("c", size))
            promise.kept(0 < len(found) <= size, f"{len(found)} of {size} asked for")
            promise.kept(stored.issuperset(found), "some are not as they were stored")

    def test_a_sample_of_nothing_is_empty(self) -> None:
        promise = Promise("Source.sample", "About ``size`` documents chosen at random.")
        self.insert("other", [document(1)])
        promise.equal(documents(self.source().sample("missing", 10)), [])

    def test_the_bounds_are_the_first_and_the_last_key(self) -> None:
        promise = Promise(
            "Source.key_bounds",
            "The smallest and greatest ``_id`` element; None for an empty collection.",
        )
        stored = self.zoo()
        source = self.source()
        bounds = element(stored[0]), element(stored[-1])
        promise.equal(source.key_bounds("zoo"), bounds)
        promise.equal(source.key_bounds("missing"), None)
        self.insert("one", [document("x")])
        promise.equal(source.key_bounds("one"), (element(document("x")),) * 2)

    # --- chunks -----------------------------------------------------------------

    def test_the_chunks_hold_every_id_exactly_once(self) -> None:
        promise = Promise(
            "Source.plan_chunks",
            "Ranges that together hold every ``_id`` exactly once, in order.",
        )
        stored = self.zoo()
        source = self.source()
        chunks = source.plan_chunks("zoo")
        promise.kept(
            chunks, "there is no chunk, and keys may come that nobody plans for"
        )
        promise.equal((chunks[0].lower, chunks[-1].upper), (None, None))
        for one, next_ in pairwise(chunks):
            promise.equal(next_.lower, one.upper)
            promise.kept(one.upper is not None, "a chunk in the middle is open")
        bounds = [each.upper for each in chunks if each.upper is not None]
        for low, high in pairwise(bounds):
            promise.kept(compare_keys(low, high) < 0, f"{low!r} is not below {high!r}")
        promise.equal(
            [raw for each in chunks for raw in self.copied(source, "zoo", each)], stored
        )

    def test_any_range_holds_its_ids_and_no_other(self) -> None:
        promise = Promise(
            "Source.snapshot",
            "The committed documents of a chunk, in ``_id`` order",
        )
        stored = self.zoo()
        source = self.source()
        bounds = [None, *map(element, stored), None]
        promise.equal(self.copied(source, "zoo", ChunkRange(None, bounds[1])), [])
        for raw, (lower, upper) in zip(stored, pairwise(bounds[1:]), strict=True):
            promise.equal(self.copied(source, "zoo", ChunkRange(lower, upper)), [raw])
        middle = len(stored) // 2
        cut = element(stored[middle])
        promise.equal(
            self.copied(source, "zoo", ChunkRange(None, cut)), stored[:middle]
        )
        promise.equal(
            self.copied(source, "zoo", ChunkRange(cut, None)), stored[middle:]
        )

    def test_a_bound_need_not_be_the_id_of_a_document(self) -> None:
        promise = Promise(
            "ChunkRange",
            "A half-open range of ``_id``: ``lower`` inside, ``upper`` outside",
        )
        stored = [document(n) for n in (1, 3, 5)]
        self.insert("c", stored)
        source = self.source()
        bounds = [element(document(n)) for n in (0, 2, 4, 6)]
        found = [
            self.copied(source, "c", ChunkRange(*each)) for each in pairwise(bounds)
        ]
        promise.equal(found, [[each] for each in stored])

    def test_many_documents_come_in_order_and_whole(self) -> None:
        promise = Promise(
            "Source.snapshot", "The committed documents of a chunk, in ``_id`` order"
        )
        stored = [document(n, n, "x" * (n % 50) * 20) for n in range(3000)]
        self.insert("c", stored[::-1])
        found = self.copied(self.source(), "c")
        promise.kept(found == stored, f"{len(found)} of 3000 came, or in another order")

    def test_a_collection_that_is_not_there_has_no_documents(self) -> None:
        promise = Promise("Source.snapshot", "The committed documents of a chunk")
        self.insert("other", [document(1)])
        promise.equal(self.copied(self.source(), "missing"), [])

    # --- look-ups ---------------------------------------------------------------

    def test_each_id_finds_its_own_document(self) -> None:
        promise = Promise(
            "Source.lookup", "The committed documents with these ``_id`` elements"
        )
        stored = self.zoo()
        source = self.source()
        time = source.time_now()
        for each in stored:
            found = documents(source.lookup("zoo", [element(each)], time))
            promise.equal(found, [each])
        keys = [element(each) for each in stored]
        together = documents(source.lookup("zoo", keys, time))
        promise.equal(
            {canonical(each): each for each in together},
            {canonical(e): e for e in stored},
        )
        promise.equal(len(together), len(stored))

    def test_one_that_is_not_found_is_left_out(self) -> None:
        promise = Promise("Source.lookup", "One that is not found is left out")
        self.insert("c", [document(1), document(2)])
        self.delete("c", document(2))
        source = self.source()
        keys = [element(document(n)) for n in (1, 2, 3)]
        time = source.time_now()
        promise.equal(documents(source.lookup("c", keys, time)), [document(1)])
        promise.equal(documents(source.lookup("missing", keys, time)), [])
        promise.equal(documents(source.lookup("c", [], time)), [])

    def test_many_are_found_at_once(self) -> None:
        promise = Promise(
            "Source.lookup", "The committed documents with these ``_id`` elements"
        )
        stored = {document(n, n) for n in range(2500)}
        self.insert("c", sorted(stored))
        source = self.source()
        keys = [element(each) for each in stored]
        found = documents(source.lookup("c", keys, source.time_now()))
        promise.kept(set(found) == stored, f"{len(found)} of 2500 were found")
