"""``_id``s of every kind, and of kinds that come later: every one is a row."""

from __future__ import annotations

import datetime
import logging
import signal
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import bson
import psycopg
import pytest
from bson import (
    Binary,
    Code,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from cartridge_warp.engine.copy import Copy
from cartridge_warp.engine.line import Line
from cartridge_warp.engine.part import Part, Piece, pieces
from cartridge_warp.engine.tables import Tables
from command import sync
from cwarp_core import Reply
from engine_kit import SCHEMA, Shop, wait_until
from tests.core.build import Raw, db_pointer, document, int32, obj

LETTERS = "cartridge_warp_metadata.dead_letter_queue"

#: One of every kind that MongoDB takes as an id, in the order in which they come.
KINDS: list[Any] = [
    3.0,
    3.5,
    Decimal128("3.10"),
    Decimal128("NaN"),
    float("inf"),
    -0.0,
    "x",
    'quote " \\ \n \x7f é 🚀',
    "nul\0inside",
    "",
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    {"a": {"deep": 1.5}},
    {},
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    Binary(b"\0\1"),
    Binary(b"\0\1", 5),
    uuid.UUID(int=1),
    ObjectId("0" * 24),
    None,
    True,
    False,
    Timestamp(1, 2),
    Code("f()"),
    Int64(2**62),
    MinKey(),
    MaxKey(),
    Regex("x", "i"),
]
REFUSED = (list, Regex)

STARTS: dict[str, Callable[[int], Any]] = {
    "objectId": lambda n: ObjectId(f"{n + 100:024x}"),
    "string": lambda n: f"start {n} \"'\\\n",
    "uuid": lambda n: uuid.UUID(int=n + 100),
    "bigint": lambda n: n + 100,
    "numeric": lambda n: n + 100.25,
}


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    return Shop(mongo_db, mongo_uri, postgres_uri)


def key_of(shop: Shop, table: str = "zoo") -> str:
    [(key,)] = shop.rows(
        "SELECT definition ->> 'key' FROM cartridge_warp_metadata.schema_registry"
        f" WHERE table_name = '{table}' ORDER BY version DESC LIMIT 1"
    )
    return str(key)


def letters(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(f"SELECT key, reason, state FROM {LETTERS} ORDER BY letter_id")


def ids() -> list[Any]:
    return [each for each in KINDS if not isinstance(each, REFUSED)]


@pytest.mark.parametrize("start", STARTS)
def test_ids_of_every_kind_come_later(shop: Shop, start: str) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": STARTS[start](n), "n": n} for n in range(20)])
    with shop.running() as run:
        assert key_of(shop) == start
        for number, each in enumerate(ids()):
            zoo.insert_one({"_id": each, "n": number, "v": "first"})
        shop.becomes_equal("zoo")
        for each in [*ids(), STARTS[start](1)]:
            zoo.update_one({"_id": each}, {"$set": {"v": "second"}})
        shop.becomes_equal("zoo")
        for each in [*ids(), STARTS[start](2)][::2]:
            zoo.delete_one({"_id": each})
        zoo.replace_one({"_id": 3.5}, {"v": "third"})
        shop.becomes_equal("zoo")
        assert run.table("zoo").counts.dead_letters == 0
    assert key_of(shop) == "canonical"
    assert letters(shop) == []


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "streamed"])
def test_a_document_that_has_the_key_rewritten_brings_its_columns(
    shop: Shop, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = shop.db["zoo"]
    late = [
        {"_id": "mine", "x": 1, "sub": {"q": 1}},
        {"_id": 1.5, "x": 3, "y": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)},
    ]
    zoo.insert_many([{"_id": n, "n": n} for n in range(20)])
    if copied:
        # The sample is taken before they are there.
        plan = Tables.plan

        def later(self: Tables, *args: Any) -> Any:
            zoo.insert_many(late)
            return plan(self, *args)

        monkeypatch.setattr(Tables, "plan", later)
        shop.once()
    else:
        with shop.running():
            shop.becomes_equal("zoo")
            zoo.insert_many(late)
            shop.becomes_equal("zoo")
    assert shop.differences("zoo") == []
    with psycopg.connect(shop.postgres_uri) as connection:
        found = connection.execute(
            f"SELECT x, y IS NULL, sub_q, _cwarp_extra FROM {SCHEMA}.zoo"
            " WHERE x IS NOT NULL ORDER BY x"
        ).fetchall()
    assert found == [(1, True, 1, None), (3, False, None, None)]


