"""A first copy, mongod to PostgreSQL, beside a bare COPY and the conventional way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import psycopg
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from pymongo import MongoClient

from cartridge_warp.model import Table
from cartridge_warp.postgresql import ddl, merge
from cartridge_warp.postgresql.copyin import CopyIn
from cartridge_warp.postgresql.rowplan import plan_of
from cwarp_core import BatchEncoder, Reply

from . import data, meter
from .bench_encode import flatten, table_of
from .meter import Cost, Report, Servers

DOCUMENTS = 300_000
_BATCH = 1_000
_CONNECTIONS = 2
_DICTS = 30_000
_DATABASE = "bench"
_EMPTY = "bench_empty"
_COLLECTION = "orders"


def run(documents: int = DOCUMENTS) -> Report:
    with meter.servers() as running, MongoClient[Any](running.mongod.uri) as client:
        table, payloads = _load(client, documents)
        client[_EMPTY].create_collection("nothing")
        start = meter.start_up(running, _EMPTY)
        whole = meter.sync(running, _DATABASE, "bench")
        _expect(running, "bench", documents)
        floor = _copy(running, table, payloads, documents)
        few = min(documents, _DICTS)
        dicts = _dicts(running, client, table, few)
    return _report(documents, few, start, whole, floor, dicts)


def _load(client: MongoClient[Any], number: int) -> tuple[Table, list[bytes]]:
    """Fill the collection; the table of its documents, and their rows encoded."""
    collection = client[_DATABASE][_COLLECTION]
    table: Table | None = None
    payloads = []
    for batch in _batches(data.documents("medium", number)):
        collection.insert_many([RawBSONDocument(each) for each in batch])
        reply = Reply.of_documents(batch)
        if table is None:
            table = table_of([reply], "twin", _COLLECTION)
            encoder = BatchEncoder(plan_of(table))
        encoder.add_reply(reply, 0)
        payloads.append(encoder.take().payload)
    if table is None:
        raise SystemExit("at least one document is needed")
    return table, payloads


def _batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(documents, _BATCH)):
        yield batch


def _expect(running: Servers, schema: str, documents: int) -> None:
    query = sql.SQL("SELECT count(*) FROM {}").format(
        sql.Identifier(schema, _COLLECTION)
    )
    with psycopg.connect(running.postgres.uri) as conn:
        row = conn.execute(query).fetchone()
    if row != (documents,):
        raise SystemExit(f"{schema}.{_COLLECTION}: {row} rows, not {documents}")


def _create(running: Servers, table: Table) -> None:
    schema = sql.Identifier(table.schema)
    with psycopg.connect(running.postgres.uri) as conn:
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        conn.execute(ddl.create_table(table))
        # What the copy before left behind is not to be paid for by the next.
    with psycopg.connect(running.postgres.uri, autocommit=True) as conn:
        conn.execute("CHECKPOINT")


def _copy(
    running: Servers, table: Table, payloads: list[bytes], documents: int
) -> Cost:
    """The floor: the very same rows, encoded before, on as many connections."""
    _create(running, table)

    def part(number: int) -> None:
        with psycopg.connect(running.postgres.uri) as conn, conn.cursor() as cur:
            copy = CopyIn(cur, merge.copy_into(table))
            for payload in payloads[number::_CONNECTIONS]:
                copy.send(payload)
            copy.finish()

    def work() -> None:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(part, range(_CONNECTIONS)))

    cost = meter.here(running, work)
    _expect(running, table.schema, documents)
    return cost


def _dicts(
    running: Servers, client: MongoClient[Any], table: Table, documents: int
) -> Cost:
    """The conventional way: ``find()`` to dicts, flatten, ``write_row``."""
    _create(running, table)
    paths = [("_id",), *(column.path for column in table.columns)]
    names = [sql.Identifier(ddl.KEY)]
    names += [sql.Identifier(column.name) for column in table.columns]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        ddl.table_name(table), sql.SQL(", ").join(names)
    )

    def work() -> None:
        found = client[_DATABASE][_COLLECTION].find(limit=documents)
        with psycopg.connect(running.postgres.uri) as conn, conn.cursor() as cur:
            with cur.copy(statement) as copy:
                for document in found:
                    copy.write_row(flatten(document, paths))

    cost = meter.here(running, work)
    _expect(running, table.schema, documents)
    return cost


def _report(
    documents: int, few: int, start: Cost, whole: Cost, floor: Cost, dicts: Cost
) -> Report:
    wall = meter.beyond(whole.wall, start.wall)
    million = meter.beyond(whole.client, start.client) / documents * 1e6
    rate, bare, slow = documents / wall, documents / floor.wall, few / dicts.wall
    twin_million = dicts.client / few * 1e6
    ratios = {
        "documents/s, ours / pre-encoded COPY": rate / bare,
        "documents/s, ours / dict + write_row": rate / slow,
        "client CPU, dict + write_row / ours": twin_million / million,
        "PostgreSQL CPU, ours / pre-encoded COPY": (whole.postgres - start.postgres)
        / floor.postgres,
        "our CPU seconds per million documents": million,
    }
    return Report(
        "snapshot",
        [
            f"{documents:,} documents of about 1 KB (medium), copied by"
            " `cartridge_warp sync --once` as a process of its own.",
            "Its start-up (a sync of an empty database, first row) is taken off in the"
            " rates and ratios; it is in the seconds of the second row.",
            f"Pre-encoded: the same rows over {_CONNECTIONS} connections. dict +"
            f" write_row: {few:,} documents, one connection.",
            "mongod: a replica set of one, 0.25 GB of cache. PostgreSQL: fsync on,"
            " shared_buffers 512 MB, primary key in place.",
        ],
        (
            *("what", "documents", "wall s", "docs/s", "client CPU s"),
            *("mongod CPU s", "PostgreSQL CPU s", "peak RSS MiB"),
        ),
        [
            _row("start-up alone", 0, start, 0),
            _row("ours", documents, whole, rate),
            _row("pre-encoded COPY", documents, floor, bare),
            _row("dict + write_row", few, dicts, slow),
        ],
        ratios,
        [
            f"Our process: {million:.2f} CPU s per million documents;"
            f" {meter.judged(million, 'at most 3.0', million <= 3)}.",
            f"Documents/s against dict + write_row: {rate / slow:.1f} times;"
            f" {meter.judged(rate, 'at least 4', rate / slow >= 4)}.",
            f"Peak RSS {whole.rss_mib:.0f} MiB at {documents:,} documents;"
            f" {meter.judged(whole.rss_mib, 'under 200', whole.rss_mib < 200)}.",
            "A sync waits up to a second for the stream to be idle before it ends, so"
            " our rate is uncertain by that second: take many documents.",
            "Wall time moves with whatever else the machine does; CPU seconds and the"
            " ratios of one run are what to compare.",
        ],
    )


def _row(what: str, documents: int, cost: Cost, rate: float) -> tuple[str, ...]:
    return (
        *(what, f"{documents:,}", f"{cost.wall:.2f}", f"{rate:,.0f}"),
        *(f"{cost.client:.2f}", f"{cost.mongod:.2f}", f"{cost.postgres:.2f}"),
        "-" if cost.rss_mib != cost.rss_mib else f"{cost.rss_mib:.0f}",
    )
