"""A real oplog is rolled over while nothing runs, and everything is equal again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import HistoryLost, PreconditionError
from cartridge_warp.model import Table
from cartridge_warp.postgresql.destination import PostgresDestination
from engine_kit import SCHEMA, Shop, wait_until
from postgresql_kit import META
from tests.command import PASSWORD, Ended, cwarp, sync

Document = dict[str, Any]
Client = MongoClient[Document]


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    """A server whose oplog holds one megabyte, if as much."""
    extra = ("--oplogSize", "1", "--syncdelay", "1")
    with embedded.mongod(own=True, extra_args=extra) as server:
        yield server.uri


@pytest.fixture
def db(small: str, request: pytest.FixtureRequest) -> Iterator[Database[Document]]:
    name = f"test_{re.sub('[^a-z]', '_', request.node.name.lower())}"[:38]
    with Client(small) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def shop(db: Database[Document], small: str, postgres_uri: str) -> Shop:
    made = Shop(db, small, postgres_uri)
    # One that never changes, one that changes, one that goes, one that is replaced.
    for name in ("quiet", "orders", "gone", "replaced"):
        db[name].insert_many([{"_id": n, "n": n} for n in range(50)])
    made.once()
    with psycopg.connect(postgres_uri) as connection:
        connection.execute("CREATE VIEW shop.few AS SELECT _id, n FROM shop.orders")
    return made


def roll_over(shop: Shop) -> None:
    """Write until nothing of what is in the oplog now is there any more."""
    client = shop.db.client
    oplog = client["local"]["oplog.rs"]
    now = client.admin.command("ping")["operationTime"]
    for _ in range(600):
        client["other"].c.insert_one({"text": "x" * 500_000})
        oldest = next(iter(oplog.find().sort("$natural", 1).limit(1)))
        if oldest["ts"] > now:
            client.drop_database("other")
            return
    raise AssertionError("the oplog keeps everything")


def change(shop: Shop) -> None:
    """What no stream will ever tell of."""
    db = shop.db
    db["orders"].delete_many({"_id": {"$lt": 10}})
    db["orders"].update_many({"_id": {"$gte": 40}}, {"$inc": {"n": 100}})
    db["orders"].insert_many([{"_id": n, "n": n} for n in range(50, 55)])
    db["gone"].drop()
    db["replaced"].drop()
    db["replaced"].insert_many([{"_id": n, "m": str(n)} for n in range(40, 60)])
    db["new"].insert_many([{"_id": ObjectId(), "n": n} for n in range(20)])
    roll_over(shop)


def is_healed(shop: Shop, *, gone: int = 50) -> None:
    for name in ("quiet", "orders", "replaced", "new"):
        assert shop.differences(name) == []
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.gone") == [(gone,)]
    assert shop.rows("SELECT count(*), min(_id) FROM shop.few") == [(45, 10)]
    query = f"SELECT written, removed FROM {META}.snapshot_chunks WHERE resync"
    assert shop.rows(f"{query} AND table_name = 'quiet'") == [(0, 0)]
    assert shop.rows(f"{query} AND table_name = 'orders'") == [(15, 10)]


def command_of(ended: Ended) -> list[str]:
    """The command that the hint tells to run."""
    (found,) = re.findall(r"run: (cwarp sync .*?--full-resync)", ended.err)
    return shlex.split(found)[1:]


@pytest.mark.parametrize("by", ["file", "arguments"])
def test_the_process_says_what_to_run_and_that_heals(
    shop: Shop, tmp_path: Path, by: str
) -> None:
    change(shop)
    file = tmp_path / "warp.yaml"
    file.write_text(
        f"source: {{connection_string: '{shop.source_uri}'}}\n"
        f"destination: {{connection_string: '{shop.postgres_uri}'}}\n"
        f"schemas: [{{name: {SCHEMA}, database: {shop.db.name}}}]\n"
    )
    settings = {
        "file": ("--config", str(file)),
        "arguments": (shop.source_uri, shop.postgres_uri, "--schema", SCHEMA),
    }[by]
    ended = sync(*settings, "--once")
    assert ended.code == 6, ended.err
    for words in (
        f"schema {SCHEMA}",
        "gone, new, orders",
        " old)",
        "begins at",
        "286",
    ):
        assert words in ended.err
    assert shop.differences("orders") != []
    assert shop.rows("SELECT count(*) FROM shop.few") == [(50,)]
    healed = cwarp(*command_of(ended))
    assert healed.code == 0, healed.err
    is_healed(shop)
    # From here on it goes on as ever.
    shop.db["orders"].delete_one({"_id": 10})
    assert sync(*settings, "--once").code == 0
    assert shop.differences("orders") == []


def test_the_tables_that_are_named_are_those_of_the_stream(shop: Shop) -> None:
    shop.db["counts"].insert_many([{"_id": n, "n": n} for n in range(5)])
    hashed = {"mode": "batch", "change_detection_strategy": "hash"}
    settings: dict[str, Any] = {
        "table_blacklist": ["quiet"],
        "tables": {"counts": hashed},
    }
    shop.once(**settings)
    change(shop)
    with pytest.raises(HistoryLost) as caught:
        shop.once(**settings)
    assert "for the tables gone, new, orders, replaced (" in str(caught.value)


def test_no_password_is_in_the_command(shop: Shop) -> None:
    change(shop)
    address = shop.source_uri.replace("mongodb://", f"mongodb://u:{PASSWORD}@")
    shop.db.client.admin.command("createUser", "u", pwd=PASSWORD, roles=["root"])
    try:
        uri = f"{address}&authSource=admin"
        ended = sync(uri, shop.postgres_uri, "--schema", SCHEMA, "--once")
    finally:
        shop.db.client.admin.command("dropUser", "u")
    assert ended.code == 6, ended.err
    assert PASSWORD not in ended.err
    assert command_of(ended)[-1] == "--full-resync"


def test_heals_by_itself_where_the_settings_say_so(shop: Shop) -> None:
    change(shop)
    shop.source["on_history_lost"] = "resync"
    with shop.running() as run:
        wait_until(
            lambda: (
                len(run.schema().tables) == 5
                and all(
                    table.phase in (Phase.STREAMING, Phase.GONE)
                    for table in run.schema().tables
                )
            ),
            "everything is consistent",
        )
        is_healed(shop)
        shop.db["gone"].insert_one({"_id": 7})
        shop.db["new"].update_many({}, {"$inc": {"n": 1}})
        shop.becomes_equal("gone")
        shop.becomes_equal("new")
    told = f"SELECT count(*) FROM {META}.error_log WHERE kind = 'HistoryLost'"
    assert shop.rows(told) == [(1,)]
    ended = f"SELECT status FROM {META}.sync_runs ORDER BY run_id"
    assert [each for (each,) in shop.rows(ended)] == ["stopped", "failed", "stopped"]


def test_lost_while_it_runs(shop: Shop) -> None:
    """A table is locked for longer than the oplog reaches back."""
    shop.source["on_history_lost"] = "resync"
    with shop.running(default_max_parallel_streams=2) as run:
        shop.becomes_equal("orders")
        with psycopg.connect(shop.postgres_uri) as reader:
            reader.execute("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE")
            shop.db["orders"].update_many({}, {"$inc": {"n": 1}})
            for number in range(150):
                shop.db["large"].insert_one({"_id": number, "text": "x" * 700_000})
                shop.db["orders"].update_one({"_id": 7}, {"$inc": {"n": 1}})
            shop.db["orders"].delete_one({"_id": 8})
            shop.db["large"].delete_many({"_id": {"$gte": 2}})
            roll_over(shop)
        told = f"SELECT count(*) FROM {META}.error_log WHERE kind = 'HistoryLost'"
        wait_until(lambda: shop.rows(told) == [(1,)], "it is noticed")
        for name in ("orders", "large", "quiet"):
            shop.becomes_equal(name)
        wait_until(
            lambda: run.table("orders").phase is Phase.STREAMING, "it is consistent"
        )
        shop.db["orders"].delete_one({"_id": 9})
        shop.becomes_equal("orders")


#: One collection is read in passes, the others are streamed.
PASSES: Document = {
    "tables": [
        {
            "name": "b",
            "mode": "batch",
            "change_detection_strategy": "hash",
            "polling_interval_seconds": 0.2,
        }
    ]
}


@pytest.mark.parametrize("runs", [True, False])
def test_a_filter_that_leaves_no_streamed_table(
    shop: Shop, runs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The position goes on all the same. It may even be lost: no table needs it, and
    those that were left are resynced when they are selected again."""
    shop.db["b"].insert_one({"_id": 1})
    shop.once(**PASSES)
    if runs:
        with shop.running(**PASSES, table_whitelist=["b"]) as run:
            before = run.schema().position_time or 0
            change(shop)
            shop.db["b"].insert_one({"_id": 2})
            shop.becomes_equal("b")
            wait_until(
                lambda: (
                    (run.schema().position_time or 0) > (run.schema().oldest_time or 0)
                    and (run.schema().oldest_time or 0) > before
                ),
                "the position passes what is rolled over",
            )
            assert run.schema().phase is Phase.STREAMING
    else:
        change(shop)
        shop.db["b"].insert_one({"_id": 2})
    shop.once(**PASSES, table_whitelist=["b"])
    assert ("the position is lost" in caplog.text) is not runs
    assert shop.differences("b") == []
    assert shop.differences("orders") != []
    shop.once(**PASSES)
    is_healed(shop)
    assert shop.differences("b") == []


