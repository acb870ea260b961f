"""The power of batch mode: a collection read by the time that its documents carry."""

from __future__ import annotations

import datetime
from typing import Any

import bson

from ...model import BatchMarker, ClusterTime
from ...powers import Increments, ReadsIncrements
from ...protocols import Source
from ..documents import canonical, document, documents, element, in_order
from ..promise import Promise
from .hooks import SourceHooks

_SINCE = Promise(
    "Increments.since",
    "Documents from ``overlap`` seconds before the marker on, in order of the column"
    " and ``_id``; without a marker, all that have a time there.",
)
_UNSEEN = Promise("Increments.unseen", "The documents that ``since`` never has.")
_NEWEST = Promise(
    "Increments.newest",
    "The place of the newest document that is not newer than the source's clock.",
)
_START = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


class BatchReads(SourceHooks):
    """It is a ``protocols.ReadsIncrements``. The documents carry dates in ``at``."""

    def reads(self, source: Source, name: str = "c") -> Increments:
        Promise("ReadsIncrements", "A source whose collections can be read in").kept(
            isinstance(source, ReadsIncrements), "it has no increments"
        )
        assert isinstance(source, ReadsIncrements)
        return source.increments(name, "at")

    def dated(self) -> list[bytes]:
        """Five documents, ten seconds from one to the next but for two of one time."""
        stored = [_dated(key, at) for key, at in zip("edcba", _TIMES, strict=True)]
        self.insert("c", stored)
        return stored

    def without_time(self) -> list[bytes]:
        """Documents whose ``at`` is missing, nothing, and something else."""
        stored = [
            document("no"),
            *(document(f"{n}", more={"at": v}) for n, v in enumerate(_NO_TIMES)),
        ]
        self.insert("c", stored)
        return stored

    # --- what there is ----------------------------------------------------------

    def test_it_knows_whether_there_is_something_to_read(self) -> None:
        promise = Promise(
            "Increments.exists", "There is a collection, or a view, of this name now."
        )
        usable = Promise("Increments.usable", "Some document has a time in the column.")
        self.insert("other", [document(1)])
        source = self.source()
        promise.equal(self.reads(source).exists(), False)
        usable.equal(self.reads(source).usable(), False)
        self.without_time()
        promise.equal(self.reads(source).exists(), True)
        usable.equal(self.reads(source).usable(), False)
        self.dated()
        usable.equal(self.reads(source).usable(), True)

    def test_it_knows_the_fields_that_hold_times(self) -> None:
        promise = Promise(
            "Increments.times",
            "Fields that hold times in about so many documents, and of which kind.",
        )
        self.dated()
        found = self.reads(self.source()).times(100)
        promise.equal(found.get("at"), "date")
        promise.kept("n" not in found, "n holds numbers")

    # --- places -----------------------------------------------------------------

    def test_the_newest_place_is_not_in_the_future(self) -> None:
        self.insert("other", [document(1)])
        source = self.source()
        _NEWEST.equal(self.reads(source).newest(), None)
        self.without_time()
        _NEWEST.equal(self.reads(source).newest(), None)
        stored = self.dated()
        _NEWEST.equal(_place(self.reads(source).newest()), _place_of(stored[-1]))
        future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        self.insert("c", [_dated("future", future)])
        _NEWEST.equal(_place(self.reads(source).newest()), _place_of(stored[-1]))

    def test_without_a_place_everything_is_read_in_order(self) -> None:
        self.without_time()
        stored = self.dated()
        source = self.source()
        found, last = _read(self.reads(source), None, 0, source.time_now())
        # Two have one time: the order of their ids decides.
        _SINCE.equal(found, [*stored[:2], stored[3], stored[2], stored[4]])
        _SINCE.equal(_place(last), _place_of(stored[4]))

    def test_from_a_place_on_only_the_rest_is_read(self) -> None:
        stored = self.dated()
        source = self.source()
        reads = self.reads(source)
        now = source.time_now()
        _, last = _read(reads, None, 0, now)
        _SINCE.equal(_read(reads, last, 0, now)[0], [stored[4]])
        _SINCE.equal(_read(reads, last, 5, now)[0], [stored[4]])
        for overlap in (10, 19.9):
            found, again = _read(reads, last, overlap, now)
            _SINCE.equal(found, [stored[3], stored[2], stored[4]])
            _SINCE.equal(_place(again), _place_of(stored[4]))
        newer = _dated("new", _TIMES[4] + datetime.timedelta(seconds=1))
        self.insert("c", [newer])
        found, again = _read(reads, last, 0, source.time_now())
        _SINCE.equal(found, [stored[4], newer])
        _SINCE.equal(_place(again), _place_of(newer))

    def test_a_place_of_the_future_is_none(self) -> None:
        promise = Promise(
            "Increments.since",
            "With each reply the place of its last document that is not newer than the"
            " source's clock, if it has one.",
        )
        future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        ahead = _dated("future", future)
        self.insert("c", [ahead])
        source = self.source()
        found, last = _read(self.reads(source), None, 0, source.time_now())
        promise.equal((found, last), ([ahead], None))
        stored = self.dated()
        found, last = _read(self.reads(source), None, 0, source.time_now())
        promise.equal(found[-1], ahead)
        promise.equal(_place(last), _place_of(stored[4]))

    # --- everything -------------------------------------------------------------

    def test_what_is_not_seen_is_told_apart(self) -> None:
        unseen, seen = self.without_time(), self.dated()
        source = self.source()
        now = source.time_now()
        reads = self.reads(source)
        _UNSEEN.equal(in_order(documents(reads.unseen(now))), in_order(unseen))
        found, _ = _read(reads, None, 0, now)
        _UNSEEN.equal(in_order(found), in_order(seen))
        Promise("Increments.count_unseen", "How many these are.").equal(
            reads.count_unseen(), len(unseen)
        )

    def test_the_whole_is_every_document(self) -> None:
        promise = Promise("Increments.whole", "Every document, in any order.")
        stored = [*self.without_time(), *self.dated()]
        source = self.source()
        found = documents(self.reads(source).whole(source.time_now()))
        promise.equal(in_order(found), in_order(stored))

    def test_the_keys_are_those_of_every_document(self) -> None:
        promise = Promise(
            "Increments.keys", "Every document without its fields but ``_id``"
        )
        stored = [document(each, n) for n, each in enumerate(self.ids)]
        self.insert("c", stored)
        source = self.source()
        found = documents(self.reads(source).keys(source.time_now()))
        promise.equal(sorted(map(canonical, found)), sorted(map(canonical, stored)))
        bare = {len(each) - len(element(each)) for each in found}
        promise.kept(len(bare) == 1, "a document has more than its id")

    def test_any_column_serves_what_needs_none(self) -> None:
        promise = Promise("ReadsIncrements.increments", '"" where none is needed.')
        stored = self.dated()
        source = self.source()
        assert isinstance(source, ReadsIncrements)
        reads = source.increments("c", "")
        found = documents(reads.whole(source.time_now()))
        promise.equal(in_order(found), in_order(stored))


_TIMES = [_START + datetime.timedelta(seconds=n) for n in (0, 10, 20, 20, 30)]

#: What is no time of a document, though one of them holds some.
_NO_TIMES: tuple[Any, ...] = (None, 5, "2024-05-06", True, {"at": _START})


def _dated(key: str, at: datetime.datetime) -> bytes:
    return document(key, more={"at": at})


def _read(
    reads: Increments, marker: BatchMarker | None, overlap: float, after: ClusterTime
) -> tuple[list[bytes], BatchMarker | None]:
    """The documents, and the last place."""
    found, last = [], None
    for reply, place in reads.since(marker, overlap, after):
        found += documents([reply])
        last = place or last
    return found, last


def _place(marker: BatchMarker | None) -> tuple[bytes, int] | None:
    return None if marker is None else (marker.key, marker.time)


def _place_of(raw: bytes) -> tuple[bytes, int]:
    at: datetime.datetime = bson.decode(raw)["at"]
    return element(raw), round(at.replace(tzinfo=datetime.UTC).timestamp() * 1000)
