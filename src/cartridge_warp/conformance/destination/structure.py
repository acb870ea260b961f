"""Tables: made, changed, listed, left."""

from __future__ import annotations

from msgspec.structs import replace

from ...errors import PreconditionError, StructureRefused
from ...model import Column, SchemaChange, Table, TableOptions
from ..documents import document
from ..promise import Promise
from .hooks import (
    EVERYTHING,
    SCHEMA,
    TABLE,
    DestinationHooks,
    halves,
    state_of,
    upserts,
)

_TABLES = Promise(
    "Destination.tables", "Every table of the schema, in its newest version"
)
_EVOLVE = Promise(
    "Destination.evolve",
    "Apply the changes and store the next version, in one transaction.",
)

#: Names that have to be quoted, escaped or counted in bytes somewhere.
_ODD = ('a"b', "select", "a.b", "100%s", "{x}", "ä'b", "\N{GRINNING FACE}", "x" * 63)

_MORE = SchemaChange("add_column", Column("more", ("more",), "text", "string"))
_FLAG = SchemaChange("add_column", Column("fl ag", ("fl ag",), "boolean", "bool"))
_KEY = SchemaChange("rewrite_key", Column("_id", ("_id",), "canonical"), "RISKY")


class Structure(DestinationHooks):
    def test_a_table_is_created_once(self) -> None:
        promise = Promise(
            "Destination.ensure",
            "Create the table and version 1 of its registry entry, in one transaction.",
        )
        owner = self.owner()
        _TABLES.equal(owner.tables(), [])
        owner.ensure(TABLE)
        self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        owner.ensure(TABLE)
        self.compare(promise, TABLE, document("a", 1))
        state = state_of(owner, TABLE)
        promise.equal((state.table, state.table.version), (TABLE, 1))
        promise.equal((state.planned, state.chunks, state.left), (False, (), False))

    def test_a_table_is_remembered_as_it_was_given(self) -> None:
        options = TableOptions(
            layout="both",
            naming="snake",
            max_document_depth=5,
            json_columns="text",
            json_mode="canonical",
            legacy_uuid="java",
            on_misfit="dead_letter",
            max_columns=17,
            source_ts=False,
            synced_at=False,
        )
        columns = tuple(
            Column(name, (name, "deep"), "bytea", "binData", 128) for name in _ODD
        )
        tables = [
            Table(SCHEMA, name, f"the {name}", "canonical", columns, options)
            for name in _ODD
        ]
        owner = self.owner(*tables)
        found = {each.table.name: each.table for each in owner.tables()}
        _TABLES.equal(found, {each.name: each for each in tables})
        owner.close()
        found = {each.table.name: each.table for each in self.owner().tables()}
        _TABLES.equal(found, {each.name: each for each in tables})

    def test_odd_names_hold_rows_like_any_other(self) -> None:
        promise = Promise("Applier.commit", "Apply the batch")
        for name in _ODD:
            columns = tuple(Column(n, (n,), "text", "string") for n in _ODD)
            table = Table(SCHEMA, name, name, "string", columns)
            owner = self.owner(table)
            fields = dict.fromkeys(_ODD, name)
            raw = document(name, more=fields)
            self.copy(owner, table, document("copied", more=fields))
            self.apply(owner, 2, upserts(owner, table, raw))
            found = self.rows(table)
            promise.equal(set(found), {name, "copied"})
            for cells in found.values():
                promise.equal({n: cells[n] for n in _ODD}, fields)
            owner.close()

    def test_a_deletion_strategy_is_there_or_refused(self) -> None:
        promise = Promise(
            "Destination.ensure",
            "Raises PreconditionError for a deletion strategy that the destination has"
            " not",
        )
        owner = self.owner(TABLE)
        known = 1
        for strategy in ("soft", "both"):
            options = TableOptions(deletion_strategy=strategy)
            table = replace(TABLE, name=strategy, options=options)
            if strategy == "soft":
                table = replace(table, deleted_column="is_deleted")
            try:
                owner.ensure(table)
            except PreconditionError:
                promise.equal(len(owner.tables()), known)
                # A table whose settings are changed later is refused as well.
                with promise.raises(PreconditionError):
                    changed = replace(TABLE, options=options)
                    self.apply(owner, 2, upserts(owner, changed, document("a")))
                self.compare(promise, TABLE)
            else:
                known += 1
                promise.equal(state_of(owner, table).table, table)

    # --- changes ----------------------------------------------------------------

    def test_a_new_column_comes_last_and_old_rows_lack_it(self) -> None:
        owner = self.owner(TABLE)
        self.apply(owner, 2, upserts(owner, TABLE, document("old", 1)))
        newest = owner.evolve(TABLE, [_MORE, _FLAG])
        columns = (*TABLE.columns, _MORE.column, _FLAG.column)
        _EVOLVE.equal(newest, replace(TABLE, columns=columns, version=2))
        raw = document("new", 2, more={"more": "x", "fl ag": True})
        self.apply(owner, 3, upserts(owner, newest, raw))
        found = self.rows(newest)
        _EVOLVE.equal(found["old"]["more"], None)
        _EVOLVE.equal(found["new"]["more"], "x")
        _EVOLVE.equal(state_of(owner, TABLE).table, newest)
        owner.close()
        _TABLES.equal(state_of(self.owner(), TABLE).table, newest)

    def test_rows_of_the_former_version_are_still_taken(self) -> None:
        """Who encoded them cannot know yet; the new column has nothing for them."""
        promise = Promise("Applier.commit", "Apply the batch")
        owner = self.owner(TABLE)
        former = upserts(owner, TABLE, document("a", 1, "x"))
        owner.evolve(TABLE, [_MORE])
        self.apply(owner, 2, former)
        self.compare(promise, TABLE, document("a", 1, "x"))

    def test_the_same_changes_again_change_nothing(self) -> None:
        promise = Promise(
            "Destination.evolve", "The same call again, after its answer was lost,"
        )
        owner = self.owner(TABLE)
        newest = owner.evolve(TABLE, [_MORE])
        promise.equal(owner.evolve(TABLE, [_MORE]), newest)
        promise.equal(state_of(owner, TABLE).table, newest)
        promise.equal(owner.evolve(newest, []), newest)

    def test_a_key_is_rewritten_or_that_is_refused_and_nothing_changed(self) -> None:
        promise = Promise(
            "Destination.evolve",
            "StructureRefused when something outside forbids it; nothing has changed"
            " then.",
        )
        owner = self.owner(TABLE)
        self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        try:
            newest = owner.evolve(TABLE, [_KEY, _MORE])
        except StructureRefused:
            newest = TABLE
        else:
            promise.equal((newest.key, newest.version), ("canonical", 2))
        promise.equal(state_of(owner, TABLE).table, newest)
        text = "a" if newest is TABLE else '"a"'
        promise.equal(list(self.rows(newest)), [text])
        self.apply(owner, 3, upserts(owner, newest, document("a", 2)))
        promise.equal(list(self.rows(newest)), [text])

    # --- the copy's plan --------------------------------------------------------

    def test_the_chunks_are_stored_once(self) -> None:
        promise = Promise(
            "Destination.plan",
            "Store the chunks of a table's snapshot, once; those stored, in order.",
        )
        owner = self.owner(TABLE)
        planned = owner.plan(TABLE, halves("m"))
        promise.equal([each.range for each in planned], halves("m"))
        promise.equal([each.state for each in planned], ["pending"] * 2)
        promise.equal(len({each.chunk_id for each in planned}), 2)
        promise.equal(owner.plan(TABLE, [EVERYTHING]), planned)
        promise.equal(list(state_of(owner, TABLE).chunks), planned)
        promise.equal(state_of(owner, TABLE).planned, True)
        owner.close()
        promise.equal(list(state_of(self.owner(), TABLE).chunks), planned)

    def test_a_table_without_chunks_is_complete(self) -> None:
        promise = Promise("TableState", "planned: its chunks are stored.")
        owner = self.owner(TABLE)
        promise.equal(state_of(owner, TABLE).complete, False)
        promise.equal(owner.plan(TABLE, []), [])
        promise.equal(state_of(owner, TABLE).complete, True)
        promise.equal(owner.plan(TABLE, halves("m")), [])

    def test_chunks_of_two_tables_are_apart(self) -> None:
        promise = Promise("Copier.claim", "Make a pending chunk ``copying``")
        other = replace(TABLE, name="other", collection="other")
        owner = self.owner(TABLE, other)
        mine = {each.chunk_id for each in owner.plan(TABLE, [EVERYTHING])}
        others = {each.chunk_id for each in owner.plan(other, halves("m"))}
        promise.kept(not mine & others, "two tables have a chunk of the same number")
        copier = self.copier(owner)
        chunk = copier.claim(TABLE)
        promise.equal(chunk is not None and chunk.chunk_id in mine, True)
        states = [each.state for each in state_of(owner, other).chunks]
        promise.equal(states, ["pending"] * 2)

    # --- tables that nobody follows ---------------------------------------------

    def test_a_table_is_left_for_good(self) -> None:
        promise = Promise(
            "Destination.leave",
            "This run does not follow these tables: they are ``left`` from now on.",
        )
        other = replace(TABLE, name="other", collection="other")
        owner = self.owner(TABLE, other)
        owner.leave([other])
        owner.leave([other])
        found = {each.table.name: each.left for each in owner.tables()}
        promise.equal(found, {"orders": False, "other": True})
        owner.close()
        found = {each.table.name: each.left for each in self.owner().tables()}
        promise.equal(found, {"orders": False, "other": True})
