"""A chunk of a resync, as PostgreSQL has it: the difference is written, and no more."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from resync_kit import (
    EVERYTHING,
    ORIGIN,
    PLAIN,
    Document,
    copied,
    element,
    encoded,
    images,
    letters,
    ranges,
    resynced,
    rows,
    table_of,
)

from cartridge_warp.errors import (
    DestinationError,
    DestinationUnavailable,
    Fenced,
    RowsRefused,
)
from cartridge_warp.model import Batch, Column, SchemaChange, TableChanges
from postgresql_kit import META, CommitCutter, apply, fetch, marker, opened, position


def documents(*numbers: int) -> list[Document]:
    return [{"_id": number, "n": number, "note": "x" * number} for number in numbers]


def test_equal_rows_are_not_even_locked(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(*range(40)))
        before = images(postgres_uri)
        owner.replan(PLAIN, ranges(20), ORIGIN)
        _, first = resynced(owner, PLAIN, documents(*range(20)))
        changed = [*documents(*range(20, 39)), {"_id": 39, "n": 40}]
        _, second = resynced(owner, PLAIN, changed)
    assert (first.written, first.removed) == (0, 0)
    assert (second.written, second.removed) == (1, 0)
    after = images(postgres_uri)
    assert {key for key in before if before[key] != after[key]} == {39}
    assert rows(postgres_uri)[-1] == (39, 40, None)


def test_rows_of_no_document_go_and_new_ones_come(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(*range(12_000)))
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        _, done = resynced(owner, PLAIN, documents(-1, 0, 11_999, 12_000))
    assert [key for key, *_ in rows(postgres_uri)] == [-1, 0, 11_999, 12_000]
    assert (done.written, done.removed) == (2, 11_998)
    query = f"SELECT documents, rows, written, removed FROM {META}.snapshot_chunks"
    assert fetch(postgres_uri, query) == [(4, 4, 2, 11_998)]


ZOO: dict[str, list[Any]] = {
    "bigint": [-5, 0, Int64(2), 7, Int64(2**60)],
    "numeric": [
        float("nan"),
        float("-inf"),
        Decimal128("-1E+40"),
        -0.5,
        0,
        Decimal128("0.25"),
        7,
        2.0**70,
        Decimal128("Infinity"),
    ],
    "string": ["", "A", "B", "a", "b", "\u00e9", "\U0001f600"],
    "objectId": [ObjectId(bytes([number] * 12)) for number in (0, 1, 127, 128, 255)],
    "uuid": [uuid.UUID(int=number << 120) for number in (0, 1, 127, 128, 255)],
}


@pytest.mark.parametrize("kind", sorted(ZOO))
@pytest.mark.parametrize("kept", [0, 1], ids=["even", "odd"])
def test_a_chunk_removes_in_its_own_range(
    postgres_uri: str, kind: str, kept: int
) -> None:
    """Every id is a bound, as far as it divides; every other one is gone."""
    ids, table = ZOO[kind], table_of(kind)
    with opened(postgres_uri, table) as owner:
        copied(owner, table, [{"_id": each} for each in ids])
        inner = [each for each in ids if owner.divides(table, element(each))]
        assert len(inner) >= len(ids) - 1
        planned = owner.replan(table, ranges(*inner), ORIGIN)
        assert len(planned) == len(inner) + 1
        left = {text for (text,) in fetch(postgres_uri, KEYS)}
        # What comes before the first bound, then from each bound to the next.
        before = [each for each in ids if each not in inner]
        for part in [before, *([each] for each in inner)]:
            read = [each for each in part if ids.index(each) % 2 == kept]
            resynced(owner, table, [{"_id": each} for each in read])
            gone = left - {text for (text,) in fetch(postgres_uri, KEYS)}
            assert len(gone) == len(part) - len(read)
            left -= gone
        assert all(each.complete for each in owner.tables())
    assert len(left) == len(ids[kept::2])


KEYS = "SELECT _id::text FROM shop.orders"


def test_where_rows_do_not_sort_as_ids_nothing_divides(postgres_uri: str) -> None:
    table = table_of("canonical")
    with opened(postgres_uri, table) as owner:
        assert not owner.ordered(table)
        for key in (1, "a", ObjectId(), None, {"a": 1}):
            assert not owner.divides(table, element(key))
        numbers = table_of("numeric")
        assert owner.ordered(numbers)
        assert owner.divides(numbers, element(Decimal128("-Infinity")))
        assert not owner.divides(numbers, element(float("nan")))
        assert not owner.divides(numbers, element("a"))
        assert not owner.divides(PLAIN, element(3.5))
        assert owner.divides(PLAIN, element(3.0))


def test_a_chunk_that_ends_early_removes_no_further(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(*range(10)))
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        _, first = resynced(owner, PLAIN, documents(1, 3), split_at=5)
        assert [key for key, *_ in rows(postgres_uri)] == [1, 3, 5, 6, 7, 8, 9]
        assert first.rest is not None
        assert first.rest.resync
        resynced(owner, PLAIN, documents(5, 9))
    assert [key for key, *_ in rows(postgres_uri)] == [1, 3, 5, 9]


def test_a_collection_that_is_gone_keeps_its_rows(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(1, 2))
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        _, done = resynced(owner, PLAIN, [], gone=True)
        assert owner.tables()[0].complete
    assert done.removed == 0
    assert len(rows(postgres_uri)) == 2


@pytest.mark.parametrize("strategy", ["hard", "soft", "both"])
@pytest.mark.parametrize("careful", [False, True])
def test_what_is_gone_goes_by_the_tables_strategy(
    postgres_uri: str, strategy: str, careful: bool
) -> None:
    table = table_of(deletion_strategy=strategy)
    with opened(postgres_uri, table) as owner:
        copied(owner, table, documents(*range(4)))
        for read, removed in (([0, 3], 2), ([0, 3], 0), ([0, 2, 3], 0)):
            owner.replan(table, [EVERYTHING], ORIGIN)
            _, done = resynced(owner, table, documents(*read), careful=careful)
            assert done.removed == removed
    marked = "is_deleted" if strategy == "soft" else "false"
    found = fetch(postgres_uri, f"SELECT _id, {marked} FROM shop.orders ORDER BY _id")
    expected = [(0, False), (1, True), (2, False), (3, False)]
    assert found == [each for each in expected if strategy == "soft" or not each[1]]
    audit = fetch(postgres_uri, f"SELECT key, cluster_time FROM {META}.deletion_audit")
    assert sorted(audit) == ([("1", None), ("2", None)] if strategy == "both" else [])


def test_a_row_of_a_document_that_is_a_reject_now_is_no_delete(
    postgres_uri: str,
) -> None:
    """Its document is there: nothing was deleted, and the audit says nothing."""
    table = table_of(deletion_strategy="both", on_misfit="dead_letter")
    with opened(postgres_uri, table) as owner:
        copied(owner, table, documents(1, 2, 3))
        owner.replan(table, [EVERYTHING], ORIGIN)
        resynced(owner, table, [{"_id": 1, "n": DatetimeMS(2**62)}, *documents(3)])
    assert [key for key, *_ in rows(postgres_uri)] == [3]
    assert letters(postgres_uri) == [("1", "misfit")]
    assert fetch(postgres_uri, f"SELECT key FROM {META}.deletion_audit") == [("2",)]


def test_letters_that_no_chunk_has_met_are_resolved_with_the_last(
    postgres_uri: str,
) -> None:
    table = table_of(on_misfit="dead_letter")

    def misfit(key: int) -> Document:
        return {"_id": key, "n": DatetimeMS(2**62)}

    with opened(postgres_uri, table) as owner:
        copied(owner, table, [*map(misfit, (1, 2, 3, 11, 12)), {"_id": "text"}])
        every = letters(postgres_uri)
        assert len(every) == 6
        owner.replan(table, ranges(10), ORIGIN)
        # 1 is a row by now, 2 still a reject, 3 is gone.
        resynced(owner, table, [*documents(1), misfit(2)])
        assert letters(postgres_uri) == [each for each in every if each[0] != "1"]
        # While the rest is read, the stream makes a letter and resolves one.
        rejected = encoded(owner, table, [misfit(4)])
        changes = TableChanges(table, (rejected,), ("11",), 2, delete_times=(1,))
        apply(owner, Batch(position(2), (changes,)))
        resynced(owner, table, [misfit(12)])
        assert letters(postgres_uri) == [
            *(("12", "misfit"), ("2", "misfit"), ("4", "misfit"))
        ]
        unseen = f"SELECT count(*) FROM {META}.dead_letter_queue WHERE unseen"
        assert fetch(postgres_uri, unseen) == [(0,)]


def test_a_letter_that_was_not_met_is_no_row_after_a_rewrite(
    postgres_uri: str,
) -> None:
    """Nobody knows whether there is such a document any more."""
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, [*documents(1), {"_id": 2.5}, {"_id": 12.5}])
        owner.replan(PLAIN, ranges(10), ORIGIN)
        resynced(owner, PLAIN, documents(1))
        key = SchemaChange("rewrite_key", Column("_id", ("_id",), "numeric"), "RISKY")
        table = owner.evolve(PLAIN, [key])
        assert len(rows(postgres_uri)) == 1
        resynced(owner, table, [{"_id": 12.5}])
    assert [float(key) for key, *_ in rows(postgres_uri)] == [1.0, 12.5]
    assert letters(postgres_uri) == []


def test_a_refused_row_is_a_letter_and_its_old_row_goes(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(1, 2, 3))
        fetch(postgres_uri, "ALTER TABLE shop.orders ADD CHECK (n < 100)")
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        read = [{"_id": 2, "n": 200}, *documents(3, 4)]
        with pytest.raises(RowsRefused):
            resynced(owner, PLAIN, read)
        assert len(rows(postgres_uri)) == 3
        _, done = resynced(owner, PLAIN, read, careful=True)
    assert [key for key, *_ in rows(postgres_uri)] == [3, 4]
    assert letters(postgres_uri) == [("2", "refused")]
    assert [each.key for each in done.refused] == ["2"]
    assert (done.written, done.removed) == (1, 1)
    counted = f"SELECT read, copied, rejected FROM {META}.table_state"
    assert fetch(postgres_uri, counted) == [(6, 5, 1)]


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_row_may_take_what_a_row_of_no_document_had(
    postgres_uri: str, deferred: str
) -> None:
    """Carefully or not, and nothing is refused in the end."""
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, [{"_id": 5, "n": 1}, {"_id": 6, "n": 2}])
        unique = f"ALTER TABLE shop.orders ADD UNIQUE (n) {deferred}"
        fetch(postgres_uri, unique)
        for careful in (False, True):
            owner.replan(PLAIN, [EVERYTHING], ORIGIN)
            taken = {"_id": 1 if careful else 2, "n": 1}
            read = [taken, {"_id": 6, "n": 2}]
            _, done = resynced(owner, PLAIN, read, careful=careful)
            assert (list(done.refused), done.removed) == ([], 1)
    assert rows(postgres_uri) == [(1, 1, None), (6, 2, None)]
    assert letters(postgres_uri) == []


def test_a_row_that_others_refer_to_cannot_go(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(1, 2))
        fetch(
            postgres_uri,
            "CREATE TABLE shop.lines (o bigint REFERENCES shop.orders);"
            "INSERT INTO shop.lines VALUES (2)",
        )
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        with pytest.raises(RowsRefused):
            resynced(owner, PLAIN, documents(1))
        with pytest.raises(DestinationError, match="may not be"):
            resynced(owner, PLAIN, documents(1), careful=True)
        fetch(postgres_uri, "DELETE FROM shop.lines")
        resynced(owner, PLAIN, documents(1), careful=True)
    assert len(rows(postgres_uri)) == 1


def test_a_chunk_whose_plan_was_replaced_is_fenced(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, documents(1, 2))
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        copier = owner.copier()
        chunk = copier.claim(PLAIN)
        assert chunk is not None
        copier.begin(chunk, PLAIN, 9)
        owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        with pytest.raises(Fenced):
            copier.commit()
        copier.close()
        assert len(rows(postgres_uri)) == 2
        resynced(owner, PLAIN, documents(1))
    assert len(rows(postgres_uri)) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_lost_answer_is_found_out(postgres_uri: str, cut: str) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, PLAIN) as owner:
            copied(owner, PLAIN, documents(1, 2))
            owner.replan(PLAIN, [EVERYTHING], ORIGIN)
            copier = owner.copier()
            chunk = copier.claim(PLAIN)
            assert chunk is not None
            copier.begin(chunk, PLAIN, 9)
            copier.write(encoded(owner, PLAIN, documents(1)))
            proxy.cut = cut
            if cut == "after":
                assert copier.commit().removed == 1
            else:
                with pytest.raises(DestinationUnavailable):
                    copier.commit()
            copier.close()
            assert len(rows(postgres_uri)) == (1 if cut == "after" else 2)
    finally:
        proxy.close()
    assert marker(postgres_uri)[0] == 1
