"""Powers of deletion: rows that are marked, rows whose last state is kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ...model import (
    DELETED_AT,
    Column,
    SchemaChange,
    Table,
    TableChanges,
    TableOptions,
)
from ..documents import document
from ..promise import Promise
from .hooks import TABLE, DestinationHooks, alike, deletes, encoded, upserts

_SOFT = replace(
    TABLE,
    options=TableOptions(deletion_strategy="soft"),
    deleted_column="is_deleted",
)
_BOTH = replace(TABLE, options=TableOptions(deletion_strategy="both"))
_MARKS = Promise(
    "TableChanges",
    '"soft" marks them, and leaves one that is marked as it is; "both" removes them and'
    " keeps each one's last state. A row that is brought in is marked no more.",
)


class SoftDeletes(DestinationHooks):
    """It can mark the row of a document that is gone."""

    def marks(self, table: Table = _SOFT) -> dict[str, bool]:
        """Key -> is the row marked, by both columns?"""
        found = {}
        for key, cells in self.rows(table).items():
            marked = alike(True, cells[table.deleted_column])
            _MARKS.equal(cells[DELETED_AT] is not None, marked)
            found[key] = marked
        return found

    def test_a_deleted_row_is_marked_and_stays(self) -> None:
        owner = self.owner(_SOFT)
        self.copy(owner, _SOFT, document("a", 1, "x"), document("b", 2))
        self.apply(owner, 2, upserts(owner, _SOFT, document("c", 3)))
        _MARKS.equal(self.marks(), {"a": False, "b": False, "c": False})
        self.apply(owner, 3, deletes(_SOFT, "a", "c", "missing"))
        _MARKS.equal(self.marks(), {"a": True, "b": False, "c": True})
        self.compare(
            _MARKS, _SOFT, document("a", 1, "x"), document("b", 2), document("c", 3)
        )

    def test_a_marked_row_keeps_its_first_mark(self) -> None:
        owner = self.owner(_SOFT)
        self.copy(owner, _SOFT, document("a", 1))
        self.apply(owner, 2, deletes(_SOFT, "a"))
        first = self.rows(_SOFT)["a"]
        self.apply(owner, 3, deletes(_SOFT, "a"))
        _MARKS.equal(self.rows(_SOFT)["a"], first)

    def test_a_document_that_comes_back_takes_the_mark_away(self) -> None:
        owner = self.owner(_SOFT)
        self.copy(owner, _SOFT, document("a", 1, "x"), document("b", 1))
        self.apply(owner, 2, deletes(_SOFT, "a", "b"))
        self.apply(owner, 3, upserts(owner, _SOFT, document("a", 2)))
        _MARKS.equal(self.marks(), {"a": False, "b": True})
        self.compare(_MARKS, _SOFT, document("a", 2), document("b", 1))

    def test_the_row_of_a_rejected_document_is_marked(self) -> None:
        promise = Promise("TableChanges", "It is removed, or marked with")
        owner = self.owner(_SOFT)
        self.copy(owner, _SOFT, document("a", 1), document("b", 1))
        reject = (encoded(owner, _SOFT, document(5)),)
        self.apply(owner, 2, TableChanges(_SOFT, reject, stale=("a",), events=1))
        promise.equal(self.marks(), {"a": True, "b": False})

    def test_a_table_that_has_rows_can_get_the_columns(self) -> None:
        promise = Promise(
            "SchemaChange", '"soft_delete": ``column`` becomes the ``deleted_column``.'
        )
        plain = replace(TABLE, options=_SOFT.options)
        owner = self.owner(plain)
        self.copy(owner, plain, document("a", 1), document("b", 1))
        column = Column("gone", (), "boolean")
        newest = owner.evolve(plain, [SchemaChange("soft_delete", column)])
        promise.equal(newest, replace(plain, deleted_column="gone", version=2))
        promise.equal(self.marks(newest), {"a": False, "b": False})
        self.apply(owner, 2, deletes(newest, "a"))
        promise.equal(self.marks(newest), {"a": True, "b": False})


class AuditedDeletes(DestinationHooks):
    """It can keep the last state of a row that it removes."""

    @abstractmethod
    def audited(self, table: Table) -> Sequence[Mapping[str, Any]]:
        """What is kept of the table's deleted rows, in any order: cells by column."""

    def kept(self) -> list[tuple[str, int, str | None]]:
        return sorted((e["_id"], int(e["n"]), e["note"]) for e in self.audited(_BOTH))

    def test_the_last_state_of_a_deleted_row_is_kept(self) -> None:
        owner = self.owner(_BOTH)
        self.copy(owner, _BOTH, document("a", 1, "x"), document("b", 2))
        self.apply(owner, 2, upserts(owner, _BOTH, document("b", 3)))
        changes = TableChanges(
            _BOTH, deletes=("a", "b", "missing"), events=3, delete_times=(7, 8, 9)
        )
        self.apply(owner, 3, changes)
        self.compare(_MARKS, _BOTH)
        _MARKS.equal(self.kept(), [("a", 1, "x"), ("b", 3, None)])
        self.apply(owner, 4, deletes(_BOTH, "a"))
        self.apply(owner, 5, upserts(owner, _BOTH, document("a", 4)))
        self.apply(owner, 6, deletes(_BOTH, "a"))
        _MARKS.equal(self.kept(), [("a", 1, "x"), ("a", 4, None), ("b", 3, None)])

    def test_the_row_of_a_rejected_document_was_not_deleted(self) -> None:
        promise = Promise("TableChanges", "and never kept elsewhere.")
        owner = self.owner(_BOTH)
        self.copy(owner, _BOTH, document("a", 1))
        reject = (encoded(owner, _BOTH, document(5)),)
        self.apply(owner, 2, TableChanges(_BOTH, reject, stale=("a",), events=1))
        self.compare(promise, _BOTH)
        promise.equal(self.kept(), [])