def test_each_kind_is_held_one_after_the_other(shop: Shop) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(10)])
    steps: list[tuple[Any, str]] = [
        (30.0, "bigint"),
        (-0.0, "bigint"),
        (Decimal128("31.00"), "bigint"),
        (3.5, "numeric"),
        (Decimal128("NaN"), "numeric"),
        ("x", "canonical"),
        ({"a": 1, "b": 2}, "canonical"),
        ({"b": 2, "a": 1}, "canonical"),
    ]
    zoo.delete_one({"_id": 0})
    with shop.running():
        for each, key in steps:
            zoo.insert_one({"_id": each, "n": 1})
            shop.becomes_equal("zoo")
            assert key_of(shop) == key
            zoo.update_one({"_id": each}, {"$set": {"n": 2}})
            zoo.update_one({"_id": 1}, {"$inc": {"n": 1}})
            shop.becomes_equal("zoo")
        for each, _ in steps:
            zoo.delete_one({"_id": each})
        shop.becomes_equal("zoo")
    [(rows,)] = shop.rows(f"SELECT count(*) FROM {SCHEMA}.zoo")
    assert rows == 9


def test_one_number_in_two_kinds_is_one_row(shop: Shop) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(10)])
    with shop.running():
        for each in (3.0, Decimal128("3.00"), Int64(3), 3):
            zoo.delete_one({"_id": 3})
            zoo.insert_one({"_id": each, "n": str(each)})
            shop.becomes_equal("zoo")
        zoo.delete_one({"_id": 4.0})
        shop.becomes_equal("zoo")
    assert key_of(shop) == "bigint"


def test_ids_that_the_server_cannot_look_up_beside_others(shop: Shop) -> None:
    """DBPointers with a NUL in their namespace: an index ends it there."""
    pointers = [db_pointer(name, b"x" * 12) for name in (b"a\0b", b"c\0d")]
    odd = [*pointers, *(obj(("a", each)) for each in pointers)]
    numbers = list(map(int32, range(20)))

    def write(change: dict[str, Any], **options: Any) -> None:
        shop.db.command(change, **options)

    def stored(*values: Raw) -> dict[str, Any]:
        made = (document(("_id", each), ("n", int32(0))) for each in values)
        return {"insert": "zoo", "documents": [RawBSONDocument(each) for each in made]}

    def by_id(value: Raw) -> RawBSONDocument:
        return RawBSONDocument(document(("_id", value)))

    write(stored(*odd, *numbers))
    with shop.running():
        # In one commit, and so in one look-up.
        with shop.db.client.start_session() as session, session.start_transaction():
            updates = [
                {"q": by_id(each), "u": {"$inc": {"n": 1}}} for each in (*odd, *numbers)
            ]
            write({"update": "zoo", "updates": updates}, session=session)
        shop.becomes_equal("zoo")
        assert shop.rows(f"SELECT count(*), sum(n) FROM {SCHEMA}.zoo") == [(24, 24)]
        # To the server this is the id that has just gone.
        write({"delete": "zoo", "deletes": [{"q": by_id(odd[0]), "limit": 1}]})
        write(stored(db_pointer(b"a\0other", b"x" * 12)))
        shop.becomes_equal("zoo")
    assert shop.rows(f"SELECT count(*), sum(n) FROM {SCHEMA}.zoo") == [(24, 23)]
    assert key_of(shop) == "canonical"
    assert letters(shop) == []


