"""The rows of deleted documents, by strategy: the destination alone, batch by batch."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cartridge_warp.errors import DestinationUnavailable
from cartridge_warp.model import Batch, Column, Table, TableChanges, TableOptions
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import Reject
from postgresql_kit import (
    IDENTITY,
    META,
    TABLE,
    CommitCutter,
    apply,
    encoded,
    fetch,
    make,
    marker,
    opened,
    order,
    orders,
    position,
    row,
    upserts,
)
from tests.core.build import document, int32, string

SOFT = replace(
    TABLE,
    options=TableOptions(deletion_strategy="soft"),
    deleted_column="is_deleted",
)
BOTH = replace(TABLE, options=TableOptions(deletion_strategy="both"))

#: Enough rows to go through staging.
MANY = 500

#: When a document is deleted, where a test does not care.
AT = 7 << 32 | 3


@pytest.fixture(params=[1, MANY], ids=["few", "many"])
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def keys(rows: int) -> list[str]:
    return [f"{number:05}" for number in range(rows)]


def bring(
    owner: PostgresDestination,
    table: Table,
    second: int,
    given: Sequence[str],
    *,
    guarded: bool = False,
) -> None:
    """A row for each key, the same one every time."""
    payload = [order(key, 1, "same") for key in given]
    changes = TableChanges(table, (encoded(payload),), (), len(given))
    apply(owner, Batch(position(second), (changes,), guarded=guarded))


def delete(
    owner: PostgresDestination,
    table: Table,
    second: int,
    given: Sequence[str],
    *,
    careful: bool = False,
) -> None:
    times = (AT,) * len(given)
    changes = TableChanges(
        table, (), tuple(given), len(given), delete_times=tuple(times)
    )
    apply(owner, Batch(position(second), (changes,), careful=careful))


def marks(uri: str) -> list[tuple[str, bool, datetime | None]]:
    return fetch(
        uri, "SELECT _id, is_deleted, deleted_at FROM shop.orders ORDER BY _id"
    )  # type: ignore[return-value]


def audit(uri: str) -> list[tuple[Any, ...]]:
    return fetch(
        uri,
        "SELECT schema_name, table_name, key, last_row, cluster_time"
        f" FROM {META}.deletion_audit ORDER BY audit_id",
    )


@pytest.mark.parametrize("careful", [False, True])
def test_a_soft_delete_keeps_the_row_and_says_when(
    postgres_uri: str, rows: int, careful: bool
) -> None:
    cells = "SELECT _id, n, note, _cwarp_source_ts, _cwarp_extra FROM shop.orders"
    synced = "SELECT DISTINCT _cwarp_synced_at FROM shop.orders"
    with opened(postgres_uri, SOFT) as owner:
        bring(owner, SOFT, 2, keys(rows))
        before, ((first,),) = fetch(postgres_uri, cells), fetch(postgres_uri, synced)
        assert {each[1:] for each in marks(postgres_uri)} == {(False, None)}
        delete(owner, SOFT, 3, [*keys(rows), "nobody"], careful=careful)
    assert sorted(fetch(postgres_uri, cells)) == sorted(before)
    ((later,),) = fetch(postgres_uri, synced)
    assert later > first
    assert {each[1:] for each in marks(postgres_uri)} == {(True, later)}
    [counted] = fetch(postgres_uri, f"SELECT applied, deleted FROM {META}.table_state")
    assert counted == (2 * rows + 1, rows + 1)


def test_the_first_delete_tells_the_time(postgres_uri: str, rows: int) -> None:
    with opened(postgres_uri, SOFT) as owner:
        bring(owner, SOFT, 2, keys(rows))
        delete(owner, SOFT, 3, keys(1))
        first = marks(postgres_uri)[0]
        delete(owner, SOFT, 4, keys(rows))
        assert marks(postgres_uri)[0] == first
        assert all(deleted for _, deleted, _ in marks(postgres_uri))


@pytest.mark.parametrize("guarded", [False, True])
def test_an_upsert_takes_the_mark_back(
    postgres_uri: str, rows: int, guarded: bool
) -> None:
    """A guarded one leaves equal rows alone, but none that is marked."""
    versions = "SELECT _id, xmin::text, ctid::text FROM shop.orders ORDER BY _id"
    with opened(postgres_uri, SOFT) as owner:
        bring(owner, SOFT, 2, keys(rows + 1))
        delete(owner, SOFT, 3, keys(1))
        before = fetch(postgres_uri, versions)
        bring(owner, SOFT, 4, keys(rows + 1), guarded=guarded)
        after = fetch(postgres_uri, versions)
    assert {each[1:] for each in marks(postgres_uri)} == {(False, None)}
    assert after[0] != before[0]
    assert (after[1:] == before[1:]) is guarded


def test_marks_that_no_strategy_needs_any_more(postgres_uri: str, rows: int) -> None:
    """The columns stay, and a document that comes back is marked no more."""
    hard = replace(SOFT, options=TableOptions())
    with opened(postgres_uri, SOFT) as owner:
        bring(owner, SOFT, 2, keys(rows + 2))
        delete(owner, SOFT, 3, keys(rows + 1))
        bring(owner, hard, 4, keys(rows), guarded=True)
        delete(owner, hard, 5, keys(rows + 2)[-1:])
    told = [(key, deleted) for key, deleted, _ in marks(postgres_uri)]
    assert told == [*((key, False) for key in keys(rows)), (f"{rows:05}", True)]


#: A cell of every kind whose text jsonb has to be told, and values that are no JSON.
KINDS = Table(
    "shop",
    "kinds",
    "kinds",
    "numeric",
    (
        Column("real", ("real",), "double precision", "double"),
        Column("blob", ("blob",), "bytea", "binData"),
        Column("at", ("at",), "timestamptz", "date"),
        Column("plain", ("plain",), "json", "array"),
        Column("gone", ("gone",), "text", "string"),
        Column("t", ("t",), "text", "string"),
    ),
    TableOptions(deletion_strategy="both"),
)


def test_an_audited_row_is_kept_as_it_was(postgres_uri: str) -> None:
    nan = struct.pack("!d", float("nan"))
    seven = struct.pack("!hhHhh", 1, 0, 0, 0, 7)
    cells = (seven, nan, b"\0\xff", bytes(8), b'{"k":1,"k":2}', b"me", b"you")
    with opened(postgres_uri, KINDS) as owner:
        stored = row(*cells, bytes(8), b'\x01{"x":{"$numberInt":"1"}}')
        apply(owner, Batch(position(2), (upserts(stored, table=KINDS),)))
        fetch(postgres_uri, "ALTER TABLE shop.kinds ADD theirs int DEFAULT 5")
        delete(owner, KINDS, 3, ["7", "8"])
    assert fetch(postgres_uri, "SELECT * FROM shop.kinds") == []
    [(schema, table, key, last, time)] = audit(postgres_uri)
    assert (schema, table, key, time) == ("shop", "kinds", "7", AT)
    assert last.pop("_cwarp_synced_at")
    moment = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    for name in ("at", "_cwarp_source_ts"):
        assert datetime.fromisoformat(last.pop(name)) == moment
    assert last == {
        "_id": 7,
        "real": "NaN",
        "blob": "\\x00ff",
        "plain": {"k": 2},
        "gone": "me",
        "t": "you",
        "_cwarp_extra": {"x": {"$numberInt": "1"}},
        "theirs": 5,
    }


@pytest.mark.parametrize("careful", [False, True])
def test_every_deleted_row_is_audited_once(
    postgres_uri: str, rows: int, careful: bool
) -> None:
    late = (1 << 63) + 5
    with opened(postgres_uri, BOTH) as owner:
        bring(owner, BOTH, 2, keys(rows + 1))
        given = (*keys(rows), "nobody")
        changes = TableChanges(
            *(BOTH, (), given, rows + 1),
            delete_times=tuple(late + n for n in range(rows + 1)),
        )
        apply(owner, Batch(position(3), (changes,), careful=careful))
        delete(owner, BOTH, 4, keys(rows))
    assert [each[:3] for each in orders(postgres_uri)] == [(f"{rows:05}", 1, "same")]
    found = sorted(audit(postgres_uri))
    assert [(key, time) for _, _, key, _, time in found] == [
        (f'"{key}"', late + n) for n, key in enumerate(keys(rows))
    ]
    assert {(last["_id"], last["n"]) for *_, last, _ in found} == {
        (key, 1) for key in keys(rows)
    }


def test_an_audit_without_times(postgres_uri: str) -> None:
    with opened(postgres_uri, BOTH) as owner:
        bring(owner, BOTH, 2, keys(2))
        changes = TableChanges(BOTH, (), tuple(keys(2)), 2)
        apply(owner, Batch(position(3), (changes,)))
    assert [each[-1] for each in audit(postgres_uri)] == [None, None]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_lost_commit_is_audited_once(postgres_uri: str, cut: str) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, BOTH) as owner:
            bring(owner, BOTH, 2, keys(2))
            proxy.cut = cut
            if cut == "before":
                with pytest.raises(DestinationUnavailable):
                    delete(owner, BOTH, 3, keys(1))
                assert audit(postgres_uri) == []
                delete(owner, BOTH, 3, keys(1))
            else:
                delete(owner, BOTH, 3, keys(1))
    finally:
        proxy.close()
    assert marker(postgres_uri)[1:] == (3, b"token-3")
    assert [each[2] for each in audit(postgres_uri)] == ['"00000"']


def test_the_audit_is_nobody_elses(postgres_uri: str) -> None:
    """It is personal data, as the dead letter queue is."""
    with opened(postgres_uri, BOTH):
        pass
    with psycopg.connect(postgres_uri) as connection:
        connection.execute("CREATE ROLE warp_stranger")
        for table in ("deletion_audit", "dead_letter_queue"):
            rights = connection.execute(
                "SELECT r, has_table_privilege('warp_stranger', %s, r)"
                " FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS r",
                (f"{META}.{table}",),
            ).fetchall()
            assert len(rights) == 4
            assert not any(allowed for _, allowed in rights)
        connection.rollback()


# --- documents that are rejects -----------------------------------------------------


def reject(key: str) -> Reject:
    raw = document(("_id", string(key)), ("n", int32(-1)))
    return Reject(raw, "misfit", 0, f'"{key}"', 0)


def letters(uri: str) -> list[tuple[str, str]]:
    return fetch(uri, f"SELECT key, state FROM {META}.dead_letter_queue ORDER BY 1")  # type: ignore[return-value]


def reject_all(
    owner: PostgresDestination, table: Table, second: int, given: Sequence[str]
) -> None:
    """The newest state of these documents is a dead letter."""
    made = encoded(rejects=[reject(key) for key in given])
    changes = TableChanges(table, (made,), (), len(given), stale=tuple(given))
    apply(owner, Batch(position(second), (changes,)))


def test_the_former_row_of_a_reject_is_marked(postgres_uri: str) -> None:
    """It is no document's state; one that was marked before keeps its time."""
    with opened(postgres_uri, SOFT) as owner:
        bring(owner, SOFT, 2, keys(3))
        delete(owner, SOFT, 3, keys(1))
        [first, *_] = marks(postgres_uri)
        reject_all(owner, SOFT, 4, keys(2))
        found = marks(postgres_uri)
        assert found[0] == first
        assert [deleted for _, deleted, _ in found] == [True, True, False]
        assert found[1][2] > found[0][2]  # type: ignore[operator]
        assert letters(postgres_uri) == [
            ('"00000"', "pending"),
            ('"00001"', "pending"),
        ]
        # The one comes back, and the other is deleted: both letters are settled.
        bring(owner, SOFT, 5, keys(1))
        delete(owner, SOFT, 6, ["00001"])
    assert marks(postgres_uri)[0] == ("00000", False, None)
    assert marks(postgres_uri)[1:] == found[1:]


