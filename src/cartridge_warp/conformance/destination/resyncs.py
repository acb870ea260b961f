"""The power of a resync: a table made equal to its collection, in place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from msgspec.structs import replace

from ...errors import DestinationError, DestinationUnavailable, Fenced
from ...model import ChunkRange, Committed, Origin, Table
from ...powers import Resyncs
from ...protocols import Destination
from ..documents import document
from ..promise import Promise
from .hooks import (
    EVERYTHING,
    READ,
    TABLE,
    DestinationHooks,
    claimed,
    encoded,
    halves,
    key,
    position,
    state_of,
    upserts,
)

_COMMIT = Promise(
    "Copier.commit",
    "In a resync, rows of the chunk's range that were not written are rows of no"
    " document: they go, by the table's deletion strategy.",
)
_REPLAN = Promise(
    "Resyncs.replan",
    "Store the chunks of a resync in the place of all that the table has.",
)
_ORIGIN = Origin(READ, "a collection")
_NEW = Origin(READ + 9, "another collection")


class ResyncsInPlace(DestinationHooks):
    """It is a ``powers.Resyncs``."""

    @abstractmethod
    def ask(self, table: Table) -> None:
        """Ask for a resync of the table, as somebody else than its owner does."""

    def resyncing(self, destination: Destination) -> Resyncs:
        _REPLAN.kept(isinstance(destination, Resyncs), "it has no replan")
        assert isinstance(destination, Resyncs)
        return destination

    def once_copied(self, *raw: bytes, table: Table = TABLE) -> Destination:
        owner = self.owner(table)
        self.copy(owner, table, *raw)
        return owner

    def resync(
        self,
        owner: Destination,
        *raw: bytes,
        gone: bool = False,
        split_at: bytes | None = None,
        table: Table = TABLE,
    ) -> Committed:
        """Let these documents be what the next chunk's read has."""
        copier = self.copier(owner)
        chunk = claimed(copier, table)
        _REPLAN.kept(chunk.resync, "a chunk does not know that it is of a resync")
        copier.begin(chunk, table, READ + 1)
        for each in raw:
            copier.write(encoded(owner, table, each))
        return copier.commit(read_until=READ + 2, split_at=split_at, gone=gone)

    # --- chunks -----------------------------------------------------------------

    def test_the_difference_is_written(self) -> None:
        promise = Promise("Committed", "written, removed: rows that differed, and rows")
        owner = self.once_copied(*(document(name, 1, name) for name in "abc"))
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        read = document("a", 1, "a"), document("b", 2), document("d", 1)
        done = self.resync(owner, *read)
        promise.equal((done.written, done.removed, done.rest), (2, 1, None))
        self.compare(_COMMIT, TABLE, *read)
        _COMMIT.equal(state_of(owner, TABLE).complete, True)
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        done = self.resync(owner, *read)
        promise.equal((done.written, done.removed), (0, 0))
        self.compare(_COMMIT, TABLE, *read)

    def test_a_chunk_removes_in_its_own_range(self) -> None:
        owner = self.once_copied(*(document(name, 1) for name in "abxyz"))
        resyncs = self.resyncing(owner)
        promise = Promise(
            "Resyncs.divides", "May a chunk of a resync begin at this ``_id`` element?"
        )
        promise.equal(resyncs.divides(TABLE, key("m")), resyncs.ordered(TABLE))
        if not resyncs.ordered(TABLE):
            return
        resyncs.replan(TABLE, halves("m"), _ORIGIN)
        left = {"a", "b", "x", "y", "z"}
        for _ in halves("m"):
            copier = self.copier(owner)
            chunk = claimed(copier, TABLE)
            name = "a" if chunk.range.lower is None else "y"
            copier.begin(chunk, TABLE, READ + 1)
            copier.write(encoded(owner, TABLE, document(name, 1)))
            copier.commit()
            left -= {"b"} if name == "a" else {"x", "z"}
            _COMMIT.equal(set(self.rows(TABLE)), left)

    def test_a_chunk_that_ends_early_removes_no_further(self) -> None:
        owner = self.once_copied(*(document(name, 1) for name in "abxyz"))
        if not self.resyncing(owner).divides(TABLE, key("m")):
            return
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        done = self.resync(owner, document("b", 1), split_at=key("m"))
        _COMMIT.equal(set(self.rows(TABLE)), {"b", "x", "y", "z"})
        _COMMIT.equal(
            done.rest and (done.rest.range, done.rest.resync),
            (ChunkRange(key("m"), None), True),
        )
        self.resync(owner, document("z", 1))
        _COMMIT.equal(set(self.rows(TABLE)), {"b", "z"})

    def test_rows_of_a_collection_that_is_gone_stay(self) -> None:
        promise = Promise(
            "Copier.commit", "gone: there is no collection any more; its rows stay."
        )
        owner = self.once_copied(document("a", 1), document("b", 2))
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        promise.equal(self.resync(owner, gone=True).removed, 0)
        self.compare(promise, TABLE, document("a", 1), document("b", 2))
        promise.equal(state_of(owner, TABLE).complete, True)

    def test_nothing_of_a_chunk_that_is_aborted_is_kept(self) -> None:
        promise = Promise(
            "Copier.abort", "Roll back and hand the chunk back as ``pending``."
        )
        owner = self.once_copied(document("a", 1), document("b", 2))
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ + 1)
        copier.write(encoded(owner, TABLE, document("a", 9), document("c", 3)))
        self.compare(promise, TABLE, document("a", 1), document("b", 2))
        copier.abort()
        self.compare(promise, TABLE, document("a", 1), document("b", 2))
        promise.equal([e.state for e in state_of(owner, TABLE).chunks], ["pending"])

    def test_letters_that_no_chunk_has_met_are_resolved_with_the_last(self) -> None:
        promise = Promise(
            "Copier.commit",
            "With the last chunk, so do the dead letters that no chunk has met again.",
        )
        owner = self.once_copied(document("a", 1), document(5), document(6))
        promise.equal(state_of(owner, TABLE).pending_letters, 2)
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        promise.equal(state_of(owner, TABLE).pending_letters, 2)
        self.resync(owner, document("a", 1), document(6))
        promise.equal(state_of(owner, TABLE).pending_letters, 1)

    def test_the_stream_goes_on_meanwhile(self) -> None:
        owner = self.once_copied(document("a", 1), document("b", 2))
        self.resyncing(owner).replan(TABLE, [EVERYTHING], _ORIGIN)
        self.apply(owner, 2, upserts(owner, TABLE, document("c", 1)))
        self.compare(
            _REPLAN, TABLE, document("a", 1), document("b", 2), document("c", 1)
        )
        self.resync(owner, document("b", 2), document("c", 1))
        self.apply(owner, 3, upserts(owner, TABLE, document("d", 1)))
        self.compare(
            _REPLAN, TABLE, document("b", 2), document("c", 1), document("d", 1)
        )

    # --- plans ------------------------------------------------------------------

    def test_a_wish_is_heard_until_the_plan_is_stored(self) -> None:
        promise = Promise(
            "Resyncs.asked", "The tables, by name, whose resync is asked for."
        )
        fulfilled = Promise(
            "Resyncs.replan", "With that it is neither ``asked`` for nor ``left`` nor"
        )
        owner = self.once_copied(document("a", 1))
        resyncs = self.resyncing(owner)
        promise.equal([*resyncs.asked()], [])
        for _ in range(2):
            self.ask(TABLE)
            promise.equal([*resyncs.asked()], [TABLE.name])
        promise.equal(state_of(owner, TABLE).asked, True)
        owner.leave([TABLE])
        planned = resyncs.replan(TABLE, [EVERYTHING], _ORIGIN)
        fulfilled.equal(
            [(e.range, e.state) for e in planned], [(EVERYTHING, "pending")]
        )
        fulfilled.equal([*resyncs.asked()], [])
        owner.close()
        state = state_of(self.owner(), TABLE)
        fulfilled.equal((state.asked, state.left, state.gone), (False, False, False))
        fulfilled.equal((list(state.chunks), state.origin), (planned, _ORIGIN))

    def test_a_plan_takes_the_place_of_another(self) -> None:
        owner = self.once_copied(document("a", 1))
        resyncs = self.resyncing(owner)
        resyncs.replan(TABLE, [EVERYTHING], _ORIGIN)
        planned = resyncs.replan(TABLE, [EVERYTHING], _NEW)
        _REPLAN.equal([*state_of(owner, TABLE).chunks], planned)
        _REPLAN.equal(state_of(owner, TABLE).origin, _NEW)
        self.resync(owner, document("b", 1))
        self.compare(_REPLAN, TABLE, document("b", 1))

    def test_an_origin_is_stored(self) -> None:
        promise = Promise(
            "Resyncs.know", "Store which collection the table's rows are of."
        )
        owner = self.once_copied(document("a", 1))
        before = state_of(owner, TABLE)
        self.resyncing(owner).know(TABLE, _ORIGIN)
        promise.equal(state_of(owner, TABLE), replace(before, origin=_ORIGIN))

    def test_rows_of_another_order_are_one_chunk(self) -> None:
        promise = Promise(
            "Resyncs.ordered",
            "Do the table's rows sort as ids do? Else a resync of it is one chunk.",
        )
        for encoding in ("string", "objectId", "bigint", "canonical"):
            table = replace(TABLE, key=encoding, name=encoding, collection=encoding)
            owner = self.owner(table)
            resyncs = self.resyncing(owner)
            # Only a string's table holds this key, and divides there if it may.
            may = encoding == "string" and resyncs.ordered(table)
            promise.equal(resyncs.divides(table, key("m")), may)
            owner.close()

    def test_a_new_position_and_every_wish_are_stored_at_once(self) -> None:
        promise = Promise(
            "Resyncs.restart",
            "As ``begin``, wherever the markers stand; every table is ``asked`` for.",
        )
        owner = self.owner(TABLE, lanes=2)
        self.apply(owner, 3, lanes=(1,))
        self.resyncing(owner).restart(position(9), 3)
        promise.equal([*self.resyncing(owner).asked()], [TABLE.name])
        self.apply(owner, 10, lanes=(2,))
        promise.equal(self.standing(), [position(9), position(9), position(10)])

    # --- collections that are gone ----------------------------------------------

    def test_a_table_is_retired_by_policy(self) -> None:
        promise = Promise(
            "Resyncs.retire",
            'policy: "keep" its rows, which makes it ``gone``; "truncate" it; "drop" it'
            " and all that is known of it.",
        )
        raw = document("a", 1), document(5)
        for policy in ("keep", "truncate", "drop"):
            table = replace(TABLE, name=policy, collection=policy)
            owner = self.once_copied(*raw, table=table)
            self.resyncing(owner).retire(table, policy, _NEW)
            owner.close()
            owner = self.owner()
            states = [each for each in owner.tables() if each.table.name == policy]
            if policy == "drop":
                promise.equal(states, [])
                owner.ensure(table)
                promise.equal(self.rows(table), {})
            else:
                [state] = states
                kept = policy == "keep"
                promise.equal(set(self.rows(table)), {"a"} if kept else set())
                promise.equal((state.gone, state.origin), (kept, _NEW))
                promise.equal(state.pending_letters, int(kept))
                promise.equal(state.chunks, ())
            owner.close()

    def test_a_former_owner_begins_nothing(self) -> None:
        promise = Promise("Destination.open", "every other owner is fenced.")
        former = self.once_copied(document("a", 1))
        resyncs = self.resyncing(former)
        heir = self.heir()
        before = heir.tables()
        calls: dict[str, Callable[[], object]] = {
            "restart": lambda: resyncs.restart(position(9), 1),
            "replan": lambda: resyncs.replan(TABLE, [EVERYTHING], _ORIGIN),
            "retire": lambda: resyncs.retire(TABLE, "truncate", _ORIGIN),
            "know": lambda: resyncs.know(TABLE, _ORIGIN),
        }
        for name, call in calls.items():
            try:
                call()
            except (Fenced, DestinationUnavailable):
                with promise.raises(Fenced):
                    call()
                continue
            promise.broken(f"{name} of a former owner did not raise Fenced")
        promise.equal(heir.tables(), before)
        self.compare(promise, TABLE, document("a", 1))

    def test_a_chunk_whose_plan_was_replaced_is_not_kept(self) -> None:
        promise = Promise(
            "Copier.commit",
            "Raises Fenced when the schema or the chunk has another owner by now",
        )
        owner = self.once_copied(document("a", 1))
        resyncs = self.resyncing(owner)
        resyncs.replan(TABLE, [EVERYTHING], _ORIGIN)
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ + 1)
        copier.write(encoded(owner, TABLE, document("b", 1)))
        resyncs.replan(TABLE, [EVERYTHING], _NEW)
        with promise.raises(Fenced, DestinationError):
            copier.commit()
        copier.abort()
        self.compare(promise, TABLE, document("a", 1))