@pytest.mark.parametrize(
    ("common", "odd", "key"),
    [
        (lambda n: n, lambda n: n + 0.5, "numeric"),
        # Strings sort among strings, so neither end of the ids shows them.
        (lambda n: f"{n:06}", lambda n: f"{n:06}\0", "canonical"),
    ],
    ids=["numbers", "strings"],
)
def test_odd_ids_in_the_middle_of_a_copy_by_several_workers(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    common: Callable[[int], Any],
    odd: Callable[[int], Any],
    key: str,
) -> None:
    monkeypatch.setattr("cartridge_warp.mongodb.snapshot.CHUNK_DOCUMENTS", 4000)
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": common(n), "n": n} for n in range(20_000)])
    places = (1, 700, 3999, 9000, 9001, 14_000, 19_998)
    zoo.insert_many([{"_id": odd(n), "n": n, "late": n} for n in places])
    first = common(1)
    monkeypatch.setattr(
        "cartridge_warp.mongodb.source.MongoSource.sample",
        lambda *_: iter([Reply.of_documents([bson.encode({"_id": first, "n": 1})])]),
    )
    with shop.running(snapshot_workers=4) as run:
        zoo.update_many({"n": {"$in": [1, 14_000]}}, {"$set": {"late": "again"}})
        zoo.delete_one({"_id": odd(9000)})
        zoo.delete_one({"_id": first})
        shop.becomes_equal("zoo")
        assert run.table("zoo").counts.dead_letters == 0
        assert run.table("zoo").counts.copied == 20_000 + len(places)
    assert key_of(shop) == key
    assert letters(shop) == []


def test_the_copy_and_the_stream_in_one_run(shop: Shop) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": each, "n": n} for n, each in enumerate(ids())])
    shop.once()
    assert shop.differences("zoo") == []
    for each in ids():
        zoo.update_one({"_id": each}, {"$inc": {"n": 100}})
    zoo.delete_many({"_id": {"$in": [3.5, "x", {"b": 2, "a": 1}, None, float("inf")]}})
    shop.once()
    assert shop.differences("zoo") == []


@pytest.mark.parametrize("size", [1, 1000])
def test_odd_ids_inside_transactions_and_batches(shop: Shop, size: int) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_one({"_id": ObjectId(), "n": 0})
    with shop.running(stream_batch_size=size):
        with shop.db.client.start_session() as session, session.start_transaction():
            for number, each in enumerate(ids()):
                zoo.insert_one({"_id": each, "n": number}, session=session)
            zoo.delete_one({"_id": "x"}, session=session)
        zoo.insert_one({"_id": ObjectId(), "n": 1})
        shop.becomes_equal("zoo")
    assert letters(shop) == []


