"""Batches of the stream: all of it or nothing, once, with the position."""

from __future__ import annotations

import threading

from msgspec.structs import replace

from ...errors import DestinationError
from ...model import Batch, TableChanges
from ..documents import document
from ..promise import Promise
from .hooks import (
    TABLE,
    DestinationHooks,
    deletes,
    encoded,
    position,
    upserts,
)

_COMMIT = Promise(
    "Applier.commit",
    "Apply the batch and move its lanes' markers, in one transaction, once.",
)
_LANES = Promise("Batch", "lanes: whose markers move.")
_OTHER = replace(TABLE, name="other", collection="other")


class Batches(DestinationHooks):
    def test_rows_deletes_and_the_position_move_together(self) -> None:
        owner = self.owner(TABLE)
        self.apply(
            owner, 2, upserts(owner, TABLE, document("a", 1, "x"), document("b", 2))
        )
        self.compare(_COMMIT, TABLE, document("a", 1, "x"), document("b", 2))
        parts = (
            encoded(owner, TABLE, document("a", 10)),
            encoded(owner, TABLE, document("c", 3, "y")),
        )
        self.apply(owner, 3, TableChanges(TABLE, parts, ("b",), 5))
        self.compare(_COMMIT, TABLE, document("a", 10), document("c", 3, "y"))
        _COMMIT.equal(self.standing(), [position(3)])

    def test_a_row_is_replaced_whole(self) -> None:
        owner = self.owner(TABLE)
        for raw in (document("a", 1, "x"), document("a", 1), document("a", 2, "y")):
            self.apply(owner, 2, upserts(owner, TABLE, raw))
            self.compare(_COMMIT, TABLE, raw)

    def test_the_stream_writes_over_what_was_copied(self) -> None:
        owner = self.owner(TABLE)
        self.copy(owner, TABLE, *(document(name, 1) for name in "abc"))
        rows = encoded(owner, TABLE, document("b", 2), document("d", 1))
        self.apply(owner, 2, TableChanges(TABLE, (rows,), ("c",), 3))
        self.compare(
            _COMMIT, TABLE, document("a", 1), document("b", 2), document("d", 1)
        )

    def test_a_row_that_is_gone_may_be_deleted_and_come_back(self) -> None:
        owner = self.owner(TABLE)
        self.apply(owner, 2, deletes(TABLE, "a", "missing"))
        self.apply(owner, 3, upserts(owner, TABLE, document("a", 1)))
        self.apply(owner, 4, deletes(TABLE, "a"))
        self.apply(owner, 5, deletes(TABLE, "a"))
        self.compare(_COMMIT, TABLE)
        self.apply(owner, 6, upserts(owner, TABLE, document("a", 2)))
        self.compare(_COMMIT, TABLE, document("a", 2))

    def test_rows_that_are_as_they_should_be(self) -> None:
        promise = Promise(
            "Batch",
            "guarded: many rows are in the tables already as they are, and equal ones"
            " are left untouched.",
        )
        owner = self.owner(TABLE)
        raw = [document("a", 1), document("b", 2, "x")]
        self.apply(owner, 2, upserts(owner, TABLE, *raw))
        changed = [raw[0], document("b", 3), document("c", 4)]
        changes = upserts(owner, TABLE, *changed)
        applier = self.applier(owner)
        for second in (3, 4):
            applier.commit(Batch(position(second), (changes,), guarded=True))
            self.compare(promise, TABLE, *changed)

    def test_large_batches_are_batches_too(self) -> None:
        owner = self.owner(TABLE)
        many = [document(f"{n:05}", n, "x" * (n % 90)) for n in range(4000)]
        self.apply(owner, 2, upserts(owner, TABLE, *many))
        self.compare(_COMMIT, TABLE, *many)
        self.apply(owner, 3, deletes(TABLE, *(f"{n:05}" for n in range(1, 4000))))
        self.compare(_COMMIT, TABLE, many[0])

    def test_an_encoder_can_keep_the_documents(self) -> None:
        promise = Promise(
            "Destination.encoder",
            "keep: its batches carry the rows' documents, as ``careful`` needs them.",
        )
        owner = self.owner(TABLE)
        raw = [document("a", 1), document(5), document("b", 2)]
        batch = encoded(owner, TABLE, *raw, keep=True)
        promise.equal((batch.raw, batch.rows), (raw[0] + raw[2], 2))
        self.apply(owner, 2, TableChanges(TABLE, (batch,), events=3))
        self.compare(promise, TABLE, raw[0], raw[2])

    # --- all or nothing ---------------------------------------------------------

    def test_tables_commit_together(self) -> None:
        owner = self.owner(TABLE, _OTHER)
        mine = upserts(owner, TABLE, document("a", 1))
        self.apply(owner, 2, mine, upserts(owner, _OTHER, document("a", 2)))
        self.compare(_COMMIT, TABLE, document("a", 1))
        self.compare(_COMMIT, _OTHER, document("a", 2))

    def test_what_cannot_be_applied_takes_everything_with_it(self) -> None:
        owner = self.owner(TABLE)
        self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        missing = replace(TABLE, name="missing", collection="missing")
        changes = TableChanges(
            TABLE, (encoded(owner, TABLE, document("b", 1)),), ("a",)
        )
        applier = self.applier(owner)
        wrong = upserts(owner, missing, document("a", 1))
        with _COMMIT.raises(DestinationError):
            applier.commit(Batch(position(3), (changes, wrong)))
        self.compare(_COMMIT, TABLE, document("a", 1))
        applier.commit(Batch(position(4), (changes,)))
        self.compare(_COMMIT, TABLE, document("b", 1))
        _COMMIT.equal(self.standing(), [position(4)])

    def test_the_position_never_goes_back(self) -> None:
        promise = Promise(
            "Applier.commit", "DestinationError, also for a position that is older"
        )
        owner = self.owner(TABLE)
        applier = self.applier(owner)
        applier.commit(Batch(position(5)))
        with promise.raises(DestinationError):
            applier.commit(
                Batch(position(4), (upserts(owner, TABLE, document("a", 1)),))
            )
        self.compare(promise, TABLE)
        promise.equal(self.standing(), [position(5)])

    def test_a_quiet_stream_moves_the_position_alone(self) -> None:
        owner = self.owner(TABLE)
        applier = self.applier(owner)
        for second in (5, 5, 6):
            _COMMIT.equal(dict(applier.commit(Batch(position(second)))), {})
        _COMMIT.equal(self.standing(), [position(6)])

    def test_a_part_of_a_batch_leaves_the_position(self) -> None:
        promise = Promise(
            "Batch",
            "position: None for the first parts of a batch too large for one commit:"
            " the marker counts on and its position stays.",
        )
        owner = self.owner(TABLE)
        self.apply(owner, 2)
        for n in range(3):
            self.apply(owner, None, upserts(owner, TABLE, document(f"{n}", n)))
        self.compare(promise, TABLE, *(document(f"{n}", n) for n in range(3)))
        promise.equal(self.standing(), [position(2)])

    # --- lanes ------------------------------------------------------------------

    def test_each_lane_has_its_own_position(self) -> None:
        owner = self.owner(TABLE, lanes=3)
        self.apply(owner, 5, upserts(owner, TABLE, document("a", 1)), lanes=(1,))
        self.apply(owner, 3, upserts(owner, TABLE, document("b", 1)), lanes=(2,))
        self.compare(_LANES, TABLE, document("a", 1), document("b", 1))
        _LANES.equal(self.standing(), [position(1), position(5), position(3)])

    def test_one_batch_can_move_every_lane(self) -> None:
        owner = self.owner(TABLE, lanes=3)
        self.apply(owner, 3, lanes=(2,))
        changes = upserts(owner, TABLE, document("a", 1))
        self.apply(owner, 4, changes, lanes=(0, 1, 2))
        self.compare(_LANES, TABLE, document("a", 1))
        self.apply(owner, 6, lanes=(0,))
        _LANES.equal(self.standing(), [position(6), position(4), position(4)])

    def test_lanes_commit_at_the_same_time(self) -> None:
        owner = self.owner(TABLE, lanes=4)
        failures: list[Exception] = []

        def work(lane: int) -> None:
            try:
                applier = owner.applier()
                for n in range(10):
                    changes = upserts(owner, TABLE, document(f"{lane} {n}", n))
                    applier.commit(Batch(position(n + 2), (changes,), (lane,)))
                applier.close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(lane,)) for lane in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        Promise(
            "Destination.applier",
            "One more connection that applies batches, beside any others.",
        ).equal(failures, [])
        stored = [document(f"{lane} {n}", n) for lane in range(4) for n in range(10)]
        self.compare(_LANES, TABLE, *stored)
        _LANES.equal(self.standing(), [position(11)] * 4)