@pytest.mark.parametrize("policy", ["truncate", "drop"])
def test_collections_that_are_gone_by_then(shop: Shop, policy: str) -> None:
    change(shop)
    shop.once(full_resync=True, on_drop=policy)
    if policy == "truncate":
        is_healed(shop, gone=0)
    else:
        assert shop.rows("SELECT to_regclass('shop.gone')") == [(None,)]
        assert shop.differences("orders") == []


@pytest.mark.parametrize("planned", [0, 1, 2])
def test_interrupted_at_every_step(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, planned: int
) -> None:
    """The position is new; what was not begun is begun by the next start."""
    change(shop)
    replan = PostgresDestination.replan
    done: list[str] = []

    def interrupted(self: Any, table: Table, *given: Any) -> Any:
        if len(done) == planned:
            raise RuntimeError("interrupted")
        done.append(table.name)
        return replan(self, table, *given)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresDestination, "replan", interrupted)
        with pytest.raises(RuntimeError, match="interrupted"):
            shop.once(full_resync=True)
    shop.db["quiet"].delete_one({"_id": 1})
    shop.once()
    for name in ("quiet", "orders", "replaced", "new"):
        assert shop.differences(name) == []


def test_another_cluster_is_refused_all_the_same(shop: Shop, mongo_uri: str) -> None:
    with Client(mongo_uri) as other:
        other[shop.db.name]["orders"].insert_one({"_id": 1})
        shop.source_uri = embedded.with_database(mongo_uri, shop.db.name)
        with pytest.raises(PreconditionError, match="belongs to replica set"):
            shop.once(full_resync=True)
        other.drop_database(shop.db.name)


def test_a_full_resync_of_what_needs_none(shop: Shop) -> None:
    """Nothing is written; and there is nothing to resync at the very start."""
    shop.once(full_resync=True)
    sums = f"SELECT sum(written), sum(removed) FROM {META}.snapshot_chunks WHERE resync"
    assert shop.rows(sums) == [(0, 0)]
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"DROP SCHEMA {META} CASCADE".encode())
        connection.execute("DROP SCHEMA shop CASCADE")
    shop.once(full_resync=True)
    assert shop.differences("orders") == []
    assert shop.rows(sums) == [(None, None)]
