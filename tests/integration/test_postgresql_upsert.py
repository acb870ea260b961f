"""Rows over rows: a few as parameters, many through staging, equal ones not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import psycopg
import pytest

from cartridge_warp.errors import DestinationUnavailable
from cartridge_warp.model import Batch, Column, Table, TableChanges, TableOptions
from cartridge_warp.postgresql.destination import PostgresDestination
from postgresql_kit import (
    META,
    TABLE,
    apply,
    fetch,
    opened,
    order,
    orders,
    position,
    upserts,
)
from tests.core.build import (
    Raw,
    array,
    boolean,
    decimal,
    document,
    double,
    int32,
    null,
    string,
)

#: One of every kind whose equality is not that of its bytes, and json, which has none.
KINDS = Table(
    "shop",
    "kinds",
    "kinds",
    "string",
    (
        Column("real", ("real",), "double precision", "double"),
        Column("exact", ("exact",), "numeric", "decimal"),
        Column("tree", ("tree",), "jsonb", "array"),
        Column("plain", ("plain",), "json", "array"),
        Column("flag", ("flag",), "boolean", "bool"),
    ),
    TableOptions(),
)
VALUES: dict[str, Raw] = {
    "real": double(0.0),
    "exact": decimal("1.0"),
    "tree": array(int32(1)),
    "plain": array(int32(1)),
    "flag": boolean(True),
    "stray": int32(1),
}
#: Enough rows of any table here to go through staging.
MANY = 500


@pytest.fixture
def owner(postgres_uri: str) -> Iterator[PostgresDestination]:
    with opened(postgres_uri, TABLE, KINDS) as made:
        yield made


@pytest.fixture(params=[1, MANY], ids=["direct", "staged"])
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def bring(
    owner: PostgresDestination,
    second: int,
    rows: int,
    *,
    guarded: bool = True,
    **changes: Raw,
) -> None:
    """The rows of ``VALUES``, with changes in the first one alone."""
    encoder = owner.encoder(KINDS)
    for number in range(rows):
        values = {**VALUES, **(changes if number == 0 else {})}
        row = document(("_id", string(f"{number:05}")), *values.items())
        encoder.add_document(row, second << 32)
    changed = TableChanges(KINDS, (encoder.take(),), (), rows)
    apply(owner, Batch(position(second), (changed,), guarded=guarded))


def versions(uri: str) -> list[tuple[str, ...]]:
    """Which version of each row is there; an update makes a new one."""
    return fetch(uri, "SELECT xmin::text, ctid::text FROM shop.kinds ORDER BY _id")  # type: ignore[return-value]


@pytest.mark.parametrize(
    "changes",
    [
        {"real": double(-0.0)},
        {"exact": decimal("1.00")},
        {"tree": array(double(1.0))},
        {"plain": array(double(1.0))},
        {"flag": null()},
        {"stray": double(1.0)},
        {"stray": int32(2)},
    ],
    ids=str,
)
def test_equal_rows_are_not_written_and_no_change_is_missed(
    postgres_uri: str,
    owner: PostgresDestination,
    rows: int,
    changes: dict[str, Raw],
) -> None:
    bring(owner, 2, rows)
    before = versions(postgres_uri)
    bring(owner, 3, rows)
    assert versions(postgres_uri) == before
    bring(owner, 4, rows, **changes)
    after = versions(postgres_uri)
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    bring(owner, 5, rows, **changes)
    assert versions(postgres_uri) == after
    bring(owner, 6, rows, guarded=False, **changes)
    assert not set(versions(postgres_uri)) & set(after)


def test_the_times_of_a_row_alone_are_no_reason_to_write(
    postgres_uri: str, owner: PostgresDestination, rows: int
) -> None:
    query = "SELECT _cwarp_source_ts, _cwarp_synced_at FROM shop.kinds"
    bring(owner, 2, rows)
    before = fetch(postgres_uri, query)
    bring(owner, 9, rows)
    assert fetch(postgres_uri, query) == before


def test_new_rows_come_in_beside_equal_ones(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    bring(owner, 2, 3)
    before = versions(postgres_uri)
    bring(owner, 3, 5)
    assert versions(postgres_uri)[:3] == before
    assert len(versions(postgres_uri)) == 5


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 1500])
def test_few_and_many_rows_arrive_alike(
    postgres_uri: str, owner: PostgresDestination, count: int
) -> None:
    expected: list[tuple[str, int, str | None]] = [
        (f"{n:05}", n, None if n % 3 else "x" * n) for n in range(count)
    ]
    for second, shift in ((2, 0), (3, 7)):
        packed = [order(key, n + shift, note) for key, n, note in expected]
        apply(owner, Batch(position(second), (upserts(*packed),)))
        assert orders(postgres_uri) == [(k, n + shift, t) for k, n, t in expected]
    [(applied,)] = fetch(
        postgres_uri,
        f"SELECT applied FROM {META}.table_state WHERE table_name = 'orders'",
    )
    assert applied == 2 * count


def test_few_rows_need_no_temporary_table(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    query = "SELECT count(*) FROM pg_class WHERE relname LIKE 'cwarp_staging_%%'"
    applier = owner.applier()
    applier.commit(Batch(position(2), (upserts(order("a", 1)),)))
    assert fetch(postgres_uri, query) == [(0,)]
    many = upserts(*(order(f"{n:05}", n) for n in range(MANY)))
    applier.commit(Batch(position(3), (many,)))
    assert fetch(postgres_uri, query) == [(1,)]
    applier.close()


def test_a_column_that_was_widened_outside_takes_them(
    postgres_uri: str, owner: PostgresDestination, rows: int
) -> None:
    """A parameter has the type it was encoded for, not the column's."""
    fetch(postgres_uri, "ALTER TABLE shop.orders ALTER n TYPE numeric")
    packed = [order(f"{n:05}", n) for n in range(rows)]
    apply(owner, Batch(position(2), (upserts(*packed),)))
    assert [n for _, n, _ in orders(postgres_uri)] == list(range(rows))


def test_a_deadlock_is_retried(
    postgres_uri: str, owner: PostgresDestination, rows: int
) -> None:
    first, last = f"{0:05}", f"{MANY:05}"
    start = [order(first, 0), order(last, 0)]
    apply(owner, Batch(position(2), (upserts(*start),)))
    packed = [order(f"{n:05}", 7) for n in (*range(rows), MANY)]
    batch = Batch(position(3), (upserts(*packed),))
    applier = owner.applier()
    failed: list[Exception] = []

    def commit() -> None:
        try:
            applier.commit(batch)
        except DestinationUnavailable as error:
            failed.append(error)

    with psycopg.connect(postgres_uri) as rival:
        # Whoever looks first for a deadlock is the one that gives way.
        rival.execute("SET deadlock_timeout = '60s'")
        update = "UPDATE shop.orders SET note = 'rival' WHERE _id = %s"
        rival.execute(update, (last,))
        thread = threading.Thread(target=commit)
        thread.start()
        _wait_until_locked(postgres_uri)
        rival.execute(update, (first,))
        thread.join(30)
    [error] = failed
    assert "40P01" in str(error)
    applier.commit(batch)
    applier.close()
    assert [(n, note) for _, n, note in orders(postgres_uri)] == [(7, None)] * (
        rows + 1
    )


def _wait_until_locked(uri: str) -> None:
    waiting: Sequence[object] = ()
    while not waiting:
        waiting = fetch(
            uri,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE %s AND wait_event_type = 'Lock'",
            "cartridge-warp stream %",
        )
