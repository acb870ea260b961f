"""The last word is PostgreSQL's: what COPY takes, and what SELECT shows of it.

The documents come back from a real mongod; the comparer, which shares no code with
the core or the oracle, says whether each row equals its document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import psycopg
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from cartridge_warp import embedded
from cwarp_core import COPY_HEADER, COPY_TRAILER, EncodedBatch
from tests.comparer import compare
from tests.core.build import (
    Raw,
    array,
    binary,
    boolean,
    date,
    decimal,
    document,
    double,
    int32,
    int64,
    null,
    obj,
    oid,
    regex,
    string,
    wrap,
)
from tests.core.differential import encode
from tests.core.samples import COLUMN_TYPES, SAMPLES
from tests.core.strategies import documents, plans
from tests.fix_servers import fresh_database
from tests.oracle import Column, Plan

#: What each of COLUMN_TYPES is made for.
NATIVES = ("bool", "int", "long", "double", "decimal", "string", "uuid", "binData")
NATIVES += ("date", "object", "array", "regex")
_KEY_TYPES = {"uuid": "uuid", "bigint": "bigint", "numeric": "numeric"}


@pytest.fixture(scope="module")
def database(each_postgres: embedded.PostgresServer) -> Iterator[str]:
    with fresh_database(each_postgres) as uri:
        yield uri


@pytest.fixture
def postgres(database: str, say: Callable[[str], None]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        version = connection.info.parameter_status("server_version")
        say(f"rows judged by PostgreSQL {version}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET bytea_output = 'hex'")
        yield connection


def _names(plan: Plan) -> list[str]:
    return [f"c{at}" for at in range(len(plan.columns))]


def _create(connection: psycopg.Connection, plan: Plan) -> None:
    columns = {"_id": _KEY_TYPES.get(plan.key, 'text COLLATE "C"')}
    for name, column in zip(_names(plan), plan.columns, strict=True):
        columns[name] = column.type
    if plan.source_ts:
        columns["_cwarp_source_ts"] = "timestamptz"
    columns["_cwarp_extra"] = "jsonb"
    body = ", ".join(
        f"{name} {'text' if kind == 'jsontext' else kind}"
        for name, kind in columns.items()
    )
    connection.execute("DROP TABLE IF EXISTS judged")
    connection.execute(f"CREATE TABLE judged ({body}, PRIMARY KEY (_id))".encode())


def _copy(connection: psycopg.Connection, batch: EncodedBatch) -> None:
    statement = "COPY judged FROM STDIN (FORMAT BINARY)"
    with connection.cursor().copy(statement) as copy:
        copy.write(COPY_HEADER + batch.payload + COPY_TRAILER)


def _mapping(plan: Plan) -> dict[str, Any]:
    names = ("name", "path", "type", "native", "subtype")
    return {
        "key": plan.key,
        "columns": [
            dict(zip(names, (name, *column), strict=True))
            for name, column in zip(_names(plan), plan.columns, strict=True)
        ],
        "options": {
            "max_document_depth": plan.max_depth,
            "json_mode": plan.json_mode,
            "legacy_uuid": plan.legacy_uuid,
        },
    }


def _store(collection: Collection[Any], raw: Sequence[bytes]) -> list[bytes]:
    """Insert what mongod takes; return what it made of it."""
    refused: list[dict[str, Any]] = []
    try:
        collection.insert_many(map(RawBSONDocument, raw), ordered=False)
    except BulkWriteError as error:
        refused = error.details["writeErrors"]
    # Equal ids (1 and 1.0), and ids that MongoDB does not allow (arrays, dollars).
    assert {each["code"] for each in refused} <= {11000, 2, 52, 53, 66}, refused
    options: CodecOptions[Any] = CodecOptions(RawBSONDocument)
    return [bytes(each.raw) for each in collection.with_options(options).find()]


def _judge(
    collection: Collection[Any],
    connection: psycopg.Connection,
    plan: Plan,
    raw: Sequence[bytes],
) -> list[bytes]:
    """Mongo to core to PostgreSQL to comparer; what was stored."""
    stored = _store(collection, raw)
    batch = encode(stored, plan, 1_700_000_000 << 32 | 1)
    assert batch.rejects == ()
    _create(connection, plan)
    _copy(connection, batch)
    found = compare(collection, connection, "public", "judged", _mapping(plan))
    assert found == []
    return stored


@pytest.mark.parametrize("mode", ["plain", "canonical"])
def test_every_kind_in_every_column(
    mongo_db: Database[dict[str, Any]], postgres: psycopg.Connection, mode: str
) -> None:
    columns = tuple(
        Column((name,), name, native)
        for name, native in zip(COLUMN_TYPES, NATIVES, strict=True)
    )
    plan = Plan("bigint", columns, max_depth=1, json_mode=mode)
    values = [value for each in SAMPLES.values() for value in each]
    raw = [
        document(("_id", int32(at)), *((name, value) for name in COLUMN_TYPES))
        for at, value in enumerate(values)
    ]
    stored = _judge(mongo_db["judged"], postgres, plan, raw)
    assert len(stored) == len(raw)


def test_every_kind_of_id(
    mongo_db: Database[dict[str, Any]], postgres: psycopg.Connection
) -> None:
    ids = [value for values in SAMPLES.values() for value in values]
    ids += [obj(("a", value), ("b", int32(1))) for value in ids]
    ids += [obj(("b", int32(1)), ("a", value)) for value in ids[:40]]
    raw = [document(("_id", value)) for value in ids]
    stored = _judge(mongo_db["judged"], postgres, Plan("canonical", ()), raw)
    assert len(stored) > len(ids) // 2


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("objectId", ["objectId"]),
        ("uuid", ["uuid"]),
        ("bigint", ["decimal", "double", "int", "long"]),
        ("numeric", ["decimal", "double", "int", "long"]),
    ],
)
def test_typed_ids(
    mongo_db: Database[dict[str, Any]],
    postgres: psycopg.Connection,
    key: str,
    kinds: list[str],
) -> None:
    plan = Plan(key, ())
    raw = [document(("_id", value)) for kind in kinds for value in SAMPLES[kind]]
    raw = [each for each in raw if not encode([each], plan).rejects]
    assert len(_judge(mongo_db["judged"], postgres, plan, raw)) >= len(kinds)


@pytest.mark.parametrize("columns", [(), ("v",), ("v.b",), ("v", "v.b"), ("json",)])
def test_fields_of_one_name(
    mongo_db: Database[dict[str, Any]],
    postgres: psycopg.Connection,
    columns: tuple[str, ...],
) -> None:
    """mongod stores them as they come; the row has the last one, whole."""
    shapes = [int32(1), obj(("b", int32(5)), ("c", int32(6))), obj(("c", int32(7)))]
    shapes += [null(), obj(), array(int32(1))]
    raw = [
        document(("_id", int32(at)), ("v", one), ("w", int32(1)), ("v", other))
        for at, (one, other) in enumerate(product(shapes, shapes))
    ]
    plan = Plan(
        "bigint",
        tuple(
            Column(("v",), "jsonb", "object")
            if name == "json"
            else Column(tuple(name.split(".")), "integer", "int")
            for name in columns
        ),
    )
    stored = _judge(mongo_db["judged"], postgres, plan, raw)
    assert sorted(stored) == sorted(raw)


def test_random_documents(
    mongo_db: Database[dict[str, Any]], postgres: psycopg.Connection
) -> None:
    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        ids = st.integers(-(2**31), 2**31 - 1).map(int32)
        batch = data.draw(st.lists(documents(ids), min_size=1, max_size=4))
        plan = data.draw(plans(batch))._replace(key="bigint", on_misfit="rescue")
        mongo_db["judged"].delete_many({})
        assert _judge(mongo_db["judged"], postgres, plan, batch)

    run()


@pytest.mark.parametrize("type_", ["jsonb", "json"])
def test_array_of_four_million(postgres: psycopg.Connection, type_: str) -> None:
    """All elements under one empty name, as only a broken client writes them."""
    number = 4_000_000
    plan = Plan("bigint", (Column(("a",), type_, ""),))
    value = Raw(0x04, wrap(b"\x0a\0" * number))
    _create(postgres, plan)
    _copy(postgres, encode([document(("_id", int32(1)), ("a", value))], plan))
    length = sql.SQL("SELECT {}(c0) FROM judged").format(
        sql.Identifier(f"{type_}_array_length")
    )
    assert postgres.execute(length).fetchone() == (number,)


def test_columns_read_as_written(postgres: psycopg.Connection) -> None:
    values = {
        "boolean": (boolean(True), "true"),
        "integer": (int32(-7), "-7"),
        "bigint": (int64(2**62), "4611686018427387904"),
        "double precision": (double(-0.0), "-0"),
        "numeric": (decimal("-12345678.90120"), "-12345678.90120"),
        "text": (string("\u2603"), "\u2603"),
        "uuid": (binary(b"\1" * 16, 4), "01010101-0101-0101-0101-010101010101"),
        "bytea": (binary(b"\0\xff"), r"\x00ff"),
        "timestamptz": (date(-62_135_596_800_001), "0001-12-31 23:59:59.999+00 BC"),
        "jsonb": (obj(("b", double(5.0)), ("a", int32(5))), '{"a": 5, "b": 5.0}'),
        "json": (array(double(5.0), int32(5)), "[5.0,5]"),
        "jsontext": (
            regex(b"a", b"i"),
            '{"$regularExpression":{"pattern":"a","options":"i"}}',
        ),
    }
    columns = tuple(
        Column((name,), name, native)
        for name, native in zip(values, NATIVES, strict=True)
    )
    plan = Plan("objectId", columns, max_depth=1)
    fields = [(name, value) for name, (value, _) in values.items()]
    raw = document(("_id", oid(b"\1" * 12)), *fields, ("more", int64(1)))
    _create(postgres, plan)
    _copy(postgres, encode([raw], plan, 1_600_000_000 << 32 | 5))
    shown = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        for name in ("_id", *_names(plan), "_cwarp_source_ts", "_cwarp_extra")
    )
    row = postgres.execute(sql.SQL("SELECT {} FROM judged").format(shown)).fetchone()
    assert row == (
        "01" * 12,
        *(text for _, text in values.values()),
        "2020-09-13 12:26:40.000005+00",
        '{"more": {"$numberLong": "1"}}',
    )


@pytest.mark.parametrize("end", ["NaN", "Infinity", "-Infinity"])
def test_numeric_without_a_finite_value(postgres: psycopg.Connection, end: str) -> None:
    plan = Plan("numeric", (Column(("a",), "numeric", "decimal"),))
    raw = document(("_id", decimal(end)), ("a", double(float(end))))
    _create(postgres, plan)
    _copy(postgres, encode([raw], plan))
    row = postgres.execute("SELECT _id::text, c0::text FROM judged").fetchone()
    assert row == (end, end)
