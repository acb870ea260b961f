"""Powers that only some destinations have: a destination names those that it has."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

import bson
from msgspec.structs import replace

from ...errors import (
    DestinationUnavailable,
    LockTimeout,
    RowsRefused,
    StructureChanged,
)
from ...model import Batch, Column, SchemaChange, Table, TableChanges
from ...protocols import Destination, KnowsLetters
from ..documents import canonical, document
from ..promise import Promise
from .hooks import (
    EVERYTHING,
    READ,
    TABLE,
    DestinationHooks,
    claimed,
    encoded,
    position,
    state_of,
    upserts,
)

_MORE = SchemaChange("add_column", Column("more", ("more",), "text", "string"))
_KEY = SchemaChange("rewrite_key", Column("_id", ("_id",), "canonical"), "RISKY")


class RefusedRows(DestinationHooks):
    """It can refuse a row that the encoder has made, for a reason of its own."""

    @abstractmethod
    def forbid(self, table: Table, note: str) -> None:
        """Let the store refuse rows of the table that have this ``note``."""

    def poisoned(self) -> Destination:
        owner = self.owner(TABLE)
        self.forbid(TABLE, "poison")
        return owner

    def test_a_refused_row_keeps_its_batch_from_being_applied(self) -> None:
        promise = Promise(
            "Applier.commit",
            "RowsRefused (nothing was applied; call again, careful)",
        )
        owner = self.poisoned()
        changes = upserts(owner, TABLE, document("a", 1), document("b", 1, "poison"))
        with promise.raises(RowsRefused):
            self.apply(owner, 2, changes)
        self.compare(promise, TABLE)
        promise.equal(state_of(owner, TABLE).pending_letters, 0)
        promise.equal(self.standing(), [position(1)])

    def test_with_care_the_others_are_applied(self) -> None:
        promise = Promise(
            "Applier.commit",
            "Returns the rows that were refused and are dead letters now, by the"
            " table's name; none unless the batch is careful.",
        )
        owner = self.poisoned()
        self.apply(owner, 2, upserts(owner, TABLE, document("b", 1), document("d", 1)))
        raw = [document("a", 1), document("b", 2, "poison"), document("c", 1)]
        found = self.careful(owner, 3, *raw)
        promise.equal(found, {"orders": [(raw[1], "refused", canonical(raw[1]))]})
        # What the table had under its key is not the document any more.
        self.compare(promise, TABLE, raw[0], raw[2], document("d", 1))
        promise.equal(state_of(owner, TABLE).pending_letters, 1)
        self.apply(owner, 4, upserts(owner, TABLE, document("b", 3)))
        promise.equal(state_of(owner, TABLE).pending_letters, 0)
        promise.equal(self.careful(owner, 5, document("e", 1)), {})
        promise.equal(self.standing(), [position(5)])

    def careful(
        self, owner: Destination, second: int, *raw: bytes
    ) -> dict[str, list[tuple[bytes, str, str | None]]]:
        rows = encoded(owner, TABLE, *raw, keep=True)
        changes = TableChanges(TABLE, (rows,), events=len(raw))
        refused = self.apply(owner, second, changes, careful=True)
        return {
            name: [(each.document, each.code, each.key) for each in rejects]
            for name, rejects in refused.items()
            if rejects
        }

    def test_a_refused_row_keeps_its_chunk_from_being_done(self) -> None:
        promise = Promise(
            "Copier.write", "Raises RowsRefused otherwise, here or in ``commit``."
        )
        owner = self.poisoned()
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        with promise.raises(RowsRefused):
            copier.write(
                encoded(owner, TABLE, document("a", 1), document("b", 1, "poison"))
            )
            copier.commit()
        copier.abort()
        self.compare(promise, TABLE)
        promise.equal([e.state for e in state_of(owner, TABLE).chunks], ["pending"])

    def test_with_care_the_chunk_is_done(self) -> None:
        promise = Promise(
            "Copier.write",
            "Returns, when careful, those of its rows that were refused and are dead"
            " letters too now",
        )
        owner = self.poisoned()
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        for last in (False, True):
            copier.begin(claimed(copier, TABLE), TABLE, READ, careful=True)
            for name, notes in (("a", [None, "poison"]), ("b", [None])):
                raw = [document(f"{name}{n}", n, note) for n, note in enumerate(notes)]
                refused = copier.write(encoded(owner, TABLE, *raw, keep=True))
                found = [(each.document, each.code) for each in refused]
                promise.equal(found, [(raw[1], "refused")] if name == "a" else [])
            self.compare(promise, TABLE)
            if last:
                copier.commit()
            else:
                copier.abort()
        self.compare(promise, TABLE, document("a0"), document("b0"))
        state = state_of(owner, TABLE)
        promise.equal((state.complete, state.documents), (True, 3))
        promise.equal(state.pending_letters, 1)


class RewrittenKeys(DestinationHooks):
    """It can give a table that has rows another encoding of ``_id``."""

    def test_rows_keep_their_documents(self) -> None:
        promise = Promise(
            "SchemaChange",
            '"rewrite_key": ``_id`` is in the encoding ``column.type`` from now on',
        )
        owner = self.owner(TABLE)
        self.copy(owner, TABLE, document("a", 1), document('b"\\\n', 2))
        newest = owner.evolve(TABLE, [_KEY])
        promise.equal(newest, replace(TABLE, key="canonical", version=2))
        self.apply(owner, 2, upserts(owner, newest, document("a", 3), document(5, 4)))
        found = {key: int(cells["n"]) for key, cells in self.rows(newest).items()}
        promise.equal(found, {'"a"': 3, r'"b\"\\\n"': 2, "5": 4})

    def test_letters_of_ids_that_it_holds_now_are_rows(self) -> None:
        promise = Promise(
            "Destination.evolve",
            "Once the key is rewritten, dead letters of ids that it can hold now are"
            " rows again.",
        )
        owner = self.owner(TABLE)
        broken = document("x")[:-1] + b"\1"
        changes = upserts(owner, TABLE, document("a", 1), document(5, 2), broken)
        self.apply(owner, 2, changes)
        newest = owner.evolve(TABLE, [_KEY])
        found = {key: int(cells["n"]) for key, cells in self.rows(newest).items()}
        promise.equal(found, {'"a"': 1, "5": 2})
        promise.equal(state_of(owner, TABLE).pending_letters, 1)
        promise.equal(owner.waiting_keys(newest), set())

    def test_rows_for_the_former_key_are_not_taken(self) -> None:
        promise = Promise(
            "Applier.commit", "StructureChanged (encode for the newest structure and"
        )
        owner = self.owner(TABLE)
        former = upserts(owner, TABLE, document("a", 1))
        newest = owner.evolve(TABLE, [_KEY])
        applier = self.applier(owner)
        with promise.raises(StructureChanged):
            applier.commit(Batch(position(2), (former,)))
        promise.equal(self.rows(newest), {})
        applier.commit(Batch(position(2), (upserts(owner, newest, document("a", 1)),)))
        promise.equal(list(self.rows(newest)), ['"a"'])

    def test_a_chunk_for_the_former_key_is_not_taken(self) -> None:
        promise = Promise(
            "Copier.begin",
            "Raises StructureChanged when the table's key is not that of ``table`` any"
            " more.",
        )
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        chunk = claimed(copier, TABLE)
        newest = owner.evolve(TABLE, [_KEY])
        with promise.raises(StructureChanged):
            copier.begin(chunk, TABLE, READ)
        copier.abort()
        copier.begin(claimed(copier, newest), newest, READ)
        copier.write(encoded(owner, newest, document("a", 1)))
        copier.commit()
        promise.equal(list(self.rows(newest)), ['"a"'])


class Locks(DestinationHooks):
    """Somebody else can hold a lock that a structure change has to wait for."""

    @abstractmethod
    def locked(self, table: Table) -> AbstractContextManager[None]:
        """Inside the block the table is locked by a stranger who reads it."""

    def test_a_change_does_not_wait_for_ever(self) -> None:
        promise = Promise(
            "Destination.evolve", "Raises LockTimeout when the table stays locked"
        )
        owner = self.owner(TABLE)
        with self.locked(TABLE), promise.raises(LockTimeout):
            owner.evolve(TABLE, [_MORE])
        promise.equal(state_of(owner, TABLE).table, TABLE)
        promise.equal(owner.evolve(TABLE, [_MORE]).version, 2)

    def test_rows_are_taken_meanwhile(self) -> None:
        promise = Promise("Applier.commit", "Apply the batch")
        owner = self.owner(TABLE)
        with self.locked(TABLE):
            self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        self.compare(promise, TABLE, document("a", 1))


class Connections(DestinationHooks):
    """It talks to its store by connections, which can break."""

    @abstractmethod
    def disconnect(self) -> None:
        """End every connection of the destination, from the store's side."""

    def test_a_chunk_whose_connection_broke_is_not_kept(self) -> None:
        promise = Promise(
            "Copier.commit",
            "DestinationUnavailable (nothing was kept; ``abort``, then claim again)",
        )
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        chunk = claimed(copier, TABLE)
        copier.begin(chunk, TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        self.disconnect()
        with promise.raises(DestinationUnavailable):
            copier.commit()
        self.compare(promise, TABLE)
        copier.abort()
        again = claimed(copier, TABLE)
        promise.equal(again.chunk_id, chunk.chunk_id)
        copier.begin(again, TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 2)))
        copier.commit()
        self.compare(promise, TABLE, document("a", 2))

    def test_a_batch_goes_on_by_a_new_connection(self) -> None:
        promise = Promise(
            "Applier.commit",
            "DestinationUnavailable (nothing was applied; the same call may be"
            " repeated)",
        )
        owner = self.owner(TABLE)
        applier = self.applier(owner)
        applier.commit(Batch(position(2)))
        for n in range(3):
            self.disconnect()
            batch = Batch(position(3 + n), (upserts(owner, TABLE, document("a", n)),))
            try:
                applier.commit(batch)
            except DestinationUnavailable:
                applier.commit(batch)
            owner.beat()
            self.compare(promise, TABLE, document("a", n))
        promise.equal(self.standing(), [position(5)])


class CountedLetters(DestinationHooks):
    """It is a ``protocols.KnowsLetters``."""

    def test_its_count_is_that_of_its_tables(self) -> None:
        promise = Promise("KnowsLetters.pending_letters", "Pending ones by the table's")
        other = replace(TABLE, name="other", collection="other")
        owner = self.owner(TABLE, other)
        promise.kept(isinstance(owner, KnowsLetters), "it has no pending_letters")
        assert isinstance(owner, KnowsLetters)
        promise.equal({*owner.pending_letters().values()} - {0}, set())
        raw = bson.encode({"_id": 5}), bson.encode({"_id": 6})
        self.apply(owner, 2, upserts(owner, other, *raw))
        counts = {name: n for name, n in owner.pending_letters().items() if n}
        promise.equal(counts, {"other": 2})