def test_a_key_rewritten_between_encoding_and_commit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker of a copy would: the batch is encoded again, not stored as it was."""
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": ObjectId(f"{n:024x}"), "n": n} for n in range(5)])
    rewritten: list[str] = []

    def made(line: Line, tables: Tables, copy: Copy, part: Part) -> Iterator[Piece]:
        for piece in pieces(line, tables, copy, part):
            shape = tables.get("zoo")
            if part.collections and not rewritten and shape is not None:
                encoder = line.destination.encoder(shape.table)
                encoder.add_document(bson.encode({"_id": "x"}), 0)
                rewritten.append(shape.evolve(encoder.take()).key)
            yield piece

    monkeypatch.setattr("cartridge_warp.engine.lanes.pieces", made)
    with shop.running() as run:
        zoo.update_one({"n": 1}, {"$set": {"n": 10}})
        zoo.delete_one({"n": 2})
        zoo.insert_one({"_id": ObjectId(), "n": 7})
        shop.becomes_equal("zoo")
        wait_until(lambda: run.table("zoo").counts.read == 8, "all are counted")
    assert rewritten == ["canonical"]


def test_what_depends_on_the_key_makes_dead_letters_until_it_is_gone(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(5)])
    shop.once()
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(
            f"CREATE VIEW {SCHEMA}.theirs AS SELECT _id FROM {SCHEMA}.zoo".encode()
        )
    with caplog.at_level(logging.WARNING), shop.running() as run:
        zoo.insert_many([{"_id": "kept"}, {"_id": 10, "new": 1}, {"_id": "gone"}])
        wait_until(lambda: len(letters(shop)) == 2, "the dead letters")
        zoo.insert_one({"_id": 3.5})
        zoo.update_one({"_id": "kept"}, {"$set": {"n": 7}})
        wait_until(lambda: run.table("zoo").counts.dead_letters == 4, "two more")
        zoo.delete_one({"_id": "gone"})
        wait_until(lambda: run.table("zoo").counts.ignored == 1, "the delete")
    assert letters(shop) == [
        ('"kept"', "key_kind", "pending"),
        ('"gone"', "key_kind", "resolved"),
        ("3.5", "key_kind", "pending"),
    ]
    assert run.table("zoo").pending_letters == 2
    assert key_of(shop) == "bigint"
    assert "new" in shop.columns("zoo")
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    [refused, *others] = [each for each in warnings if "rewritten" in each.message]
    assert others == []
    assert f"view {SCHEMA}.theirs" in refused.message
    assert "drop what depends" in refused.hint  # type: ignore[attr-defined]
    assert any("dead letters, not rows" in each.message for each in warnings)
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"DROP VIEW {SCHEMA}.theirs".encode())
    zoo.insert_one({"_id": 11})
    shop.once()
    assert shop.differences("zoo") == []
    assert key_of(shop) == "canonical"
    assert {state for *_, state in letters(shop)} == {"resolved"}


def test_a_table_that_stays_locked_makes_up_for_it_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartridge_warp.engine.shape.KEY_PATIENCE", 0.0)
    monkeypatch.setattr("cartridge_warp.engine.shape.LOCK_PAUSE", 0.0)
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(5)])
    with shop.running():
        with psycopg.connect(shop.postgres_uri) as reader:
            reader.execute(f"SELECT 1 FROM {SCHEMA}.zoo".encode())
            zoo.insert_one({"_id": "x", "n": 1})
            wait_until(lambda: letters(shop) != [], "the dead letter")
        # Any change of the table will do, and nothing happens to "x" itself.
        zoo.update_one({"_id": 1}, {"$set": {"n": 2}})
        shop.becomes_equal("zoo")
    assert letters(shop) == [('"x"', "key_kind", "resolved")]


def test_a_table_that_is_locked_for_a_moment_makes_no_dead_letter(shop: Shop) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(5)])
    with shop.running() as run:
        with psycopg.connect(shop.postgres_uri) as reader:
            reader.execute(f"SELECT 1 FROM {SCHEMA}.zoo".encode())
            zoo.insert_one({"_id": "x", "n": 1})
            wait_until(lambda: run.schema().retries > 0, "the lock is waited for")
        shop.becomes_equal("zoo")
    assert letters(shop) == []


def arguments(shop: Shop) -> tuple[str, ...]:
    return (shop.source_uri, shop.postgres_uri, f"--schema={SCHEMA}", "--once")


@pytest.mark.faults
@pytest.mark.parametrize("point", ["ddl_before", "ddl_after"])
@pytest.mark.parametrize("moment", ["copy", "stream"])
def test_killed_while_the_key_is_rewritten(shop: Shop, point: str, moment: str) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": f"{n:05} \"'\\\n", "n": n} for n in range(3000)])
    if moment == "stream":
        assert sync(*arguments(shop)).code == 0
    zoo.insert_one({"_id": "01500\0", "n": 1})
    env = {
        "CARTRIDGE_WARP_SOURCE__SCHEMA_SAMPLE_SIZE": "1",
        "CWARP_TEST": "1",
        # The copy's first structure change makes the table.
        "CWARP_TEST_KILL": f"{point}:{2 if moment == 'copy' else 1}",
    }
    ended = sync(*arguments(shop), env=env)
    assert ended.code == -signal.SIGKILL, ended.err
    assert key_of(shop) == ("string" if point == "ddl_before" else "canonical")
    zoo.delete_one({"_id": "00000 \"'\\\n"})
    zoo.insert_one({"_id": 7, "n": 7})
    ended = sync(*arguments(shop))
    assert ended.code == 0, ended.err
    assert key_of(shop) == "canonical"
    assert shop.differences("zoo") == []


def test_the_closing_summary_counts_letters(shop: Shop) -> None:
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": n, "n": n} for n in range(5)])
    assert sync(*arguments(shop)).code == 0
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(
            f"CREATE VIEW {SCHEMA}.theirs AS SELECT _id FROM {SCHEMA}.zoo".encode()
        )
    zoo.insert_one({"_id": "x"})
    ended = sync(*arguments(shop))
    assert "1 dead letter pending" in " ".join(ended.out.split()), ended.out
    zoo.update_one({"_id": "x"}, {"$set": {"n": 2}})
    ended = sync(*arguments(shop))
    assert ended.code == 0
    assert "1 dead letter pending" in " ".join(ended.out.split()), ended.out
    zoo.delete_one({"_id": "x"})
    assert "dead letter pending" not in sync(*arguments(shop)).out
