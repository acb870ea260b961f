"""Powers of batch mode, and of an applier that works ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from msgspec.structs import replace

from ...errors import DestinationError, DestinationUnavailable, Fenced
from ...model import (
    Absent,
    Batch,
    BatchMarker,
    BatchState,
    BatchStep,
    Keys,
    PassEnd,
    TableChanges,
)
from ...powers import EnrollsTables, FindsAbsent, KnowsUntouched, Prepares
from ...protocols import Applier, Destination
from ..documents import canonical, document, element
from ..promise import Promise
from .hooks import (
    IDENTITY,
    TABLE,
    DestinationHooks,
    encoded,
    position,
    state_of,
    upserts,
)

_ENROLL = Promise(
    "EnrollsTables.enroll",
    "Make the table one of batch mode, before its chunks are planned.",
)
_STEP = Promise("BatchStep", "What one commit adds to a table's pass.")
_END = Promise("PassEnd", "The end of a pass; times in seconds since 1970.")


def marker(second: int) -> BatchMarker:
    value = document("v", second)
    return BatchMarker(value, element(document("last", 0)), second * 1000)


def step(
    marker: BatchMarker | None,
    *changes: TableChanges,
    end: PassEnd | None = None,
    guarded: bool = False,
) -> Batch:
    there = BatchStep(TABLE.name, marker, end)
    return Batch(None, changes, lanes=(), guarded=guarded, step=there)


class BatchMode(DestinationHooks):
    """It keeps markers of batch mode, and compares keys: ``protocols.EnrollsTables``,
    ``FindsAbsent``; its appliers are ``KnowsUntouched``."""

    def enrolled(self, at: BatchMarker | None = None) -> Destination:
        owner = self.made()
        owner.open(IDENTITY)
        owner.ensure(TABLE)
        self.enroll(owner, "at", at)
        return owner

    def enroll(
        self, owner: Destination, column: str, at: BatchMarker | None
    ) -> BatchState:
        _ENROLL.kept(isinstance(owner, EnrollsTables), "it has no enroll")
        assert isinstance(owner, EnrollsTables)
        return owner.enroll(TABLE, column, at)

    def test_a_table_is_enrolled_once(self) -> None:
        promise = Promise(
            "EnrollsTables.enroll",
            "One that is keeps its marker, unless that is of another column.",
        )
        owner = self.owner(TABLE)
        promise.equal(state_of(owner, TABLE).batch, None)
        promise.equal(self.enroll(owner, "at", None), BatchState("at"))
        promise.equal(state_of(owner, TABLE).batch, BatchState("at"))
        self.applier(owner).commit(step(marker(5)))
        for at in (None, marker(2)):
            promise.equal(self.enroll(owner, "at", at), BatchState("at", marker(5)))
        promise.equal(self.enroll(owner, "when", None), BatchState("when"))
        owner.close()
        promise.equal(state_of(self.owner(), TABLE).batch, BatchState("when"))

    def test_a_table_can_begin_at_a_place(self) -> None:
        owner = self.enrolled(marker(3))
        _ENROLL.equal(state_of(owner, TABLE).batch, BatchState("at", marker(3)))
        _ENROLL.equal(self.standing(), [])

    def test_rows_and_the_marker_move_together(self) -> None:
        owner = self.enrolled()
        applier = self.applier(owner)
        applier.commit(step(marker(2), upserts(owner, TABLE, document("a", 1))))
        applier.commit(step(None, upserts(owner, TABLE, document("b", 1))))
        self.compare(_STEP, TABLE, document("a", 1), document("b", 1))
        _STEP.equal(state_of(owner, TABLE).batch, BatchState("at", marker(2)))
        applier.commit(step(marker(7), TableChanges(TABLE, deletes=("a",))))
        self.compare(_STEP, TABLE, document("b", 1))
        owner.close()
        _STEP.equal(state_of(self.owner(), TABLE).batch, BatchState("at", marker(7)))

    def test_the_end_of_a_pass_is_kept(self) -> None:
        owner = self.enrolled()
        applier = self.applier(owner)
        for n in (1, 2):
            end = PassEnd(began=1000.0 * n, ended=1000.5 * n, due=2000.0, unread=n)
            applier.commit(step(marker(n), end=end))
            expected = BatchState("at", marker(n), n, 1000.0 * n, 1000.5 * n, n)
            _END.equal(state_of(owner, TABLE).batch, expected)
        owner.close()
        _END.equal(state_of(self.owner(), TABLE).batch, expected)

    def test_no_step_of_a_former_owner_is_kept(self) -> None:
        promise = Promise(
            "Destination.open", "From here on every other owner is fenced."
        )
        former = self.enrolled()
        applier = self.applier(former)
        self.silence()
        heir = self.made()
        heir.open(IDENTITY)
        batch = step(marker(2), upserts(former, TABLE, document("a", 1)))
        try:
            applier.commit(batch)
        except (Fenced, DestinationUnavailable):
            with promise.raises(Fenced):
                applier.commit(batch)
        else:
            promise.broken("a former owner committed a step")
        self.compare(promise, TABLE)
        promise.equal(state_of(heir, TABLE).batch, BatchState("at"))

    def test_rows_without_a_document_are_found(self) -> None:
        promise = Promise(
            "FindsAbsent.absent", "What the table has, and is not among ``present``."
        )
        owner = self.enrolled()
        raw = [document(key, 1) for key in "abcd"]
        letters = [document(5), document({"x": 1}), document(6)]
        self.applier(owner).commit(
            step(marker(1), upserts(owner, TABLE, *raw, *letters))
        )
        promise.kept(isinstance(owner, FindsAbsent), "it has no absent")
        assert isinstance(owner, FindsAbsent)
        there = [
            Keys(("a", "zzz"), (canonical(letters[0]),)),
            Keys(("c",), (canonical(letters[2]),)),
        ]
        found = owner.absent(TABLE, iter(there))
        promise.equal(sorted(found.rows), ["b", "d"])
        promise.equal(found.letters, (canonical(letters[1]),))
        promise.equal(found.more, False)
        everything = Keys(
            ("a", "b", "c", "d"), tuple(canonical(each) for each in letters)
        )
        promise.equal(owner.absent(TABLE, [everything]), Absent())
        promise.equal(sorted(owner.absent(TABLE, []).rows), ["a", "b", "c", "d"])
        self.compare(promise, TABLE, *raw)

    def test_what_its_keys_raise_goes_through(self) -> None:
        promise = Promise("FindsAbsent.absent", "Raises what ``present`` raises")
        owner = self.enrolled()
        assert isinstance(owner, FindsAbsent)

        def broken() -> Iterator[Keys]:
            yield Keys(("a",))
            raise ZeroDivisionError

        with promise.raises(ZeroDivisionError):
            owner.absent(TABLE, broken())
        promise.equal(owner.absent(TABLE, [Keys(("a",))]), Absent())

    def test_rows_that_were_equal_are_counted(self) -> None:
        promise = Promise(
            "KnowsUntouched.untouched", "Rows of a step of batch mode that were equal"
        )
        owner = self.enrolled()
        applier = self.applier(owner)
        promise.kept(isinstance(applier, KnowsUntouched), "it has no untouched")
        assert isinstance(applier, KnowsUntouched)
        raw = [document(key, 1) for key in "abc"]
        applier.commit(step(None, upserts(owner, TABLE, *raw), guarded=True))
        promise.equal(applier.untouched(), 0)
        raw[1] = document("b", 2)
        applier.commit(step(None, upserts(owner, TABLE, *raw), guarded=True))
        promise.equal(applier.untouched(), 2)
        self.compare(promise, TABLE, *raw)


class WorksAhead(DestinationHooks):
    """Its appliers are ``protocols.Prepares``."""

    def working_ahead(self, destination: Destination) -> tuple[Applier, Prepares]:
        applier = self.applier(destination)
        _AHEAD.kept(isinstance(applier, Prepares), "it has no prepare")
        assert isinstance(applier, Prepares)
        return applier, applier

    def many(self, owner: Destination, n: int) -> TableChanges:
        """Rows of a batch, so many that it is worth it."""
        raw = [document(f"{key:04}", n, "x" * 50) for key in range(n, n + 600)]
        return upserts(owner, TABLE, *raw)

    def test_the_next_batch_is_prepared_beside_the_last(self) -> None:
        owner = self.owner(TABLE)
        applier, ahead = self.working_ahead(owner)
        batches = [Batch(position(n + 2), (self.many(owner, n),)) for n in range(8)]
        for n, batch in enumerate(batches):
            thread = threading.Thread(target=ahead.prepare, args=(batch,))
            thread.start()
            if n:
                applier.commit(batches[n - 1])
            thread.join(30)
            _AHEAD.kept(not thread.is_alive(), "prepare waits for something")
        applier.commit(batches[-1])
        expected = {f"{key:04}": min(key, 7) for key in range(607)}
        found = {key: int(cells["n"]) for key, cells in self.rows(TABLE).items()}
        _AHEAD.equal(found, expected)
        _AHEAD.equal(self.standing(), [position(9)])

    def test_what_is_prepared_is_not_there_yet(self) -> None:
        promise = Promise("Prepares.prepare", "Keeps nothing and raises nothing")
        owner = self.owner(TABLE)
        _, ahead = self.working_ahead(owner)
        ahead.prepare(Batch(position(2), (self.many(owner, 1),)))
        self.compare(promise, TABLE)
        owner.close()
        promise.equal(self.standing(silent=False), [position(1)])
        self.compare(promise, TABLE)

    def test_what_cannot_be_prepared_is_told_by_the_commit(self) -> None:
        promise = Promise(
            "Prepares.prepare", "what could not be prepared is done by ``commit``."
        )
        former = self.owner(TABLE)
        applier, ahead = self.working_ahead(former)
        missing = replace(TABLE, name="missing", collection="missing")
        wrong = TableChanges(missing, (encoded(former, missing, document("a")),))
        self.heir()
        for changes in (self.many(former, 1), wrong):
            batch = Batch(position(2), (changes,))
            with promise.allows():
                ahead.prepare(batch)
            try:
                applier.commit(batch)
            except (Fenced, DestinationError):
                continue
            promise.broken("a former owner committed what it had prepared")
        self.compare(promise, TABLE)


_AHEAD = Promise(
    "Prepares.prepare", "Do what of this batch does not depend on the one before it."
)
