"""Names in filters and ``tables:`` that no collection has are said at the start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from cartridge_warp import config, embedded
from cartridge_warp.engine import runner
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from engine_kit import Shop
from tests.command import sync

Said = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    for name in ("orders", "items"):
        shop.db[name].insert_many([{"_id": n, "n": n} for n in range(3)])
    return shop


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """The warnings of names and filters so far, each with its hint."""

    def take() -> list[tuple[str, str]]:
        records = [each for each in caplog.records if each.levelno == logging.WARNING]
        caplog.clear()
        return [
            (each.getMessage(), getattr(each, "hint", ""))
            for each in records
            if each.name.endswith("engine.names")
        ]

    return take


def test_each_plain_name_has_a_line(shop: Shop, said: Said) -> None:
    shop.once(table_whitelist=["orders", "itemz", "zebra", "x*"])
    assert said() == [
        ("table_whitelist: no collection is called itemz", "did you mean items?"),
        ("table_whitelist: no collection is called zebra", ""),
    ]
    tables = {"ODRERS": {"deletion_strategy": "soft"}, "i*": {"max_columns": 9}}
    shop.once(table_blacklist=["itemz"], tables=tables)
    assert said() == [
        ("table_blacklist: no collection is called itemz", "did you mean items?"),
        ("tables: no collection is called ODRERS", "did you mean orders?"),
    ]
    shop.once(table_whitelist=["orders", "items"], tables={"orders": {}})
    assert said() == []


def test_a_name_that_has_a_table_was_right_once(shop: Shop, said: Said) -> None:
    shop.once()
    shop.db["items"].drop()
    shop.once(table_whitelist=["orders", "items"])
    assert said() == []


def test_filters_that_select_nothing_that_is_there(shop: Shop, said: Said) -> None:
    nothing = (
        f"the filters select none of the 2 collections of database {shop.db.name}",
        "they may select what is made later",
    )
    shop.once(table_whitelist=["x*"])
    assert said() == [nothing]
    hashed = {"mode": "batch", "change_detection_strategy": "hash"}
    shop.once(table_blacklist=["*s"], **hashed)
    assert said() == [nothing]


def several(shop: Shop, *databases: str, **settings: object) -> None:
    names = [{"name": f"s_{each}", "database": each} for each in databases]
    loaded = config.load(
        None,
        {
            "mode": "multi",
            "source.connection_string": shop.source_uri,
            "destination.connection_string": shop.postgres_uri,
            "schemas": names,
            **settings,
        },
        {},
    )
    done = runner.run(loaded, once=True, progress=Progress(), stop=StopSignal())
    assert done == 0


def test_a_list_for_all_schemas_is_right_where_one_has_it(
    shop: Shop, said: Said
) -> None:
    other = shop.db.client[f"{shop.db.name}_b"]
    try:
        other["orders"].insert_one({"_id": 1})
        other["tags"].insert_one({"_id": 1})
        both = (shop.db.name, other.name)
        several(shop, *both, global_table_whitelist=["orders", "tags", "items"])
        assert said() == []
        several(shop, *both, global_table_blacklist=["ordrs", "items"])
        (line,) = said()
        assert line[0].endswith("global_table_blacklist: no collection is called ordrs")
        assert line[1] == "did you mean orders?"
    finally:
        shop.db.client.drop_database(other.name)


def test_the_place_of_a_list_for_all_schemas(
    shop: Shop, postgres_uri: str, tmp_path: Path
) -> None:
    ends = (embedded.with_database(shop.source_uri, shop.db.name), postgres_uri)
    name = "CARTRIDGE_WARP_GLOBAL_TABLE_WHITELIST"
    ended = sync(*ends, "--once", "--log-format=text", env={name: "ordrs"})
    assert ended.code == 0, ended.err
    assert f"{name} global_table_whitelist: no collection is called ordrs" in ended.err
    assert "did you mean orders?" in ended.err
    assert "the filters select none of the 2 collections" in ended.err
    file = tmp_path / "warp.yaml"
    file.write_text(
        f"source: {{connection_string: '{ends[0]}', database: {shop.db.name}}}\n"
        f"destination: {{connection_string: '{postgres_uri}'}}\n"
        "global_table_blacklist: [itemz]\n"
        "schemas: [{name: other}]\n"
    )
    ended = sync("--config", str(file), "--once")
    assert ended.code == 0, ended.err
    place = f"{file}:3 global_table_blacklist"
    assert f"{place}: no collection is called itemz" in ended.err