@pytest.mark.parametrize("table", [TABLE, BOTH], ids=["hard", "both"])
def test_the_former_row_of_a_reject_goes_and_is_no_delete(
    postgres_uri: str, table: Table
) -> None:
    with opened(postgres_uri, table) as owner:
        bring(owner, table, 2, keys(2))
        reject_all(owner, table, 3, keys(1))
        assert [key for key, *_ in orders(postgres_uri)] == ["00001"]
        assert audit(postgres_uri) == []
        delete(owner, table, 4, keys(1))
    assert audit(postgres_uri) == []
    assert letters(postgres_uri) == [('"00000"', "resolved")]


CHECK = "ALTER TABLE shop.orders ADD CONSTRAINT low CHECK (n >= 0) NOT VALID"


@pytest.mark.parametrize(
    ("table", "left"),
    [
        (TABLE, [("00001", None)]),
        (BOTH, [("00001", None)]),
        (SOFT, [("00000", "true"), ("00001", "false")]),
    ],
    ids=["hard", "both", "soft"],
)
def test_the_former_row_of_a_refused_one(
    postgres_uri: str, table: Table, left: list[tuple[str, str | None]]
) -> None:
    with opened(postgres_uri, table) as owner:
        bring(owner, table, 2, keys(2))
        fetch(postgres_uri, CHECK)
        encoder = owner.encoder(table, keep=True)
        encoder.add_document(reject("00000").document, 0)
        changes = TableChanges(table, (encoder.take(),), (), 1)
        refused = apply(owner, Batch(position(3), (changes,), careful=True))
    assert [each.key for each in refused["orders"]] == ['"00000"']
    query = "SELECT _id, to_jsonb(o) ->> 'is_deleted' FROM shop.orders o ORDER BY _id"
    assert fetch(postgres_uri, query) == left
    assert audit(postgres_uri) == []


