"""The one data transaction: all of it or nothing, once, with the marker."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

import pytest

from cartridge_warp.errors import DestinationError, DestinationUnavailable, Fenced
from cartridge_warp.model import Batch, Table, TableChanges
from cwarp_core import Drift, Reject
from postgresql_kit import (
    META,
    TABLE,
    CommitCutter,
    apply,
    encoded,
    end_backends,
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

DEAD_LETTERS = (
    f"SELECT key, reason, state, attempts, raw FROM {META}.dead_letter_queue"
    " ORDER BY letter_id"
)


def poison(
    key: str | None, document: bytes = b"poison", code: str = "corrupt"
) -> Reject:
    return Reject(document, code, 7, key, -1)


@pytest.fixture
def proxy(postgres_uri: str) -> Iterator[CommitCutter]:
    cutter = CommitCutter(postgres_uri)
    yield cutter
    cutter.close()


def test_rows_deletes_and_the_marker_move_together(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        apply(
            destination,
            Batch(position(2), (upserts(order("a", 1, "x"), order("b", 2)),)),
        )
        assert orders(postgres_uri) == [("a", 1, "x"), ("b", 2, None)]
        changes = TableChanges(
            TABLE, (encoded([order("a", 10)]), encoded([order("c", 3)])), ("b",), 5
        )
        apply(destination, Batch(position(3), (changes,)))
    assert orders(postgres_uri) == [("a", 10, None), ("c", 3, None)]
    assert marker(postgres_uri) == (1, 3, b"token-3")
    counters = fetch(
        postgres_uri,
        "SELECT events, applied, deleted, superseded, rejected"
        f" FROM {META}.table_state",
    )
    assert counters == [(7, 5, 1, 2, 0)]


def test_synced_at_is_the_time_of_the_last_write(postgres_uri: str) -> None:
    query = "SELECT _cwarp_synced_at FROM shop.orders"
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        [(first,)] = fetch(postgres_uri, query)
        apply(destination, Batch(position(3), (upserts(order("a", 1)),)))
        [(second,)] = fetch(postgres_uri, query)
    assert second > first


def test_a_quiet_stream_moves_the_position_alone(postgres_uri: str) -> None:
    with opened(postgres_uri) as destination:
        apply(destination, Batch(position(5)))
        apply(destination, Batch(position(5)))
    assert marker(postgres_uri) == (1, 3, b"token-5")


def test_the_position_never_goes_back(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(5)))
        with pytest.raises(DestinationError, match="go back in time"):
            apply(destination, Batch(position(4), (upserts(order("a", 1)),)))
    assert orders(postgres_uri) == []
    assert marker(postgres_uri) == (1, 2, b"token-5")


def test_tables_of_one_batch_commit_together(postgres_uri: str) -> None:
    other = Table("shop", "other", "other", "string", TABLE.columns)
    with opened(postgres_uri, TABLE, other) as destination:
        bad = TableChanges(
            other, (encoded([row(b"a", b"nine bytes", None, None, None)]),)
        )
        with pytest.raises(DestinationError, match="22P03"):
            apply(destination, Batch(position(2), (upserts(order("a", 1)), bad)))
        assert orders(postgres_uri) == []
        good = upserts(order("b", 2), table=other)
        apply(destination, Batch(position(2), (upserts(order("a", 1)), good)))
    assert orders(postgres_uri) == [("a", 1, None)]
    assert fetch(postgres_uri, "SELECT _id FROM shop.other") == [("b",)]


@pytest.mark.parametrize(
    ("key", "cell", "text"),
    [
        ("objectId", b"0123456789abcdef01234567", "0123456789abcdef01234567"),
        ("canonical", b'{"a":1}', '{"a":1}'),
        ("uuid", uuid.UUID(int=5).bytes, str(uuid.UUID(int=5))),
        ("bigint", struct.pack("!q", -7), "-7"),
        ("numeric", struct.pack("!hhHhh", 1, 0, 0, 0, 15), "15"),
    ],
)
def test_deletes_by_key_text(
    postgres_uri: str, key: str, cell: bytes, text: str
) -> None:
    table = Table("shop", "keys", "keys", key, ())
    with opened(postgres_uri, table) as destination:
        insert = upserts(row(cell, None, None), table=table)
        apply(destination, Batch(position(2), (insert,)))
        assert fetch(postgres_uri, "SELECT _id::text FROM shop.keys") == [(text,)]
        apply(
            destination,
            Batch(position(3), (TableChanges(table, deletes=(text,), events=1),)),
        )
    assert fetch(postgres_uri, "SELECT _id FROM shop.keys") == []


def test_rejects_become_dead_letters_of_the_transaction(postgres_uri: str) -> None:
    batch = encoded([order("a", 1)], [poison("k"), poison(None, b"\0\1")])
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (TableChanges(TABLE, (batch,), (), 3),)))
        assert set(fetch(postgres_uri, DEAD_LETTERS)) == {
            (None, "corrupt", "pending", 1, b"\0\1"),
            ("k", "corrupt", "pending", 1, b"poison"),
        }
        apply(destination, Batch(position(3), (TableChanges(TABLE, (batch,), (), 3),)))
    letters = fetch(postgres_uri, DEAD_LETTERS)
    assert [attempts for _, _, _, attempts, _ in letters] == [2, 2]
    assert fetch(postgres_uri, f"SELECT rejected FROM {META}.table_state") == [(4,)]


def test_a_later_good_event_resolves_its_dead_letter(postgres_uri: str) -> None:
    rejects = [*map(poison, ('"a"', '"b"', '"c"', '"d"')), poison(None)]
    with opened(postgres_uri, TABLE) as destination:
        bad = TableChanges(TABLE, (encoded(rejects=rejects),), (), 4)
        apply(destination, Batch(position(2), (bad,)))
    with opened(postgres_uri, TABLE) as destination:
        good = TableChanges(
            TABLE, (encoded([order("a", 1)]),), ("b",), 3, unheld=('"d"',)
        )
        apply(destination, Batch(position(3), (good,)))
    states = {key: state for key, _, state, *_ in fetch(postgres_uri, DEAD_LETTERS)}
    assert states == {
        '"a"': "resolved",
        '"b"': "resolved",
        '"c"': "pending",
        '"d"': "resolved",
        None: "pending",
    }


def test_a_key_that_no_text_holds_is_kept_escaped(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        bad = TableChanges(TABLE, (encoded(rejects=[poison("a\0b")]),), (), 1)
        apply(destination, Batch(position(2), (bad,)))
    assert fetch(postgres_uri, DEAD_LETTERS)[0][0] == "a\\u0000b"


def test_rescued_values_are_logged_once_a_minute(postgres_uri: str) -> None:
    drift = [Drift(("a", "b"), "string", 0, 0, 2), Drift(("a", "b"), "string", 0, 0, 1)]
    changes = TableChanges(TABLE, (encoded([order("a", 1)], (), drift),), (), 1)
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (changes,)))
        apply(destination, Batch(position(3), (changes,)))
    log = fetch(postgres_uri, f"SELECT kind, count, message FROM {META}.error_log")
    assert [(kind, count) for kind, count, _ in log] == [("rescued", 3)]
    assert "a.b" in log[0][2]
    assert fetch(postgres_uri, f"SELECT rescued FROM {META}.table_state") == [(6,)]


@pytest.mark.parametrize("rows", [1, 500])
@pytest.mark.parametrize(
    "moment",
    [
        "tx_begin",
        "mid_copy",
        "copy_done",
        "merge_done",
        "marker_updated",
        "commit_sent",
    ],
)
def test_a_backend_that_dies_applies_nothing(
    postgres_uri: str, moment: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def reached(point: str) -> None:
        if point == moment and not killed:
            killed.append(end_backends(postgres_uri, "stream"))

    batch = Batch(position(2), (upserts(*(order(f"{n:03}", n) for n in range(rows))),))
    with opened(postgres_uri, TABLE) as destination:
        for module in ("applier", "sessions", "staging", "upsert"):
            monkeypatch.setattr(f"cartridge_warp.postgresql.{module}.reached", reached)
        applier = destination.applier()
        with pytest.raises(DestinationUnavailable):
            applier.commit(batch)
        assert killed == [1]
        assert orders(postgres_uri) == []
        assert marker(postgres_uri) == (1, 1, b"token-1")
        applier.commit(batch)
        applier.close()
    assert len(orders(postgres_uri)) == rows
    assert marker(postgres_uri) == (1, 2, b"token-2")


def test_letters_have_their_points(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points: list[str] = []
    monkeypatch.setattr("cartridge_warp.metadata.letters.reached", points.append)
    batch = encoded([order("a", 1)], [poison("k"), poison(None, b"\0\1")])
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (TableChanges(TABLE, (batch,), (), 3),)))
        apply(destination, Batch(position(3), (upserts(order("a", 2)),)))
    assert points == ["dlq_row", "dlq_row", "dlq_done"]


def test_an_idle_connection_that_was_closed_is_opened_again(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        applier.commit(Batch(position(2)))
        assert end_backends(postgres_uri, "stream") == 1
        applier.commit(Batch(position(3)))
        applier.close()
    assert marker(postgres_uri) == (1, 3, b"token-3")


def test_a_commit_whose_answer_is_lost_counts_once(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    with opened(proxy.uri, TABLE) as destination:
        proxy.cut = "after"
        apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        assert proxy.cut is None
        apply(destination, Batch(position(3), (upserts(order("a", 2)),)))
    assert orders(postgres_uri) == [("a", 2, None)]
    assert marker(postgres_uri) == (1, 3, b"token-3")


def test_a_commit_that_never_arrived_is_reported_and_repeated(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    batch = Batch(position(2), (upserts(order("a", 1)),))
    with opened(proxy.uri, TABLE) as destination:
        proxy.cut = "before"
        with pytest.raises(DestinationUnavailable):
            apply(destination, batch)
        assert orders(postgres_uri) == []
        apply(destination, batch)
    assert orders(postgres_uri) == [("a", 1, None)]
    assert marker(postgres_uri) == (1, 2, b"token-2")


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_outcome_unknown_for_longer_is_settled_by_the_repeated_call(
    postgres_uri: str, proxy: CommitCutter, cut: str
) -> None:
    batch = Batch(position(2), (upserts(order("a", 1)),))
    with opened(proxy.uri, TABLE) as destination:
        proxy.cut, proxy.down_after = cut, True
        for _ in range(2):
            with pytest.raises(DestinationUnavailable):
                apply(destination, batch)
        proxy.down = False
        apply(destination, batch)
        assert marker(postgres_uri) == (1, 2, b"token-2")
        apply(destination, Batch(position(3)))
    assert orders(postgres_uri) == [("a", 1, None)]
    assert fetch(postgres_uri, f"SELECT applied FROM {META}.table_state") == [(1,)]


def test_a_takeover_while_the_outcome_is_unknown_fences(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    batch = Batch(position(2), (upserts(order("a", 1)),))
    with opened(proxy.uri, TABLE) as destination:
        proxy.cut, proxy.down_after = "before", True
        with pytest.raises(DestinationUnavailable):
            apply(destination, batch)
        with opened(postgres_uri):
            proxy.down = False
            with pytest.raises(Fenced):
                apply(destination, batch)
    assert orders(postgres_uri) == []


def test_an_equal_batch_is_another_batch(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    """Two writes of one value are two events, each with its place in history."""
    with opened(proxy.uri, TABLE) as destination:
        proxy.cut, proxy.down_after = "after", True
        with pytest.raises(DestinationUnavailable):
            apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        proxy.down = False
        apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
    assert marker(postgres_uri) == (1, 3, b"token-2")
    assert fetch(postgres_uri, f"SELECT applied FROM {META}.table_state") == [(2,)]


def test_no_transaction_and_no_temporary_row_is_left_behind(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        applier.commit(Batch(position(2), (upserts(order("a", 1)),)))
        with pytest.raises(DestinationError):
            applier.commit(Batch(position(1), (upserts(order("b", 1)),)))
        applier.commit(Batch(position(3), (upserts(order("c", 1)),)))
        states = fetch(
            postgres_uri,
            "SELECT state FROM pg_stat_activity WHERE application_name LIKE %s"
            " AND datname = current_database()",
            "cartridge-warp stream %",
        )
        assert states == [("idle",)]
        applier.close()
    assert [key for key, *_ in orders(postgres_uri)] == ["a", "c"]


def test_what_needs_an_owner_asks_for_one(postgres_uri: str) -> None:
    destination = make(postgres_uri)
    with pytest.raises(DestinationError, match="not open"):
        apply(destination, Batch(position(2)))
    destination.close()
