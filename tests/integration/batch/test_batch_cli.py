"""Batch mode from the command line: what is wrong, what is done, what is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from batch_kit import BatchShop, at
from bson import ObjectId

from engine_kit import SCHEMA
from tests.command import Ended, assert_refused, cwarp, schemas_in, sync


@pytest.fixture
def file(tmp_path: Path, shop: BatchShop) -> Path:
    """Where ``write`` puts a configuration."""
    return tmp_path / "warp.yaml"


def write(
    file: Path, shop: BatchShop, tables: Mapping[str, Any], **schema: object
) -> None:
    settings = {
        "source": {"connection_string": shop.source_uri},
        "destination": {"connection_string": shop.postgres_uri},
        "schemas": [
            {"name": SCHEMA, "database": shop.db.name, "tables": tables, **schema}
        ],
    }
    file.write_text(json.dumps(settings, indent=1), "utf-8")


def once(file: Path) -> Ended:
    return sync("--config", str(file), "--once")


def test_a_column_that_nobody_has(file: Path, shop: BatchShop) -> None:
    shop.db["orders"].insert_many(
        [
            {
                "_id": ObjectId(),
                "updatedAt": at(1),
                "customer": ObjectId(),
                "meta": {"seen": at(2)},
                "name": "x",
            }
        ]
    )
    write(file, shop, {"orders": {"mode": "batch"}})
    ended = once(file)
    assert_refused(
        ended,
        3,
        f"{shop.db.name}.orders: no document has a time in change_detection_column: "
        "updated_at",
        "did you mean updatedAt?",
        "fields with times: _id, meta.seen, updatedAt;",
        "change_detection_strategy: hash",
    )
    assert "customer" not in ended.err
    assert schemas_in(shop.postgres_uri) == set()


def test_a_column_that_holds_no_time(file: Path, shop: BatchShop) -> None:
    shop.db["orders"].insert_one({"_id": 1, "updated_at": "yesterday"})
    write(file, shop, {}, mode="batch")
    assert_refused(
        once(file),
        3,
        "no document has a time in change_detection_column: updated_at",
        "no field with times was seen in a sample",
    )
    assert schemas_in(shop.postgres_uri) == set()


def test_a_table_both_streamed_and_batched(file: Path, shop: BatchShop) -> None:
    write(
        file,
        shop,
        {"orders": {"mode": "batch", "change_detection_strategy": "log"}},
    )
    assert_refused(
        once(file),
        2,
        "schemas[0].tables[0].change_detection_strategy: contradicts mode: batch",
    )
    write(file, shop, {"orders": {"schedule": "0 2 * * *"}})
    assert_refused(
        once(file),
        2,
        "schemas[0].tables[0].schedule: is of batch mode, and this table is streamed",
    )


def test_cron_nonsense(file: Path, shop: BatchShop) -> None:
    write(file, shop, {"orders": {"mode": "batch", "schedule": "0 26 * * *"}})
    said = cwarp("config", "validate", str(file))
    assert_refused(said, 2, "schemas[0].tables[0].schedule: the hour is wrong")
    assert "26" not in said.err


def test_the_environment_is_enough(shop: BatchShop) -> None:
    shop.db["orders"].insert_one({"_id": 1, "changed": at(1)})
    ended = sync(
        *(shop.source_uri, shop.postgres_uri, f"--schema={SCHEMA}", "--once"),
        env={
            "CARTRIDGE_WARP_SOURCE__CHANGE_DETECTION_STRATEGY": "timestamp",
            "CARTRIDGE_WARP_SOURCE__CHANGE_DETECTION_COLUMN": "changed",
        },
    )
    assert ended.code == 0, ended.err
    assert shop.differences("orders") == []


def test_what_is_said_of_a_pass(file: Path, shop: BatchShop) -> None:
    shop.db["orders"].insert_many(
        [{"_id": n, "updated_at": at(n)} for n in range(10)]
        + [{"_id": 100}, {"_id": 101, "updated_at": "yesterday"}]
    )
    write(file, shop, {}, mode="batch")
    ended = once(file)
    assert ended.code == 0, ended.err
    unread = "2 documents without a time in the change_detection_column"
    assert f"{SCHEMA}.orders: {unread}" in ended.out
    assert "waiting" in ended.out
    shown = cwarp("status", shop.postgres_uri)
    assert shown.code == 0, shown.err
    assert "position: none, read in batch mode" in shown.out
    assert "orders: 1 passes, the last one" in shown.out
    assert unread in " ".join(shown.out.split())
    (schema,) = json.loads(cwarp("status", shop.postgres_uri, "--json").out)["schemas"]
    (table,) = schema["tables"]
    assert (table["passes"], table["unread"], table["consistent"]) == (1, 2, True)
    assert table["last_pass"] == table["complete_through"]
    assert table["next_pass"] > table["last_pass"]


def test_a_full_resync(file: Path, shop: BatchShop) -> None:
    """It is of tables that are streamed; a run of ``hash`` is what mends the others."""
    for name in ("orders", "events"):
        shop.db[name].insert_many(
            [{"_id": n, "updated_at": at(n * 1000)} for n in range(5)]
        )
    batch: dict[str, Any] = {"mode": "batch"}
    write(file, shop, {"events": batch})
    assert once(file).code == 0
    shop.execute("DELETE FROM shop.orders WHERE _id < 3")
    shop.execute("DELETE FROM shop.events WHERE _id < 3")
    whole = ("--config", str(file), "--once", "--full-resync")
    ended = sync(*whole, "--log-format", "json")
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if "batch mode" in line]
    (said,) = map(json.loads, lines)
    assert said["tables"] == ["events"]
    assert "change_detection_strategy: hash" in said["hint"]
    assert shop.differences("orders") == []
    assert len(shop.differences("events")) == 3
    # None of them is streamed.
    refused = "shop is read in batch mode, and only tables that are streamed"
    ended = sync(*whole, "--tables", "events")
    assert_refused(ended, 2, refused, "change_detection_strategy: hash")
    write(file, shop, {}, mode="batch")
    assert_refused(sync(*whole), 2, refused)
    write(file, shop, {"events": {**batch, "change_detection_strategy": "hash"}})
    assert once(file).code == 0
    assert shop.differences("events") == []
    write(file, shop, {"events": batch})
    assert once(file).code == 0
    assert shop.differences("events") == []
