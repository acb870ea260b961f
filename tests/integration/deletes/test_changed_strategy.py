"""Another deletion strategy than the table was made with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp.errors import PreconditionError
from engine_kit import SCHEMA, Shop, wait_until
from postgresql_kit import fetch

META = "cartridge_warp_metadata"
REGISTRY = (
    "SELECT version, definition ->> 'deleted_column', change -> 0 ->> 'kind', safety"
    f" FROM {META}.schema_registry WHERE table_name = 'orders' ORDER BY version"
)


@pytest.fixture
def shop(
    mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str
) -> Iterator[Shop]:
    """Ten orders, copied, and what is written to them is equal at the end."""
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    shop.db["orders"].insert_many({"_id": n, "n": n} for n in range(10))
    shop.once()
    yield shop
    assert shop.differences("orders") == []


def delete(shop: Shop, *ids: int) -> None:
    found = shop.db["orders"].delete_many({"_id": {"$in": ids}})
    assert found.deleted_count == len(ids)


def marked(shop: Shop) -> list[int]:
    rows = shop.rows(f"SELECT _id FROM {SCHEMA}.orders WHERE is_deleted ORDER BY 1")
    return [key for (key,) in rows]


def number(shop: Shop) -> int:
    ((rows,),) = shop.rows(f"SELECT count(*) FROM {SCHEMA}.orders")
    return int(rows)


def test_to_soft_and_back(shop: Shop) -> None:
    """The columns come before the first delete, and stay, and so do the marks."""
    delete(shop, 0)
    shop.once(deletion_strategy="soft")
    assert marked(shop) == [0]
    delete(shop, 1, 2)
    shop.once(deletion_strategy="soft")
    assert marked(shop) == [0, 1, 2]
    delete(shop, 3, 4)
    shop.db["orders"].insert_one({"_id": 2, "n": -2})
    shop.once()
    assert marked(shop) == [0, 1]
    assert number(shop) == 8
    # Back, as it was and as it was not, whatever the strategy is.
    shop.db["orders"].insert_many([{"_id": 0, "n": 0}, {"_id": 3, "n": 3}])
    shop.once(deletion_strategy="both")
    assert marked(shop) == [1]
    delete(shop, 5)
    shop.once(deletion_strategy="soft")
    assert marked(shop) == [1, 5]
    assert number(shop) == 9
    assert shop.rows(REGISTRY) == [
        (1, "", None, "SAFE"),
        (2, "is_deleted", "soft_delete", "SAFE"),
    ]


def test_to_both_and_on(shop: Shop) -> None:
    query = f"SELECT key FROM {META}.deletion_audit ORDER BY audit_id"
    delete(shop, 0)
    shop.once(deletion_strategy="both")
    assert shop.rows(query) == [("0",)]
    delete(shop, 1)
    shop.once(deletion_strategy="hard")
    assert shop.rows(query) == [("0",)]
    assert number(shop) == 8
    assert shop.rows(REGISTRY) == [(1, "", None, "SAFE")]


def test_no_row_is_written_for_the_columns(shop: Shop) -> None:
    versions = f"SELECT _id, xmin::text, ctid::text FROM {SCHEMA}.orders ORDER BY _id"
    file = f"SELECT pg_relation_filenode('{SCHEMA}.orders')"
    before = shop.rows(versions), shop.rows(file)
    shop.once(deletion_strategy="soft")
    assert (shop.rows(versions), shop.rows(file)) == before
    assert shop.columns("orders") == {"_id", "n", "is_deleted", "deleted_at"}


def test_the_change_waits_for_a_reader(shop: Shop) -> None:
    """Nothing is applied before, so nothing is lost."""
    delete(shop, 0)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            shop.once(deletion_strategy="soft")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    with psycopg.connect(shop.postgres_uri) as reader:
        reader.execute(f"SELECT * FROM {SCHEMA}.orders".encode())
        thread.start()
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name LIKE 'cartridge-warp structure %'"
        )
        wait_until(lambda: shop.rows(waiting) != [], "the change waits")
        wait_until(lambda: shop.rows(waiting) == [], "it lets readers pass")
        assert shop.columns("orders") == {"_id", "n"}
        assert number(shop) == 10
    thread.join()
    assert errors == []
    assert marked(shop) == [0]


def test_a_column_keeps_its_name(shop: Shop) -> None:
    shop.once(deletion_strategy="soft", soft_delete_column="is_deleted")
    delete(shop, 0)
    shop.once(deletion_strategy="soft", soft_delete_column="removed")
    assert marked(shop) == [0]
    assert shop.columns("orders") == {"_id", "n", "is_deleted", "deleted_at"}


def test_a_column_that_a_field_has_already(shop: Shop) -> None:
    """Refused before anything is applied, with the way out."""
    delete(shop, 0)
    with pytest.raises(PreconditionError) as caught:
        shop.once(deletion_strategy="soft", soft_delete_column="n")
    assert f"the column n of {SCHEMA}.orders holds a field" in str(caught.value)
    assert "soft_delete_column" in caught.value.hint
    assert number(shop) == 10
    shop.once(deletion_strategy="soft", soft_delete_column="gone")
    assert shop.rows(f"SELECT _id FROM {SCHEMA}.orders WHERE gone") == [(0,)]


def test_a_column_that_somebody_added(shop: Shop) -> None:
    delete(shop, 0)
    alter = f"ALTER TABLE {SCHEMA}.orders "
    fetch(shop.postgres_uri, alter + "ADD is_deleted text")
    with pytest.raises(PreconditionError) as caught:
        shop.once(deletion_strategy="soft")
    assert "is_deleted" in str(caught.value)
    assert "42701" in str(caught.value)
    assert "soft_delete_column" in caught.value.hint
    assert number(shop) == 10
    fetch(shop.postgres_uri, alter + "DROP is_deleted")
    shop.once(deletion_strategy="soft")
    assert marked(shop) == [0]


def test_a_column_that_somebody_dropped(shop: Shop) -> None:
    shop.once(deletion_strategy="soft")
    fetch(shop.postgres_uri, f"ALTER TABLE {SCHEMA}.orders DROP deleted_at")
    with pytest.raises(PreconditionError, match="column deleted_at of"):
        shop.once(deletion_strategy="soft")
    fetch(shop.postgres_uri, f"ALTER TABLE {SCHEMA}.orders ADD deleted_at timestamptz")


def test_a_view_on_the_table_stands_in_no_way(shop: Shop) -> None:
    fetch(shop.postgres_uri, f"CREATE VIEW {SCHEMA}.v AS SELECT * FROM {SCHEMA}.orders")
    delete(shop, 0)
    shop.once(deletion_strategy="soft")
    assert marked(shop) == [0]
    assert len(shop.rows(f"SELECT _id, n FROM {SCHEMA}.v")) == 10