def test_a_parent_is_audited_once_whatever_it_takes(postgres_uri: str) -> None:
    """It may not go before its children, which are deleted after it in the batch."""
    child = replace(BOTH, name="children", collection="children")
    with opened(postgres_uri, BOTH, child) as owner:
        bring(owner, BOTH, 2, ["p"])
        changes = upserts(order("k", 1, "p"), table=child)
        apply(owner, Batch(position(3), (changes,)))
        fetch(
            postgres_uri,
            "ALTER TABLE shop.children ADD FOREIGN KEY (note)"
            " REFERENCES shop.orders (_id)",
        )
        both = (
            TableChanges(BOTH, (), ("p",), 1, delete_times=(AT,)),
            TableChanges(child, (), ("k",), 1, delete_times=(AT,)),
        )
        apply(owner, Batch(position(4), both, careful=True))
    assert sorted(each[1:3] for each in audit(postgres_uri)) == [
        ("children", '"k"'),
        ("orders", '"p"'),
    ]


# --- names --------------------------------------------------------------------------


HOSTILE = ['x"; DROP SCHEMA shop CASCADE; --', "100% {gone} %s", "ä" * 31 + "x", " "]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_and_its_audit_may_have_any_name(postgres_uri: str, name: str) -> None:
    table = replace(BOTH, schema=name, name=name, collection=name)
    meta = name[::-1]
    with closing(
        make(postgres_uri, schema=name, database=name, meta=meta)
    ) as destination:
        destination.open(IDENTITY)
        destination.begin(position(1), 1)
        destination.ensure(table)
        bring(destination, table, 2, keys(2))
        delete(destination, table, 3, keys(1))
    quoted = '"' + meta.replace('"', '""') + '"'
    with psycopg.connect(postgres_uri) as connection:
        query = f"SELECT schema_name, table_name, key FROM {quoted}.deletion_audit"
        found = connection.execute(query.encode()).fetchall()
    assert found == [(name, name, '"00000"')]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_column_of_the_marks_may_have_any_name(
    postgres_uri: str, rows: int, name: str
) -> None:
    table = replace(SOFT, deleted_column=name)
    with opened(postgres_uri, table) as owner:
        bring(owner, table, 2, keys(rows))
        delete(owner, table, 3, keys(rows))
        bring(owner, table, 4, keys(rows)[:-1], guarded=True)
        [state] = owner.tables()
    assert state.table == table
    quoted = '"' + name.replace('"', '""') + '"'
    with psycopg.connect(postgres_uri) as connection:
        query = f"SELECT {quoted}, deleted_at FROM shop.orders ORDER BY _id"
        *others, last = connection.execute(query.encode()).fetchall()
    assert set(others) <= {(False, None)}
    assert last[0] is True
