"""Tables are resynced while everything goes on: writers, the stream, and readers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from bson import ObjectId
from pymongo.database import Database

from cartridge_warp.engine import copyworker, runner
from cartridge_warp.engine.chunkwork import copy_chunk
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from cartridge_warp.engine.views import Phase
from cartridge_warp.mongodb import snapshot
from cartridge_warp.postgresql.requests import ask_resync
from cwarp_core import Reply
from engine_kit import SCHEMA, Shop, wait_until
from postgresql_kit import META

Document = dict[str, Any]

DONE = f"SELECT count(*) FROM {META}.signals WHERE done_at IS NOT NULL"
SUMS = (
    "SELECT sum(documents)::int, sum(written)::int, sum(removed)::int, count(*)::int"
    f" FROM {META}.snapshot_chunks WHERE table_name = 'orders' AND resync"
)


@pytest.fixture
def shop(
    mongo_db: Database[Document],
    mongo_uri: str,
    postgres_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """Chunks are small, so that there are some."""
    monkeypatch.setattr(snapshot, "CHUNK_DOCUMENTS", 200)
    monkeypatch.setattr(snapshot, "_SAMPLED_OF", 2)
    return Shop(mongo_db, mongo_uri, postgres_uri)


def execute(shop: Shop, *statements: str) -> None:
    with psycopg.connect(shop.postgres_uri) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def ask(shop: Shop, *tables: str) -> None:
    ask_resync(shop.settings().destination, SCHEMA, tables)


def resynced(shop: Shop, number: int = 1) -> None:
    wait_until(lambda: shop.rows(DONE) == [(number,)], "the resync is done")


def ids(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


def fill(shop: Shop, number: int, name: str = "orders") -> None:
    shop.db[name].insert_many(
        [{"_id": ids(n), "n": n, "note": f"note {n}"} for n in range(number)]
    )


@contextlib.contextmanager
def reading(shop: Shop, least: int) -> Iterator[list[int]]:
    """A reader in a loop, which must never see fewer rows than these."""
    seen: list[int] = []
    over = threading.Event()

    def read() -> None:
        with psycopg.connect(shop.postgres_uri, autocommit=True) as connection:
            while not over.wait(0.002):
                row = connection.execute("SELECT count(*) FROM shop.few").fetchone()
                assert row is not None
                seen.append(row[0])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert len(seen) > 5
    assert min(seen) >= least


@contextlib.contextmanager
def writing(shop: Shop, number: int) -> Iterator[None]:
    """Updates, inserts and deletes of documents from ``number`` on, all along."""
    over = threading.Event()
    orders = shop.db["orders"]

    def write() -> None:
        turn = 0
        while not over.wait(0.005):
            turn += 1
            orders.update_many({"n": {"$lt": 50}}, {"$inc": {"turn": 1}})
            orders.insert_one({"_id": ids(number + turn), "n": number + turn})
            if turn > 20:
                orders.delete_one({"_id": ids(number + turn - 20)})
            orders.update_one({"_id": ids(turn % number)}, {"$set": {"late": turn}})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_in_place_while_writers_write_and_readers_read(shop: Shop) -> None:
    """Rows were changed, lost and added behind our back; a view hangs on the table."""
    fill(shop, 3000)
    with shop.running(snapshot_workers=2) as run:
        shop.becomes_equal("orders")
        execute(
            shop,
            "CREATE VIEW shop.few AS SELECT _id, n FROM shop.orders WHERE n < 2500",
            "CREATE INDEX by_n ON shop.orders (n)",
            "GRANT SELECT ON shop.orders TO PUBLIC",
            "DELETE FROM shop.orders WHERE n BETWEEN 2600 AND 2700",
            "UPDATE shop.orders SET note = 'edited' WHERE n % 100 = 7",
            "INSERT INTO shop.orders (_id, n) SELECT 'e' || lpad(to_hex(n), 23, '0'),"
            " 9999 FROM generate_series(1, 500) AS n",
        )
        [before] = shop.rows(
            "SELECT 'shop.orders'::regclass::oid::bigint, relacl::text"
            ", relfilenode::bigint FROM pg_class WHERE oid = 'shop.orders'::regclass"
        )
        with writing(shop, 3000), reading(shop, 2500):
            ask(shop, "orders")
            resynced(shop)
            wait_until(
                lambda: run.table("orders").phase is Phase.STREAMING, "consistent"
            )
        shop.becomes_equal("orders")
    assert shop.rows(
        "SELECT 'shop.orders'::regclass::oid::bigint, relacl::text,"
        " relfilenode::bigint FROM pg_class WHERE oid = 'shop.orders'::regclass"
    ) == [before]
    assert shop.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'by_n'") == [
        (1,)
    ]
    [(documents, written, removed, chunks)] = shop.rows(SUMS)
    assert documents >= 3000
    # What the writers wrote is in the rows already, or comes with the stream.
    assert 130 <= written < 1500
    assert removed >= 500
    assert chunks > 5


def test_equal_rows_are_not_written(shop: Shop) -> None:
    fill(shop, 2000)
    shop.once()
    image = "SELECT md5(string_agg(ctid::text || xmin || xmax, '' ORDER BY _id))"
    before = shop.rows(f"{image} FROM shop.orders")
    ask(shop, "orders")
    view = shop.once()
    resynced(shop)
    assert shop.rows(f"{image} FROM shop.orders") == before
    [(documents, written, removed, chunks)] = shop.rows(SUMS)
    assert (documents, written, removed) == (2000, 0, 0)
    assert chunks > 5
    [table] = view.tables
    assert (table.phase, table.counts.copied) == (Phase.STREAMING, 2000)


def test_what_was_deleted_while_a_chunk_waited_stays_deleted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of a chunk still to be read is dropped; the read knows better."""
    fill(shop, 1000)
    shop.once()
    gate = threading.Event()

    def late(*given: Any, **more: Any) -> Any:
        assert gate.wait(30)
        return copy_chunk(*given, **more)

    monkeypatch.setattr(copyworker, "copy_chunk", late)
    with shop.running(snapshot_workers=1) as run:
        ask(shop, "orders")
        wait_until(lambda: run.table("orders").phase is Phase.RESYNCING, "it has begun")
        shop.db["orders"].delete_many({"n": {"$gte": 900}})
        shop.db["orders"].update_many({"n": {"$lt": 100}}, {"$set": {"note": "new"}})
        shop.db["other"].insert_one({"_id": 1})
        wait_until(lambda: run.table("orders").phase is Phase.RESYNCING, "it has begun")
        gate.set()
        shop.becomes_equal("orders")
    assert shop.rows("SELECT count(*) FROM shop.orders") == [(900,)]


