"""How a resync begins and ends in the metadata; what becomes of a lost collection."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from resync_kit import (
    EVERYTHING,
    ORIGIN,
    PLAIN,
    copied,
    letters,
    ranges,
    resynced,
    rows,
    table_of,
)

from cartridge_warp.errors import (
    DestinationError,
    Fenced,
    LockTimeout,
    PreconditionError,
    StructureRefused,
)
from cartridge_warp.model import Batch, Origin
from postgresql_kit import META, apply, fetch, opened, position

SIGNALS = (
    "SELECT verb, table_name, accepted_at IS NOT NULL, done_at IS NOT NULL"
    f" FROM {META}.signals ORDER BY signal_id"
)
MARKERS = f"SELECT lane, seq, resume_token FROM {META}.sync_markers ORDER BY lane"
TWO = [{"_id": 1, "n": 1}, {"_id": 2, "n": 2}]


def ask(uri: str, table: str = "orders") -> None:
    fetch(
        uri,
        f"INSERT INTO {META}.signals (schema_name, verb, table_name)"
        " VALUES ('shop', 'resync', %s)",
        table,
    )


def test_a_request_is_accepted_with_the_plan_and_done_with_the_last_chunk(
    postgres_uri: str,
) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, TWO)
        assert owner.asked() == []
        ask(postgres_uri)
        ask(postgres_uri)
        assert owner.asked() == ["orders"]
        assert owner.tables()[0].asked
        owner.leave([PLAIN])
        owner.replan(PLAIN, ranges(2), ORIGIN)
        [state] = owner.tables()
        assert (state.asked, state.left, state.gone) == (False, False, False)
        assert state.origin == ORIGIN
        assert [each.resync for each in state.chunks] == [True, True]
        assert fetch(postgres_uri, SIGNALS) == [("resync", "orders", True, False)] * 2
        resynced(owner, PLAIN, TWO[:1])
        assert fetch(postgres_uri, SIGNALS)[0][-1] is False
        # One that comes while the work is under way is for the next time.
        ask(postgres_uri)
        resynced(owner, PLAIN, TWO[1:])
        assert [each[2:] for each in fetch(postgres_uri, SIGNALS)] == [
            *((True, True), (True, True), (False, False))
        ]
        assert owner.asked() == ["orders"]


def test_a_new_position_and_every_wish_are_stored_at_once(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN, lanes=2) as owner:
        copied(owner, PLAIN, TWO)
        apply(owner, Batch(position(2), lanes=(1,)))
        with pytest.raises(DestinationError, match="different places"):
            owner.begin(position(9), 3)
        owner.restart(position(9), 3)
        assert owner.asked() == ["orders"]
        found = fetch(postgres_uri, MARKERS)
        assert [each[::2] for each in found] == [(n, b"token-9") for n in range(3)]
        # Asked for once, however often it is said.
        owner.restart(position(9), 1)
        assert len(fetch(postgres_uri, SIGNALS)) == 1
        apply(owner, Batch(position(10)))
        with pytest.raises(DestinationError, match="go back in time"):
            owner.restart(position(3), 1)
        assert fetch(postgres_uri, MARKERS)[0][2] == b"token-10"


def test_a_former_owner_begins_nothing(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as former:
        copied(former, PLAIN, TWO)
        with opened(postgres_uri) as owner:
            for work in (
                lambda: former.restart(position(9), 1),
                lambda: former.replan(PLAIN, [EVERYTHING], ORIGIN),
                lambda: former.retire(PLAIN, "truncate", ORIGIN),
                lambda: former.know(PLAIN, ORIGIN),
            ):
                with pytest.raises(Fenced):
                    work()
            [state] = owner.tables()
        assert state.complete
        assert (state.asked, state.gone, state.origin) == (False, False, Origin())
    assert len(rows(postgres_uri)) == 2


def test_a_table_that_was_changed_outside_is_not_planned(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, TWO)
        ask(postgres_uri)
        fetch(postgres_uri, "ALTER TABLE shop.orders DROP COLUMN note")
        with pytest.raises(PreconditionError, match="column note of"):
            owner.replan(PLAIN, [EVERYTHING], ORIGIN)
        assert owner.asked() == ["orders"]


def test_which_collection_a_table_is_of(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, TWO)
        assert owner.tables()[0].origin == Origin()
        owner.know(PLAIN, ORIGIN)
        [state] = owner.tables()
        assert state.origin == ORIGIN
        assert state.complete


def poison(owner: Any, table: Any) -> None:
    copied(owner, table, [*TWO, {"_id": "text"}])


@pytest.mark.parametrize("policy", ["keep", "truncate", "drop"])
def test_a_collection_that_is_gone(postgres_uri: str, policy: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        poison(owner, PLAIN)
        ask(postgres_uri)
        owner.replan(PLAIN, ranges(2), ORIGIN)
        ask(postgres_uri)
        # Its COMMIT's answer may be lost: it is done twice then.
        for _ in range(2):
            owner.retire(PLAIN, policy, Origin(77))
        assert owner.asked() == []
        found = owner.tables()
        if policy == "drop":
            assert found == []
            assert fetch(postgres_uri, "SELECT to_regclass('shop.orders')") == [(None,)]
            owner.ensure(PLAIN)
            poison(owner, PLAIN)
            assert len(rows(postgres_uri)) == 2
        else:
            [state] = found
            assert (state.complete, state.chunks) == (True, ())
            assert (state.gone, state.origin) == (policy == "keep", Origin(77))
            kept = 2 if policy == "keep" else 0
            assert len(rows(postgres_uri)) == kept
            assert len(letters(postgres_uri)) == (policy == "keep")
        logged = f"SELECT kind, table_name FROM {META}.error_log"
        assert set(fetch(postgres_uri, logged)) == {("gone", "orders")}


@pytest.mark.parametrize(
    ("policy", "dependent"),
    [
        ("drop", "CREATE VIEW shop.few AS SELECT * FROM shop.orders"),
        ("truncate", "CREATE TABLE shop.lines (o bigint REFERENCES shop.orders)"),
    ],
)
def test_what_something_depends_on_is_not_removed(
    postgres_uri: str, policy: str, dependent: str
) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, TWO)
        fetch(postgres_uri, dependent)
        with pytest.raises(StructureRefused):
            owner.retire(PLAIN, policy, ORIGIN)
        [state] = owner.tables()
        assert (state.complete, len(state.chunks)) == (True, 1)
        owner.retire(PLAIN, "keep", ORIGIN)
    assert len(rows(postgres_uri)) == 2


def test_a_reader_is_not_kept_waiting_for_long(postgres_uri: str) -> None:
    with opened(postgres_uri, PLAIN) as owner:
        copied(owner, PLAIN, TWO)
        with psycopg.connect(postgres_uri) as reader:
            reader.execute("SELECT count(*) FROM shop.orders")
            with pytest.raises(LockTimeout):
                owner.retire(PLAIN, "truncate", ORIGIN)
        owner.retire(PLAIN, "truncate", ORIGIN)
    assert rows(postgres_uri) == []


def test_soft_deleted_rows_are_truncated_too(postgres_uri: str) -> None:
    table = table_of(deletion_strategy="soft")
    with opened(postgres_uri, table) as owner:
        copied(owner, table, TWO)
        owner.replan(table, [EVERYTHING], ORIGIN)
        resynced(owner, table, TWO[:1])
        assert len(rows(postgres_uri)) == 2
        owner.retire(table, "truncate", ORIGIN)
    assert rows(postgres_uri) == []
