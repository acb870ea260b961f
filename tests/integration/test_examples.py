"""The configuration files of ``examples/`` run as they stand."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from bson import ObjectId

from cartridge_warp import config
from cartridge_warp.config import SchemaSettings, Settings
from tests.command import count, cwarp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = ("single-schema.yaml", "multi-schema.yaml", "batch.yaml")
_DOCUMENTS = 30
_NOW = datetime.now(UTC)


@pytest.fixture(params=FILES)
def example(request: pytest.FixtureRequest) -> Path:
    return EXAMPLES / str(request.param)


@pytest.fixture
def variables(mongo_uri: str, postgres_uri: str) -> dict[str, str]:
    """What the files ask for: databases of our own, ports free on any machine."""
    mine = secrets.token_hex(4)
    return {
        "MONGODB_DATABASE": f"shop_{mine}",
        "SALES_DATABASE": f"sales_{mine}",
        "SUPPORT_DATABASE": f"support_{mine}",
        "MONGODB_URI": mongo_uri,
        "POSTGRES_URI": postgres_uri,
        # The single-schema file leaves the ports as they are.
        "CARTRIDGE_WARP_MONITORING__PROMETHEUS__PORT": "0",
        "CARTRIDGE_WARP_MONITORING__HEALTH__PORT": "0",
    }


@pytest.fixture
def settings(example: Path, variables: dict[str, str]) -> Settings:
    return config.load(example, environ=variables)


@pytest.fixture
def collections(
    settings: Settings, mongo_client: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[dict[str, list[str]]]:
    """Documents in every collection a schema names, and in two it does not name.

    Yields the collections of each schema.
    """
    made: dict[str, list[str]] = {}
    for schema in settings.schemas:
        made[schema.name] = sorted(_named(schema) | {"customers", "tmp_day"})
        for name in made[schema.name]:
            mongo_client[schema.database][name].insert_many(
                [
                    {"_id": ObjectId(), "name": f"{name} {n}", "updated_at": _NOW}
                    for n in range(_DOCUMENTS)
                ]
            )
    yield made
    for schema in settings.schemas:
        mongo_client.drop_database(schema.database)


def _named(schema: SchemaSettings) -> set[str]:
    """The names in the file that are names of single collections."""
    names = {table.name for table in schema.tables}
    for patterns in (
        *(schema.table_whitelist, schema.table_blacklist),
        *(schema.global_table_whitelist, schema.global_table_blacklist),
    ):
        names |= set(patterns)
    return {name for name in names if not set(name) & set("*?[")}


def test_an_example_copies_what_it_selects_and_nothing_else(
    example: Path,
    settings: Settings,
    variables: dict[str, str],
    collections: dict[str, list[str]],
    postgres_uri: str,
) -> None:
    assert cwarp("config", "validate", str(example), env=variables).code == 0
    ended = cwarp("sync", "--config", str(example), "--once", env=variables)
    assert ended.code == 0, ended.err
    for schema in settings.schemas:
        wanted = {name for name in collections[schema.name] if schema.selects(name)}
        assert wanted, f"{example.name} selects nothing in {schema.name}"
        assert _tables(postgres_uri, schema.name) == wanted
        for name in wanted:
            assert count(postgres_uri, schema.name, name) == _DOCUMENTS


def test_multi_schema_has_more_than_one_and_single_schema_one(
    example: Path, settings: Settings
) -> None:
    assert settings.mode == ("multi" if "multi" in example.name else "single")
    assert (len(settings.schemas) > 1) == (settings.mode == "multi")


def _tables(postgres_uri: str, schema: str) -> set[str]:
    with psycopg.connect(postgres_uri) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)
        ).fetchall()
    return {name for (name,) in rows}
