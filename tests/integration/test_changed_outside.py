"""Tables that somebody else alters: no value is altered by that without a word."""

from __future__ import annotations

import datetime
from typing import Any

import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import PreconditionError
from cartridge_warp.postgresql.requests import ask_resync
from engine_kit import SCHEMA, Shop, wait_until

TIME = datetime.datetime(2024, 1, 1, 1, 2, 3, 456_000, datetime.UTC)


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    shop.db["t"].insert_one({"_id": 1, "n": 1, "d": 0.5, "s": "a", "at": TIME, "b": 1})
    shop.db["t"].update_one({"_id": 1}, {"$set": {"b": 2**40}})
    shop.once()
    return shop


def alter(shop: Shop, what: str) -> None:
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"ALTER TABLE {SCHEMA}.t {what}".encode())


NARROWED = [
    ("ALTER d TYPE real", "column d of .* to real, .* every double precision"),
    ("ALTER d TYPE numeric(5,2)", r"column d of .* to numeric\(5,2\)"),
    ("ALTER d TYPE numeric", "column d of .* to numeric"),
    ("ALTER at TYPE timestamptz(0)", "column at of .* to timestamp"),
    ("ALTER at TYPE date", "column at of .* to date"),
    ("ALTER s TYPE char(20)", r"column s of .* to character\(20\)"),
    ("ALTER s TYPE varchar(20)", r"column s of .* to character varying\(20\)"),
    ("ALTER n TYPE text", "column n of .* to text, .* every integer"),
    ("ALTER n TYPE numeric(9)", r"column n of .* to numeric\(9,0\)"),
    ("ALTER n TYPE boolean USING true", "column n of .* to boolean"),
]


@pytest.mark.parametrize(("what", "told"), NARROWED)
def test_a_type_that_would_alter_values_is_refused_at_the_start(
    shop: Shop, what: str, told: str
) -> None:
    alter(shop, what)
    shop.db["t"].insert_one({"_id": 2, "d": 1 / 3, "at": TIME, "n": 99_999, "s": "b "})
    with pytest.raises(PreconditionError, match=told):
        shop.once()
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.t") == [(1,)]


def narrow_while_it_streams(shop: Shop) -> None:
    with shop.running() as run:
        shop.db["t"].insert_one({"_id": 2, "d": 0.25})
        query = f"SELECT d FROM {SCHEMA}.t WHERE _id = 2"
        wait_until(lambda: bool(shop.rows(query)), "the row comes")
        alter(shop, "ALTER d TYPE real")
        shop.db["t"].insert_many([{"_id": n, "d": 1 / n} for n in range(3, 60)])
        wait_until(lambda: run.schema().phase is Phase.FAILED, "the sync ends")


def test_a_type_that_would_alter_values_is_refused_while_it_streams(shop: Shop) -> None:
    with pytest.raises(PreconditionError, match=r"column d of .* to real"):
        narrow_while_it_streams(shop)
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.t") == [(2,)]
    alter(shop, "ALTER d TYPE double precision")
    shop.once()
    assert shop.differences("t") == []


def test_a_lost_column_is_had_again_as_the_error_says(shop: Shop) -> None:
    alter(shop, 'DROP COLUMN "n"')
    with pytest.raises(PreconditionError, match=r"column n of .* dropped") as raised:
        shop.once()
    _, _, statement = (raised.value.hint or "").partition(": ")
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(statement.encode())
    ask_resync(shop.settings().destination, SCHEMA, ["t"])
    shop.once()
    assert shop.rows(f"SELECT n FROM {SCHEMA}.t") == [(1,)]
    assert shop.differences("t") == []


def test_rows_of_another_type_are_not_resynced(shop: Shop) -> None:
    """They could not be compared with what was read."""
    alter(shop, "ALTER n TYPE numeric")
    settings = shop.settings()
    with pytest.raises(PreconditionError, match=r"column n of .* with integer"):
        ask_resync(settings.destination, SCHEMA, ["t"])
    with pytest.raises(PreconditionError, match=r"column n of .* with integer"):
        shop.once(full_resync=True)
    alter(shop, "ALTER n TYPE integer")
    shop.once()
    assert shop.differences("t") == []


@pytest.mark.parametrize(
    "what",
    [
        "ALTER n TYPE numeric",
        "ALTER n TYPE smallint",
        "ALTER s TYPE varchar",
        "ALTER s TYPE shop.words",
        "ADD mine text DEFAULT 'x'",
    ],
)
def test_a_type_that_keeps_or_refuses_values_is_taken(shop: Shop, what: str) -> None:
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"CREATE DOMAIN {SCHEMA}.words AS text".encode())
    alter(shop, what)
    shop.db["t"].insert_one({"_id": 2, "d": 1 / 3, "at": TIME, "n": 9, "s": "b "})
    shop.once()
    found = shop.rows(f"SELECT d, at, n, s FROM {SCHEMA}.t WHERE _id = 2")
    assert found == [(1 / 3, TIME, 9, "b ")]


@pytest.mark.parametrize(
    "column", ["w text DEFAULT 'mine'", "w text GENERATED ALWAYS AS ('mine') STORED"]
)
def test_a_column_of_ones_own_keeps_its_name(shop: Shop, column: str) -> None:
    """The field that comes later, and is called the same, gets another."""
    alter(shop, f"ADD {column}")
    with shop.running():
        shop.db["t"].insert_one({"_id": 2, "w": "ours", "x": 5})
        wait_until(lambda: len(ours(shop)) == 2, "the row comes")
    shop.db["t"].update_one({"_id": 1}, {"$set": {"w": "also ours"}})
    shop.once()
    assert ours(shop) == [("mine", "also ours", None), ("mine", "ours", 5)]


def ours(shop: Shop) -> list[tuple[Any, ...]]:
    """The column of one's own, and those of the two fields, once they are there."""
    names = shop.columns("t")
    second = next((each for each in names if each.startswith("w_")), None)
    if second is None or "x" not in names:
        return []
    return shop.rows(f'SELECT w, "{second}", x FROM {SCHEMA}.t ORDER BY _id')
