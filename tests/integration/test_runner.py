"""One process: several schemas, outages, and what it returns."""

from __future__ import annotations

from typing import Any

import bson
import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp import config
from cartridge_warp.engine import runner
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import DestinationError, PreconditionError, SourceError
from engine_kit import SCHEMA, Running, Shop, wait_until


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    shop.db["orders"].insert_many([{"_id": n, "n": n} for n in range(500)])
    return shop


def test_a_schema_that_fails_never_stops_another(shop: Shop) -> None:
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute("CREATE SCHEMA taken")
        connection.execute("CREATE TABLE taken.orders (mine int)")
    settings = config.load(
        None,
        {
            "mode": "multi",
            "source.connection_string": shop.source_uri,
            "destination.connection_string": shop.postgres_uri,
            "schemas": [
                {"name": name, "database": shop.db.name} for name in ("taken", SCHEMA)
            ],
        },
        {},
    )
    progress = Progress()
    code = runner.run(settings, once=True, progress=progress, stop=StopSignal())
    assert code == PreconditionError.exit_code
    assert shop.differences("orders") == []
    phases = {each.name: each.phase for each in progress.snapshot().schemas}
    assert phases == {"taken": Phase.FAILED, SCHEMA: Phase.DONE}


def test_a_server_away_at_the_start_is_an_error_at_once(shop: Shop) -> None:
    shop.postgres_uri = "postgresql://postgres@127.0.0.1:1/nothing"
    with pytest.raises(PreconditionError):
        shop.once()


def test_a_stop_before_the_start_ends_it_cleanly(shop: Shop) -> None:
    stop = StopSignal()
    stop.request()
    progress = Progress()
    assert runner.run(shop.settings(), once=True, progress=progress, stop=stop) == 0
    assert progress.snapshot().schemas[0].phase is Phase.STOPPED
    shop.once()
    assert shop.differences("orders") == []


@pytest.mark.faults
def test_broken_connections_to_postgresql_are_survived(shop: Shop) -> None:
    with shop.running() as run:
        for number in range(3):
            with psycopg.connect(shop.postgres_uri, autocommit=True) as connection:
                ended = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchall()
            assert (True,) in ended
            shop.db["orders"].update_many({}, {"$inc": {"n": 1}})
            shop.db["orders"].delete_many({"_id": {"$gte": 400 - number}})
            shop.becomes_equal("orders")
        wait_until(lambda: run.schema().connected, "it says so")


@pytest.mark.faults
def test_broken_connections_to_mongodb_are_survived(shop: Shop) -> None:
    with shop.running() as run:
        admin = shop.db.client.admin
        broken = {"failCommands": ["getMore", "aggregate"], "closeConnection": True}
        admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=broken)
        try:
            shop.db["orders"].update_many({}, {"$inc": {"n": 1}})
            shop.db["orders"].delete_many({"_id": {"$gte": 400}})
            wait_until(lambda: run.schema().retries > 1, "the source is away")
            assert not run.schema().source_connected
        finally:
            admin.command("configureFailPoint", "failCommand", mode="off")
        shop.becomes_equal("orders")
        wait_until(lambda: run.schema().connected, "it says so")


def test_a_quiet_schema_still_moves_its_position(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would fall out of the oplog that other databases fill."""
    monkeypatch.setattr("cartridge_warp.engine.stream.IDLE_SECONDS", 0.5)
    elsewhere = shop.db.client[f"{shop.db.name}_elsewhere"]
    query = "SELECT cluster_time FROM cartridge_warp_metadata.sync_markers"
    try:
        with shop.running():
            (before,) = shop.rows(query)
            elsewhere["noise"].insert_one({})
            wait_until(lambda: shop.rows(query)[0] > before, "the marker moves")
    finally:
        shop.db.client.drop_database(elsewhere.name)


def test_a_dropped_database_does_not_stop_a_restart(shop: Shop) -> None:
    shop.once()
    shop.db.client.drop_database(shop.db.name)
    shop.once()
    with shop.running():
        shop.db["later"].insert_one({"_id": 1, "n": 1})
        shop.becomes_equal("later")
    assert shop.rows("SELECT count(*) FROM shop.orders") == [(500,)]


def errors(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(
        "SELECT table_name, kind, message FROM cartridge_warp_metadata.error_log"
    )


def test_what_ends_a_copy_is_in_the_error_log(shop: Shop) -> None:
    shop.once()
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute("TRUNCATE shop.orders")
        # What is there, and no table.
        connection.execute("ALTER TABLE shop.orders RENAME TO elsewhere")
        connection.execute("CREATE VIEW shop.orders AS SELECT * FROM shop.elsewhere")
        connection.execute(
            "UPDATE cartridge_warp_metadata.snapshot_chunks SET state = 'pending'"
        )
    with pytest.raises(DestinationError, match="42809"):
        shop.once()
    # Every worker that had the chunk, one after the other, may have met it.
    ((table, kind, message),) = set(errors(shop))
    assert (table, kind) == ("orders", "DestinationError")
    assert "WrongObjectType (42809)" in message
    runs = "SELECT status FROM cartridge_warp_metadata.sync_runs ORDER BY run_id"
    assert shop.rows(runs) == [("stopped",), ("failed",)]


def test_what_ends_a_stream_is_in_the_error_log(shop: Shop) -> None:
    shop.once()
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(
            "UPDATE cartridge_warp_metadata.sync_markers SET resume_token = %s",
            (bson.encode({"_data": "no token"}),),
        )
    with pytest.raises(SourceError):
        shop.once()
    ((table, kind, _),) = errors(shop)
    assert (table, kind) == (None, "SourceError")


def test_dead_letters_and_head_room_are_looked_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartridge_warp.engine.watch.LOOK_SECONDS", 0.1)

    def pending(run: Running) -> int | None:
        return run.table("orders").pending_letters

    with shop.running() as run:
        wait_until(lambda: pending(run) == 0, "the first look")
        with psycopg.connect(shop.postgres_uri) as connection:
            # It keeps the key as it is, so that another kind of id is no row.
            connection.execute(
                f"CREATE VIEW {SCHEMA}.v AS SELECT _id FROM {SCHEMA}.orders".encode()
            )
        shop.db["orders"].insert_one({"_id": "no number", "n": 1})
        wait_until(lambda: pending(run) == 1, "the dead letter is seen")
        oldest, position = run.schema().oldest_time, run.schema().position_time
        assert oldest is not None
        assert position is not None
        assert 0 < oldest <= position
    # One that an earlier run left is seen by the next.
    with shop.running() as run:
        wait_until(lambda: pending(run) == 1, "the dead letter is seen again")