def test_ids_of_every_kind_are_one_chunk(shop: Shop) -> None:
    """Their rows do not sort as they do."""
    kinds: list[Any] = [1, 2.5, "text", ObjectId(), None, True, {"a": 1}, b"bytes"]
    shop.db["orders"].insert_many([{"_id": each, "n": 1} for each in kinds])
    shop.db["orders"].insert_many([{"_id": f"t{n}", "n": n} for n in range(2000)])
    shop.once()
    execute(
        shop,
        "DELETE FROM shop.orders WHERE n > 1900",
        "INSERT INTO shop.orders (_id) VALUES ('\"more\"'), ('7'), ('{\"b\":1}')",
    )
    shop.db["orders"].delete_one({"_id": 2.5})
    ask(shop, "orders")
    shop.once()
    assert shop.differences("orders") == []
    assert shop.rows(SUMS)[0][-1] == 1


def test_a_key_that_is_rewritten_on_the_way(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned by the former key is planned again."""
    fill(shop, 2000)
    shop.once()
    execute(shop, "INSERT INTO shop.orders (_id) VALUES (lpad('a', 24, 'e'))")
    ask(shop, "orders")
    late: list[Document] = [{"_id": "text"}, {"_id": 7}]
    one = threading.Lock()

    def first(*given: Any, **more: Any) -> Any:
        with one:
            # After the plan, and before any chunk is read.
            while late:
                shop.db["orders"].insert_one(late.pop())
        return copy_chunk(*given, **more)

    monkeypatch.setattr(copyworker, "copy_chunk", first)
    shop.once(snapshot_workers=2)
    assert not late
    assert shop.differences("orders") == []
    query = f"SELECT definition ->> 'key' FROM {META}.schema_registry"
    assert shop.rows(f"{query} ORDER BY version DESC LIMIT 1") == [("canonical",)]
    assert shop.rows(SUMS)[0][-1] == 1


@pytest.mark.parametrize("again", [False, True], ids=["copy", "resync"])
def test_a_collation_of_its_own_is_one_chunk_that_never_ends_early(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """It sorts "a", "B", "c": nobody else could say what lies before "B"."""
    collection = shop.db.create_collection(
        "orders", collation={"locale": "en", "strength": 2}
    )
    names = [f"{letter}{n}" for n in range(400) for letter in "aBcDeF"]
    collection.insert_many([{"_id": name, "n": 0} for name in names])
    if again:
        shop.once()
        ask(shop, "orders")
        execute(shop, "DELETE FROM shop.orders WHERE _id < 'c'")
    stop, read = StopSignal(), snapshot.snapshot
    replies: list[int] = []

    def stopping(*given: Any) -> Iterator[Reply]:
        for reply in read(*given):
            replies.append(len(reply))
            if len(replies) == 2:
                stop.request()
            yield reply

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "snapshot", stopping)
        runner.run(shop.settings(), once=True, progress=Progress(), stop=stop)
    assert 1 < len(replies) < 5
    collection.update_many({"_id": {"$gte": "a"}}, {"$inc": {"n": 1}})
    collection.delete_many({"_id": {"$lt": "B5"}})
    shop.once()
    assert shop.differences("orders") == []
    chunks = f"SELECT whole, lower, upper FROM {META}.snapshot_chunks"
    assert shop.rows(chunks) == [(True, None, None)]


def test_a_request_waits_for_a_run_that_follows_the_table(shop: Shop) -> None:
    fill(shop, 100)
    fill(shop, 100, "items")
    shop.once()
    execute(shop, "DELETE FROM shop.items", "DELETE FROM shop.orders")
    ask(shop, "items", "orders")
    with shop.running(table_whitelist=["orders"]):
        shop.becomes_equal("orders")
        resynced(shop)
    assert shop.rows("SELECT count(*) FROM shop.items") == [(0,)]
    shop.once()
    assert shop.differences("items") == []
    resynced(shop, 2)


def test_asked_again_while_it_is_under_way(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work begins anew; what a worker had begun is given up."""
    fill(shop, 2000)
    shop.once()
    read = threading.Semaphore(3)
    chunks = snapshot.snapshot

    def slow(*given: Any) -> Any:
        for reply in chunks(*given):
            assert read.acquire(timeout=30)
            yield reply

    monkeypatch.setattr(snapshot, "snapshot", slow)
    with shop.running(snapshot_workers=2) as run:
        execute(shop, "DELETE FROM shop.orders WHERE n % 3 = 0")
        ask(shop, "orders")
        wait_until(lambda: run.table("orders").phase is Phase.RESYNCING, "it has begun")
        ask(shop, "orders")
        read.release(10_000)
        resynced(shop, 2)
        shop.becomes_equal("orders")
